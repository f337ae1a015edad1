//! Files of a layer with a table of contents: a read unpacks the chunks that it needs, and serves what was checked.

use super::inflate::inflate;
use super::{Check, Chunk, Packing};
use crate::error::{Error, Kind, Result};
use crate::layer::zstd::cache::{Cache, Owner, fill};
use crate::read_at::ReadAt;
use std::ops::Range;
use std::sync::Arc;

/// What the files of one layer read from.
pub struct Source {
    blob: Arc<dyn ReadAt>,
    packing: Packing,
    chunks: Vec<Chunk>,
    cache: Arc<Cache>,
    owner: Owner,
}

impl Source {
    /// The chunks of a table of contents, and the blob that they are in.
    pub fn new(blob: Arc<dyn ReadAt>, packing: Packing, chunks: Vec<Chunk>, cache: Arc<Cache>) -> Arc<Source> {
        let owner = cache.owner();
        Arc::new(Source { blob, packing, chunks, cache, owner })
    }

    /// The file of `size` bytes that is made of the chunks of these numbers. `Corrupt` if they are not a file of that
    /// size.
    pub fn file(self: &Arc<Source>, range: Range<u32>, size: u64) -> Result<Chunks> {
        let range = range.start as usize..range.end as usize;
        let chunks = self.chunks.get(range.clone()).ok_or_else(|| bent("has chunks that are not there"))?;
        let mut made = 0u64;
        for chunk in chunks {
            if chunk.at != made || chunk.len == 0 {
                return Err(bent("has chunks that do not follow each other"));
            }
            made = made.checked_add(chunk.len).ok_or_else(|| bent("is too long"))?;
        }
        if made != size {
            return Err(bent("has chunks of another length"));
        }
        Ok(Chunks { source: self.clone(), range, size })
    }
}

/// One file. Each chunk is checked before a byte of it is served.
pub struct Chunks {
    source: Arc<Source>,
    range: Range<usize>,
    size: u64,
}

impl ReadAt for Chunks {
    fn len(&self) -> Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let Source { blob, packing, chunks, cache, owner } = &*self.source;
        let chunks = chunks.get(self.range.clone()).unwrap_or_default();
        let want = buf.len() as u64;
        fill(buf, offset, self.size, |at| {
            let index = chunks.partition_point(|chunk| chunk.at <= at).saturating_sub(1);
            let chunk = chunks.get(index).ok_or_else(|| bent("has no chunks"))?;
            if chunk.check == Check::Zeros {
                // A hole may be as long as it likes: only what is asked for is made.
                let left = (chunk.at + chunk.len).saturating_sub(at);
                return Ok((at, vec![0; left.min(want) as usize].into()));
            }
            let key = (self.range.start + index) as u64;
            Ok((chunk.at, cache.get(*owner, key, || inflate(blob.as_ref(), *packing, chunk))?))
        })
    }

    fn origin(&self) -> String {
        self.source.blob.origin()
    }
}

fn bent(why: &str) -> Error {
    Error::new(Kind::Corrupt, format!("a file of the table of contents {why}"))
}
