//! Checking a cache directory: everything in it is read and hashed anew, and what is wrong taken out.
//!
//! But for what was made from layers: whoever opens such a file checks it, and it is only counted here.

use super::derived::Derived;
use super::disk::evict::{self, Item, What};
use super::disk::layout::{Layout, open_options};
use super::disk::part::{Lock, table_path};
use super::disk::table::{self, ABSENT};
use super::maintain::{has_whole_table, layout, part_table};
use super::{hash, known, unit};
use crate::digest::Digest;
use crate::error::Result;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What checking found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Blobs and parts that are right.
    pub right: u64,
    /// What was wrong and was taken out: digests of blobs and of parts, names of other files.
    pub wrong: Vec<String>,
    /// What was wrong and could not be taken out, and why.
    pub stuck: Vec<(String, String)>,
    /// Parts that a live process is adding to, and that were left alone.
    pub busy: u64,
    /// Files made from layers, which are checked when they are used.
    pub unchecked: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// How far checking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes read so far.
    pub done: u64,
    /// Bytes to be read in all, about.
    pub total: u64,
}

/// Checks everything in the cache at `dir`, telling `progress` of each step. A blob that is right and has no table,
/// or a damaged one, gets a new one.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(Step)) -> Result<Checked> {
    let layout = layout(dir)?;
    let items = evict::scan(&layout);
    let total = items.iter().filter(|item| matches!(item.what, What::Blob | What::Part)).map(|item| item.bytes).sum();
    let mut checked = Checked::default();
    // Blobs before tables: a table is judged by its own seal, a blob by its digest, which mends its table.
    let derived = Derived::ALL.map(What::Derived);
    for what in [What::Blob, What::Part, What::Table, What::Known].into_iter().chain(derived) {
        for item in items.iter().filter(|item| item.what == what) {
            let mut read = |bytes: u64| {
                checked.bytes += bytes;
                progress(Step { done: checked.bytes.min(total), total });
            };
            match one(&layout, item, &mut read) {
                Verdict::Right => checked.right += u64::from(matches!(what, What::Blob | What::Part)),
                Verdict::Unchecked => checked.unchecked += 1,
                Verdict::Busy => checked.busy += 1,
                Verdict::Wrong(name) => checked.wrong.push(name),
                Verdict::Stuck(name, error) => checked.stuck.push((name, error.to_string())),
                Verdict::Gone => {}
            }
        }
    }
    Ok(checked)
}

enum Verdict {
    Right,
    Wrong(String),
    Stuck(String, io::Error),
    Busy,
    Unchecked,
    Gone,
}

fn one(layout: &Layout, item: &Item, read: &mut dyn FnMut(u64)) -> Verdict {
    let name = item.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let drop = |name: String| match std::fs::remove_file(&item.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Verdict::Stuck(name, error),
        _ => Verdict::Wrong(name),
    };
    let Some(digest) = layout.digest_of(&item.path) else {
        return match item.what {
            What::Known if known::is_sound(&item.path) => Verdict::Right,
            _ => drop(name),
        };
    };
    match item.what {
        What::Blob => {
            let file = match open(&item.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Verdict::Gone,
                Err(error) => return Verdict::Stuck(digest.to_string(), error),
            };
            let table = hash::recheck(layout, &digest, &file, &mut |bytes| {
                read(bytes);
                Ok(())
            });
            match table {
                Ok(Some(_)) => Verdict::Right,
                Ok(None) => drop(digest.to_string()),
                Err(error) => {
                    log::warn!("check {digest}: {error}");
                    drop(digest.to_string())
                }
            }
        }
        What::Part => match part(layout, item, &digest, read) {
            Ok(verdict) => verdict,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Verdict::Gone,
            Err(error) => Verdict::Stuck(format!("parts of {digest}"), error),
        },
        What::Table if has_whole_table(layout, &digest) => Verdict::Right,
        What::Derived(_) => Verdict::Unchecked,
        What::Table | What::Known => drop(format!("checks of {digest}")),
    }
}

/// Opens a file of the cache, to read alone where the disk or its owner permits no more.
fn open(path: &Path) -> io::Result<File> {
    match open_options().open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) => {
            open_options().write(false).open(path)
        }
        opened => opened,
    }
}

fn part(layout: &Layout, item: &Item, digest: &Digest, read: &mut dyn FnMut(u64)) -> io::Result<Verdict> {
    let file = open(&item.path)?;
    let Some(_lock) = Lock::take(&file)? else { return Ok(Verdict::Busy) };
    let Some(table) = part_table(layout, digest) else {
        // What a crash left before the first byte is not wrong.
        let empty = file.metadata()?.len() == 0;
        match std::fs::remove_file(&item.path) {
            Err(_) if empty => return Ok(Verdict::Gone),
            removed => removed?,
        }
        let _ = std::fs::remove_file(table_path(&item.path));
        return Ok(if empty { Verdict::Gone } else { Verdict::Wrong(format!("parts of {digest}")) });
    };
    let checks = open(&table_path(&item.path))?;
    let (mut wrong, mut stuck) = (false, None);
    let mut buffer = Vec::new();
    for (index, sum) in (0..).zip(&table.sums).filter(|(_, sum)| **sum != ABSENT) {
        let span = unit::bytes_of(index, table.size);
        buffer.resize(span.len() as usize, 0);
        if file.read_exact_at(&mut buffer, span.start).is_err() || table::sum(&buffer) != *sum {
            wrong = true;
            stuck = checks.write_all_at(&ABSENT, table::place(index)).err().or(stuck);
        }
        read(span.len());
    }
    if let Some(error) = stuck {
        return Err(error);
    }
    Ok(if wrong { Verdict::Wrong(format!("parts of {digest}")) } else { Verdict::Right })
}
