//! The file behind a blob: a part that is being gathered, or the published whole; and how a part is taken.
//!
//! A part belongs to the process that holds its flock. Whoever comes second gathers into an unnamed file of its own.
//! Data is written before its check, so that a crash leaves at worst a span without one, which is then absent.

use super::layout::{Layout, open_options};
use super::table::{self, ABSENT, Sum, Table};
use crate::digest::Digest;
use crate::store::unit;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a part that vanishes between open and lock, or is locked, is tried again.
const TRIES: usize = 8;
/// How long a locked part is waited for each time: whoever of this process had it open is letting go of it.
const MOMENT: Duration = Duration::from_millis(3);

/// An open file of a blob's bytes, at their own offsets.
pub(in crate::store) struct Data {
    pub(in crate::store) file: File,
    pub(in crate::store) origin: Origin,
}

/// What the file is.
pub(in crate::store) enum Origin {
    /// `parts/…`, locked by this process, with its table.
    Part { table: File, path: PathBuf, _lock: Lock },
    /// No name: another process holds the part, or there is nothing to keep it for.
    Unnamed,
    /// `blobs/…`: all of it was verified when it got its name.
    Blob,
}

/// A flock that is given up without a word when dropped.
pub(in crate::store) struct Lock {
    _held: Flock<File>,
}

impl Lock {
    /// Takes the lock of `file` if nobody has it.
    pub(in crate::store) fn take(file: &File) -> io::Result<Option<Lock>> {
        match Flock::lock(file.try_clone()?, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Some(Lock { _held: held })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

/// The path of a part's table.
pub(in crate::store) fn table_path(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".table");
    name.into()
}

impl Data {
    /// The published blob, if there is one.
    pub(in crate::store) fn blob(layout: &Layout, digest: &Digest) -> io::Result<Option<Data>> {
        match open_options().open(layout.blob(digest)) {
            Ok(file) => Ok(Some(Data { file, origin: Origin::Blob })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The part of `digest` with the checks of what is in it, or an unnamed file if another process has the part.
    pub(in crate::store) fn part(layout: &Layout, digest: &Digest, size: u64) -> io::Result<(Data, Vec<Sum>)> {
        let path = layout.part(digest);
        let none = || vec![ABSENT; unit::count(size) as usize];
        for _ in 0..TRIES {
            let file = open_options().create(true).truncate(false).open(&path)?;
            let Some(lock) = Lock::take(&file)? else {
                std::thread::sleep(MOMENT);
                continue;
            };
            if !is_at(&file, &path) {
                continue;
            }
            let table = open_options().create(true).truncate(false).open(table_path(&path))?;
            let sums = match read_table(&table) {
                Some(known) if known.digest == *digest && known.size == size && !known.whole => known.sums,
                _ => {
                    file.set_len(0)?;
                    table.set_len(0)?;
                    let fresh = Table { digest: digest.clone(), size, whole: false, sums: Vec::new() };
                    table.write_all_at(&fresh.header(), 0)?;
                    none()
                }
            };
            return Ok((Data { file, origin: Origin::Part { table, path, _lock: lock } }, sums));
        }
        Ok((Data::unnamed(layout)?, none()))
    }

    /// An unnamed file, which is of use to this process alone until it is published.
    pub(in crate::store) fn unnamed(layout: &Layout) -> io::Result<Data> {
        Ok(Data { file: layout.temp()?.into_file()?, origin: Origin::Unnamed })
    }

    /// Writes span `index` and then its check.
    pub(in crate::store) fn write(&self, index: u32, bytes: &[u8], sum: &Sum) -> io::Result<()> {
        self.file.write_all_at(bytes, u64::from(index) * unit::SPAN)?;
        match &self.origin {
            Origin::Part { table, .. } => table.write_all_at(sum, table::place(index)),
            Origin::Unnamed | Origin::Blob => Ok(()),
        }
    }

    /// Makes span `index` of a part absent for whoever opens it next.
    pub(in crate::store) fn forget(&self, index: u32) {
        if let Origin::Part { table, .. } = &self.origin {
            let _ = table.write_all_at(&ABSENT, table::place(index));
        }
    }

    /// Takes the names of a part away; the file stays open.
    pub(in crate::store) fn unname(&self) {
        if let Origin::Part { path, .. } = &self.origin
            && is_at(&self.file, path)
        {
            let _ = std::fs::remove_file(table_path(path));
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether `file` is what `path` names.
pub(in crate::store) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// The table in `file`, if it is sound.
pub(in crate::store) fn read_table(file: &File) -> Option<Table> {
    let len = file.metadata().ok()?.len().min(table::place(unit::count(unit::MAX_BLOB)));
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Table::decode(&bytes)
}

/// The whole table of `digest` that is kept in `spans/`, if it is sound and of `digest`.
pub(in crate::store) fn whole_table(layout: &Layout, digest: &Digest) -> Option<Table> {
    let table = read_table(&open_options().write(false).open(layout.spans(digest)).ok()?)?;
    (table.whole && table.digest == *digest).then_some(table)
}
