//! Files made from layers that no disk takes: in memory, for this process alone, bounded.
//!
//! Promises: drafts and held files together take at most [`MAX_HELD`] bytes; for what is new, the least recently
//! used goes, chunks before indexes, and no index for chunks. Who has a file open keeps it, uncounted.

use super::derived::Derived;
use super::disk::reopen;
use crate::digest::Digest;
use lru::LruCache;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most bytes of such files: the indexes of a few large images.
pub(super) const MAX_HELD: u64 = 256 << 20;

/// The files that are held.
pub(super) struct Held {
    inner: Mutex<Inner>,
}

struct Inner {
    indexes: LruCache<Digest, (File, u64)>,
    chunks: LruCache<Digest, (File, u64)>,
    /// Bytes of files and of drafts.
    bytes: u64,
}

impl Held {
    /// Nothing is held.
    pub(super) fn new() -> Held {
        Held { inner: Mutex::new(Inner { indexes: LruCache::unbounded(), chunks: LruCache::unbounded(), bytes: 0 }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that is held, open for reading.
    pub(super) fn get(&self, kind: Derived, digest: &Digest) -> Option<File> {
        let mut inner = self.lock();
        let (file, _) = inner.files(kind).get(digest)?;
        reopen(file).ok()
    }

    /// Holds `file` in place of what is held, if there is room; gives it open for reading in any case.
    pub(super) fn put(&self, kind: Derived, digest: &Digest, file: File) -> io::Result<File> {
        let (open, len) = (reopen(&file)?, file.metadata()?.len());
        self.forget(kind, digest);
        if self.reserve(kind, len) {
            let before = self.lock().files(kind).put(digest.clone(), (file, len));
            self.release(before.map_or(0, |(_, len)| len));
        }
        Ok(open)
    }

    /// Holds a file no longer.
    pub(super) fn forget(&self, kind: Derived, digest: &Digest) {
        let gone = self.lock().files(kind).pop(digest);
        self.release(gone.map_or(0, |(_, len)| len));
    }

    /// Takes `bytes` for a file of `kind`, letting go of others; false if there is no room.
    pub(super) fn reserve(&self, kind: Derived, bytes: u64) -> bool {
        let mut inner = self.lock();
        while inner.bytes.saturating_add(bytes) > MAX_HELD {
            let oldest = match kind {
                Derived::Chunks => inner.chunks.pop_lru(),
                Derived::Index => inner.chunks.pop_lru().or_else(|| inner.indexes.pop_lru()),
            };
            let Some((_, (_, len))) = oldest else { return false };
            inner.bytes -= len;
        }
        inner.bytes += bytes;
        true
    }

    /// Gives back what was taken.
    pub(super) fn release(&self, bytes: u64) {
        self.lock().bytes -= bytes;
    }

    /// Bytes of held files and of drafts.
    pub(super) fn used(&self) -> u64 {
        self.lock().bytes
    }
}

impl Inner {
    fn files(&mut self, kind: Derived) -> &mut LruCache<Digest, (File, u64)> {
        match kind {
            Derived::Index => &mut self.indexes,
            Derived::Chunks => &mut self.chunks,
        }
    }
}
