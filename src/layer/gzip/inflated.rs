//! The content of a gzip layer, read at any offset through its checkpoints.
//!
//! Promises: a read inflates the spans it touches and reads their compressed bytes, no others; reading on inflates
//! nothing twice as long as the cache keeps what is being read. Readers of different spans inflate in parallel.

use super::cache::{Cache, Key};
use super::checkpoint::{Point, Points};
use super::resume;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::read_at::{ReadAt, Sink};
use crate::span::Span;
use bytes::Bytes;
use std::sync::Arc;

/// The uncompressed bytes of a gzip blob.
pub struct Inflated {
    blob: Arc<dyn ReadAt>,
    points: Arc<dyn Points>,
    size: u64,
    cache: Arc<Cache>,
    layer: Digest,
}

impl Inflated {
    /// The content, `size` bytes, of `blob`, whose digest is `layer`.
    pub fn new(
        blob: Arc<dyn ReadAt>,
        points: Arc<dyn Points>,
        size: u64,
        cache: Arc<Cache>,
        layer: Digest,
    ) -> Inflated {
        Inflated { blob, points, size, cache, layer }
    }

    /// Inflates the span that holds `offset`, if the cache has not got it: a reader's next one, on another thread.
    /// Gives the end of that span; past the end of the content it gives `offset` and does nothing.
    pub fn prepare(&self, offset: u64) -> Result<u64> {
        if offset >= self.size {
            return Ok(offset);
        }
        Ok(self.span(offset)?.0.next_output)
    }

    /// The span that holds `offset`, and its content.
    fn span(&self, offset: u64) -> Result<(Point, Bytes)> {
        let point = self.points.find(offset)?;
        if !(point.output..point.next_output).contains(&offset) {
            return Err(Error::new(Kind::Corrupt, format!("no checkpoint leads to byte {offset} of the content")));
        }
        let key = Key { layer: self.layer.clone(), point };
        let bytes = self.cache.get(&key, || resume::inflate(&*self.blob, &*self.points, &point))?;
        Ok((point, bytes))
    }

    /// The content from `at` to the end of its span.
    fn from(&self, at: u64) -> Result<Bytes> {
        let (point, bytes) = self.span(at)?;
        let skip = at.saturating_sub(point.output);
        match usize::try_from(skip).ok().filter(|skip| *skip < bytes.len()) {
            Some(skip) => Ok(bytes.slice(skip..)),
            None => Err(Error::new(Kind::Corrupt, format!("no checkpoint leads to byte {at} of the content"))),
        }
    }
}

impl ReadAt for Inflated {
    fn len(&self) -> Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let want = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..want).filter(|rest| !rest.is_empty()) {
            let bytes = self.from(offset.saturating_add(done as u64))?;
            let count = rest.len().min(bytes.len());
            rest[..count].copy_from_slice(&bytes[..count]);
            done += count;
        }
        Ok(done)
    }

    fn stream(&self, span: Span, sink: Sink<'_>) -> Result<()> {
        let end = span.end.min(self.size);
        let mut at = span.start;
        while at < end {
            let mut bytes = self.from(at)?;
            bytes.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
            sink(at, &bytes)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn origin(&self) -> String {
        self.blob.origin()
    }
}
