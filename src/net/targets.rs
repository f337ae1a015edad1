//! Where a registry redirected to for a blob: asked again directly until it fails, which saves a round trip for every
//! range (protocols.md item 59).
//!
//! Promises: a target is used for the same question only; of many who see it fail, one asks the registry anew and the
//! others use what it got. URLs in here may hold signatures: they are never shown.

use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// Targets kept per host.
const MAX_TARGETS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// The targets of one host, by method and URL of the question.
pub(super) struct Targets(Mutex<LruCache<String, Arc<Target>>>);

/// One question's target.
#[derive(Default)]
pub(super) struct Target {
    url: Mutex<Option<Url>>,
    /// Held by whoever asks the registry anew.
    pub(super) renewal: tokio::sync::Mutex<()>,
}

impl Targets {
    pub(super) fn new() -> Targets {
        Targets(Mutex::new(LruCache::new(MAX_TARGETS)))
    }

    /// The target of a question that was redirected before.
    pub(super) fn find(&self, question: &str) -> Option<Arc<Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(question).cloned()
    }

    /// Forgets a question: it is not redirected any more.
    pub(super) fn forget(&self, question: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop(question);
    }

    /// Remembers where a question led.
    pub(super) fn keep(&self, question: String, url: Url) {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        targets.get_or_insert(question, Arc::default).set(Some(url));
    }
}

impl Target {
    /// Where it led last.
    pub(super) fn get(&self) -> Option<Url> {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, url: Option<Url>) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    /// Forgets it, unless it was replaced since.
    pub(super) fn drop_if(&self, failed: &Url) {
        let mut url = self.url.lock().unwrap_or_else(PoisonError::into_inner);
        if url.as_ref() == Some(failed) {
            *url = None;
        }
    }
}
