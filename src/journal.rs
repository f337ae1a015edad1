//! What a mount remembers of itself: recent errors, recent requests, counters. In memory, bounded, always at hand.
//!
//! Knows nothing of who asks: `.regfs/` and `regfs status` are made from it. Nothing secret may be recorded: URLs
//! come without their query, headers not at all.

use crate::error::Error;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How many errors are kept.
pub const MAX_ERRORS: usize = 100;
/// How many requests are kept.
pub const MAX_REQUESTS: usize = 200;

/// One failure that a user saw.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it was told.
    pub time: SystemTime,
    /// The path it was told for, as shown in the mount; escaped when printed.
    pub path: String,
    /// The failure.
    pub error: Error,
}

/// One request to a remote.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was sent.
    pub time: SystemTime,
    /// The remote, as the user calls it.
    pub remote: String,
    /// `GET`, `HEAD`, …
    pub method: &'static str,
    /// Scheme, host and path, without query and user information.
    pub url: String,
    /// The byte range asked for, empty if none.
    pub range: String,
    /// The status, or in words why there is none.
    pub outcome: String,
    /// Bytes of body received.
    pub bytes: u64,
    /// From the call to the end of the body, or to the failure.
    pub took: Duration,
}

/// How a remote fares.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// When it last answered.
    pub answered: Option<SystemTime>,
    /// The last failure of the wire, and when; forgotten when it answers again.
    pub failure: Option<(SystemTime, String)>,
    /// What credentials are in use: `anonymous`, `basic (docker config)`, `token`, `refused`; never the secret.
    pub credentials: String,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests ever sent, with retries.
    pub requests: u64,
    /// Bytes of bodies ever received.
    pub bytes: u64,
}

/// Counters that are not per remote.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads answered from memory, in bytes.
    pub memory_bytes: AtomicU64,
    /// Reads answered from the disk cache, in bytes.
    pub disk_bytes: AtomicU64,
    /// Bytes that had to come from a remote.
    pub remote_bytes: AtomicU64,
    /// Spans dropped because their check failed.
    pub corrupt_spans: AtomicU64,
    /// Blobs whose digest did not match.
    pub poisoned: AtomicU64,
    /// Bytes dropped from the disk cache to make room.
    pub evicted_bytes: AtomicU64,
    /// Operations answered by a frontend.
    pub operations: AtomicU64,
}

/// The whole record; shared as `Arc<Journal>`.
#[derive(Debug, Default)]
pub struct Journal {
    errors: Mutex<VecDeque<Failure>>,
    requests: Mutex<VecDeque<Request>>,
    remotes: Mutex<BTreeMap<String, Health>>,
    layers: Mutex<BTreeMap<String, (u64, u64)>>,
    /// The counters.
    pub counters: Counters,
}

/// Counts `by` onto `counter`.
pub fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Journal {
    /// An empty record.
    pub fn new() -> Journal {
        Journal::default()
    }

    /// Records a failure that was told to a user for `path`, and logs it at its kind's level.
    pub fn failed(&self, path: &str, error: &Error) {
        log::log!(error.kind().level(), "{}: {error} ({})", crate::name::escape(path.as_bytes()), error.kind().name());
        // What is probed for all day would push out what matters.
        if error.kind().level() >= log::Level::Debug {
            return;
        }
        let failure = Failure { time: SystemTime::now(), path: path.to_owned(), error: error.clone() };
        push(&self.errors, failure, MAX_ERRORS);
    }

    /// Records a request that ended.
    pub fn requested(&self, request: Request) {
        log::debug!(
            "{} {} {} -> {} ({} bytes, {} ms)",
            request.method,
            request.url,
            request.range,
            request.outcome,
            request.bytes,
            request.took.as_millis()
        );
        push(&self.requests, request, MAX_REQUESTS);
    }

    /// Changes what is known of `remote`.
    pub fn remote(&self, remote: &str, change: impl FnOnce(&mut Health)) {
        let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        match remotes.get_mut(remote) {
            Some(health) => change(health),
            None => change(remotes.entry(remote.to_owned()).or_default()),
        }
    }

    /// The recent errors, oldest first.
    pub fn errors(&self) -> Vec<Failure> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The recent requests, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Every remote that was spoken to.
    pub fn remotes(&self) -> BTreeMap<String, Health> {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A layer is being read: so many bytes of so many, or no longer.
    pub fn indexing(&self, layer: &str, progress: Option<(u64, u64)>) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Some(progress) => layers.insert(layer.to_owned(), progress),
            None => layers.remove(layer),
        };
    }

    /// The layers that are being read: bytes that were read, and bytes there are.
    pub fn layers(&self) -> BTreeMap<String, (u64, u64)> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn push<T>(ring: &Mutex<VecDeque<T>>, item: T, limit: usize) {
    let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
    if ring.len() == limit {
        ring.pop_front();
    }
    ring.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn keeps_the_last_errors_and_no_probes() {
        let journal = Journal::new();
        for n in 0..MAX_ERRORS + 5 {
            journal.failed("a/b", &Error::new(Kind::Corrupt, format!("{n}")));
            journal.failed("a/b", &Error::new(Kind::NotFound, "probe"));
        }
        let errors = journal.errors();
        assert_eq!(errors.len(), MAX_ERRORS);
        assert_eq!(errors[0].error.to_string(), "5");
    }

    #[test]
    fn health_is_per_remote() {
        let journal = Journal::new();
        journal.remote("a", |health| health.requests += 1);
        journal.remote("a", |health| health.requests += 1);
        journal.remote("b", |health| health.bytes = 7);
        assert_eq!(journal.remotes()["a"].requests, 2);
        assert_eq!(journal.remotes()["b"].bytes, 7);
    }
}
