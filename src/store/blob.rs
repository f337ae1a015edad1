//! A blob as others hold it: digest, size, whom to ask. Holding one costs nothing; opening one, neither.

use super::handle::Handle;
use super::unit::SMALL;
use super::{State, Store};
use crate::digest::Digest;
use crate::read_at::ReadAt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One blob's content, wherever it is: memory, disk, remote.
pub struct Blob {
    pub(super) store: Arc<Store>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) remote: Arc<dyn ReadAt>,
    /// Open handles that were served of it, if it is small: all that is served of a small blob was hashed.
    pub(super) served: AtomicUsize,
}

impl Blob {
    /// A handle with read-ahead of its own. Neither disk nor remote is touched before its first read.
    pub fn open(self: &Arc<Blob>) -> Arc<Handle> {
        Arc::new(Handle::new(self.clone()))
    }

    /// How far it is here and verified. May look at the disk.
    ///
    /// `Verified` once a handle has read it from start to end, for as long as that one is open.
    pub fn state(&self) -> State {
        if self.served.load(Ordering::Acquire) > 0 {
            return State::Verified;
        }
        self.store.state(&self.digest)
    }

    /// Its size in bytes, as it was promised.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it is called.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether what was served of it ever turned out not to be what its digest names. It is not served again before
    /// all of it was checked, but what was made from its bytes may still be about.
    pub fn was_wrong(&self) -> bool {
        self.store.poisons.is_known(&self.digest)
    }

    /// Whether it is fetched whole and hashed before it is served.
    pub fn is_small(&self) -> bool {
        self.size <= SMALL
    }
}
