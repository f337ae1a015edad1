//! What outlives a mount: which repositories of a registry were there, and what their tags named.
//!
//! Promises: at most [`MAX_FACTS`] facts, the least recently learnt forgotten first; what is learnt is written within
//! a [`SAVE_INTERVAL`], and no more often; a document that is damaged, too large or of another version is as good as
//! none. Facts are hints: they spare transfers, name things offline, and list what a registry will not list.

use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::name::{Repository, Tag};
use crate::store::Store;
use lru::LruCache;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most facts kept, a repository or a tag each: a megabyte or two of JSON.
const MAX_FACTS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
/// The largest document read back, in bytes.
const MAX_DOCUMENT: usize = 8 << 20;
/// How often a change is written at most.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// The form of the document.
const VERSION: u32 = 1;

/// What a tag names, or named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's length in bytes.
    pub size: u64,
    /// The manifest's type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// When the image was made, in seconds since the epoch, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
}

impl Named {
    /// As remotes take and give it.
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor {
            digest: self.digest.clone(),
            size: self.size,
            media_type: self.media_type.clone(),
            annotations: Default::default(),
            artifact_type: None,
            platform: None,
            urls: Vec::new(),
            data: None,
        }
    }
}

/// One line of the document.
#[derive(Serialize, Deserialize)]
struct Fact {
    repository: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    named: Option<Named>,
}

/// Facts from the least to the most recently learnt.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    facts: Vec<Fact>,
}

/// A repository, or a tag of it.
type Name = (Repository, Option<Tag>);

/// The facts of one registry.
pub(super) struct Known(Arc<Kept>);

struct Kept {
    store: Arc<Store>,
    key: String,
    state: Mutex<State>,
    /// Held while the document is made and written, so that an older one never replaces a newer. Taken before `state`.
    writing: Mutex<()>,
}

struct State {
    /// A repository without a tag is known to exist; a tag is known to have named something.
    facts: LruCache<Name, Option<Named>>,
    changed: bool,
    /// Somebody sleeps until it is time to write.
    is_awaited: bool,
    saved: Option<Instant>,
}

