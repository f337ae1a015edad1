//! Decoded pieces of layers in memory, least recently used out first, within a budget of bytes.
//!
//! Promises: it holds what it was given and nothing over its budget. Two that miss the same piece both decode it.
//! Knows nothing of where pieces come from.

use crate::error::Result;
use bytes::Bytes;
use lru::LruCache;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A cache that all layers share.
pub struct Cache {
    budget: u64,
    owners: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    map: LruCache<(u64, u64), Bytes>,
    used: u64,
}

/// One view in a [`Cache`]: its keys are not those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(u64);

impl Cache {
    /// An empty cache of at most `budget` bytes.
    pub fn new(budget: u64) -> Cache {
        let inner = Mutex::new(Inner { map: LruCache::unbounded(), used: 0 });
        Cache { budget, owners: AtomicU64::new(0), inner }
    }

    /// A name for the keys of one view.
    pub fn owner(&self) -> Owner {
        Owner(self.owners.fetch_add(1, Ordering::Relaxed))
    }

    /// Piece `index` of `owner`, made by `make` if it is not here.
    pub fn get(&self, owner: Owner, index: u64, make: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        let key = (owner.0, index);
        if let Some(bytes) = self.lock().map.get(&key) {
            return Ok(bytes.clone());
        }
        let bytes = make()?;
        self.insert(key, bytes.clone());
        Ok(bytes)
    }

    /// Whether piece `index` of `owner` is here.
    pub fn has(&self, owner: Owner, index: u64) -> bool {
        self.lock().map.contains(&(owner.0, index))
    }

    /// Bytes held.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    fn insert(&self, key: (u64, u64), bytes: Bytes) {
        let len = bytes.len() as u64;
        if len > self.budget {
            return;
        }
        let mut dropped = Vec::new();
        let mut inner = self.lock();
        inner.used += len;
        if let Some((_, old)) = inner.map.push(key, bytes) {
            inner.used -= old.len() as u64;
            dropped.push(old);
        }
        while inner.used > self.budget {
            let Some((_, old)) = inner.map.pop_lru() else { break };
            inner.used -= old.len() as u64;
            dropped.push(old);
        }
        drop(inner);
        // freed here, after the lock
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills `buf` from `offset` of something of `len` bytes that comes in pieces: `piece` is asked for the one that holds a
/// byte, and tells where it starts. Fewer bytes only at the end.
pub(crate) fn fill(
    buf: &mut [u8],
    offset: u64,
    len: u64,
    mut piece: impl FnMut(u64) -> Result<(u64, Bytes)>,
) -> Result<usize> {
    let want = usize::try_from(len.saturating_sub(offset)).map_or(buf.len(), |left| left.min(buf.len()));
    let mut done = 0;
    while let Some(to) = buf.get_mut(done..want).filter(|to| !to.is_empty()) {
        let at = offset + done as u64;
        let (start, bytes) = piece(at)?;
        let skip = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let from = bytes.get(skip..).unwrap_or_default();
        let count = from.len().min(to.len());
        if count == 0 {
            break;
        }
        to[..count].copy_from_slice(&from[..count]);
        done += count;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    #[test]
    fn keeps_the_recent_within_the_budget() {
        let cache = Cache::new(10);
        let (a, b) = (cache.owner(), cache.owner());
        assert_ne!(a, b);
        let put = |owner, index, len: usize| cache.get(owner, index, || Ok(vec![1; len].into())).expect("made").len();
        assert_eq!(put(a, 0, 4), 4);
        assert_eq!(put(b, 0, 5), 5);
        // here already: not made again
        assert_eq!(put(a, 0, 9), 4);
        // pushes out the least recent, which is b's
        assert_eq!(put(a, 1, 6), 6);
        assert_eq!(cache.used(), 10);
        assert_eq!(put(b, 0, 11), 11);
        assert_eq!(cache.used(), 10);
        let failed = cache.get(b, 7, || Err(Error::new(Kind::Io, "no")));
        assert_eq!(failed.expect_err("fails").kind(), Kind::Io);
    }

    #[test]
    fn fills_over_pieces() {
        let pieces = |at: u64| Ok((at / 3 * 3, Bytes::from(vec![(at / 3) as u8; 3])));
        let mut buf = [9; 8];
        assert_eq!(fill(&mut buf, 2, 9, pieces).expect("read"), 7);
        assert_eq!(buf, [0, 1, 1, 1, 2, 2, 2, 9]);
        assert_eq!(fill(&mut buf, 9, 9, pieces).expect("end"), 0);
        assert_eq!(fill(&mut buf, u64::MAX, 9, pieces).expect("past"), 0);
    }
}
