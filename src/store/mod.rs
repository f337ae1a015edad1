//! The cache (API outline; bodies to be written).
#![allow(missing_docs, clippy::todo, unused_variables)]
use crate::digest::Digest;
use crate::error::Result;
use crate::journal::Journal;
use crate::read_at::{ReadAt, Sink};
use crate::span::Span;
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

/// When bytes may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Verify {
    #[default]
    Lazy,
    Strict,
}

pub struct Config {
    /// The cache directory; `None` caches in memory alone.
    pub dir: Option<PathBuf>,
    pub disk_bytes: u64,
    pub memory_bytes: u64,
    pub verify: Verify,
    pub journal: Arc<Journal>,
}

/// What is in the cache, for df, status and metrics.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub disk_used: u64,
    pub disk_limit: u64,
    pub memory_used: u64,
    pub memory_limit: u64,
    pub blobs: u64,
    pub parts: u64,
    /// Why the disk is not used, if it is not (full, read-only).
    pub degraded: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Absent,
    /// Some of it is here, unchecked as a whole.
    Partial,
    Verified,
    Poisoned,
}

pub struct Store {}

impl Store {
    pub fn open(config: Config) -> Result<Arc<Store>> {
        todo!()
    }
    /// A blob: no request, no disk. `Corrupt` at once if the digest is poisoned; `Unsupported` if the algorithm is unknown.
    pub fn blob(self: &Arc<Store>, digest: &Digest, size: u64, remote: Arc<dyn ReadAt>) -> Result<Arc<Blob>> {
        todo!()
    }
    /// Small content that is at hand from cache, checked; no remote.
    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        todo!()
    }
    /// Keeps small content (a manifest, ≤ 8 MiB), checked here against its digest.
    pub fn put(&self, digest: &Digest, bytes: Bytes) -> Result<()> {
        todo!()
    }
    pub fn state(&self, digest: &Digest) -> State {
        todo!()
    }
    /// The size of a blob that is in the cache.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        todo!()
    }
    /// Calls `hook` with each digest whose content turns out wrong, after nothing of it is served any more.
    pub fn on_poison(&self, hook: Box<dyn Fn(&Digest) + Send + Sync>) {}
    pub fn usage(&self) -> Usage {
        todo!()
    }
    /// Remembers small facts across mounts (`known/`): `key` is a host or other plain name. Atomic, best effort.
    pub fn recall(&self, key: &str) -> Option<Vec<u8>> {
        todo!()
    }
    pub fn remember(&self, key: &str, bytes: &[u8]) {
        todo!()
    }
}

/// One blob's content, wherever it is: memory, disk, remote.
pub struct Blob {}

impl Blob {
    /// A handle with read-ahead of its own.
    pub fn open(self: &Arc<Blob>) -> Arc<Handle> {
        todo!()
    }
    pub fn state(&self) -> State {
        todo!()
    }
    pub fn size(&self) -> u64 {
        todo!()
    }
}

pub struct Handle {}

impl Handle {
    /// Whether this read would be answered from memory.
    pub fn is_ready(&self, offset: u64, len: usize) -> bool {
        todo!()
    }
}

impl ReadAt for Handle {
    fn len(&self) -> Result<u64> {
        todo!()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        todo!()
    }
    fn stream(&self, span: Span, sink: Sink<'_>) -> Result<()> {
        todo!()
    }
    fn backing(&self) -> Option<Arc<std::fs::File>> {
        todo!()
    }
}
