//! Reading small local files that configure the wire: bounded, and never waiting for somebody to write.
//!
//! Promises: no more than the limit is held in memory; a pipe, a terminal or a device in place of a file cannot hang
//! the caller; errors name the file and never its content. Does not know any format.

use crate::error::{Error, Kind, Result};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most bytes of one configuration file: real ones have a few kilobytes.
pub(crate) const MAX_CONFIG: u64 = 1 << 20;
/// The most entries looked at in one configuration directory.
pub(crate) const MAX_ENTRIES: usize = 10_000;

/// The bytes of a file; `None` if there is no such file.
///
/// # Errors
/// `TooBig` over `limit`; whatever the system says (`Denied`, `IsDir`, …) otherwise.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let what = || format!("read {}", path.display());
    // Without a writer, opening a pipe would wait for ever; O_NONBLOCK changes nothing for files.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(Error::io(what(), error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| Error::io(what(), error))?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(Kind::TooBig, format!("{} is over the limit of {limit} bytes", path.display())));
    }
    Ok(Some(bytes))
}

/// The bytes of a file that has to be there.
pub(crate) fn read_existing(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read(path, limit)?.ok_or_else(|| Error::new(Kind::NotFound, format!("{}: no such file", path.display())))
}

/// The text of a file; `None` if there is no such file.
///
/// # Errors
/// As [`read`], and `Invalid` if it is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<Option<String>> {
    let Some(bytes) = read(path, limit)? else { return Ok(None) };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
            Err(Error::new(Kind::Invalid, format!("{} line {line}: not UTF-8", path.display())))
        }
    }
}

/// The entries of a directory, sorted by name; none if there is no such directory.
///
/// # Errors
/// `TooBig` over [`MAX_ENTRIES`]; whatever the system says otherwise.
pub(crate) fn list(path: &Path) -> Result<Vec<PathBuf>> {
    let what = || format!("list {}", path.display());
    let directory = match fs::read_dir(path) {
        Ok(directory) => directory,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(what(), error)),
    };
    let mut paths = Vec::new();
    for entry in directory {
        if paths.len() == MAX_ENTRIES {
            return Err(Error::new(Kind::TooBig, format!("{} has more than {MAX_ENTRIES} entries", path.display())));
        }
        paths.push(entry.map_err(|error| Error::io(what(), error))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The line, from 1, of a byte offset.
pub(crate) fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// Whether an error says that there is nothing of that name.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}
