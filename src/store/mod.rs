//! The cache: blobs by digest, from memory, then disk, then the remote, each byte checked as soon as it can be.
//!
//! Promises: nothing is served from disk that is not what was put there; nothing is served as verified that is not
//! what its digest names; one span is fetched once at a time, however many ask; a cache that cannot be written
//! never fails a read. Safe to kill at any instant, and to share a directory with other processes.
//!
//! The way of a read: [`Handle`] (read-ahead, `ahead`) → `content` (what is where) → `read` (memory, disk, flights) →
//! `fetch` (the remote) → `gather` (runs to spans) → `hash` (the running digest; publishing, or poison).
//! `disk` knows the files, `memory` the budget, `flight` who waits for what. Knows nothing of registries and names.
//!
//! Beside blobs it keeps what others made from a layer ([`Derived`]), whose content it neither knows nor checks.

mod ahead;
mod blob;
mod buffer;
pub mod check;
mod content;
mod derived;
mod disk;
mod draft;
mod fetch;
mod flight;
mod gather;
mod handle;
mod hash;
mod held;
mod known;
pub mod maintain;
mod memory;
mod poison;
mod pool;
mod read;
mod small;
mod strict;
mod unit;

pub use self::blob::Blob;
pub use self::derived::Derived;
pub use self::draft::Draft;
pub use self::handle::Handle;
pub use self::unit::{MAX_BLOB, SMALL, SPAN};

use self::content::Content;
use self::disk::publish::Proof;
use self::disk::table::Sum;
use self::disk::{Disk, part};
use self::held::Held;
use self::memory::{Key, Memory};
use self::poison::Poisons;
use self::pool::Pool;
use self::small::Smalls;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::journal::{Journal, count};
use crate::read_at::ReadAt;
use bytes::Bytes;
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Threads that fetch. Where all are busy, readers fetch on their own.
const FETCHERS: usize = 32;
/// Threads that hash, publish and make room. More than cores: some of them wait for the disk.
const WORKERS: usize = 6;
/// Tables of large blobs that are kept in memory: 32 bytes for each 256 KiB of content.
const MAX_PROOFS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// Facts kept where there is no disk.
const MAX_FACTS: usize = 1024;

/// When bytes may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Verify {
    /// While the first pass streams; a mismatch at its end makes the digest poison: what is open of it is refused from
    /// then on, and it is strict for whoever opens it anew.
    #[default]
    Lazy,
    /// After the whole blob was fetched and hashed.
    Strict,
}

/// How a store is set up.
pub struct Config {
    /// The cache directory; `None` caches in memory alone.
    pub dir: Option<PathBuf>,
    /// The most bytes of disk that are used, roughly.
    pub disk_bytes: u64,
    /// The most bytes of memory that are used for content.
    pub memory_bytes: u64,
    /// When bytes may be served.
    pub verify: Verify,
    /// Where to count and to tell.
    pub journal: Arc<Journal>,
}

/// What is in the cache, for df, status and metrics.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Bytes on disk, as far as this process knows.
    pub disk_used: u64,
    /// The most bytes on disk.
    pub disk_limit: u64,
    /// Bytes of content in memory.
    pub memory_used: u64,
    /// The most bytes of content in memory.
    pub memory_limit: u64,
    /// Bytes of what was made from layers that are in memory for want of a disk, beside `memory_used`.
    pub held: u64,
    /// Whole blobs on disk.
    pub blobs: u64,
    /// Blobs of which a part is on disk.
    pub parts: u64,
    /// Why the disk is not used, if it is not (full, read-only).
    pub degraded: Option<String>,
}

/// How far a blob is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing of it is.
    Absent,
    /// Some of it is here, unchecked as a whole.
    Partial,
    /// All that is served of it was checked against the digest, or against checks made when the digest matched.
    Verified,
    /// The digest did not match, and has not since: nothing is served before a try that is hashed whole.
    Poisoned,
}

