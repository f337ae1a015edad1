//! The table of mounts (`/proc/self/mountinfo`): who is mounted where, told without touching the mount itself.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The kind of file system that our mounts show.
pub const TYPE: &str = "fuse.regfs";

/// The number of the device of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its major part; 0 for what is no disk.
    pub major: u32,
    /// Its minor part.
    pub minor: u32,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The device, which no two living mounts of ours share.
    pub device: Device,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The kind of file system, with its subtype.
    pub kind: String,
    /// What is mounted.
    pub source: OsString,
}

impl Mount {
    /// Whether it is one of ours.
    pub fn is_ours(&self) -> bool {
        self.kind == TYPE
    }
}

/// Every mount that this process sees, each over those before it.
pub fn table() -> Result<Vec<Mount>> {
    let path = "/proc/self/mountinfo";
    let bytes = std::fs::read(path).map_err(|error| Error::io(format!("read {path}"), error))?;
    Ok(bytes.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// The mount that is seen at `point`, an absolute path without symbolic links: the topmost, if several are.
pub fn at(point: &Path) -> Result<Option<Mount>> {
    Ok(table()?.into_iter().rev().find(|mount| mount.point == point))
}

/// `point` as the table spells it; of a mount that is dead, too, where the path itself cannot be asked any more.
pub fn locate(point: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io(format!("mountpoint {}", point.display()), error);
    let error = match point.canonicalize() {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if error.kind() == std::io::ErrorKind::NotFound {
        let what = format!("mountpoint {} does not exist", point.display());
        return Err(Error::new(crate::error::Kind::NotFound, what));
    }
    let absolute = std::path::absolute(point).map_err(failed)?;
    match (absolute.parent().map(Path::canonicalize), absolute.file_name()) {
        (Some(Ok(parent)), Some(name)) => Ok(parent.join(name)),
        _ => Err(failed(error)),
    }
}

/// One line: `36 35 98:0 / /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw` (proc(5)).
fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let device = std::str::from_utf8(fields.get(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let after = fields.iter().position(|field| *field == b"-")?;
    Some(Mount {
        device: Device { major: major.parse().ok()?, minor: minor.parse().ok()? },
        point: PathBuf::from(unescape(fields.get(4)?)),
        kind: String::from_utf8_lossy(fields.get(after + 1)?).into_owned(),
        source: unescape(fields.get(after + 2)?),
    })
}

/// Blanks, newlines and backslashes are written as `\040` and the like.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let line = br"42 30 0:57 / /mnt/a\040b\134c ro,nosuid,nodev shared:3 master:1 - fuse.regfs localhost:5000 ro,user_id=0";
        let mount = parse(line).expect("a mount");
        assert_eq!(mount.device, Device { major: 0, minor: 57 });
        assert_eq!(mount.point, Path::new("/mnt/a b\\c"));
        assert_eq!(mount.source, "localhost:5000");
        assert!(mount.is_ours());
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"42 30 0:57 / /mnt ro"), None);
        assert_eq!(parse(br"1 2 0:1 / /x\04 rw - a b c").expect("odd").point, Path::new(r"/x\04"));
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(at(Path::new("/")).expect("table").is_some_and(|mount| !mount.is_ours()));
    }
}