impl Known {
    /// What the store remembers of `registry`.
    pub(super) fn open(store: Arc<Store>, registry: &str) -> Known {
        let key = format!("names of {registry}");
        let mut facts = LruCache::new(MAX_FACTS);
        for (name, named) in store.recall(&key).map_or_else(Vec::new, |document| read(&document)) {
            facts.put(name, named);
        }
        let state = Mutex::new(State { facts, changed: false, is_awaited: false, saved: None });
        Known(Arc::new(Kept { store, key, state, writing: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Every repository of which something is known, sorted.
    pub(super) fn repositories(&self) -> Vec<Repository> {
        let state = self.lock();
        let all: BTreeSet<&Repository> = state.facts.iter().map(|((repository, _), _)| repository).collect();
        all.into_iter().cloned().collect()
    }

    /// Whether anything is known of a repository.
    pub(super) fn is_repository(&self, repository: &Repository) -> bool {
        self.lock().facts.iter().any(|((known, _), _)| known == repository)
    }

    /// The tags of a repository that are known, and what they named, the most recently learnt first.
    pub(super) fn tags(&self, repository: &Repository) -> Vec<(Tag, Named)> {
        let state = self.lock();
        let of = |((known, tag), named): (&Name, &Option<Named>)| {
            if known != repository { None } else { tag.clone().zip(named.clone()) }
        };
        state.facts.iter().filter_map(of).collect()
    }

    /// What a tag named.
    pub(super) fn tag(&self, repository: &Repository, tag: &Tag) -> Option<Named> {
        self.lock().facts.peek(&(repository.clone(), Some(tag.clone()))).cloned().flatten()
    }

    /// Learns that a repository is there.
    pub(super) fn learn_repository(&self, repository: &Repository) {
        self.change(|facts| {
            let key = (repository.clone(), None);
            facts.promote(&key);
            !facts.contains(&key) && facts.put(key, None).is_none()
        });
    }

    /// Learns what a tag names; gives that with what was known of the same image before.
    pub(super) fn learn_tag(&self, repository: &Repository, tag: &Tag, mut named: Named) -> Named {
        self.change(|facts| {
            let key = (repository.clone(), Some(tag.clone()));
            let before = facts.get(&key).cloned().flatten();
            if let Some(before) = before.as_ref().filter(|before| before.digest == named.digest) {
                named.created = named.created.or(before.created);
            }
            let changed = before.as_ref() != Some(&named);
            facts.put(key, Some(named.clone()));
            changed
        });
        named
    }

    /// Learns that a tag is gone.
    pub(super) fn forget_tag(&self, repository: &Repository, tag: &Tag) {
        self.change(|facts| facts.pop(&(repository.clone(), Some(tag.clone()))).is_some());
    }

    fn change(&self, change: impl FnOnce(&mut LruCache<Name, Option<Named>>) -> bool) {
        let mut state = self.lock();
        state.changed |= change(&mut state.facts);
        let wait = state.saved.map_or(Duration::ZERO, |saved| SAVE_INTERVAL.saturating_sub(saved.elapsed()));
        if !state.changed || state.is_awaited {
            return;
        }
        state.is_awaited = !wait.is_zero();
        drop(state);
        if wait.is_zero() {
            return self.0.save();
        }
        let kept = Arc::downgrade(&self.0);
        let later = move || {
            std::thread::sleep(wait);
            if let Some(kept) = kept.upgrade() {
                kept.save();
            }
        };
        // Without a thread it is written with the next change, or at the end.
        if std::thread::Builder::new().name("regfs-names".to_owned()).spawn(later).is_err() {
            self.lock().is_awaited = false;
        }
    }

    /// Writes what changed since it was last written.
    pub(super) fn save(&self) {
        self.0.save();
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        state.is_awaited = false;
        if !state.changed {
            return;
        }
        state.changed = false;
        state.saved = Some(Instant::now());
        let fact = |((repository, tag), named): (&Name, &Option<Named>)| Fact {
            repository: repository.to_string(),
            tag: tag.as_ref().map(Tag::to_string),
            named: named.clone(),
        };
        let document = Document { version: VERSION, facts: state.facts.iter().rev().map(fact).collect() };
        drop(state);
        match serde_json::to_vec(&document) {
            Ok(bytes) => self.store.remember(&self.key, &bytes),
            Err(error) => log::debug!("the {} cannot be written: {error}", self.key),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.save();
    }
}

/// The facts of a document, from the least to the most recently learnt; what cannot be read is left out.
fn read(document: &[u8]) -> Vec<(Name, Option<Named>)> {
    if document.len() > MAX_DOCUMENT {
        return Vec::new();
    }
    let Ok(document) = serde_json::from_slice::<Document>(document) else { return Vec::new() };
    let known = document.facts.into_iter().filter(|_| document.version == VERSION);
    let fact = |fact: Fact| {
        let repository = fact.repository.parse::<Repository>().ok()?;
        match (fact.tag.map(|tag| tag.parse::<Tag>()), fact.named) {
            (Some(Ok(tag)), Some(named)) => Some(((repository, Some(tag)), Some(named))),
            (None, None) => Some(((repository, None), None)),
            _ => None,
        }
    };
    known.filter_map(fact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn document(version: u32, facts: &str) -> String {
        format!(r#"{{"version":{version},"facts":[{facts}]}}"#)
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let tag = format!(r#"{{"repository":"a/b","tag":"v1","named":{{"digest":"{D}","size":3,"type":"x"}}}}"#);
        let facts = [
            r#"{"repository":"a"}"#,
            r#"{"repository":"../x"}"#,
            r#"{"repository":"a","tag":".."}"#,
            r#"{"repository":"a","tag":"v1"}"#,
            &tag,
        ];
        let read_back = read(document(VERSION, &facts.join(",")).as_bytes());
        let shown: Vec<String> =
            read_back.iter().map(|((repository, tag), _)| format!("{repository} {tag:?}")).collect();
        assert_eq!(shown, ["a None", "a/b Some(v1)"]);
        assert_eq!(read_back[1].1.as_ref().map(|named| named.size), Some(3));
    }

    #[test]
    fn what_is_learnt_is_written_soon_though_nothing_more_happens() {
        let journal = Arc::new(crate::journal::Journal::new());
        let config = crate::store::Config {
            dir: None,
            disk_bytes: 0,
            memory_bytes: 1 << 20,
            verify: crate::store::Verify::Lazy,
            journal,
        };
        let store = Store::open(config).expect("store");
        let known = Known::open(store.clone(), "registry.test");
        for name in ["a", "b", "c"] {
            known.learn_repository(&name.parse().expect("repository"));
        }
        let since = Instant::now();
        while Known::open(store.clone(), "registry.test").repositories().len() < 3 {
            assert!(since.elapsed() < 10 * SAVE_INTERVAL, "it was never written");
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(known);
    }

    #[test]
    fn other_documents_are_as_good_as_none() {
        let fact = r#"{"repository":"a"}"#;
        assert!(read(document(VERSION + 1, fact).as_bytes()).is_empty());
        assert!(read(document(VERSION, r#"{"repository":7}"#).as_bytes()).is_empty());
        let long = format!("{}{}", document(VERSION, fact), " ".repeat(MAX_DOCUMENT));
        assert!(read(long.as_bytes()).is_empty());
        assert!(read(b"").is_empty() && read(b"[[[").is_empty());
    }
}