/// The size and the checks of a blob whose digest matched.
type Proved = (u64, Arc<[Sum]>);
type Hook = Arc<dyn Fn(&Digest) + Send + Sync>;

/// The cache of one process; shared as `Arc<Store>`.
pub struct Store {
    disk: Option<Disk>,
    /// Why there is no disk, if one was wanted.
    unusable: Option<String>,
    memory: Memory,
    held: Held,
    verify: Verify,
    journal: Arc<Journal>,
    fetchers: Pool,
    workers: Pool,
    /// Lock order: this one is never held with any other.
    contents: Mutex<HashMap<(Digest, u64), Weak<Content>>>,
    smalls: Smalls,
    pinned: AtomicU64,
    poisons: Poisons,
    hooks: Mutex<Vec<Hook>>,
    facts: Mutex<HashMap<String, Vec<u8>>>,
    proofs: Mutex<LruCache<Digest, Proved>>,
}

impl Store {
    /// Opens the cache. A directory that cannot be used is said in [`Usage::degraded`] and in one warning; memory
    /// alone is used then.
    pub fn open(config: Config) -> Result<Arc<Store>> {
        let opened = config.dir.map(|dir| Disk::open(&dir, config.disk_bytes, config.journal.clone()));
        let (disk, unusable) = match opened {
            None => (None, None),
            Some(Ok(disk)) => (Some(disk), None),
            Some(Err(error)) => {
                log::warn!("caching in memory alone: {error}");
                (None, Some(error.to_string()))
            }
        };
        let store = Arc::new(Store {
            disk,
            unusable,
            memory: Memory::new(config.memory_bytes),
            held: Held::new(),
            verify: config.verify,
            journal: config.journal,
            fetchers: Pool::new("regfs-fetch", FETCHERS),
            workers: Pool::new("regfs-hash", WORKERS),
            contents: Mutex::default(),
            smalls: Smalls::default(),
            pinned: AtomicU64::new(0),
            poisons: Poisons::default(),
            hooks: Mutex::default(),
            facts: Mutex::default(),
            proofs: Mutex::new(LruCache::new(MAX_PROOFS)),
        });
        // Counting looks at every file: a mount does not wait for it.
        store.queue_tidying();
        Ok(store)
    }

    /// A blob: no request, no disk. `Unsupported` if the algorithm is unknown; `TooBig` over [`MAX_BLOB`].
    pub fn blob(self: &Arc<Store>, digest: &Digest, size: u64, remote: Arc<dyn ReadAt>) -> Result<Arc<Blob>> {
        if !digest.is_supported() {
            let why = format!("read blob {digest}: the digest algorithm \"{}\" is not known here", digest.algorithm());
            return Err(Error::new(Kind::Unsupported, why));
        }
        if size > MAX_BLOB {
            let why = format!("read blob {digest}: {size} bytes are over the limit of {MAX_BLOB}");
            return Err(Error::new(Kind::TooBig, why));
        }
        Ok(Arc::new(Blob { store: self.clone(), digest: digest.clone(), size, remote, served: AtomicUsize::new(0) }))
    }

