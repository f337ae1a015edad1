//! Looking after a cache directory without mounting anything: what is in it, and taking out of it.
//!
//! Promises: all of it is safe beside live processes: what they have open stays readable for them, and what they
//! write is left alone, except by [`clear`], which takes its names away. A directory that does not exist is an
//! empty cache.

use super::derived::Derived;
use super::disk::evict::{self, Item, What};
use super::disk::layout::Layout;
use super::disk::part::{self, Lock, read_table, table_path, whole_table};
use super::disk::table::ABSENT;
use crate::digest::Digest;
use crate::error::{Error, Result};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How something is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Whole and verified.
    Whole,
    /// A part of it.
    Part,
    /// A part of it, which a live process is adding to.
    Filling,
    /// Not the blob itself, but what was made from it, a layer.
    Derived(Derived),
}

/// One blob in the cache, or what was made from one.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the blob is called.
    pub digest: Digest,
    /// The size in bytes, if that is known; of what was made from a blob its own.
    pub size: Option<u64>,
    /// Bytes of it that are here.
    pub cached: u64,
    /// When it was last used.
    pub used: SystemTime,
    /// How it is here.
    pub kept: Kept,
}

/// What was taken out, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs and parts taken out.
    pub dropped: u64,
    /// Files taken out that were made from layers.
    pub derived: u64,
    /// Bytes they took.
    pub freed: u64,
    /// Bytes that everything in the cache takes now.
    pub left: u64,
}

/// The blobs in the cache at `dir` and what was made from them, the most recently used first.
pub fn list(dir: &Path) -> Result<Vec<Entry>> {
    let layout = layout(dir)?;
    let mut entries: Vec<Entry> = evict::scan(&layout).iter().filter_map(|item| entry(&layout, item)).collect();
    entries.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.digest.cmp(&b.digest)));
    Ok(entries)
}

fn entry(layout: &Layout, item: &Item) -> Option<Entry> {
    let digest = layout.digest_of(&item.path)?;
    let used = item.used;
    match item.what {
        What::Blob => {
            let size = std::fs::metadata(&item.path).ok()?.len();
            Some(Entry { digest, size: Some(size), cached: size, used, kept: Kept::Whole })
        }
        What::Part => {
            let table = File::open(table_path(&item.path)).ok().and_then(|file| read_table(&file));
            let cached = table.iter().flat_map(|table| {
                let here = table.sums.iter().enumerate().filter(|(_, sum)| **sum != ABSENT);
                here.map(|(index, _)| super::unit::bytes_of(index as u32, table.size).len())
            });
            let cached = cached.sum();
            let filling = matches!(File::open(&item.path).and_then(|file| Lock::take(&file)), Ok(None));
            let kept = if filling { Kept::Filling } else { Kept::Part };
            Some(Entry { digest, size: table.map(|table| table.size), cached, used, kept })
        }
        What::Derived(kind) => {
            let size = std::fs::metadata(&item.path).ok()?.len();
            Some(Entry { digest, size: Some(size), cached: size, used, kept: Kept::Derived(kind) })
        }
        What::Table | What::Known => None,
    }
}

/// Takes out what was not used for `unused`, if given, then the least recently used until the cache takes at most
/// `size` bytes, if given, indexes last as far as a quarter of that holds them.
pub fn prune(dir: &Path, size: Option<u64>, unused: Option<Duration>) -> Result<Freed> {
    let layout = layout(dir)?;
    let mut items = evict::scan(&layout);
    evict::in_order(&mut items, size.unwrap_or(0));
    let now = SystemTime::now();
    let mut freed = Freed { left: items.iter().map(|item| item.bytes).sum(), ..Freed::default() };
    for item in items {
        let age = now.duration_since(item.used).unwrap_or_default();
        let old = unused.is_some_and(|unused| age >= unused);
        let over = size.is_some_and(|size| freed.left > size);
        if (old || over) && !evict::is_bound(&layout, &item) && evict::remove(&item) {
            freed.took(&item);
        }
    }
    Ok(freed)
}

/// Takes everything out, also what live processes are adding to: they go on with files of no name.
pub fn clear(dir: &Path) -> Result<Freed> {
    let layout = layout(dir)?;
    let items = evict::scan(&layout);
    let mut freed = Freed { left: items.iter().map(|item| item.bytes).sum(), ..Freed::default() };
    for item in items {
        if item.what == What::Part {
            let _ = std::fs::remove_file(table_path(&item.path));
        }
        match std::fs::remove_file(&item.path) {
            Ok(()) => freed.took(&item),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => freed.left -= item.bytes,
            Err(error) => return Err(Error::io(format!("clear the cache at {}", item.path.display()), error)),
        }
    }
    Ok(freed)
}

impl Freed {
    fn took(&mut self, item: &Item) {
        self.dropped += u64::from(matches!(item.what, What::Blob | What::Part));
        self.derived += u64::from(matches!(item.what, What::Derived(_)));
        self.freed += item.bytes;
        self.left -= item.bytes;
    }
}

/// The layout at `dir`; an error if `dir` is there and cannot be read.
pub(super) fn layout(dir: &Path) -> Result<Layout> {
    match std::fs::read_dir(dir) {
        Ok(_) => Ok(Layout::at(dir)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Layout::at(dir)),
        Err(error) => Err(Error::io(format!("read cache directory {}", dir.display()), error)),
    }
}

/// Whether the table at hand is sound and says what `part` holds.
pub(super) fn part_table(layout: &Layout, digest: &Digest) -> Option<super::disk::table::Table> {
    let table = read_table(&File::open(part::table_path(&layout.part(digest))).ok()?)?;
    (table.digest == *digest && !table.whole).then_some(table)
}

/// Whether a sound table of the whole blob is kept.
pub(super) fn has_whole_table(layout: &Layout, digest: &Digest) -> bool {
    whole_table(layout, digest).is_some()
}
