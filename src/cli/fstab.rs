//! Being called by mount(8): `mount.regfs SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`; or, where that
//! name is not installed, by mount.fuse3(8): `regfs SOURCE DIR -o OPTIONS`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The names under which mount(8) finds this program (`mount -t regfs`, `-t fuse.regfs`).
const NAMES: [&str; 2] = ["mount.regfs", "mount.fuse.regfs"];

/// What is to be done instead of what mount(8) asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Nothing: `-f` only pretends.
    Fake,
    /// The command line of `regfs mount` that means the same.
    Mount(Vec<OsString>),
}

/// What a command line of mount(8) asks for; `None` if this is not one. `is_command` knows our subcommands.
pub(super) fn read(arguments: &[OsString], is_command: impl Fn(&OsStr) -> bool) -> Option<Call> {
    let (program, rest) = arguments.split_first()?;
    let name = Path::new(program).file_name()?;
    if !NAMES.iter().any(|known| name == *known) && !is_of_mount_fuse(rest, is_command) {
        return None;
    }
    let mut call: Vec<OsString> = vec![program.clone(), "mount".into(), "--from-fstab".into()];
    let mut places: Vec<OsString> = Vec::new();
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        match argument.as_bytes() {
            b"-o" => call.extend([OsStr::new("-o").to_owned(), rest.next().cloned().unwrap_or_default()]),
            b"-t" | b"-N" => drop(rest.next()),
            [b'-', b'-', ..] => call.push(argument.clone()),
            [b'-', letters @ ..] if !letters.is_empty() => {
                if letters.contains(&b'f') {
                    return Some(Call::Fake);
                }
            }
            _ => places.push(argument.clone()),
        }
    }
    call.push("--".into());
    call.extend(places);
    Some(Call::Mount(call))
}

/// Whether these are exactly the arguments that mount.fuse3(8) gives the program of a type.
fn is_of_mount_fuse(arguments: &[OsString], is_command: impl Fn(&OsStr) -> bool) -> bool {
    let [source, point, flag, _] = arguments else { return false };
    let is_place = |word: &OsString| !word.as_bytes().starts_with(b"-");
    is_place(source) && is_place(point) && flag == "-o" && !is_command(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn mount_is_understood() {
        let read = |arguments: &[OsString]| read(arguments, |word| word == "mount");
        assert_eq!(read(&args("regfs mount a b")), None);
        for others in ["regfs mount a -o ro", "regfs a b", "regfs a -f -o ro", "regfs a b -o ro -f"] {
            assert_eq!(read(&args(others)), None, "{others}");
        }
        assert_eq!(
            read(&args("regfs localhost:5000 /mnt -o rw,dev,suid")),
            Some(Call::Mount(args("regfs mount --from-fstab -o rw,dev,suid -- localhost:5000 /mnt")))
        );
        assert_eq!(
            read(&args("/sbin/mount.regfs localhost:5000 /mnt -n -v -o rw,uid=1 -t regfs")),
            Some(Call::Mount(args("/sbin/mount.regfs mount --from-fstab -o rw,uid=1 -- localhost:5000 /mnt")))
        );
        assert_eq!(read(&args("mount.fuse.regfs a /mnt -sfv")), Some(Call::Fake));
    }
}
