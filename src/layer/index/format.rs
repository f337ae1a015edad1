//! The head of an index file. Little-endian, [`HEAD`] bytes:
//!
//! | at | what |
//! |---|---|
//! | 0 | magic (8 bytes), version, flags (1: verified), format of the blob, 0 (u32 each) |
//! | 24 | bytes of the blob, bytes of the archive, members dropped (u64 each) |
//! | 48 | for each section its offset and length (u64 each), in the order of [`Section`] |
//! | 224 | the check: blake3 of the whole file with zeros here |
//! | 256 | digest of the blob: a length (u8) and text |
//! | 512 | digest of the archive, empty if it is not known |
//! | 768 | the sections, each on a multiple of 8 |
//!
//! Any change of a table's layout is a new [`VERSION`].

use super::facts::{Facts, Format};
use super::record::{DIRENT, EXTENT, SIZE, slice, u32_at, u64_at};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use std::ops::Range;

/// Bytes of the head.
pub(super) const HEAD: usize = 768;
/// Where the check is.
pub(super) const CHECK: Range<usize> = 224..256;
/// Bytes of a point: input, output, window (u64 each), length of the window (u32), bits (u8), 3 zeros, check (32
/// bytes).
pub(super) const POINT: usize = 64;

const MAGIC: &[u8; 8] = b"regfs\0li";
const VERSION: u32 = 1;
const VERIFIED: u32 = 1;
const TABLE: usize = 48;
const LAYER: usize = 256;
const DIFF_ID: usize = 512;

/// The sections of a file, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Nodes,
    Dirents,
    Names,
    Targets,
    Xattrs,
    Extents,
    Points,
    Windows,
}

impl Section {
    pub(super) const COUNT: usize = 8;

    const ALL: [Section; Section::COUNT] = [
        Section::Nodes,
        Section::Dirents,
        Section::Names,
        Section::Targets,
        Section::Xattrs,
        Section::Extents,
        Section::Points,
        Section::Windows,
    ];

    /// Bytes of one of its records.
    const fn unit(self) -> u64 {
        match self {
            Section::Nodes => SIZE as u64,
            Section::Dirents => DIRENT as u64,
            Section::Extents => EXTENT as u64,
            Section::Points => POINT as u64,
            Section::Names | Section::Targets | Section::Xattrs | Section::Windows => 1,
        }
    }
}

/// Where each section is, in bytes of the file.
pub(super) type Sections = [Range<u64>; Section::COUNT];

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) facts: Facts,
    pub(super) dropped: u64,
    pub(super) sections: Sections,
}

/// Where sections of these lengths go.
pub(super) fn lay_out(lens: [u64; Section::COUNT]) -> Sections {
    let mut at = HEAD as u64;
    lens.map(|len| {
        let start = at.next_multiple_of(8);
        at = start + len;
        start..at
    })
}

impl Head {
    /// The bytes of the head, the check left zero.
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(u32::from(self.facts.verified) * VERIFIED).to_le_bytes());
        bytes[16..20].copy_from_slice(&self.facts.format.code().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.facts.compressed.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.facts.uncompressed.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.dropped.to_le_bytes());
        for (n, section) in self.sections.iter().enumerate() {
            let at = TABLE + 16 * n;
            bytes[at..at + 8].copy_from_slice(&section.start.to_le_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&(section.end - section.start).to_le_bytes());
        }
        let diff_id = self.facts.diff_id.as_ref().map_or("", Digest::as_str);
        for (at, text) in [(LAYER, self.facts.layer.as_str()), (DIFF_ID, diff_id)] {
            // A digest is at most 255 bytes long.
            bytes[at] = text.len() as u8;
            bytes[at + 1..at + 1 + text.len()].copy_from_slice(text.as_bytes());
        }
        bytes
    }

    /// The head of a file of `len` bytes that begins with `bytes` and whose check holds. `Corrupt` if it cannot be,
    /// `Unsupported` for a version that is not known here.
    pub(super) fn decode(bytes: &[u8], len: u64) -> Result<Head> {
        let damaged = || Error::new(Kind::Corrupt, "index is damaged: its head");
        if !is_index(bytes) {
            return Err(damaged());
        }
        if u32_at(bytes, 8) != Some(VERSION) {
            return Err(Error::new(Kind::Unsupported, "index is of another version of regfs"));
        }
        let fields = || {
            let flags = u32_at(bytes, 12).filter(|flags| flags & !VERIFIED == 0)?;
            let facts = Facts {
                layer: digest(bytes, LAYER)??,
                diff_id: digest(bytes, DIFF_ID)?,
                verified: flags == VERIFIED,
                compressed: u64_at(bytes, 24)?,
                uncompressed: u64_at(bytes, 32)?,
                format: Format::of(u32_at(bytes, 16)?)?,
            };
            Some(Head { facts, dropped: u64_at(bytes, 40)?, sections: sections(bytes)? })
        };
        let head = fields().ok_or_else(damaged)?;
        if head.sections.last().is_none_or(|last| last.end != len) {
            return Err(damaged());
        }
        Ok(head)
    }
}

/// Whether bytes begin as an index of any version does.
pub(super) fn is_index(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The sections, each a whole number of records, each where the one before it says.
fn sections(bytes: &[u8]) -> Option<Sections> {
    let mut lens = [0; Section::COUNT];
    let mut end = HEAD as u64;
    for (n, section) in Section::ALL.into_iter().enumerate() {
        let start = u64_at(bytes, TABLE + 16 * n)?;
        let len = u64_at(bytes, TABLE + 16 * n + 8)?;
        if Some(start) != end.checked_next_multiple_of(8) || len % section.unit() != 0 {
            return None;
        }
        end = start.checked_add(len)?;
        lens[n] = len;
    }
    // One node at least, and numbers of 32 bits.
    let nodes = lens[Section::Nodes as usize] / SIZE as u64;
    (1..=u64::from(u32::MAX)).contains(&nodes).then(|| lay_out(lens))
}

/// A digest, if there is one; `None` outside if there is no such text.
fn digest(bytes: &[u8], at: usize) -> Option<Option<Digest>> {
    let len = usize::from(*bytes.get(at)?);
    let text = std::str::from_utf8(slice(bytes, at + 1, len)?).ok()?;
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}