    /// Small content that is at hand from cache, checked; no remote.
    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        if let Some(bytes) = self.memory.get(&Key::whole(digest)) {
            count(&self.journal.counters.memory_bytes, bytes.len() as u64);
            return Some(bytes);
        }
        let bytes = self.small_on_disk(digest)?;
        count(&self.journal.counters.disk_bytes, bytes.len() as u64);
        self.memory.insert(Key::whole(digest), bytes.clone());
        Some(bytes)
    }

    /// Keeps small content (a manifest, up to [`SMALL`]), checked here against its digest: `Corrupt` if it is not
    /// that, `TooBig` if it is larger. Disk trouble is not an error.
    pub fn put(&self, digest: &Digest, bytes: Bytes) -> Result<()> {
        if bytes.len() as u64 > SMALL {
            return Err(Error::new(Kind::TooBig, format!("keep {digest}: {} bytes are not small", bytes.len())));
        }
        let proof = Proof::of(digest, &bytes)?;
        self.keep_small(&proof, &bytes);
        Ok(())
    }

    /// How far a blob is here. May look at the disk.
    pub fn state(&self, digest: &Digest) -> State {
        if self.poisons.is_poisoned(digest) {
            return State::Poisoned;
        }
        if self.memory.has(&Key::whole(digest)) {
            return State::Verified;
        }
        let open = self.open_contents(digest);
        if open.iter().any(|content| content.is_verified()) {
            return State::Verified;
        }
        match &self.disk {
            Some(disk) if disk.layout.blob(digest).exists() => State::Verified,
            Some(disk) if disk.layout.part(digest).exists() => State::Partial,
            _ if open.iter().any(|content| content.is_begun()) => State::Partial,
            _ => State::Absent,
        }
    }

    /// The size of a blob that is in the cache, verified. May read up to [`SMALL`] bytes from disk.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        if let Some(bytes) = self.memory.get(&Key::whole(digest)) {
            return Some(bytes.len() as u64);
        }
        if let Some(content) = self.open_contents(digest).into_iter().find(|content| content.is_verified()) {
            return Some(content.size);
        }
        let layout = &self.disk.as_ref()?.layout;
        let len = std::fs::metadata(layout.blob(digest)).ok()?.len();
        if len <= SMALL {
            // A file that a power cut left short must not make the blob short: it is hashed before its length counts.
            let bytes = self.small_on_disk(digest)?;
            self.memory.insert(Key::whole(digest), bytes);
            return Some(len);
        }
        part::whole_table(layout, digest).filter(|table| table.size == len).map(|_| len)
    }

    /// What is in use of disk and memory.
    pub fn usage(&self) -> Usage {
        let (disk_used, disk_limit, blobs, parts) = self.disk.as_ref().map(Disk::usage).unwrap_or_default();
        Usage {
            disk_used,
            disk_limit,
            memory_used: self.memory.used(),
            memory_limit: self.memory.budget(),
            held: self.held.used(),
            blobs,
            parts,
            degraded: self.unusable.clone().or_else(|| self.disk.as_ref().and_then(Disk::trouble)),
        }
    }

    /// Small facts kept across mounts by [`Store::remember`]; `None` also if the file was damaged.
    pub fn recall(&self, key: &str) -> Option<Vec<u8>> {
        match &self.disk {
            Some(disk) => known::recall(&disk.layout, key),
            None => self.facts.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned(),
        }
    }

    /// Remembers small facts across mounts (`known/`): `key` is a host or other plain name. Atomic, best effort.
    pub fn remember(&self, key: &str, bytes: &[u8]) {
        match &self.disk {
            Some(disk) if disk.is_writable() => match known::remember(&disk.layout, key, bytes) {
                Ok(()) => disk.succeeded(),
                Err(error) => disk.failed("write to the cache", &error),
            },
            Some(_) => {}
            None => {
                let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
                if facts.len() < MAX_FACTS || facts.contains_key(key) {
                    facts.insert(key.to_owned(), bytes.to_vec());
                }
            }
        }
    }

    /// Has `hook` called with each digest whose bytes were served and turned out wrong, so that caches further up
    /// can drop them. Called on a thread of the store, with no lock held; readers are told when it returns.
    pub fn on_poison(&self, hook: Box<dyn Fn(&Digest) + Send + Sync>) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(hook.into());
    }

    /// Where it counts and tells.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Whether nothing is served that was not checked against its digest.
    pub fn is_strict(&self) -> bool {
        self.verify == Verify::Strict
    }

    /// Waits, at most `limit`, until what was read is hashed and kept: for a process that ends after reading, whose
    /// next run would otherwise have to hash it again.
    pub fn settle(&self, limit: Duration) {
        let start = Instant::now();
        // What is fetched is handed on to be hashed.
        let fetched = self.fetchers.settle(limit);
        if !fetched || !self.workers.settle(limit.saturating_sub(start.elapsed())) {
            log::debug!("the cache did not settle in {limit:?}");
        }
    }

    /// Keeps the checks of a blob whose digest matched, for as long as this store lives.
    fn prove(&self, digest: &Digest, size: u64, sums: &[Sum]) {
        let proof = (size, Arc::from(sums));
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).put(digest.clone(), proof);
    }

    /// The checks of a blob whose digest matched in this run.
    fn proved(&self, digest: &Digest, size: u64) -> Option<Arc<[Sum]>> {
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.get(digest).filter(|(proved, _)| *proved == size).map(|(_, sums)| sums.clone())
    }

    fn disprove(&self, digest: &Digest) {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).pop(digest);
    }

    /// How far a handle may read ahead, in bytes: what is on its way takes at most half of the memory.
    fn window(&self) -> u64 {
        ahead::MAX_WINDOW.min(self.memory.budget() / 2)
    }

    /// Tells everybody that `digest` is poison.
    fn tell_poison(&self, digest: &Digest, error: &Error) {
        count(&self.journal.counters.poisoned, 1);
        self.journal.failed(digest.as_str(), error);
        self.invalidate(digest);
        self.poisons.told(digest);
    }

    /// `content`, which was on probation, is what its digest names: it serves everybody.
    fn absolve(&self, content: &Arc<Content>) {
        self.poisons.lift(&content.digest);
        let key = (content.digest.clone(), content.size);
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::downgrade(content));
    }

    /// What was served of `digest` may be wrong: drops it here and further up.
    fn invalidate(&self, digest: &Digest) {
        self.memory.forget(digest);
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        hooks.iter().for_each(|hook| hook(digest));
    }

    /// The open content of a large blob; one on probation, for `remote` alone, if its digest did not match before.
    fn content(self: &Arc<Store>, digest: &Digest, size: u64, remote: &Arc<dyn ReadAt>) -> Result<Arc<Content>> {
        if !self.poisons.await_told(digest) {
            let content = self.shared(digest, size)?;
            // Marking comes first, so that what was found out meanwhile is seen here.
            if !self.poisons.await_told(digest) {
                return Ok(content);
            }
        }
        let open = self.open_contents(digest).into_iter();
        let mut sound = open.filter(|open| open.size == size && open.check_poison().is_ok() && open.is_verified());
        if let Some(content) = sound.next() {
            return Ok(content);
        }
        self.poisons.attempt(self, digest, size, remote).or_else(|error| {
            // What this remote does not have right may be on disk by now.
            let content = Arc::new(Content::new(self, digest, size, Some(remote.origin()))?);
            content.load()?;
            if !content.is_verified() {
                return Err(error);
            }
            self.absolve(&content);
            Ok(content)
        })
    }

    fn shared(self: &Arc<Store>, digest: &Digest, size: u64) -> Result<Arc<Content>> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (digest.clone(), size);
        if let Some(content) = contents.get(&key).and_then(Weak::upgrade) {
            return Ok(content);
        }
        let content = Arc::new(Content::new(self, digest, size, None)?);
        contents.retain(|_, content| content.strong_count() > 0);
        contents.insert(key, Arc::downgrade(&content));
        Ok(content)
    }

    fn open_contents(&self, digest: &Digest) -> Vec<Arc<Content>> {
        let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.iter().filter(|((open, _), _)| open == digest).filter_map(|(_, content)| content.upgrade()).collect()
    }

    /// Makes room on disk, in the background, if it is due; `again` even if it was tried just now.
    fn tidy(self: &Arc<Store>, again: bool) {
        if self.disk.as_ref().is_some_and(|disk| disk.wants_tidying(again)) {
            self.queue_tidying();
        }
    }

    fn queue_tidying(self: &Arc<Store>) {
        let store = Arc::downgrade(self);
        self.workers.queue(Box::new(move || {
            if let Some(store) = store.upgrade()
                && let Some(disk) = &store.disk
            {
                disk.tidy();
            }
        }));
    }
}
