//! Digests whose bytes were served and turned out wrong, and how they come to be served again.
//!
//! Promises: nothing of such a digest is served lazily any more by this store. What was open is refused for ever; a
//! new open makes a try: a [`Content`] of its own, on probation, for which one remote alone is asked, and of which
//! nothing is served, or put where others find it, before all of it was hashed. A try whose digest matches lifts the
//! poison; one that does not is remembered for [`RETRY`]. Nobody is told of a mismatch before the hooks of
//! [`Store::on_poison`] have run, which is waited for [`TELLING`] at most. The lock here is held with no other.

use super::Store;
use super::content::Content;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::read_at::ReadAt;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a try that failed is remembered: one remote is not asked for the whole of a wrong blob at every read.
const RETRY: Duration = Duration::from_secs(5);
/// The longest that an answer is held back for what caches further up do.
const TELLING: Duration = Duration::from_secs(2);
/// Tries that are remembered of one digest; the oldest make room.
const MAX_TRIES: usize = 64;

/// The poison of one store.
#[derive(Default)]
pub(super) struct Poisons {
    map: Mutex<HashMap<Digest, Poison>>,
    told: Condvar,
}

/// One digest that did not match. It stays known when the poison is lifted: it is not trusted with lazy reads again.
#[derive(Default)]
struct Poison {
    /// Mismatches that caches further up are being told of.
    telling: usize,
    lifted: bool,
    tries: Vec<Try>,
}

struct Try {
    origin: String,
    size: u64,
    content: Weak<Content>,
    failed: Option<(Instant, Error)>,
}

impl Poisons {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Poison>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing of `digest` is served lazily, and nobody told why before [`Poisons::told`].
    pub(super) fn mark(&self, digest: &Digest) {
        let mut map = self.lock();
        let poison = map.entry(digest.clone()).or_default();
        poison.telling += 1;
        poison.lifted = false;
    }

    /// Caches further up know.
    pub(super) fn told(&self, digest: &Digest) {
        if let Some(poison) = self.lock().get_mut(digest) {
            poison.telling -= 1;
        }
        self.told.notify_all();
    }

    /// Waits until caches further up know what there is to know of `digest`; whether it ever did not match.
    pub(super) fn await_told(&self, digest: &Digest) -> bool {
        let deadline = Instant::now() + TELLING;
        let mut map = self.lock();
        loop {
            let Some(poison) = map.get(digest) else { return false };
            let left = deadline.saturating_duration_since(Instant::now());
            if poison.telling == 0 || left.is_zero() {
                return true;
            }
            map = self.told.wait_timeout(map, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether `digest` did not match, and has not since.
    pub(super) fn is_poisoned(&self, digest: &Digest) -> bool {
        self.lock().get(digest).is_some_and(|poison| !poison.lifted)
    }

    /// Whether `digest` ever did not match.
    pub(super) fn is_known(&self, digest: &Digest) -> bool {
        self.lock().contains_key(digest)
    }

    /// The try that `remote` has at `digest`: the one under way, or a new one; the error of the last if it was just
    /// now.
    pub(super) fn attempt(
        &self,
        store: &Arc<Store>,
        digest: &Digest,
        size: u64,
        remote: &Arc<dyn ReadAt>,
    ) -> Result<Arc<Content>> {
        let origin = remote.origin();
        let mut map = self.lock();
        let poison = map.entry(digest.clone()).or_default();
        let known = poison.tries.iter().find(|known| known.size == size && known.origin == origin);
        match known.map(|known| (&known.failed, known.content.upgrade())) {
            Some((Some((at, error)), _)) if at.elapsed() < RETRY => return Err(error.clone()),
            Some((None, Some(content))) => return Ok(content),
            _ => {}
        }
        let content = Arc::new(Content::new(store, digest, size, Some(origin.clone()))?);
        poison.tries.retain(|known| known.size != size || known.origin != origin);
        if poison.tries.len() >= MAX_TRIES {
            poison.tries.remove(0);
        }
        poison.tries.push(Try { origin, size, content: Arc::downgrade(&content), failed: None });
        Ok(content)
    }

    /// The try of `origin` did not match either.
    pub(super) fn failed(&self, digest: &Digest, size: u64, origin: &str, error: &Error) {
        let mut map = self.lock();
        let tries = map.get_mut(digest).map(|poison| poison.tries.iter_mut());
        let known = tries.and_then(|mut tries| tries.find(|known| known.size == size && known.origin == origin));
        if let Some(known) = known {
            known.failed = Some((Instant::now(), error.clone()));
        }
    }

    /// A try matched.
    pub(super) fn lift(&self, digest: &Digest) {
        if let Some(poison) = self.lock().get_mut(digest) {
            poison.lifted = true;
        }
    }
}
