//! One flight per key: whoever wants what is just being fetched waits for it, and shares what comes of it.
//!
//! Promises: one fetch at a time per key; who waited through a failure gets that failure instead of trying again in a
//! row; a fetch that is given up midway hands over to the next who waits. Waits have no deadline of their own.

use crate::error::{Error, Result};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys kept; past it, those that nobody waits for are forgotten.
const MAX_KEYS: usize = 4096;

/// What was fetched, by key.
pub(super) struct Flights<K, V> {
    slots: Mutex<HashMap<K, Arc<Slot<V>>>>,
}

struct Slot<V> {
    held: tokio::sync::Mutex<Option<Result<V>>>,
    /// How many fetches have ended: tells whether one did while somebody waited.
    landed: AtomicU64,
}

impl<K: Hash + Eq + Clone, V: Clone> Flights<K, V> {
    pub(super) fn new() -> Flights<K, V> {
        Flights { slots: Mutex::new(HashMap::new()) }
    }

    fn slot(&self, key: &K) -> Arc<Slot<V>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_KEYS && !slots.contains_key(key) {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        let empty = || Arc::new(Slot { held: tokio::sync::Mutex::new(None), landed: AtomicU64::new(0) });
        Arc::clone(slots.entry(key.clone()).or_insert_with(empty))
    }

    /// What is held for `key` if it is still `good`, or what `fetch` brings; and whether it came just now.
    pub(super) async fn get<F: Future<Output = Result<V>>>(
        &self,
        key: &K,
        good: impl Fn(&V) -> bool,
        fetch: impl FnOnce() -> F,
    ) -> Result<(V, bool)> {
        let slot = self.slot(key);
        let landed = slot.landed.load(Ordering::Acquire);
        let mut held = slot.held.lock().await;
        let new = slot.landed.load(Ordering::Acquire) != landed;
        match &*held {
            Some(Ok(value)) if good(value) => return Ok((value.clone(), new)),
            Some(Err(error)) if new => return Err(Error::clone(error)),
            _ => {}
        }
        let result = fetch().await;
        *held = Some(result.clone());
        slot.landed.fetch_add(1, Ordering::Release);
        result.map(|value| (value, true))
    }

    /// Forgets what is held for `key` if it is `bad`: somebody else may have replaced it already.
    pub(super) async fn forget(&self, key: &K, bad: impl Fn(&V) -> bool) {
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(slot) = slot {
            let mut held = slot.held.lock().await;
            if held.as_ref().is_some_and(|held| held.as_ref().map_or(true, &bad)) {
                *held = None;
            }
        }
    }
}
