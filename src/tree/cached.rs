//! Facts that were asked for: kept for a time, asked for once however many want them, bounded in number or bytes.
//!
//! Promises: at most one flight per fact; whoever waited for a flight gets what it brought, even if that is not kept;
//! a failure is kept for [`FAILURE_TTL`] at most, so that it costs many names one wait and no name two. Offline, what
//! is past its time is used. Knows nothing of what the facts are.
//!
//! Locks: a map's lock is never held while a cell's is taken; no lock is held while a fact is asked for.

use crate::error::{Error, Kind, Result};
use lru::LruCache;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::FOREVER;

/// How long a failure of the remote is told again without asking. A fact may remember one that its registry
/// remembers, so a second passes at most.
pub(super) const FAILURE_TTL: Duration = Duration::from_millis(500);
/// The longest that a name not being there is relied on.
pub(super) const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// How long facts of one kind are kept.
#[derive(Clone, Debug)]
pub(super) struct Lives {
    /// What is there; [`FOREVER`] for what a digest names.
    pub ttl: Duration,
    /// What is not there.
    pub negative: Duration,
    /// What is past its time is still used.
    pub offline: bool,
    /// Facts of an earlier epoch are past their time.
    pub epoch: Arc<AtomicU64>,
}

impl Lives {
    fn now(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }
}

/// A fact, and how much longer it may be relied on.
#[derive(Clone, Debug)]
pub(super) struct Fresh<T> {
    pub value: T,
    pub left: Duration,
}

/// One fact.
pub(super) struct Cell<T> {
    state: Mutex<State<T>>,
    landed: Condvar,
}

struct State<T> {
    kept: Option<Kept<T>>,
    failed: Option<Kept<Error>>,
    flying: bool,
    /// Flights that ended.
    flights: u64,
}

struct Kept<T> {
    value: T,
    since: Instant,
    epoch: u64,
    /// The flight that brought it, counted from 1.
    flight: u64,
}

impl<T> Kept<T> {
    fn left(&self, ttl: Duration, lives: &Lives) -> Option<Duration> {
        if ttl == FOREVER {
            return Some(FOREVER);
        }
        let left = ttl.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero())?;
        (self.epoch == lives.now()).then_some(left)
    }
}

impl<T: Clone> State<T> {
    fn fresh(&self, lives: &Lives) -> Option<Fresh<T>> {
        let kept = self.kept.as_ref()?;
        let left = kept.left(lives.ttl, lives).or(lives.offline.then_some(lives.ttl))?;
        Some(Fresh { value: kept.value.clone(), left })
    }

    fn failure(&self, lives: &Lives) -> Option<Error> {
        let failed = self.failed.as_ref()?;
        let ttl = if failed.value.kind() == Kind::NotFound { lives.negative } else { FAILURE_TTL };
        failed.left(ttl, lives).map(|_| failed.value.clone())
    }

    /// What `flight`, or one after it, brought; however short its life.
    fn brought(&self, flight: u64, lives: &Lives) -> Option<Result<Fresh<T>>> {
        let kept = self.kept.as_ref().filter(|kept| kept.flight >= flight);
        let failed = self.failed.as_ref().filter(|failed| failed.flight >= flight);
        match (kept, failed) {
            (_, Some(failed)) => Some(Err(failed.value.clone())),
            (Some(kept), None) => {
                let left = kept.left(lives.ttl, lives).unwrap_or_default();
                Some(Ok(Fresh { value: kept.value.clone(), left }))
            }
            (None, None) => None,
        }
    }

    fn land(&mut self, outcome: Result<T>, epoch: u64) {
        let (since, flight) = (Instant::now(), self.flights + 1);
        match outcome {
            Ok(value) => {
                self.kept = Some(Kept { value, since, epoch, flight });
                self.failed = None;
            }
            Err(error) => {
                if error.kind() == Kind::NotFound {
                    self.kept = None;
                }
                self.failed = Some(Kept { value: error, since, epoch, flight });
            }
        }
    }
}

/// Ends a flight however it ends, a panic of the loader included.
struct Flight<'a, T>(&'a Cell<T>);

impl<T> Drop for Flight<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.flying = false;
        state.flights += 1;
        drop(state);
        self.0.landed.notify_all();
    }
}

