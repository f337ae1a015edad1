//! The files of a layout's directory: regular ones only, and none by way of a symbolic link.
//!
//! Promises: whatever the directory holds, opening neither leaves it nor blocks (a FIFO, a device, a link to
//! /etc/shadow are errors). Knows nothing of what the files mean.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What a file was like when it was looked at: it changed if any of this did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The length in bytes.
    pub(super) size: u64,
    inode: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> std::io::Result<Stamp> {
        let meta = file.metadata()?;
        Ok(Stamp {
            size: meta.len(),
            inode: (meta.dev(), meta.ino()),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// A directory that is held open.
pub(super) struct Files {
    root: OwnedFd,
}

/// The path of a blob below the root.
pub(super) fn blob(digest: &Digest) -> [&str; 3] {
    ["blobs", digest.algorithm(), digest.encoded()]
}

impl Files {
    /// Holds the directory `path`, which may itself be reached by symbolic links: the user named it.
    pub(super) fn open(path: &Path) -> Result<Files> {
        let root = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
        let root = root.map_err(|e| Error::io(format!("open {}", crate::name::terminal(path.as_os_str())), e))?;
        Ok(Files { root: root.into() })
    }

    /// Opens the regular file at `path`, a list of plain names. `NotFound` if it is not there, `Io` if it, or what
    /// leads to it, is anything else.
    pub(super) fn file(&self, path: &[&str]) -> Result<(File, Stamp)> {
        let shown = || path.join("/");
        let failed = |errno: nix::errno::Errno| {
            let what = match errno {
                nix::errno::Errno::ELOOP => format!("{} is, or lies behind, a symbolic link: not followed", shown()),
                _ => shown(),
            };
            match Error::io(what, errno.into()) {
                // A link or a file where a directory belongs is damage, not an absent name.
                error if error.kind() == Kind::NotDir => error.as_kind(Kind::Io),
                error => error,
            }
        };
        let (last, parents) = path.split_last().ok_or_else(|| Error::new(Kind::Invalid, "empty path"))?;
        let base = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut at: Option<OwnedFd> = None;
        for name in parents {
            let dir = at.as_ref().unwrap_or(&self.root);
            at = Some(openat(dir, *name, base | OFlag::O_DIRECTORY, Mode::empty()).map_err(failed)?);
        }
        // Opening a FIFO would wait for its writer, a terminal would become ours.
        let flags = base | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = openat(at.as_ref().unwrap_or(&self.root), *last, flags, Mode::empty()).map_err(failed)?;
        let file = File::from(file);
        let meta = file.metadata().map_err(|e| Error::io(shown(), e))?;
        if !meta.is_file() {
            return Err(Error::new(Kind::Io, format!("{} is not a regular file", shown())));
        }
        let stamp = Stamp::of(&file).map_err(|e| Error::io(shown(), e))?;
        Ok((file, stamp))
    }

    /// What the file at `path` is like.
    pub(super) fn stamp(&self, path: &[&str]) -> Result<Stamp> {
        Ok(self.file(path)?.1)
    }

    /// The whole file at `path`; `TooBig` over `limit` bytes.
    pub(super) fn read(&self, path: &[&str], limit: u64) -> Result<(Stamp, Vec<u8>)> {
        let (file, stamp) = self.file(path)?;
        let mut bytes = Vec::new();
        // One more than allowed: the file may have grown since it was looked at.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io(path.join("/"), e))?;
        if bytes.len() as u64 > limit {
            return Err(Error::new(Kind::TooBig, format!("{} is over the limit of {limit} bytes", path.join("/"))));
        }
        Ok((stamp, bytes))
    }
}
