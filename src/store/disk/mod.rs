//! The cache on disk, as far as one process knows it: its paths, how full it is, whether it can be written.
//!
//! Promises: a failure to write never fails a read; it is remembered, told in [`Disk::trouble`], and writing is
//! tried again after a while. Knows nothing of remotes.

pub(super) mod evict;
pub(super) mod layout;
pub(super) mod part;
pub(super) mod publish;
pub(super) mod table;

use self::layout::Layout;
use self::part::Data;
use self::table::Sum;
use crate::digest::Digest;
use crate::error::Result;
use crate::journal::{Journal, count};
use lru::LruCache;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a disk that refused a write is left alone.
const RETRY: Duration = Duration::from_secs(5);
/// How long making room is not tried again where everything is in use.
const REST: Duration = Duration::from_secs(1);
/// How long a writer waits for room that somebody else makes, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(5);
/// One part in this many of the cache is what drafts may take from named files.
const DRAFT_SHARE: u64 = 2;
/// A use is noted if the last one noted is older than this: a write of an inode per open is enough.
const TOUCH: i64 = 60;
/// What a file system allots.
const BLOCK: u64 = 4096;
/// How many files are remembered as found right in this run.
const TRUSTED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// The disk cache of one store.
pub(super) struct Disk {
    pub(super) layout: Layout,
    limit: u64,
    /// Bytes of what has a name, in whole blocks.
    used: AtomicU64,
    /// Bytes of drafts, which have none.
    drafted: AtomicU64,
    blobs: AtomicU64,
    parts: AtomicU64,
    health: Mutex<Health>,
    trusted: Mutex<LruCache<Digest, Identity>>,
    journal: Arc<Journal>,
}

/// What tells one file, as it was at one time, from others: device, inode, length, time of the last write.
type Identity = (u64, u64, u64, i64, i64);

#[derive(Default)]
struct Health {
    /// Not to be written before this time, and why.
    trouble: Option<(Instant, String)>,
    /// When making room was last tried and was not enough.
    in_vain: Option<Instant>,
    /// Somebody makes room, and whether it is to be done once more.
    tidying: bool,
    once_more: bool,
}

impl Disk {
    /// The cache in `dir`, of at most `limit` bytes; an error says why it cannot be used.
    pub(super) fn open(dir: &Path, limit: u64, journal: Arc<Journal>) -> Result<Disk> {
        Ok(Disk {
            layout: Layout::create(dir)?,
            limit,
            used: AtomicU64::new(0),
            drafted: AtomicU64::new(0),
            blobs: AtomicU64::new(0),
            parts: AtomicU64::new(0),
            health: Mutex::default(),
            trusted: Mutex::new(LruCache::new(TRUSTED)),
            journal,
        })
    }

    /// Whether a write may be tried now.
    pub(super) fn is_writable(&self) -> bool {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.trouble.as_ref().is_none_or(|(until, _)| Instant::now() >= *until)
    }