impl<T> Cell<T> {
    pub(super) fn new() -> Cell<T> {
        let state = State { kept: None, failed: None, flying: false, flights: 0 };
        Cell { state: Mutex::new(state), landed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Cell<T> {
    /// The fact; if it is past its time, what `load` says, which is given what was known before.
    ///
    /// Waits while another flight is under way, as long as that takes.
    pub(super) fn get(&self, lives: &Lives, load: impl FnOnce(Option<T>) -> Result<T>) -> Result<Fresh<T>> {
        let mut state = self.lock();
        if let Some(fresh) = state.fresh(lives) {
            return Ok(fresh);
        }
        if let Some(error) = state.failure(lives) {
            return Err(error);
        }
        while state.flying {
            let flight = state.flights + 1;
            while state.flying && state.flights < flight {
                state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if let Some(brought) = state.brought(flight, lives) {
                return brought;
            }
        }
        state.flying = true;
        let before = state.kept.as_ref().map(|kept| kept.value.clone());
        drop(state);
        // What was asked before a refresh is not from after it.
        let epoch = lives.now();
        let flight = Flight(self);
        let outcome = load(before);
        self.lock().land(outcome.clone(), epoch);
        drop(flight);
        outcome.map(|value| Fresh { value, left: if lives.ttl == FOREVER { FOREVER } else { lives.ttl } })
    }

    /// The fact if it is still relied on.
    pub(super) fn fresh(&self, lives: &Lives) -> Option<Fresh<T>> {
        self.lock().fresh(lives)
    }

    /// The failure that would be told now without asking.
    pub(super) fn failure(&self, lives: &Lives) -> Option<Error> {
        let state = self.lock();
        if state.fresh(lives).is_some() { None } else { state.failure(lives) }
    }

    /// Forgets that it was not there, which something else disproved.
    pub(super) fn forgive(&self) {
        let mut state = self.lock();
        if state.failed.as_ref().is_some_and(|failed| failed.value.kind() == Kind::NotFound) {
            state.failed = None;
        }
    }

    /// The fact however old.
    pub(super) fn peek(&self) -> Option<T> {
        self.lock().kept.as_ref().map(|kept| kept.value.clone())
    }

    /// What was learnt by the way.
    pub(super) fn put(&self, value: T, lives: &Lives) {
        self.lock().land(Ok(value), lives.now());
    }
}

/// Facts by key. The least recently used go when their weights together are over the limit.
pub(super) struct Map<K, T> {
    slots: Mutex<Slots<K, T>>,
    limit: u64,
    weigh: fn(&T) -> u64,
}

struct Slots<K, T> {
    lru: LruCache<K, Slot<T>>,
    total: u64,
}

struct Slot<T> {
    cell: Arc<Cell<T>>,
    weight: u64,
}

impl<K: Hash + Eq + Clone, T: Clone> Map<K, T> {
    /// Facts of at most `limit` together; `weigh` is added to the 1 that each key weighs.
    pub(super) fn new(limit: u64, weigh: fn(&T) -> u64) -> Map<K, T> {
        Map { slots: Mutex::new(Slots { lru: LruCache::unbounded(), total: 0 }), limit, weigh }
    }

    fn lock(&self) -> MutexGuard<'_, Slots<K, T>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Cell::get`] of the fact at `key`.
    pub(super) fn get(&self, key: &K, lives: &Lives, load: impl FnOnce(Option<T>) -> Result<T>) -> Result<Fresh<T>> {
        let cell = self.cell(key);
        let mut loaded = false;
        let outcome = cell.get(lives, |before| {
            loaded = true;
            load(before)
        });
        if let (true, Ok(fresh)) = (loaded, &outcome) {
            self.weigh_in(key, (self.weigh)(&fresh.value));
        }
        outcome
    }

    /// [`Cell::fresh`] of the fact at `key`.
    pub(super) fn fresh(&self, key: &K, lives: &Lives) -> Option<Fresh<T>> {
        self.present(key)?.fresh(lives)
    }

    /// The keys of all facts that are fresh, and `fit`.
    pub(super) fn fresh_keys(&self, lives: &Lives, fit: impl Fn(&T) -> bool) -> Vec<K> {
        let cells: Vec<_> = self.lock().lru.iter().map(|(key, slot)| (key.clone(), slot.cell.clone())).collect();
        let is_fit = |cell: &Cell<T>| cell.fresh(lives).is_some_and(|fresh| fit(&fresh.value));
        cells.into_iter().filter(|(_, cell)| is_fit(cell)).map(|(key, _)| key).collect()
    }

    /// [`Cell::failure`] of the fact at `key`.
    pub(super) fn failure(&self, key: &K, lives: &Lives) -> Option<Error> {
        self.present(key)?.failure(lives)
    }

    /// [`Cell::forgive`] of the fact at `key`.
    pub(super) fn forgive(&self, key: &K) {
        if let Some(cell) = self.present(key) {
            cell.forgive();
        }
    }

    /// [`Cell::peek`] of the fact at `key`.
    pub(super) fn peek(&self, key: &K) -> Option<T> {
        self.present(key)?.peek()
    }

    /// [`Cell::put`] of the fact at `key`.
    pub(super) fn put(&self, key: &K, value: T, lives: &Lives) {
        let weight = (self.weigh)(&value);
        self.cell(key).put(value, lives);
        self.weigh_in(key, weight);
    }

    /// Forgets the fact at `key`.
    pub(super) fn remove(&self, key: &K) {
        let mut slots = self.lock();
        if let Some(slot) = slots.lru.pop(key) {
            slots.total -= slot.weight;
        }
    }

    fn present(&self, key: &K) -> Option<Arc<Cell<T>>> {
        self.lock().lru.get(key).map(|slot| slot.cell.clone())
    }

    fn cell(&self, key: &K) -> Arc<Cell<T>> {
        if let Some(cell) = self.present(key) {
            return cell;
        }
        let mut slots = self.lock();
        let Slots { lru, total } = &mut *slots;
        let slot = lru.get_or_insert(key.clone(), || {
            *total += 1;
            Slot { cell: Arc::new(Cell::new()), weight: 1 }
        });
        let cell = slot.cell.clone();
        slots.shrink(self.limit);
        cell
    }

    fn weigh_in(&self, key: &K, weight: u64) {
        let mut slots = self.lock();
        let Slots { lru, total } = &mut *slots;
        // It may have been dropped while it was asked for.
        if let Some(slot) = lru.get_mut(key) {
            *total = *total - slot.weight + weight + 1;
            slot.weight = weight + 1;
        }
        slots.shrink(self.limit);
    }
}

impl<K: Hash + Eq, T> Slots<K, T> {
    fn shrink(&mut self, limit: u64) {
        while self.total > limit {
            match self.lru.pop_lru() {
                Some((_, slot)) => self.total -= slot.weight,
                None => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn lives(ttl: Duration) -> Lives {
        Lives { ttl, negative: ttl, offline: false, epoch: Arc::default() }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    fn failing(kind: Kind) -> Result<u32> {
        Err(Error::new(kind, "no"))
    }

    #[test]
    fn one_flight_for_all_who_wait() {
        for ttl in [MINUTE, Duration::ZERO] {
            let (cell, asked, lives) = (Cell::new(), AtomicUsize::new(0), lives(ttl));
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        let got = cell.get(&lives, |_| {
                            // The others arrive meanwhile.
                            std::thread::sleep(Duration::from_millis(300));
                            Ok(asked.fetch_add(1, Ordering::Relaxed))
                        });
                        assert_eq!(got.expect("value").value, 0);
                    });
                }
            });
            assert_eq!(asked.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn a_fact_past_its_time_is_asked_again_with_what_was_known() {
        let (cell, lives) = (Cell::new(), lives(Duration::from_millis(50)));
        assert_eq!(cell.get(&lives, |before| Ok(before.map_or(1, |n: u32| n + 1))).expect("first").value, 1);
        assert_eq!(cell.get(&lives, |_| failing(Kind::Io)).expect("kept").value, 1);
        std::thread::sleep(Duration::from_millis(60));
        assert!(cell.fresh(&lives).is_none());
        assert_eq!(cell.get(&lives, |before| Ok(before.map_or(1, |n| n + 1))).expect("again").value, 2);
        lives.epoch.fetch_add(1, Ordering::Relaxed);
        assert_eq!(cell.get(&lives, |before| Ok(before.map_or(1, |n| n + 1))).expect("refreshed").value, 3);
    }

    #[test]
    fn failures_are_short_and_absence_is_not_forgotten_at_once() {
        let (cell, lives) = (Cell::new(), lives(MINUTE));
        cell.put(1, &Lives { epoch: Arc::new(AtomicU64::new(9)), ..lives.clone() });
        assert_eq!(cell.get(&lives, |_| failing(Kind::Timeout)).expect_err("fails").kind(), Kind::Timeout);
        assert_eq!(cell.get(&lives, |_| Ok(2)).expect_err("still").kind(), Kind::Timeout);
        assert_eq!(cell.peek(), Some(1), "what was known is kept for the next try");
        std::thread::sleep(FAILURE_TTL + Duration::from_millis(50));
        assert_eq!(cell.get(&lives, |_| failing(Kind::NotFound)).expect_err("gone").kind(), Kind::NotFound);
        std::thread::sleep(FAILURE_TTL + Duration::from_millis(50));
        assert_eq!(cell.get(&lives, |_| Ok(3)).expect_err("negative").kind(), Kind::NotFound);
        assert_eq!(cell.peek(), None);
    }

    #[test]
    fn offline_uses_what_is_past_its_time() {
        let lives = Lives { offline: true, ..lives(Duration::ZERO) };
        let cell = Cell::new();
        assert!(cell.get(&lives, |_| failing(Kind::Unreachable)).is_err());
        cell.put(7, &lives);
        assert_eq!(cell.get(&lives, |_| failing(Kind::Io)).expect("stale").value, 7);
    }

    #[test]
    fn a_panic_lets_the_next_one_try() {
        let (cell, lives) = (Cell::<u32>::new(), lives(MINUTE));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = cell.get(&lives, |_| panic!("a bug"));
        }));
        assert!(caught.is_err());
        assert_eq!(cell.get(&lives, |_| Ok(1)).expect("next").value, 1);
    }

    #[test]
    fn maps_are_bounded_by_weight() {
        let lives = lives(MINUTE);
        let map: Map<u32, u64> = Map::new(100, |weight| *weight);
        for key in 0..10 {
            map.put(&key, 19, &lives);
        }
        assert_eq!((0..10).filter(|key| map.peek(key).is_some()).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
        assert_eq!(map.get(&50, &lives, |_| Ok(1000)).expect("more than fits").value, 1000);
        assert!(map.peek(&50).is_none());
        for key in 0..1000 {
            let _ = map.get(&key, &lives, |_| Err(Error::new(Kind::NotFound, "no")));
        }
        assert!(map.lock().lru.len() <= 100 && map.lock().total <= 100);
    }
}
