//! What is in memory: spans and small blobs, least recently used out first, within a budget of bytes.
//!
//! Promises: everything in it was checked as far as it can be when it was put in. Its lock is a leaf: nothing else
//! is locked, read or written while it is held. Knows nothing of where bytes come from.

use crate::digest::Digest;
use bytes::Bytes;
use lru::LruCache;
use std::sync::{Mutex, PoisonError};

/// The index that stands for a small blob as a whole.
const WHOLE: u32 = u32::MAX;

/// What bytes are the content of. The size is part of it: two manifests may claim different sizes of one digest.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    digest: Digest,
    size: u64,
    index: u32,
}

impl Key {
    /// A small blob as a whole.
    pub(super) fn whole(digest: &Digest) -> Key {
        Key { digest: digest.clone(), size: 0, index: WHOLE }
    }

    /// One span of a larger blob.
    pub(super) fn span(digest: &Digest, size: u64, index: u32) -> Key {
        Key { digest: digest.clone(), size, index }
    }
}

/// The memory cache of one store.
pub(super) struct Memory {
    budget: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    map: LruCache<Key, Bytes>,
    used: u64,
}

impl Memory {
    /// An empty cache of at most `budget` bytes.
    pub(super) fn new(budget: u64) -> Memory {
        Memory { budget, inner: Mutex::new(Inner { map: LruCache::unbounded(), used: 0 }) }
    }

    /// The bytes of `key`, which become the most recently used.
    pub(super) fn get(&self, key: &Key) -> Option<Bytes> {
        self.lock().map.get(key).cloned()
    }

    /// Whether `key` is here; changes nothing.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.lock().map.contains(key)
    }

    /// Puts `bytes` in, and as many of the least recent out as the budget needs. More than the budget is not kept.
    pub(super) fn insert(&self, key: Key, bytes: Bytes) {
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

    /// Makes `key` the first to go.
    pub(super) fn demote(&self, key: &Key) {
        self.lock().map.demote(key);
    }

    /// Drops everything of `digest`.
    pub(super) fn forget(&self, digest: &Digest) {
        let mut inner = self.lock();
        let keys: Vec<Key> =
            inner.map.iter().map(|(key, _)| key).filter(|key| key.digest == *digest).cloned().collect();
        for key in keys {
            if let Some(old) = inner.map.pop(&key) {
                inner.used -= old.len() as u64;
            }
        }
    }

    /// Bytes held.
    pub(super) fn used(&self) -> u64 {
        self.lock().used
    }

    /// The most bytes that are held.
    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_recent_within_the_budget() {
        let memory = Memory::new(10);
        let digest = Digest::of(b"x");
        let key = |index| Key::span(&digest, 100, index);
        for index in 0..3 {
            memory.insert(key(index), Bytes::from(vec![index as u8; 4]));
            assert!(memory.used() <= 10);
        }
        assert!(!memory.has(&key(0)) && memory.has(&key(1)));
        memory.get(&key(1)).expect("is here");
        memory.insert(key(3), Bytes::from(vec![3; 4]));
        assert!(memory.has(&key(1)) && !memory.has(&key(2)), "the read one stayed");
        memory.insert(key(1), Bytes::from(vec![9; 6]));
        assert_eq!((memory.used(), memory.get(&key(1)).expect("replaced").len()), (10, 6));
        memory.insert(Key::whole(&digest), Bytes::from(vec![0; 11]));
        assert_eq!(memory.used(), 10, "what is over the budget is not kept");
        memory.forget(&digest);
        assert_eq!(memory.used(), 0);
    }
}