    /// Why the disk is not written to, if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).trouble.as_ref().map(|(_, why)| why.clone())
    }

    /// A write failed: the disk is left alone for a while. Said once until a write succeeds again.
    pub(super) fn failed(&self, doing: &str, error: &io::Error) {
        self.mark(format!("{doing}: {error}"));
    }

    fn mark(&self, why: String) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if health.trouble.is_none() {
            log::warn!("serving without the disk cache for now: {why}");
        }
        health.trouble = Some((Instant::now() + RETRY, why));
    }

    /// A write succeeded: the disk is in use again.
    pub(super) fn succeeded(&self) {
        let healed = self.health.lock().unwrap_or_else(PoisonError::into_inner).trouble.take();
        if healed.is_some() {
            log::info!("the disk cache is in use again");
        }
    }

    /// Writes span `index` of `data`, new if `new`; false if the disk does not take it.
    pub(super) fn write(&self, data: &Data, index: u32, bytes: &[u8], sum: &Sum, new: bool) -> bool {
        if self.is_over() || !self.is_writable() {
            return false;
        }
        match data.write(index, bytes, sum) {
            Ok(()) => {
                if new {
                    self.added(bytes.len() as u64);
                }
                self.succeeded();
                true
            }
            Err(error) => {
                self.failed("write to the cache", &error);
                false
            }
        }
    }

    /// Whether it is so far over its size that nothing is to be added; it is left alone for a while then.
    pub(super) fn is_over(&self) -> bool {
        let over = self.exceeds();
        if over {
            self.mark("it is over its size, and what is in it is in use".to_owned());
        }
        over
    }

    fn exceeds(&self) -> bool {
        self.taken() >= self.limit.saturating_add(self.slack())
    }

    /// Whether more may be added, after making room, or waiting for who is at it: for a writer who cannot do without.
    pub(super) fn has_room(&self) -> bool {
        if self.exceeds() && self.wants_tidying(true) {
            self.tidy();
        }
        let start = Instant::now();
        let is_busy = || self.health.lock().unwrap_or_else(PoisonError::into_inner).tidying;
        while self.exceeds() && is_busy() && start.elapsed() < PATIENCE {
            std::thread::sleep(MOMENT);
        }
        !self.is_over()
    }

    /// Bytes in use, with and without a name.
    fn taken(&self) -> u64 {
        self.used.load(Ordering::Relaxed).saturating_add(self.drafted.load(Ordering::Relaxed))
    }

    /// `bytes` more are in drafts.
    pub(super) fn drafted(&self, bytes: u64) {
        self.drafted.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `bytes` are no longer in drafts: they have a name now, or are gone.
    pub(super) fn undrafted(&self, bytes: u64) {
        self.drafted.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// `bytes` lost their name.
    pub(super) fn removed(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes.next_multiple_of(BLOCK)));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// `bytes` more are in the cache, in whole blocks.
    pub(super) fn added(&self, bytes: u64) {
        self.used.fetch_add(bytes.next_multiple_of(BLOCK), Ordering::Relaxed);
    }

    /// A part was begun; its table takes `bytes`.
    pub(super) fn begun(&self, bytes: u64) {
        self.added(bytes);
        self.parts.fetch_add(1, Ordering::Relaxed);
    }

    /// A blob was published; it may have been a part.
    pub(super) fn published(&self, was_part: bool) {
        self.blobs.fetch_add(1, Ordering::Relaxed);
        if was_part {
            let less = |parts: u64| Some(parts.saturating_sub(1));
            let _ = self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
        self.succeeded();
    }

    /// Whether [`Disk::tidy`] is due; true once until it was done. Where the last one did not help, the next one
    /// waits a while, unless something has changed since: `again`.
    pub(super) fn wants_tidying(&self, again: bool) -> bool {
        if self.taken() <= self.limit {
            return false;
        }
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if health.tidying {
            health.once_more |= again;
            return false;
        }
        health.tidying = again || health.in_vain.is_none_or(|since| since.elapsed() >= REST);
        health.tidying
    }

    /// Counts what is there and makes room if it is over the limit, for whom [`Disk::wants_tidying`] said so, and
    /// once at the start. Slow: it looks at every file.
    pub(super) fn tidy(&self) {
        loop {
            let before = self.used.load(Ordering::Relaxed);
            // Drafts want to be kept: named files make room for them, but not all of it.
            let drafted = self.drafted.load(Ordering::Relaxed);
            let limit = self.limit - drafted.min(self.limit / DRAFT_SHARE);
            let outcome = evict::shrink(&self.layout, limit, limit - limit / 16);
            // What was written meanwhile may have been counted or not: rather twice than never.
            let meanwhile = self.used.load(Ordering::Relaxed).saturating_sub(before);
            self.used.store(outcome.used + meanwhile, Ordering::Relaxed);
            self.blobs.store(outcome.blobs, Ordering::Relaxed);
            self.parts.store(outcome.parts, Ordering::Relaxed);
            count(&self.journal.counters.evicted_bytes, outcome.evicted);
            if outcome.used <= limit && outcome.evicted > 0 {
                self.succeeded();
            }
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            health.in_vain = (outcome.used.saturating_add(drafted) > self.limit).then(Instant::now);
            if !std::mem::take(&mut health.once_more) {
                health.tidying = false;
                return;
            }
        }
    }

    /// How far writing may run ahead of an eviction.
    fn slack(&self) -> u64 {
        (self.limit / 8).min(64 << 20)
    }

    /// All of `file`, the published blob of `digest`, was found right.
    pub(super) fn trust(&self, digest: &Digest, file: &File) {
        if let Some(identity) = identity(file) {
            self.trusted.lock().unwrap_or_else(PoisonError::into_inner).put(digest.clone(), identity);
        }
    }

    /// Something in the file of `digest` was found wrong.
    pub(super) fn distrust(&self, digest: &Digest) {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner).pop(digest);
    }

    /// Whether `file` is the one of `digest` that was found right in this run, unchanged.
    pub(super) fn is_trusted(&self, digest: &Digest, file: &File) -> bool {
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        identity(file).is_some_and(|now| trusted.get(digest) == Some(&now))
    }

    /// Bytes in use and their limit, whole blobs, parts.
    pub(super) fn usage(&self) -> (u64, u64, u64, u64) {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (self.taken(), self.limit, get(&self.blobs), get(&self.parts))
    }
}

/// Notes that `file` is in use, at most once a minute.
pub(super) fn touch(file: &File) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let fresh = file.metadata().is_ok_and(|meta| meta.atime() + TOUCH > now.as_secs() as i64);
    if !fresh {
        let _ = futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_OMIT);
    }
}

/// The same file once more, from its start and to read alone.
pub(super) fn reopen(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn identity(file: &File) -> Option<Identity> {
    let meta = file.metadata().ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}
