//! What is made from a layer and is dear to make again: kept beside the blobs, by kind and digest.
//!
//! Promises: a kept file has its name whole or not at all, whatever is killed and whoever else keeps the same; who
//! has one open, or mapped, has it to the end, for files are unlinked and never cut. Where the disk is not to be had,
//! a file is kept for this process alone, in memory ([`super::held`]). Does not know what is in them: whoever opens
//! one checks it, and [`Store::discard`]s it if it is damaged; whoever keeps one has seen that the blob is
//! [`super::State::Verified`].

use super::Store;
use super::disk::layout::open_options;
use super::disk::{Disk, reopen, touch};
use super::draft::Draft;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// What is made from a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Derived {
    /// Its table of contents: small, and the whole layer has to be read to make it.
    Index,
    /// Its content in another compression, which can be read from the middle.
    Chunks,
}

impl Derived {
    /// Both kinds.
    pub(super) const ALL: [Derived; 2] = [Derived::Index, Derived::Chunks];

    /// The directory of the cache that it is kept in, and its name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Derived::Index => "index",
            Derived::Chunks => "chunks",
        }
    }
}

impl Store {
    /// What was made from the layer `digest`, open for reading, if it is here; that counts as a use. Its content is
    /// checked by who reads it. Looks at the disk.
    pub fn derived(&self, kind: Derived, digest: &Digest) -> Option<File> {
        let on_disk = self.disk.as_ref().and_then(|disk| match on_disk(disk, kind, digest) {
            Ok(file) => file,
            Err(error) => {
                log::debug!("open the {} of {digest}: {error}", kind.name());
                None
            }
        });
        on_disk.or_else(|| self.held.get(kind, digest))
    }

    /// A new file to be made from the layer `digest`: nobody finds it before it is kept, and dropped it is gone.
    /// `Unsupported` if the digest's algorithm is unknown.
    pub fn draft(self: &Arc<Store>, kind: Derived, digest: &Digest) -> Result<Draft> {
        if !digest.is_supported() {
            let why = format!("the digest algorithm \"{}\" is not known here", digest.algorithm());
            return Err(Error::new(Kind::Unsupported, format!("make the {} of {digest}: {why}", kind.name())));
        }
        Draft::new(self, kind, digest)
    }

    /// Keeps a draft in place of what is there, for other processes and the next mount as well if the disk takes it;
    /// gives it open for reading. Disk trouble is an error only where what was written is lost with it and memory has
    /// no room for it.
    pub fn keep(self: &Arc<Store>, mut draft: Draft) -> Result<File> {
        let (kind, digest) = (draft.kind(), draft.digest().clone());
        let wrong = |error: io::Error| Error::io(format!("keep the {} of {digest}", kind.name()), error);
        let on_disk = draft.sync().map_err(wrong)?;
        if let Some(disk) = self.disk.as_ref().filter(|_| on_disk) {
            let path = disk.layout.derived(kind, &digest);
            let replaced = std::fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
            match draft.name(&disk.layout, &path) {
                Ok(()) => {
                    disk.removed(replaced);
                    disk.added(draft.metadata().map_err(wrong)?.len());
                    disk.succeeded();
                    // What was held for want of a disk has its successor there.
                    self.held.forget(kind, &digest);
                    let file = reopen(&draft).map_err(wrong)?;
                    drop(draft);
                    self.tidy(false);
                    return Ok(file);
                }
                Err(error) => disk.failed(&format!("keep the {} of a layer", kind.name()), &error),
            }
        }
        let file = draft.try_clone().map_err(wrong)?;
        drop(draft);
        self.held.put(kind, &digest, file).map_err(wrong)
    }

    /// Forgets what was made from the layer `digest`, for it was found damaged. Who has it open keeps it.
    pub fn discard(&self, kind: Derived, digest: &Digest) {
        self.held.forget(kind, digest);
        let Some(disk) = &self.disk else { return };
        let path = disk.layout.derived(kind, digest);
        let len = std::fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
        match std::fs::remove_file(&path) {
            Ok(()) => disk.removed(len),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("take the {} of {digest} out of the cache: {error}", kind.name()),
        }
    }
}

fn on_disk(disk: &Disk, kind: Derived, digest: &Digest) -> io::Result<Option<File>> {
    let file = match open_options().write(false).open(disk.layout.derived(kind, digest)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    touch(&file);
    Ok(Some(file))
}
