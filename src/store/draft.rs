//! A file that is being made: unnamed in the cache directory, or in memory where the disk does not take it.
//!
//! Promises: written through [`Write`], it goes on in memory when the disk refuses, and says so where the disk's
//! trouble is told; it takes no more of the disk than the cache may, no more of memory than [`super::held`] allows.
//! What is written past that, on the [`File`] underneath, is the writer's to handle, and counted when it is kept.

use super::Store;
use super::derived::Derived;
use super::disk::layout::{Layout, Temp};
use crate::digest::Digest;
use crate::error::{Error, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What is copied at once from a disk that is full to memory.
const COPY: usize = 1 << 20;

/// A file on its way into the cache. Dropping it leaves nothing behind.
pub struct Draft {
    store: Arc<Store>,
    kind: Derived,
    digest: Digest,
    place: Place,
    /// Bytes that are counted as taken, of the disk or of memory.
    charged: u64,
}

enum Place {
    Disk(Temp),
    Memory(File),
}

impl Draft {
    pub(super) fn new(store: &Arc<Store>, kind: Derived, digest: &Digest) -> Result<Draft> {
        let on_disk = store.disk.as_ref().filter(|disk| disk.has_room() && disk.is_writable()).and_then(|disk| {
            let temp = disk.layout.temp();
            temp.inspect_err(|error| disk.failed("write to the cache", error)).ok()
        });
        let place = match on_disk {
            Some(temp) => Place::Disk(temp),
            None => {
                let wrong = |error| Error::io(format!("make the {} of {digest} in memory", kind.name()), error);
                Place::Memory(in_memory().map_err(wrong)?)
            }
        };
        Ok(Draft { store: store.clone(), kind, digest: digest.clone(), place, charged: 0 })
    }

    /// What it will be.
    pub fn kind(&self) -> Derived {
        self.kind
    }

    /// The layer that it is made from.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether all of it has reached the disk. What the disk did not take goes to memory while it can still be read.
    pub(super) fn sync(&mut self) -> io::Result<bool> {
        let (Place::Disk(temp), Some(disk)) = (&self.place, &self.store.disk) else { return Ok(false) };
        let Err(error) = temp.file.sync_all() else { return Ok(true) };
        disk.failed("write to the cache", &error);
        self.spill()?;
        Ok(false)
    }

    /// Gives it the name `path` if it is on disk.
    pub(super) fn name(&mut self, layout: &Layout, path: &Path) -> io::Result<()> {
        let Place::Disk(temp) = &mut self.place else { return Err(io::ErrorKind::Unsupported.into()) };
        layout.name(temp, path)?;
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    /// Goes on in memory.
    fn spill(&mut self) -> io::Result<()> {
        let Place::Disk(temp) = &self.place else { return Ok(()) };
        let (len, position) = (temp.file.metadata()?.len(), (&temp.file).stream_position()?);
        if !self.store.held.reserve(self.kind, len) {
            return Err(full());
        }
        let copied = copy(&temp.file, len).and_then(|mut file| {
            file.seek(SeekFrom::Start(position))?;
            Ok(file)
        });
        match copied {
            Ok(file) => {
                self.uncharge();
                self.charged = len;
                self.place = Place::Memory(file);
                Ok(())
            }
            Err(error) => {
                self.store.held.release(len);
                Err(error)
            }
        }
    }

    /// Counts the file as reaching to `end`; an error if there is no room for that.
    fn charge(&mut self, end: u64) -> io::Result<()> {
        let more = end.saturating_sub(self.charged);
        if more == 0 {
            return Ok(());
        }
        if let (Place::Disk(_), Some(disk)) = (&self.place, &self.store.disk) {
            disk.drafted(more);
            self.charged = end;
            self.store.tidy(false);
            if disk.has_room() {
                return Ok(());
            }
            // `self.charged` is of memory from here on.
            self.spill()?;
            return self.charge(end);
        }
        match self.store.held.reserve(self.kind, more) {
            true => self.charged = end,
            false => return Err(full()),
        }
        Ok(())
    }

    fn uncharge(&mut self) {
        let charged = std::mem::take(&mut self.charged);
        match (&self.place, &self.store.disk) {
            (Place::Disk(_), Some(disk)) => disk.undrafted(charged),
            _ => self.store.held.release(charged),
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.stream_position()?.saturating_add(bytes.len() as u64);
        self.charge(end)?;
        match (**self).write(bytes) {
            Err(error) if matches!(self.place, Place::Disk(_)) && error.kind() != io::ErrorKind::Interrupted => {
                if let Some(disk) = &self.store.disk {
                    disk.failed("write to the cache", &error);
                }
                self.spill()?;
                self.charge(end)?;
                (**self).write(bytes)
            }
            done => done,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Draft {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (**self).seek(to)
    }
}

impl Deref for Draft {
    type Target = File;

    fn deref(&self) -> &File {
        match &self.place {
            Place::Disk(Temp { file, .. }) | Place::Memory(file) => file,
        }
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut File {
        match &mut self.place {
            Place::Disk(Temp { file, .. }) | Place::Memory(file) => file,
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.uncharge();
    }
}

/// An empty file in memory.
fn in_memory() -> io::Result<File> {
    Ok(memfd_create("regfs", MFdFlags::MFD_CLOEXEC)?.into())
}

/// A copy in memory of the first `len` bytes of `from`.
fn copy(from: &File, len: u64) -> io::Result<File> {
    let mut to = in_memory()?;
    let mut buffer = vec![0; COPY];
    let mut at = 0;
    while at < len {
        let take = (len - at).min(COPY as u64) as usize;
        from.read_exact_at(&mut buffer[..take], at)?;
        to.write_all(&buffer[..take])?;
        at += take as u64;
    }
    Ok(to)
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}
