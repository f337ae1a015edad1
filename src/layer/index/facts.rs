//! What an index knows of its layer besides the files in it.

use crate::digest::Digest;

/// What was learned of a layer as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The digest of the layer's blob.
    pub layer: Digest,
    /// The digest of its archive, uncompressed (OCI's diffID), where all of it was read.
    pub diff_id: Option<Digest>,
    /// Whether what was read was checked against the digest of the layer.
    pub verified: bool,
    /// Bytes of the blob.
    pub compressed: u64,
    /// Bytes of the archive.
    pub uncompressed: u64,
    /// How the blob is read.
    pub format: Format,
}

/// How the content of a layer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The blob is the archive.
    Tar,
    /// The blob is gzip, read at points.
    Gzip,
    /// The blob is zstd in frames that are small enough to be read one by one.
    Zstd,
    /// From a copy of the archive beside the index: the blob has no places to begin again at.
    Copy,
}

impl Format {
    pub(super) const fn code(self) -> u32 {
        match self {
            Format::Tar => 0,
            Format::Gzip => 1,
            Format::Zstd => 2,
            Format::Copy => 3,
        }
    }

    pub(super) const fn of(code: u32) -> Option<Format> {
        Some(match code {
            0 => Format::Tar,
            1 => Format::Gzip,
            2 => Format::Zstd,
            3 => Format::Copy,
            _ => return None,
        })
    }
}

/// A place where decompression can begin. What its fields mean is the business of who made it; an index keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point<'a> {
    /// Offset in the blob.
    pub input: u64,
    /// Bits of the byte before `input` that still count.
    pub bits: u8,
    /// Offset in the archive; ascending from point to point.
    pub output: u64,
    /// What decompression must know of the output before.
    pub window: &'a [u8],
    /// The check of the bytes of the blob up to the next point.
    pub check: [u8; 32],
}
