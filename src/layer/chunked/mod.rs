//! Layers that bring their own table of contents: eStargz and zstd:chunked. The table names chunks of files, each
//! packed on its own in the blob, each with a digest.
//!
//! Here is what both share, and zstd:chunked itself ([`open`]; containers/storage's dialect and stargz-snapshotter's).
//! Promises: the table is what its annotation names, and a byte is served only from a chunk whose digest held; a table
//! that lies is refused when it is read or when the chunk is. So much is the publisher's word: names, modes, times, and
//! which chunks make a file. tar-split is not read: the table has all that is shown. Where a table is refused, the layer
//! can still be read as the plain gzip or zstd that it also is.

mod chunks;
mod inflate;
mod json;
mod open;
mod record;
mod table;

pub use chunks::{Chunks, Source};
pub use inflate::inflate;
pub use json::parse;
pub use open::{Position, detect, open};

use super::entry::Entry;
use crate::span::Span;
use std::ops::Range;

/// The longest table of contents, packed or not: 150 MiB, the limit of containers/storage.
pub const MAX_TOC: u64 = 150 << 20;
/// The most records of a table: files and chunks.
pub const MAX_RECORDS: usize = 10_000_000;
/// The most content of a chunk, and the most before it in what it is packed with: a chunk is held in memory whole.
/// Writers make chunks of 4 MiB at most, or of about 64 KiB.
pub const MAX_CHUNK: u64 = 64 << 20;

/// What a table of contents says. [`Entry::extents`] are empty: content is in chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TocLayer {
    /// The files, in the order of the table, each with its chunks: numbers in [`TocLayer::chunks`]. Chunks are ascending
    /// and cover the file's size without gaps.
    pub entries: Vec<(Entry, Range<u32>)>,
    /// All chunks.
    pub chunks: Vec<Chunk>,
    /// How chunks are packed.
    pub packing: Packing,
}

/// How the chunks of a layer are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// Each in a gzip member.
    Gzip,
    /// Each in a zstd frame.
    Zstd,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it is in the file.
    pub at: u64,
    /// How many bytes of the file it is; not 0, at most [`MAX_CHUNK`].
    pub len: u64,
    /// Where it is, packed, in the blob. What is packed there may go on after it. Empty for [`Check::Zeros`].
    pub blob: Span,
    /// How many unpacked bytes come before it there; at most [`MAX_CHUNK`].
    pub skip: u64,
    /// What its bytes must be.
    pub check: Check,
}

/// What the bytes of a chunk must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Those that have this sha256 digest.
    Sha256([u8; 32]),
    /// All zero: nothing is read.
    Zeros,
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod tests;
