//! What `cp` makes on this machine: files that appear whole, directories, links, devices.
//!
//! Promises: until [`Target::publish`] a file is without a name (`O_TMPFILE`), so that not even `kill -9` leaves half of
//! it; where the file system cannot do that it has a name of its own that is removed on failure. Devices and pipes are
//! written to, never replaced.

use super::dress::{self, Dress};
use crate::error::{Error, Kind, Result};
use crate::name::escape;
use crate::tree::{Special, SpecialKind};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How often a free temporary name is looked for.
const ATTEMPTS: usize = 100;

/// The pieces of a sparse file that are left out if they are all zeros: what file systems give room by.
const HOLE: usize = 4096;

/// How what is there already is treated.
#[derive(Clone, Copy)]
pub(super) struct Care {
    /// Files and links that are there stay as they are.
    pub(super) no_clobber: bool,
    /// Links that are there are written through, as cp(1) does. Not below an image: its own links lead anywhere.
    pub(super) follow: bool,
}

/// A file in the making.
pub(super) struct Target {
    file: File,
    /// What it will be called.
    path: PathBuf,
    state: State,
    /// Whether zeros are left out.
    is_sparse: bool,
    /// How much was written.
    len: u64,
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
    /// Begins the file that will be `path`, with holes if it `is_sparse`; `None` if it exists and is to be left alone.
    pub(super) fn open(path: &Path, care: Care, is_sparse: bool) -> Result<Option<Target>> {
        let mut path = path.to_owned();
        let there = if care.follow { std::fs::metadata(&path) } else { path.symlink_metadata() };
        if let Ok(there) = there {
            if care.no_clobber {
                return Ok(None);
            }
            if there.is_dir() {
                return Err(Error::new(
                    Kind::IsDir,
                    format!("{}: is a directory, not replaced by a file", shown(&path)),
                ));
            }
            if !there.is_file() && care.follow {
                let file = File::options().write(true).open(&path).map_err(|error| failed("open", &path, error))?;
                return Ok(Some(Target { file, path, state: State::Through, is_sparse: false, len: 0 }));
            }
            if care.follow {
                path = std::fs::canonicalize(&path).map_err(|error| failed("resolve", &path, error))?;
            }
        } else if care.no_clobber && path.symlink_metadata().is_ok() {
            return Ok(None);
        }
        let dir = parent(&path);
        let nameless = File::options().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir);
        match nameless {
            Ok(file) => Ok(Some(Target { file, path, state: State::Nameless, is_sparse, len: 0 })),
            // What the errno means depends on the file system; the second way tells what is really wrong.
            Err(_) => {
                let (file, name) =
                    temporary(&path, |name| File::options().write(true).create_new(true).mode(0o600).open(name))?;
                Ok(Some(Target { file, path, state: State::Temporary(name), is_sparse, len: 0 }))
            }
        }
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let done = if self.is_sparse { self.write_sparse(bytes) } else { self.file.write_all(bytes) };
        self.len += bytes.len() as u64;
        done.map_err(|error| failed("write", &self.path, error))
    }

    fn write_sparse(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        let mut at = self.len;
        while !bytes.is_empty() {
            // To the next boundary: what arrives in odd pieces has holes, too.
            let to_boundary = HOLE - (at % HOLE as u64) as usize;
            let (piece, rest) = bytes.split_at(bytes.len().min(to_boundary));
            if piece.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(piece, at)?;
            }
            at += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Gives the file what it has besides its content, and its name in place of whatever had it.
    pub(super) fn publish(mut self, dress: &Dress) -> Result<()> {
        if matches!(self.state, State::Through) {
            return Ok(());
        }
        let told = |error| failed("make", &self.path, error);
        if self.is_sparse {
            self.file.set_len(self.len).map_err(told)?;
        }
        dress.file(&self.file).map_err(told)?;
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
pub(super) fn link(target: &OsStr, path: &Path, no_clobber: bool, dress: &Dress) -> Result<bool> {
    let make = |name: &Path| std::os::unix::fs::symlink(target, name);
    replace(path, no_clobber, "link", make, |name| dress.link(name))
}

/// Likewise a device, a pipe or a socket. `Denied` if this user may not make one.
pub(super) fn special(special: &Special, path: &Path, no_clobber: bool, dress: &Dress) -> Result<bool> {
    let kind = match special.kind {
        SpecialKind::Char => SFlag::S_IFCHR,
        SpecialKind::Block => SFlag::S_IFBLK,
        SpecialKind::Fifo => SFlag::S_IFIFO,
        SpecialKind::Socket => SFlag::S_IFSOCK,
    };
    let (major, minor) = special.device;
    let device = makedev(major.into(), minor.into());
    let make = |name: &Path| Ok(mknod(name, kind, Mode::S_IRUSR | Mode::S_IWUSR, device)?);
    replace(path, no_clobber, "special file", make, |name| dress.special(name))
}

/// Makes `path` another name of `first`, in place of whatever file had the name; whether it did.
pub(super) fn hard_link(first: &Path, path: &Path, no_clobber: bool) -> Result<bool> {
    let is_it = |there: std::fs::Metadata| {
        first.symlink_metadata().is_ok_and(|first| (first.dev(), first.ino()) == (there.dev(), there.ino()))
    };
    // Renaming one name of a file to another one of it does nothing, and would leave both.
    if path.symlink_metadata().is_ok_and(is_it) {
        return Ok(!no_clobber);
    }
    replace(path, no_clobber, "hard link", |name| std::fs::hard_link(first, name), |_| Ok(()))
}

/// Makes something under a name of its own, dresses it, and puts it in place of whatever file is at `path`; whether it
/// did, or left alone what is there.
fn replace(
    path: &Path,
    no_clobber: bool,
    what: &str,
    make: impl Fn(&Path) -> std::io::Result<()>,
    dress: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<bool> {
    let there = path.symlink_metadata();
    if no_clobber && there.is_ok() {
        return Ok(false);
    }
    if there.is_ok_and(|there| there.is_dir()) {
        return Err(Error::new(Kind::IsDir, format!("{}: is a directory, not replaced by a {what}", shown(path))));
    }
    let ((), name) = temporary(path, make)?;
    dress(&name).and_then(|()| std::fs::rename(&name, path)).map_err(|error| {
        let _ = std::fs::remove_file(&name);
        failed("make", path, error)
    })?;
    Ok(true)
}

/// Sets the modification time of whatever has this name, of a link its own.
pub(super) fn touch(path: &Path, mtime: SystemTime) -> Result<()> {
    dress::set_time(path, false, mtime).map_err(|error| failed("set the time of", path, error))
}

/// Makes the directory `path`, if it is not there; only we may use it until [`finish`].
pub(super) fn directory(path: &Path, care: Care) -> Result<()> {
    let is_there = || {
        let there = if care.follow { std::fs::metadata(path) } else { path.symlink_metadata() };
        there.is_ok_and(|there| there.is_dir())
    };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && is_there() => Ok(()),
        made => made.map_err(|error| failed("make directory", path, error)),
    }
}

/// Gives a directory what it has besides its content, once everything is in it.
pub(super) fn finish(path: &Path, dress: &Dress) -> Result<()> {
    let told = |error| failed("finish directory", path, error);
    dress.file(&File::open(path).map_err(told)?).map_err(told)
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
