//! Reads the copy: a chunk is read, checked, decoded, served.

use super::CHUNK;
use super::table::Table;
use crate::error::{Error, Kind, Result};
use crate::layer::zstd::cache::{Cache, Owner, fill};
use crate::read_at::ReadAt;
use crate::span::Span;
use bytes::Bytes;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The content of a layer, from its copy. `Corrupt` where the file is not what was written: the copy is then of no use.
pub struct Rechunked {
    file: File,
    table: Arc<Table>,
    cache: Arc<Cache>,
    owner: Owner,
}

impl Rechunked {
    /// The content of the copy in `file`, which `table` is of.
    pub fn new(file: File, table: Arc<Table>, cache: Arc<Cache>) -> Rechunked {
        let owner = cache.owner();
        Rechunked { file, table, cache, owner }
    }

    fn decode(&self, index: usize) -> Result<Bytes> {
        let corrupt = |why: &str| Error::new(Kind::Corrupt, format!("chunk {index} of the copy of a layer {why}"));
        let (span, check, len) = self.table.chunk(index).ok_or_else(|| corrupt("is not in its table"))?;
        let mut packed = vec![0; span.len() as usize];
        self.file.read_exact_at(&mut packed, span.start).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => corrupt("is missing"),
            _ => Error::io("read the copy of a layer", error),
        })?;
        if blake3::hash(&packed).as_bytes() != check {
            return Err(corrupt("is damaged"));
        }
        if packed.len() == len {
            return Ok(packed.into());
        }
        let content = zstd::bulk::decompress(&packed, len).map_err(|_| corrupt("cannot be decoded"))?;
        if content.len() != len {
            return Err(corrupt("has another length"));
        }
        Ok(content.into())
    }
}

impl ReadAt for Rechunked {
    fn len(&self) -> Result<u64> {
        Ok(self.table.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        fill(buf, offset, self.table.len(), |at| {
            let index = at / CHUNK as u64;
            let bytes = self.cache.get(self.owner, index, || self.decode(index as usize))?;
            Ok((index * CHUNK as u64, bytes))
        })
    }

    fn is_at_hand(&self, span: Span) -> bool {
        let (first, end) = (span.start / CHUNK as u64, span.end.min(self.table.len()).div_ceil(CHUNK as u64));
        (first..end).all(|index| self.cache.has(self.owner, index))
    }
}
