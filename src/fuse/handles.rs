//! What is open: files and directory snapshots by the number that the kernel calls them with.

use super::inodes::Inode;
use super::passthrough::Open;
use crate::error::{Error, Kind, Result};
use crate::tree::{Entry, Handle};
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open file.
pub(super) struct OpenFile {
    /// What it was opened as, whatever stands there now.
    pub(super) inode: Arc<Inode>,
    /// Its bytes.
    pub(super) handle: Arc<dyn Handle>,
    /// The length that its attributes promised at open, where it cannot change.
    pub(super) size: Option<u64>,
    /// The remote that a read may wait for.
    pub(super) lane: Arc<str>,
    open: Open,
}

/// An open directory: its listing as it was at open, so that offsets hold.
pub(super) struct OpenDir {
    /// The directory.
    pub(super) inode: Arc<Inode>,
    /// The entries, without `.` and `..`.
    pub(super) entries: Vec<Entry>,
}

impl OpenFile {
    /// What `inode` opened; `open` says how its inode counts it.
    pub(super) fn new(inode: Arc<Inode>, handle: Arc<dyn Handle>, size: Option<u64>, lane: &str, open: Open) -> Self {
        OpenFile { inode, handle, size, lane: lane.into(), open }
    }
}

impl OpenDir {
    /// A snapshot of `entries`; names that no file can have are left out, for the kernel refuses a listing with one.
    pub(super) fn new(inode: Arc<Inode>, mut entries: Vec<Entry>) -> Self {
        entries.retain(|entry| {
            let name = entry.name.as_bytes();
            let is_fit = !matches!(name, b"" | b"." | b"..") && name.len() <= MAX_NAME && !name.contains(&b'/');
            if !is_fit {
                log::warn!("{}: not listed: \"{}\"", inode.path(None), crate::name::escape(name));
            }
            is_fit
        });
        OpenDir { inode, entries }
    }
}

/// The longest file name (NAME_MAX).
pub(super) const MAX_NAME: usize = 255;

#[derive(Clone)]
enum Opened {
    File(Arc<OpenFile>),
    Dir(Arc<OpenDir>),
}

/// The table of everything open.
#[derive(Default)]
pub(super) struct Handles {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Opened>,
    last: u64,
}

impl Handles {
    /// Keeps an open file; returns its number.
    pub(super) fn keep_file(&self, file: OpenFile) -> u64 {
        self.keep(Opened::File(Arc::new(file)))
    }

    /// Keeps an open directory; returns its number.
    pub(super) fn keep_dir(&self, dir: OpenDir) -> u64 {
        self.keep(Opened::Dir(Arc::new(dir)))
    }

    fn keep(&self, opened: Opened) -> u64 {
        let mut table = self.lock();
        table.last += 1;
        let number = table.last;
        table.open.insert(number, opened);
        number
    }

    /// The open file of that number.
    pub(super) fn file(&self, number: u64) -> Result<Arc<OpenFile>> {
        match self.lock().open.get(&number) {
            Some(Opened::File(file)) => Ok(file.clone()),
            _ => Err(not_open()),
        }
    }

    /// The open directory of that number.
    pub(super) fn dir(&self, number: u64) -> Result<Arc<OpenDir>> {
        match self.lock().open.get(&number) {
            Some(Opened::Dir(dir)) => Ok(dir.clone()),
            _ => Err(not_open()),
        }
    }

    /// Forgets what was closed. Reads that are under way keep it until they are done.
    pub(super) fn release(&self, number: u64) {
        let gone = self.lock().open.remove(&number);
        if let Some(Opened::File(file)) = gone {
            file.inode.opens.lock().unwrap_or_else(PoisonError::into_inner).close(&file.open);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_open() -> Error {
    Error::new(Kind::Io, "the kernel speaks of a file that is not open")
}
