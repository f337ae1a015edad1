//! What `cp` makes on this machine: files that appear whole, directories, links.
//!
//! Promises: until [`Target::publish`] a file is without a name (`O_TMPFILE`), so that not even `kill -9` leaves half of
//! it; where the file system cannot do that it has a name of its own that is removed on failure. Devices and pipes are
//! written to, never replaced.

use crate::error::{Error, Kind, Result};
use crate::name::escape;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How often a free temporary name is looked for.
const ATTEMPTS: usize = 100;

/// A file in the making.
pub(super) struct Target {
    file: File,
    /// What it will be called.
    path: PathBuf,
    state: State,
}

enum State {
    /// It has no name yet.
    Nameless,
    /// It has this name, which goes with it unless it is published.
    Temporary(PathBuf),
    /// A device or a pipe: what is written is gone.
    Through,
}

impl Target {
    /// Begins the file that will be `path`; `None` if it exists and is to be left alone.
    pub(super) fn open(path: &Path, no_clobber: bool) -> Result<Option<Target>> {
        let mut path = path.to_owned();
        // As cp(1): a link that leads somewhere is written through.
        if let Ok(there) = std::fs::metadata(&path) {
            if no_clobber {
                return Ok(None);
            }
            if there.is_dir() {
                return Err(Error::new(
                    Kind::IsDir,
                    format!("{}: is a directory, not replaced by a file", shown(&path)),
                ));
            }
            if !there.is_file() {
                let file = File::options().write(true).open(&path).map_err(|error| failed("open", &path, error))?;
                return Ok(Some(Target { file, path, state: State::Through }));
            }
            path = std::fs::canonicalize(&path).map_err(|error| failed("resolve", &path, error))?;
        } else if no_clobber && path.symlink_metadata().is_ok() {
            return Ok(None);
        }
        let dir = parent(&path);
        let nameless = File::options().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir);
        match nameless {
            Ok(file) => Ok(Some(Target { file, path, state: State::Nameless })),
            // What the errno means depends on the file system; the second way tells what is really wrong.
            Err(_) => {
                let (file, name) =
                    temporary(&path, |name| File::options().write(true).create_new(true).mode(0o600).open(name))?;
                Ok(Some(Target { file, path, state: State::Temporary(name) }))
            }
        }
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| failed("write", &self.path, error))
    }

    /// Gives the file its permissions, its time and its name, in place of whatever had it.
    pub(super) fn publish(mut self, mode: u32, mtime: Option<SystemTime>) -> Result<()> {
        if matches!(self.state, State::Through) {
            return Ok(());
        }
        let told = |error| failed("make", &self.path, error);
        self.file.set_permissions(Permissions::from_mode(mode)).map_err(told)?;
        if let Some(mtime) = mtime {
            self.file.set_modified(mtime).map_err(told)?;
        }
        if matches!(self.state, State::Nameless) {
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            // linkat(2) cannot replace a file: it gets a name beside it first.
            let ((), name) = temporary(&self.path, |name| {
                let flags = AtFlags::AT_SYMLINK_FOLLOW;
                Ok(nix::unistd::linkat(AT_FDCWD, own.as_str(), AT_FDCWD, name, flags)?)
            })?;
            self.state = State::Temporary(name);
        }
        if let State::Temporary(name) = &self.state {
            std::fs::rename(name, &self.path).map_err(told)?;
        }
        self.state = State::Through;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let State::Temporary(name) = &self.state {
            // It fails only where nothing can be done about it.
            let _ = std::fs::remove_file(name);
        }
    }
}

/// Makes the symbolic link `path`, in place of whatever file had the name; whether it did, or left alone what is there.
pub(super) fn link(target: &OsStr, path: &Path, no_clobber: bool) -> Result<bool> {
    let there = path.symlink_metadata();
    if no_clobber && there.is_ok() {
        return Ok(false);
    }
    if there.is_ok_and(|there| there.is_dir()) {
        return Err(Error::new(Kind::IsDir, format!("{}: is a directory, not replaced by a link", shown(path))));
    }
    let ((), name) = temporary(path, |name| std::os::unix::fs::symlink(target, name))?;
    std::fs::rename(&name, path).map_err(|error| {
        let _ = std::fs::remove_file(&name);
        failed("make", path, error)
    })?;
    Ok(true)
}

/// Sets the modification time of whatever has this name, of a link its own.
pub(super) fn touch(path: &Path, mtime: SystemTime) -> Result<()> {
    let since = mtime.duration_since(UNIX_EPOCH).unwrap_or_default();
    let flags = UtimensatFlags::NoFollowSymlink;
    utimensat(AT_FDCWD, path, &TimeSpec::UTIME_OMIT, &TimeSpec::from_duration(since), flags)
        .map_err(|errno| failed("set the time of", path, errno.into()))
}

/// Makes the directory `path`, if it is not there; only we may use it until [`dress`].
pub(super) fn directory(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(|error| failed("make directory", path, error)),
    }
}

/// Gives a directory its permissions and its time, once everything is in it.
pub(super) fn dress(path: &Path, mode: u32, mtime: Option<SystemTime>) -> Result<()> {
    let told = |error| failed("finish directory", path, error);
    let dir = File::open(path).map_err(told)?;
    dir.set_permissions(Permissions::from_mode(mode)).map_err(told)?;
    match mtime {
        Some(mtime) => dir.set_modified(mtime).map_err(told),
        None => Ok(()),
    }
}

/// Makes something under a free name in the directory of `path`.
fn temporary<T>(path: &Path, make: impl Fn(&Path) -> std::io::Result<T>) -> Result<(T, PathBuf)> {
    for _ in 0..ATTEMPTS {
        let name = parent(path).join(format!(".regfs-cp-{:016x}", fastrand::u64(..)));
        match make(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return Ok((made.map_err(|error| failed("make", path, error))?, name)),
        }
    }
    Err(Error::new(Kind::Exists, format!("make {}: no free temporary name beside it", shown(path))))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("{what} {}", shown(path)), error)
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}
