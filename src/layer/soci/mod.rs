//! SOCI's zTOC (soci-snapshotter, ztoc v0.9): someone else's index of a gzip or tar layer: files, points where inflating
//! can start, digests of the compressed spans between them.
//!
//! Promises: what is parsed adds up, and memory stays within what the blob has; hostile input is an error. Does not
//! know whether it is true: names, offsets and windows are the publisher's word, and a window can make bytes that are
//! in no layer. Who uses it checks spans against their digests, headers against entries (each entry has the place of
//! its tar header), and the whole against its own index once that is there. Sparse files are refused where PAX records
//! tell of them; that the header of one is of the old GNU type is only seen in the header.

mod entries;
mod flat;
mod points;

pub use points::{Point, Points};

use crate::error::{Error, Kind, Result};
use crate::layer::entry::Entry;
use bytes::Bytes;
use flat::Table;

/// The largest zTOC: a layer of 30 GiB in spans of 4 MiB.
pub const MAX_ZTOC: usize = 256 << 20;
/// The only version that there is.
const VERSION: &[u8] = b"0.9";
/// The fields of the root, by their order in the schema.
mod field {
    pub(super) const VERSION: u16 = 0;
    pub(super) const PACKED: u16 = 2;
    pub(super) const UNPACKED: u16 = 3;
    pub(super) const TOC: u16 = 4;
    pub(super) const COMPRESSION: u16 = 5;
}

/// What a zTOC says of a layer.
#[derive(Clone, Debug)]
pub struct Ztoc {
    /// The length of the layer's blob.
    pub packed: u64,
    /// The length of the archive in it.
    pub unpacked: u64,
    /// The members, by their place in the archive, each with where its headers start.
    pub entries: Vec<(Entry, u64)>,
    /// How to get into it.
    pub points: Points,
}

/// Parses a zTOC, whose digest is the caller's to check. `Corrupt` for one that is malformed or does not add up,
/// `TooBig` over a limit, `Unsupported` for other versions.
pub fn parse(blob: &Bytes) -> Result<Ztoc> {
    parse_inner(blob).map_err(|error| error.context("zTOC"))
}

fn parse_inner(blob: &Bytes) -> Result<Ztoc> {
    if blob.len() > MAX_ZTOC {
        let why = format!("{} bytes are over the limit of {} MiB", blob.len(), MAX_ZTOC >> 20);
        return Err(Error::new(Kind::TooBig, why));
    }
    let root = Table::root(blob)?;
    let version = root.bytes(field::VERSION)?;
    if version != VERSION {
        let shown: String = crate::name::escape(version).chars().take(40).collect();
        return Err(Error::new(Kind::Unsupported, format!("version \"{shown}\" is not known")));
    }
    let (packed, unpacked) = (length(&root, field::PACKED)?, length(&root, field::UNPACKED)?);
    let toc = root.table(field::TOC)?.ok_or_else(|| corrupt("has no table of contents"))?;
    let compression = root.table(field::COMPRESSION)?.ok_or_else(|| corrupt("has no points"))?;
    let entries = entries::parse(&toc, unpacked, blob.len())?;
    let points = points::parse(&compression, blob, packed, unpacked)?;
    Ok(Ztoc { packed, unpacked, entries, points })
}

fn length(table: &Table<'_>, id: u16) -> Result<u64> {
    u64::try_from(table.i64(id)?).map_err(|_| corrupt("has a negative number where none can be"))
}

fn corrupt(why: &str) -> Error {
    Error::new(Kind::Corrupt, why)
}

#[cfg(test)]
mod tests;
