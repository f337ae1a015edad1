//! Making room: what is in the cache directory, and dropping the least recently used of it.
//!
//! Works on names alone: a file that somebody has open stays readable for them. What a live process is writing is
//! left alone. Several processes may do this; one at a time does.
//!
//! The order is that of the last use, with one exception: the indexes that were used last, as far as they fit together
//! in a quarter of what is to be left ([`INDEX_SHARE`]), go after everything else. They are small, and each costs a
//! whole layer; but indexes that nobody asks for must not fill a cache.

use super::layout::{Layout, open_options};
use super::part::{Lock, is_at, table_path};
use crate::store::derived::Derived;
use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of a block as stat(2) counts them.
const BLOCK: u64 = 512;
/// One part in this many of the cache is for indexes before all else.
const INDEX_SHARE: u64 = 4;

/// What an item of the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum What {
    Blob,
    Part,
    Table,
    Derived(Derived),
    Known,
}

/// One thing in the cache directory.
#[derive(Clone, Debug)]
pub(in crate::store) struct Item {
    pub(in crate::store) what: What,
    pub(in crate::store) path: PathBuf,
    /// Bytes it takes of the disk, holes not counted.
    pub(in crate::store) bytes: u64,
    /// When it was last used.
    pub(in crate::store) used: SystemTime,
}

/// Everything in the cache directory. What vanishes meanwhile is left out.
pub(in crate::store) fn scan(layout: &Layout) -> Vec<Item> {
    let mut items = Vec::new();
    let derived = Derived::ALL.map(|kind| (What::Derived(kind), kind.name(), 2));
    let blobs = [(What::Blob, "blobs", 2), (What::Part, "parts", 0), (What::Table, "spans", 2)];
    for (what, name, depth) in blobs.into_iter().chain(derived).chain([(What::Known, "known", 0)]) {
        walk(&layout.dir(name), depth, &mut |path, meta| {
            let mut bytes = meta.blocks() * BLOCK;
            if what == What::Part {
                let table = table_path(&path);
                if path.extension().is_some_and(|end| end == "table") {
                    // Counted with its part, or left behind without one.
                    if path.with_extension("").exists() {
                        return;
                    }
                } else if let Ok(meta) = fs::symlink_metadata(&table) {
                    bytes += meta.blocks() * BLOCK;
                }
            }
            items.push(Item { what, path, bytes, used: last_use(&meta) });
        });
    }
    items
}

fn walk(dir: &Path, depth: usize, found: &mut dyn FnMut(PathBuf, Metadata)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() && depth > 0 => walk(&entry.path(), depth - 1, found),
            Ok(meta) if meta.is_file() && depth == 0 => found(entry.path(), meta),
            _ => {}
        }
    }
}

fn last_use(meta: &Metadata) -> SystemTime {
    let time = |seconds: i64, nanos: i64| {
        SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
    };
    time(meta.atime(), meta.atime_nsec()).max(time(meta.mtime(), meta.mtime_nsec()))
}

/// Takes the item's names away; false if a live process is writing it, or it could not be done.
pub(in crate::store) fn remove(item: &Item) -> bool {
    if item.what != What::Part || item.path.extension().is_some() {
        return fs::remove_file(&item.path).is_ok();
    }
    let Ok(file) = open_options().open(&item.path) else { return false };
    match Lock::take(&file) {
        Ok(Some(_lock)) if is_at(&file, &item.path) => {
            let _ = fs::remove_file(table_path(&item.path));
            fs::remove_file(&item.path).is_ok()
        }
        _ => false,
    }
}

/// What an eviction found and left.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store) struct Outcome {
    pub(in crate::store) used: u64,
    pub(in crate::store) blobs: u64,
    pub(in crate::store) parts: u64,
    pub(in crate::store) evicted: u64,
}

/// Counts what is there and, if it is over `limit`, drops the least recently used until it is at `goal`.
pub(in crate::store) fn shrink(layout: &Layout, limit: u64, goal: u64) -> Outcome {
    // Unlocked counting is harmless; dropping is for one process at a time.
    let lock = (|| -> io::Result<Option<Lock>> {
        Lock::take(&open_options().create(true).truncate(false).open(layout.dir("evict.lock"))?)
    })();
    let mut items = scan(layout);
    let total: u64 = items.iter().map(|item| item.bytes).sum();
    let mut outcome = Outcome { used: total, ..Outcome::default() };
    if total > limit && matches!(lock, Ok(Some(_))) {
        in_order(&mut items, goal);
        items.retain(|item| {
            if outcome.used <= goal || is_bound(layout, item) || !remove(item) {
                return true;
            }
            outcome.used -= item.bytes;
            outcome.evicted += item.bytes;
            false
        });
    }
    outcome.blobs = items.iter().filter(|item| item.what == What::Blob).count() as u64;
    outcome.parts = items.iter().filter(|item| item.what == What::Part).count() as u64;
    outcome
}

/// Sorts `items` by who goes first where `goal` bytes are to be left.
pub(in crate::store) fn in_order(items: &mut [Item], goal: u64) {
    items.sort_by_key(|item| item.used);
    let (mut room, mut favoured) = (goal / INDEX_SHARE, HashSet::new());
    for item in items.iter().rev().filter(|item| item.what == What::Derived(Derived::Index)) {
        let Some(left) = room.checked_sub(item.bytes) else { break };
        room = left;
        favoured.insert(item.path.clone());
    }
    items.sort_by_key(|item| favoured.contains(&item.path));
}

/// Whether it is the table of a blob that is here, and goes after it: without, the blob would be hashed anew.
pub(in crate::store) fn is_bound(layout: &Layout, item: &Item) -> bool {
    item.what == What::Table && layout.digest_of(&item.path).is_some_and(|digest| layout.blob(&digest).exists())
}
