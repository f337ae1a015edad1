//! Where the chunks of a copy are, and the check of each.

use super::CHUNK;
use crate::error::{Error, Kind, Result};
use crate::layer::zstd::MAX_CONTENT;
use crate::layer::zstd::seal;
use crate::span::Span;

/// Says what the bytes are and in which version.
const MAGIC: &[u8; 8] = b"rfschk\0\x01";

/// The chunks of a copy, in order, one after the other in the file: 40 bytes for each 1 MiB of content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub(super) len: u64,
    /// Where each chunk ends in the file, and the blake3 hash of its bytes there.
    pub(super) chunks: Vec<(u64, [u8; 32])>,
}

impl Table {
    /// The length of the content.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The length of the file.
    pub fn file_len(&self) -> u64 {
        self.chunks.last().map_or(0, |(end, _)| *end)
    }

    /// Where chunk `index` is in the file, its check, and how long its content is.
    pub(super) fn chunk(&self, index: usize) -> Option<(Span, &[u8; 32], usize)> {
        let (end, check) = self.chunks.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.chunks.get(before)?.0,
            None => 0,
        };
        let content = (self.len - (index as u64 * CHUNK as u64)).min(CHUNK as u64) as usize;
        Some((Span::new(start, *end), check, content))
    }

    /// The table as bytes that tell their version and whether they are whole.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = seal::Writer::new(MAGIC, 16 + self.chunks.len() * 40);
        to.number(self.len);
        to.number(self.chunks.len() as u64);
        for (end, check) in &self.chunks {
            to.number(*end);
            to.hash(check);
        }
        to.finish()
    }

    /// The table of such bytes; `Corrupt` if they are not whole or do not add up.
    pub fn from_bytes(bytes: &[u8]) -> Result<Table> {
        let mut from = seal::Reader::new(MAGIC, bytes, "table of chunks")?;
        let (len, count) = (from.number()?, from.count(40)?);
        if len > MAX_CONTENT || len.div_ceil(CHUNK as u64) != count as u64 {
            return Err(Error::new(Kind::Corrupt, format!("the table of chunks has {count} for {len} bytes")));
        }
        let mut table = Table { len, chunks: Vec::with_capacity(count) };
        for _ in 0..count {
            let (end, check) = (from.number()?, from.hash()?);
            // A chunk is never longer than its content.
            if end <= table.file_len() || end - table.file_len() > CHUNK as u64 {
                return Err(Error::new(Kind::Corrupt, "the table of chunks is not in order"));
            }
            table.chunks.push((end, check));
        }
        Ok(table)
    }
}
