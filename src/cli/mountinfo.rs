//! The mounts of regfs that the kernel knows (proc_pid_mountinfo(5)).

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// What was mounted, as the kernel was told.
    pub(crate) source: OsString,
    /// Where.
    pub(crate) mountpoint: PathBuf,
}

/// The file system type of our mounts.
const KIND: &[u8] = b"fuse.regfs";

/// Every mount of regfs that this process can see, in the order of mounting.
pub(crate) fn mounts() -> Result<Vec<Mounted>> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = std::fs::read(TABLE).map_err(|error| Error::io(format!("read {TABLE}"), error))?;
    Ok(parse(&table))
}

fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// `36 35 98:0 /root /mountpoint options optional… - type source options`
fn line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mountpoint = fields.nth(4)?;
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, source) = (after.next()?, after.next()?);
    (kind == KIND).then(|| Mounted { source: unescape(source), mountpoint: unescape(mountpoint).into() })
}

/// Spaces and the like stand as `\040`.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_ours() {
        let table = b"24 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            90 24 0:45 / /mnt/a\\040b rw,nosuid shared:3 master:1 - fuse.regfs host:5000/x\\134y ro,user_id=0\n\
            91 24 0:46 / /mnt/c rw - fuse.regfs all: ro\n\
            92 24 0:47 / /mnt/d rw - fuse.sshfs regfs ro\n";
        let found = parse(table);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Mounted { source: "host:5000/x\\y".into(), mountpoint: "/mnt/a b".into() });
        assert_eq!(found[1].mountpoint, PathBuf::from("/mnt/c"));
    }

    #[test]
    fn broken_lines_are_no_mounts() {
        assert_eq!(parse(b"\n1 2 3\n- - - - - - - fuse.regfs\n\\9 \\ \\0 \\777 \\77\n"), []);
    }
}
