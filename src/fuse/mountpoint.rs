//! Whether a directory can be mounted on, and mending it where a mount died there.
//!
//! Those who mount at one place at one time take turns, by flock(2) on the directory itself, which any user can lock
//! who can list it; who waits finds it in use afterwards. A dead mount hides that directory: taking it away is done
//! in turns by a lock on the directory above.

use super::{mounts, unmount};
use crate::error::{Error, Kind, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Dead mounts of ours that are taken away from one place, at most: each was mounted over the one before.
const MAX_STALE: usize = 8;

/// How long another may take to mount what it has ready.
const TURN: Duration = Duration::from_secs(10);

/// How long a mount may take to answer what it answers from memory.
const ANSWER: Duration = Duration::from_secs(3);

/// The turn of this process to mount at one place; ends when it is dropped.
#[derive(Debug)]
pub struct Claim {
    /// `None` where the file system has no such locks, or the directory cannot be opened.
    _held: Option<Flock<File>>,
}

/// As [`prepare`], once everybody else who is about to mount there is done; holds them off as long as the claim is
/// kept. `Busy` if something was mounted meanwhile, or if somebody does not let go of the directory.
pub fn claim(point: &Path, nonempty: bool) -> Result<Claim> {
    let held = lock(point)?;
    prepare(point, nonempty)?;
    Ok(Claim { _held: held })
}

/// Locks a directory against others who lock it.
fn lock(path: &Path) -> Result<Option<Flock<File>>> {
    let mut options = File::options();
    let Ok(mut file) = options.read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path) else { return Ok(None) };
    let start = Instant::now();
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(Some(held)),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
            // NFS, for one, locks only what is open for writing.
            Err(_) => return Ok(None),
        };
        if start.elapsed() > TURN {
            let what = format!("{} is in use: another process keeps it locked", path.display());
            return Err(Error::new(Kind::Busy, what));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Unmounts the dead mount of ours at `point`, if nobody else did so meanwhile.
fn mend(point: &Path) -> Result<()> {
    // Whoever locks the directory above for purposes of its own does not keep a dead mount in place.
    let _held = point.parent().and_then(|above| lock(above).ok());
    if !is_dead(point) {
        return Ok(());
    }
    log::info!("{}: unmounting what a process that is gone left there", point.display());
    unmount::unmount(point, true)
}

/// The mountpoint in full: an empty directory (any, with `nonempty`) where nothing of ours is mounted.
///
/// What a killed process of ours left there is unmounted. The errors say what is wrong with it.
pub fn prepare(point: &Path, nonempty: bool) -> Result<PathBuf> {
    let point = mounts::locate(point)?;
    for _ in 0..MAX_STALE {
        match mounts::at(&point)? {
            Some(mount) if mount.is_ours() && is_dead(&point) => mend(&point)?,
            Some(mount) if mount.is_ours() => return Err(taken(&point, &mount)),
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
        // Somebody may have mounted there just now: that is what is in it.
        if let Some(mount) = mounts::at(&point)?.filter(mounts::Mount::is_ours) {
            return Err(taken(&point, &mount));
        }
        let what = format!("mountpoint {} is not empty (-o nonempty mounts over it)", point.display());
        return Err(Error::new(Kind::NotEmpty, what));
    }
    Ok(point)
}

/// The failure to mount where `mount` is.
fn taken(point: &Path, mount: &mounts::Mount) -> Error {
    let source = crate::name::escape(mount.source.to_string_lossy().as_bytes());
    Error::new(Kind::Busy, format!("{} is in use: {source} is mounted there", point.display()))
}

/// Whether the process that served the mount is gone: the kernel answers ENOTCONN for it.
pub fn is_dead(point: &Path) -> bool {
    let (tell, told) = mpsc::channel();
    let place = point.to_owned();
    // Not stat(2): that may be answered from what the kernel keeps of the root. On a thread of its own: a mount may
    // neither be dead nor answer.
    let asked = std::thread::Builder::new().spawn(move || tell.send(nix::sys::statvfs::statvfs(&place).err()));
    let error = asked.ok().and_then(|_| told.recv_timeout(ANSWER).ok().flatten());
    matches!(error, Some(Errno::ENOTCONN | Errno::ECONNABORTED))
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

    #[test]
    fn a_claim_holds_others_off() {
        let dir = tempfile::tempdir().expect("directory");
        let claimed = claim(dir.path(), false).expect("a claim");
        let path = dir.path().to_owned();
        let (told, other) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(claim(&path, false).map(drop)));
        assert!(other.recv_timeout(Duration::from_millis(100)).is_err(), "it waits for its turn");
        drop(claimed);
        assert!(other.recv_timeout(TURN).expect("its turn").is_ok());
    }
}
