//! What a copy has besides its content: owner, permissions, times, extended attributes.
//!
//! Promises: set in an order in which nothing undoes what was set before it. What a user may not set is left out, as
//! cp(1) does: without its owner, a copy runs with nobody else's rights (setuid, setgid) either.

use crate::tree::Attr;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What `cp` gives a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Dress {
    mode: u32,
    mtime: Option<SystemTime>,
    owner: Option<(u32, u32)>,
    xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Dress {
    /// Permissions and time. Where the tree has no owner of its own, its lack of write permission says only that a
    /// registry is not written to: `owner` bits are added, or the copy could not even be removed.
    pub(super) fn plain(attr: &Attr, owner: u16) -> Dress {
        let mode = attr.mode & 0o777;
        let mode = u32::from(if attr.owner.is_none() { mode | owner } else { mode });
        Dress { mode, mtime: attr.mtime, ..Dress::default() }
    }

    /// All that `cp -a` keeps, of what has an owner of its own; [`Dress::plain`] of everything else.
    pub(super) fn whole(attr: &Attr, owner: u16, xattrs: Vec<(OsString, Vec<u8>)>) -> Dress {
        if attr.owner.is_none() {
            return Dress::plain(attr, owner);
        }
        let xattrs = xattrs.into_iter().filter(|(name, _)| is_kept(name)).collect();
        Dress { mode: u32::from(attr.mode & 0o7777), mtime: attr.mtime, owner: attr.owner, xattrs }
    }

    /// The same with this time, if there is one.
    pub(super) fn at(self, mtime: Option<SystemTime>) -> Dress {
        Dress { mtime: mtime.or(self.mtime), ..self }
    }

    /// Gives it to an open file or directory.
    pub(super) fn file(&self, file: &File) -> io::Result<()> {
        // A path that is the file, whether it has a name or not, lest each call be needed in two forms.
        self.set(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())), true, true)
    }

    /// Gives it to a device, a pipe or a socket that only we know the name of.
    pub(super) fn special(&self, path: &Path) -> io::Result<()> {
        self.set(path, false, true)
    }

    /// Gives it to a symbolic link, whose permissions mean nothing.
    pub(super) fn link(&self, path: &Path) -> io::Result<()> {
        self.set(path, false, false)
    }

    fn set(&self, path: &Path, follow: bool, has_mode: bool) -> io::Result<()> {
        let mut mode = self.mode;
        if let Some((uid, gid)) = self.owner {
            let flags = if follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
            match fchownat(AT_FDCWD, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags) {
                // Not ours to give away, or (`EINVAL`) nobody in this user namespace.
                Err(Errno::EPERM | Errno::EINVAL) => mode &= 0o1777,
                done => done?,
            }
        }
        // After the owner, whose change takes capabilities away; before the permissions, which may forbid it.
        for (name, value) in &self.xattrs {
            match set_xattr(path, follow, name, value) {
                Err(error) if is_refused(&error) => log::debug!("{}: no {name:?}: {error}", path.display()),
                done => done?,
            }
        }
        if has_mode {
            fchmodat(AT_FDCWD, path, Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink)?;
        }
        self.mtime.map_or(Ok(()), |mtime| set_time(path, follow, mtime))
    }
}

/// Sets the modification time.
pub(super) fn set_time(path: &Path, follow: bool, mtime: SystemTime) -> io::Result<()> {
    let flags = if follow { UtimensatFlags::FollowSymlink } else { UtimensatFlags::NoFollowSymlink };
    Ok(utimensat(AT_FDCWD, path, &TimeSpec::UTIME_OMIT, &spec(mtime), flags)?)
}

/// Seconds rounded down, also before the epoch.
fn spec(time: SystemTime) -> TimeSpec {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => TimeSpec::from_duration(since),
        Err(before) => {
            let before = before.duration();
            let secs = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => TimeSpec::new(-secs, 0),
                nanos => TimeSpec::new((-secs).saturating_sub(1), 1_000_000_000 - i64::from(nanos)),
            }
        }
    }
}

/// Users' own attributes and capabilities: what else a kernel gives a meaning to is this machine's affair. What regfs
/// tells of content is no part of it.
fn is_kept(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let ours: [&[u8]; 2] = [b"user.oci.", b"user.regfs."];
    name == b"security.capability" || name.starts_with(b"user.") && !ours.iter().any(|own| name.starts_with(own))
}

/// Whether the file system or the kernel does not take such an attribute, here or from this user.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::EOPNOTSUPP | libc::EINVAL))
}

fn set_xattr(path: &Path, follow: bool, name: &OsStr, value: &[u8]) -> io::Result<()> {
    let (path, name) = (CString::new(path.as_os_str().as_bytes())?, CString::new(name.as_bytes())?);
    let set = if follow { libc::setxattr } else { libc::lsetxattr };
    #[allow(unsafe_code)]
    // SAFETY: both strings end with a NUL and `value` is as long as is said; all three outlive the call.
    let result = unsafe { set(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_before_the_epoch_are_rounded_down() {
        let at = |back: Duration| {
            let spec = spec(UNIX_EPOCH - back);
            (spec.tv_sec(), spec.tv_nsec())
        };
        assert_eq!(at(Duration::from_secs(5)), (-5, 0));
        assert_eq!(at(Duration::from_millis(1500)), (-2, 500_000_000));
        assert_eq!(at(Duration::ZERO), (0, 0));
    }

    #[test]
    fn what_is_kept() {
        for (name, kept) in [
            ("user.note", true),
            ("security.capability", true),
            ("user.oci.digest", false),
            ("user.regfs.verified", false),
            ("security.selinux", false),
            ("trusted.overlay.opaque", false),
        ] {
            assert_eq!(is_kept(OsStr::new(name)), kept, "{name}");
        }
        let attr = Attr { mode: 0o4755, ..Attr::file(1) };
        assert_eq!(Dress::whole(&attr, 0o200, Vec::new()).mode, 0o755, "a registry has no rights to give");
        let attr = Attr { owner: Some((0, 0)), mode: 0o4555, ..Attr::file(1) };
        assert_eq!(Dress::whole(&attr, 0o200, Vec::new()).mode, 0o4555);
        assert_eq!(Dress::plain(&attr, 0o200).mode, 0o555);
    }
}
