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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::net::runtime::Runtime;
    use std::time::Duration;

    async fn slow(result: Result<u32>) -> Result<u32> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        result
    }

    /// What eight who ask at once get, and how many of them had to fetch.
    fn eight(flights: &Flights<u8, u32>, result: &Result<u32>) -> (Vec<Result<u32>>, u32) {
        let runtime = Runtime::new().expect("a runtime");
        let fetches = std::sync::atomic::AtomicU32::new(0);
        let ask = || {
            runtime.block_on(flights.get(
                &1,
                |_| true,
                || {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    slow(result.clone())
                },
            ))
        };
        let results = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic").map(|(value, _)| value)).collect()
        });
        (results, fetches.into_inner())
    }

    #[test]
    fn many_share_one_fetch_and_what_comes_of_it() {
        let flights = Flights::new();
        let (results, fetches) = eight(&flights, &Err(Error::new(Kind::Server, "broken")));
        assert!(results.iter().all(|result| result.is_err()));
        // Who comes after the failure tries for itself; threads may start late.
        assert!(fetches < 8, "{fetches}");
        let (results, fetches) = eight(&flights, &Ok(7));
        assert!(results.iter().all(|result| matches!(result, Ok(7))));
        assert_eq!(fetches, 1);
        assert_eq!(eight(&flights, &Ok(8)).1, 0, "what is good is kept");
    }

    #[test]
    fn a_fetch_that_is_given_up_hands_over() {
        let runtime = Runtime::new().expect("a runtime");
        let flights: Flights<u8, u32> = Flights::new();
        runtime.block_on(async {
            let never = flights.get(&1, |_| true, std::future::pending::<Result<u32>>);
            tokio::time::timeout(Duration::from_millis(20), never).await.expect_err("given up");
            let (value, new) = flights.get(&1, |_| true, || slow(Ok(3))).await.expect("the next one");
            assert_eq!((value, new), (3, true));
            flights.forget(&1, |value| *value == 4).await;
            assert_eq!(flights.get(&1, |_| true, || slow(Ok(5))).await.expect("kept").0, 3);
            flights.forget(&1, |value| *value == 3).await;
            assert_eq!(flights.get(&1, |_| true, || slow(Ok(5))).await.expect("anew").0, 5);
        });
    }
}
