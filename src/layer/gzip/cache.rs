//! Inflated spans in memory, of all layers together: within a budget of bytes, least recently used out first.
//!
//! Promises: a span is inflated once at a time, whoever asks, and whoever asked meanwhile shares it or its failure.
//! Its lock is a leaf: nothing is read or inflated while it is held.

use super::ahead::Ahead;
use super::checkpoint::Point;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use lru::LruCache;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A span of a layer. The whole point is part of it: two indexes may claim different things of one place, and only
/// those of the one that can be checked may be served to its readers.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The digest of the layer's blob.
    pub(super) layer: Digest,
    /// Where the span is.
    pub(super) point: Point,
}

/// The inflated spans of all layers.
pub struct Cache {
    budget: u64,
    inner: Mutex<Inner>,
    ahead: Ahead,
}

struct Inner {
    spans: LruCache<Key, Bytes>,
    used: u64,
    flights: HashMap<Key, Arc<Flight>>,
}

/// A span that is being inflated.
#[derive(Default)]
struct Flight {
    landed: Mutex<Option<Result<Bytes>>>,
    news: Condvar,
}

impl Cache {
    /// An empty one of at most `budget` bytes; the span used last stays even if it alone is larger, so that reading on
    /// within it does not inflate it again.
    pub fn new(budget: u64) -> Cache {
        let inner = Inner { spans: LruCache::unbounded(), used: 0, flights: HashMap::new() };
        Cache { budget, inner: Mutex::new(inner), ahead: Ahead::default() }
    }

    /// How many bytes it may hold.
    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    /// The thread that inflates what is read next.
    pub(super) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// Bytes held.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// Drops everything of `layer`; what is being inflated now comes in nevertheless.
    pub fn forget(&self, layer: &Digest) {
        let mut inner = self.lock();
        let keys: Vec<Key> =
            inner.spans.iter().map(|(key, _)| key).filter(|key| key.layer == *layer).cloned().collect();
        for key in keys {
            if let Some(old) = inner.spans.pop(&key) {
                inner.used = inner.used.saturating_sub(old.len() as u64);
            }
        }
    }

    /// Whether the span of `key` is here.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.lock().spans.contains(key)
    }

    /// The span of `key`, inflated by `make` if it is not here and nobody else is at it.
    pub(super) fn get(&self, key: &Key, make: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        let flight = {
            let mut inner = self.lock();
            if let Some(bytes) = inner.spans.get(key) {
                return Ok(bytes.clone());
            }
            if let Some(flight) = inner.flights.get(key).cloned() {
                drop(inner);
                return flight.wait();
            }
            let flight = Arc::<Flight>::default();
            inner.flights.insert(key.clone(), flight.clone());
            flight
        };
        let mut landing = Landing { cache: self, key, flight, result: None };
        let result = make();
        landing.result = Some(result.clone());
        result
    }

    fn insert(&self, key: &Key, result: &Result<Bytes>) {
        let mut dropped = Vec::new();
        let mut inner = self.lock();
        inner.flights.remove(key);
        if let Ok(bytes) = result {
            inner.used = inner.used.saturating_add(bytes.len() as u64);
            if let Some((_, old)) = inner.spans.push(key.clone(), bytes.clone()) {
                inner.used = inner.used.saturating_sub(old.len() as u64);
                dropped.push(old);
            }
        }
        while inner.used > self.budget && inner.spans.len() > 1 {
            let Some((_, old)) = inner.spans.pop_lru() else { break };
            inner.used = inner.used.saturating_sub(old.len() as u64);
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

impl Flight {
    fn wait(&self) -> Result<Bytes> {
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = &*landed {
                return result.clone();
            }
            landed = self.news.wait(landed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Lands a flight when it goes out of scope, so that nobody waits for one that ended in a panic.
struct Landing<'a> {
    cache: &'a Cache,
    key: &'a Key,
    flight: Arc<Flight>,
    result: Option<Result<Bytes>>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| Err(Error::new(Kind::Io, "inflating was broken off")));
        self.cache.insert(self.key, &result);
        *self.flight.landed.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.flight.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn key(output: u64) -> Key {
        let point = Point { input: 1, bits: 0, output, next_input: 2, next_output: output + 1, check: None };
        Key { layer: Digest::of(b"layer"), point }
    }

    fn put(cache: &Cache, output: u64, len: usize) {
        cache.get(&key(output), || Ok(Bytes::from(vec![0; len]))).expect("made");
    }

    fn has(cache: &Cache, output: u64) -> bool {
        cache.has(&key(output))
    }

    #[test]
    fn keeps_the_recent_within_the_budget() {
        let cache = Cache::new(10);
        (0..3).for_each(|at| put(&cache, at, 4));
        assert!(!has(&cache, 0) && has(&cache, 1) && cache.used() == 8);
        cache.get(&key(1), || panic!("it is here")).expect("here");
        put(&cache, 3, 4);
        assert!(has(&cache, 1) && !has(&cache, 2), "the read one stayed");
        put(&cache, 4, 100);
        assert_eq!(cache.used(), 100, "the last one stays, whatever its size");
        put(&cache, 5, 1);
        assert_eq!(cache.used(), 1);
        cache.forget(&Digest::of(b"other"));
        assert_eq!(cache.used(), 1);
        cache.forget(&Digest::of(b"layer"));
        assert_eq!((cache.used(), has(&cache, 5)), (0, false));
    }

    #[test]
    fn a_span_is_inflated_once_for_all_who_ask() {
        let (cache, made, all) = (Cache::new(100), AtomicUsize::new(0), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    all.wait();
                    let bytes = cache.get(&key(0), || {
                        made.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        Ok(Bytes::from_static(b"x"))
                    });
                    assert_eq!(bytes.expect("made"), "x");
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn failures_are_told_and_not_kept() {
        let cache = Cache::new(100);
        let error = cache.get(&key(0), || Err(Error::new(Kind::Corrupt, "bad"))).expect_err("failed");
        assert_eq!(error.kind(), Kind::Corrupt);
        put(&cache, 0, 1);
        let panicked =
            std::thread::scope(|scope| scope.spawn(|| cache.get(&key(1), || panic!("on purpose"))).join().is_err());
        assert!(panicked);
        put(&cache, 1, 1);
        assert_eq!(cache.used(), 2, "nobody waits for the one that panicked");
    }
}
