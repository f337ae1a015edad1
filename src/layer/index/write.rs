//! Writing tables as an index file, in one pass over it.

use super::facts::{Facts, Point};
use super::format::{CHECK, HEAD, Head, POINT, Section, lay_out};
use super::tables::Tables;
use crate::error::{Error, Kind, Result};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

/// Bytes written at once.
const BUFFER: usize = 1 << 20;

/// Writes the file, its check last. `Invalid` if points do not ascend by output or the file is not empty.
pub(super) fn write(
    tables: &Tables<'_>,
    dropped: u64,
    facts: &Facts,
    points: &[Point<'_>],
    file: &mut File,
) -> Result<()> {
    if !points.is_sorted_by_key(|point| point.output) {
        return Err(Error::new(Kind::Invalid, "points of the layer do not ascend"));
    }
    if points.iter().any(|point| u32::try_from(point.window.len()).is_err()) {
        return Err(Error::new(Kind::TooBig, "a window of the layer is over 4 GiB"));
    }
    let failed = |error| Error::io("write index", error);
    if file.metadata().map_err(failed)?.len() != 0 {
        return Err(Error::new(Kind::Invalid, "the file for the index is not empty"));
    }
    let windows: usize = points.iter().map(|point| point.window.len()).sum();
    let mut lens = [0; Section::COUNT];
    for (section, bytes) in parts(tables) {
        lens[section as usize] = bytes.len() as u64;
    }
    lens[Section::Points as usize] = (points.len() * POINT) as u64;
    lens[Section::Windows as usize] = windows as u64;

    let head = Head { facts: facts.clone(), dropped, sections: lay_out(lens) };
    let check = through(tables, &head, points, file).map_err(failed)?;
    file.write_all_at(check.as_bytes(), CHECK.start as u64).map_err(failed)
}

/// Writes everything, with zeros for the check, and tells it.
fn through(tables: &Tables<'_>, head: &Head, points: &[Point<'_>], file: &File) -> io::Result<blake3::Hash> {
    let mut to = Sealing { inner: BufWriter::with_capacity(BUFFER, file), hasher: blake3::Hasher::new(), at: 0 };
    to.write_all(&head.encode())?;
    for (section, bytes) in parts(tables) {
        to.pad(head.sections[section as usize].start).and_then(|()| to.write_all(bytes))?;
    }
    to.pad(head.sections[Section::Points as usize].start)?;
    let mut window = 0;
    for point in points {
        to.write_all(&record(point, window))?;
        window += point.window.len() as u64;
    }
    to.pad(head.sections[Section::Windows as usize].start)?;
    for point in points {
        to.write_all(point.window)?;
    }
    to.flush()?;
    Ok(to.hasher.finalize())
}

fn parts<'a>(tables: &Tables<'a>) -> [(Section, &'a [u8]); 6] {
    [
        (Section::Nodes, tables.nodes),
        (Section::Dirents, tables.dirents),
        (Section::Names, tables.names),
        (Section::Targets, tables.targets),
        (Section::Xattrs, tables.xattrs),
        (Section::Extents, tables.extents),
    ]
}

fn record(point: &Point<'_>, window: u64) -> [u8; POINT] {
    let mut bytes = [0; POINT];
    bytes[0..8].copy_from_slice(&point.input.to_le_bytes());
    bytes[8..16].copy_from_slice(&point.output.to_le_bytes());
    bytes[16..24].copy_from_slice(&window.to_le_bytes());
    bytes[24..28].copy_from_slice(&(point.window.len() as u32).to_le_bytes());
    bytes[28] = point.bits;
    bytes[32..64].copy_from_slice(&point.check);
    bytes
}

/// The check of a whole file whose head is `head` and whose rest `hasher` is then given.
pub(super) fn start_check(head: &[u8; HEAD]) -> blake3::Hasher {
    let mut head = *head;
    head[CHECK].fill(0);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head);
    hasher
}

/// Hashes what it writes.
struct Sealing<W> {
    inner: W,
    hasher: blake3::Hasher,
    at: u64,
}

impl<W: Write> Sealing<W> {
    /// Zeros up to `at`, less than 8 of them.
    fn pad(&mut self, at: u64) -> io::Result<()> {
        let missing = at.saturating_sub(self.at).min(8) as usize;
        self.write_all(&[0; 8][..missing])
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
