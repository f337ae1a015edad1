//! Whether a directory can be mounted on, and mending it where a mount died there.

use super::{mounts, unmount};
use crate::error::{Error, Kind, Result};
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// Dead mounts of ours that are taken away from one place, at most: each was mounted over the one before.
const MAX_STALE: usize = 8;

/// The mountpoint in full: an empty directory (any, with `nonempty`) where nothing of ours is mounted.
///
/// What a killed process of ours left there is unmounted. The errors say what is wrong with it.
pub fn prepare(point: &Path, nonempty: bool) -> Result<PathBuf> {
    let point = mounts::locate(point)?;
    for _ in 0..MAX_STALE {
        match mounts::at(&point)? {
            Some(mount) if mount.is_ours() && is_dead(&point) => {
                log::info!("{}: unmounting what a process that is gone left there", point.display());
                unmount::unmount(&point, true)?;
            }
            Some(mount) if mount.is_ours() => {
                let source = mount.source.to_string_lossy().into_owned();
                let source = crate::name::escape(source.as_bytes());
                return Err(Error::new(
                    Kind::Busy,
                    format!("{} is in use: {source} is mounted there", point.display()),
                ));
            }
            _ => break,
        }
    }
    let failed = |error| Error::io(format!("mountpoint {}", point.display()), error);
    if is_dead(&point) {
        let what = format!("{} is a mount whose process is gone: unmount it first", point.display());
        return Err(Error::new(Kind::Busy, what));
    }
    if !std::fs::metadata(&point).map_err(failed)?.is_dir() {
        return Err(Error::new(Kind::NotDir, format!("mountpoint {} is not a directory", point.display())));
    }
    if !nonempty && std::fs::read_dir(&point).map_err(failed)?.next().is_some() {
        let what = format!("mountpoint {} is not empty (-o nonempty mounts over it)", point.display());
        return Err(Error::new(Kind::NotEmpty, what));
    }
    Ok(point)
}

/// Whether the process that served the mount is gone: the kernel answers ENOTCONN for it.
fn is_dead(point: &Path) -> bool {
    // Not stat(2): that may be answered from what the kernel keeps of the root.
    matches!(nix::sys::statvfs::statvfs(point), Err(Errno::ENOTCONN | Errno::ECONNABORTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_directories_will_do() {
        let dir = tempfile::tempdir().expect("directory");
        let kind = |path: &Path, nonempty| prepare(path, nonempty).map_err(|error| error.kind());
        assert_eq!(kind(&dir.path().join("none"), false), Err(Kind::NotFound));
        assert!(kind(dir.path(), false).is_ok());
        let file = dir.path().join("file");
        std::fs::write(&file, "x").expect("file");
        assert_eq!(kind(&file, false), Err(Kind::NotDir));
        assert_eq!(kind(dir.path(), false), Err(Kind::NotEmpty));
        assert!(kind(dir.path(), true).is_ok());
    }
}
