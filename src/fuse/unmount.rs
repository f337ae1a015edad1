//! Taking a mount away: by the system call where it is permitted, by fusermount3 otherwise.

use crate::error::{Error, Kind, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use std::path::Path;
use std::process::{Command, Stdio};

/// Unmounts what is seen at `point`; with `is_lazy`, at once from its place, and for good when its users are done.
///
/// `Busy` if it is in use. Whether it is one of ours is the caller's to know.
pub fn unmount(point: &Path, is_lazy: bool) -> Result<()> {
    let mut flags = MntFlags::UMOUNT_NOFOLLOW;
    if is_lazy {
        flags |= MntFlags::MNT_DETACH;
    }
    match umount2(point, flags) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => fusermount(point, is_lazy),
        Err(Errno::EBUSY) => Err(busy(point)),
        Err(errno) => Err(Error::io(format!("unmount {}", point.display()), errno.into())),
    }
}

/// Ends the connection of the mount at `point`, whose process is dead: every call that waits for it ends. Root alone
/// can; for others nothing happens.
pub fn abort(point: &Path) {
    // It says that the mount is busy, and has ended it all the same.
    let _ = umount2(point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_FORCE);
}

/// The programs that unmount for users, the current one first.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];

fn fusermount(point: &Path, is_lazy: bool) -> Result<()> {
    let what = || format!("unmount {}", point.display());
    for helper in HELPERS {
        let mut command = Command::new(helper);
        command.arg("-u").args(is_lazy.then_some("-z")).arg("--").arg(point);
        let output = match command.stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(format!("{}: {helper}", what()), error)),
        };
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        if words.contains("busy") {
            return Err(busy(point));
        }
        return Err(Error::new(Kind::Denied, format!("{}: {}", what(), words.trim())));
    }
    Err(Error::new(Kind::Unsupported, format!("{}: there is no fusermount3 (package fuse3)", what())))
}

fn busy(point: &Path) -> Error {
    let point = point.display();
    Error::new(
        Kind::Busy,
        format!("{point} is in use: end what uses it (fuser -vm {point} shows it), or unmount it with --lazy"),
    )
}
