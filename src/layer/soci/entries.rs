//! The members of the archive that a zTOC tells of.

use super::flat::Table;
use super::{corrupt, length};
use crate::error::{Error, Kind, Result};
use crate::layer::chunked::MAX_RECORDS;
use crate::layer::entry::{self, Entry, Extent, Time};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes of a block of tar.
const BLOCK: u64 = 512;
/// The fields of a table of contents and of a file, by their order in the schema.
mod field {
    pub(super) const METADATA: u16 = 0;
    pub(super) const NAME: u16 = 0;
    pub(super) const TYPE: u16 = 1;
    pub(super) const OFFSET: u16 = 2;
    pub(super) const SIZE: u16 = 3;
    pub(super) const TARGET: u16 = 4;
    pub(super) const MODE: u16 = 5;
    pub(super) const UID: u16 = 6;
    pub(super) const GID: u16 = 7;
    pub(super) const MTIME: u16 = 10;
    pub(super) const MAJOR: u16 = 11;
    pub(super) const MINOR: u16 = 12;
    pub(super) const PAX: u16 = 13;
}

/// Bytes that may still be taken out: parts of a buffer can be used many times, and an honest one does not.
struct Budget(usize);

impl Budget {
    fn take<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        self.spend(bytes.len())?;
        Ok(bytes)
    }

    fn spend(&mut self, count: usize) -> Result<()> {
        self.0 = self.0.checked_sub(count).ok_or_else(|| corrupt("it says more than it holds"))?;
        Ok(())
    }
}

/// The entries, by their place, each with where its headers start.
pub(super) fn parse(toc: &Table<'_>, unpacked: u64, blob_len: usize) -> Result<Vec<(Entry, u64)>> {
    let metadata = toc.vector(field::METADATA)?;
    if metadata.len() > MAX_RECORDS {
        return Err(Error::new(Kind::TooBig, format!("more than {MAX_RECORDS} entries")));
    }
    let mut budget = Budget(blob_len);
    let mut placed = Vec::new();
    for table in metadata.tables() {
        // An honest table has its offset in the vector, an offset of fields, and some of them.
        budget.spend(12)?;
        placed.push(file(&table?, &mut budget)?);
    }
    placed.sort_by_key(|(_, offset, _)| *offset);
    let mut next = 0;
    let mut entries = Vec::with_capacity(placed.len());
    for (entry, offset, size) in placed {
        let header = next;
        let end = offset.checked_add(size).filter(|end| *end <= unpacked);
        let fits = offset.checked_sub(header).is_some_and(|len| len >= BLOCK && len.is_multiple_of(BLOCK));
        let end = end.filter(|_| fits).ok_or_else(|| {
            let name: String = crate::name::escape(&entry.path).chars().take(200).collect();
            corrupt(&format!("file \"{name}\" at byte {offset} cannot be there"))
        })?;
        next = end.div_ceil(BLOCK).saturating_mul(BLOCK);
        entries.push((entry, header));
    }
    Ok(entries)
}

/// An entry, where its content is in the archive, and how much it takes there.
fn file(table: &Table<'_>, budget: &mut Budget) -> Result<(Entry, u64, u64)> {
    let kind = match table.bytes(field::TYPE)? {
        b"reg" => entry::Kind::File,
        b"dir" => entry::Kind::Dir,
        b"symlink" => entry::Kind::Symlink,
        b"hardlink" => entry::Kind::Hardlink,
        b"char" => entry::Kind::Char,
        b"block" => entry::Kind::Block,
        b"fifo" => entry::Kind::Fifo,
        _ => return Err(corrupt("a type that is not known")),
    };
    let (offset, taken) = (length(table, field::OFFSET)?, length(table, field::SIZE)?);
    let size = if kind == entry::Kind::File { taken } else { 0 };
    let device = |id| u32::try_from(table.i64(id)?).map_err(|_| corrupt("a device is out of range"));
    let entry = Entry {
        path: budget.take(table.bytes(field::NAME)?)?.to_vec(),
        kind,
        mode: (table.i64(field::MODE)? & 0o7777) as u32,
        uid: table.u32(field::UID)?,
        gid: table.u32(field::GID)?,
        mtime: time(table.bytes(field::MTIME)?)?,
        size,
        extents: if size == 0 { Vec::new() } else { vec![Extent { at: 0, offset, len: size }] },
        target: budget.take(table.bytes(field::TARGET)?)?.to_vec(),
        device: (device(field::MAJOR)?, device(field::MINOR)?),
        xattrs: xattrs(table, budget)?,
    };
    Ok((entry, offset, taken))
}

fn time(text: &[u8]) -> Result<Time> {
    // Go's zero time, which archives show as the epoch.
    if text.is_empty() || text.starts_with(b"0001-01-01T00:00:00") {
        return Ok(Time::default());
    }
    let time = std::str::from_utf8(text).ok().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let time = time.ok_or_else(|| corrupt("a time is malformed"))?;
    Ok(Time { secs: time.unix_timestamp(), nanos: time.nanosecond() })
}

/// The extended attributes among the PAX records.
fn xattrs(table: &Table<'_>, budget: &mut Budget) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut xattrs = Vec::new();
    for record in table.vector(field::PAX)?.tables() {
        budget.spend(12)?;
        let record = record?;
        let (key, value) = (record.bytes(0)?, record.bytes(1)?);
        if key.starts_with(b"GNU.sparse.") {
            return Err(Error::new(Kind::Unsupported, "sparse files cannot be told from it"));
        }
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            xattrs.push((budget.take(name)?.to_vec(), budget.take(value)?.to_vec()));
        }
    }
    Ok(xattrs)
}
