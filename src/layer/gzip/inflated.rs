//! The content of a gzip layer, read at any offset through its checkpoints.
//!
//! Promises: a read inflates the spans it touches and reads their compressed bytes, no others; but who goes on from span
//! to span finds the next one inflated, or under way on another thread. Reading on inflates nothing twice
//! as long as the cache keeps what is being read. Readers of different spans inflate in parallel.

use super::cache::{Cache, Key};
use super::checkpoint::{Point, Points};
use super::resume;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::read_at::{ReadAt, Sink};
use crate::span::Span;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// The uncompressed bytes of a gzip blob.
pub struct Inflated {
    spans: Arc<Spans>,
    size: u64,
    cache: Arc<Cache>,
    run: Mutex<Run>,
}

/// Spans read one after the other.
#[derive(Default)]
struct Run {
    /// Where the last one ends.
    next: u64,
    /// How many there were since somebody read elsewhere.
    len: u32,
}

/// How many spans in a row are reading on: a small file may lie in two.
const READING_ON: u32 = 3;

/// Where its spans come from.
struct Spans {
    blob: Arc<dyn ReadAt>,
    points: Arc<dyn Points>,
    layer: Digest,
}

impl Spans {
    fn key(&self, point: Point) -> Key {
        Key { layer: self.layer.clone(), point }
    }

    /// The span that holds `offset`, and its content.
    fn get(&self, cache: &Cache, offset: u64) -> Result<(Point, Bytes)> {
        let point = self.points.find(offset)?;
        if !(point.output..point.next_output).contains(&offset) {
            return Err(Error::new(Kind::Corrupt, format!("no checkpoint leads to byte {offset} of the content")));
        }
        let bytes = cache.get(&self.key(point), || resume::inflate(&*self.blob, &*self.points, &point))?;
        Ok((point, bytes))
    }
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
        Inflated { spans: Arc::new(Spans { blob, points, layer }), size, cache, run: Mutex::default() }
    }

    /// The content from `at` to the end of its span.
    fn from(&self, at: u64) -> Result<Bytes> {
        let (point, bytes) = self.spans.get(&self.cache, at)?;
        if self.is_reading_on(&point) {
            self.prepare(point.next_output);
        }
        let skip = at.saturating_sub(point.output);
        match usize::try_from(skip).ok().filter(|skip| *skip < bytes.len()) {
            Some(skip) => Ok(bytes.slice(skip..)),
            None => Err(Error::new(Kind::Corrupt, format!("no checkpoint leads to byte {at} of the content"))),
        }
    }

    /// Whether `point` is where somebody who reads on has just come to.
    fn is_reading_on(&self, point: &Point) -> bool {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if run.next == point.next_output {
            return false;
        }
        run.len = if run.next == point.output { run.len.saturating_add(1) } else { 1 };
        run.next = point.next_output;
        run.len >= READING_ON
    }

    /// Has the span that holds `offset` inflated by another thread, if that is free, and if what is being read now stays
    /// in the cache beside it.
    fn prepare(&self, offset: u64) {
        if offset >= self.size {
            return;
        }
        let (spans, cache) = (self.spans.clone(), Arc::downgrade(&self.cache));
        self.cache.ahead().run(move || {
            let Some(cache) = cache.upgrade() else { return };
            let fits =
                |point: &Point| point.next_output.saturating_sub(point.output).saturating_mul(4) <= cache.budget();
            if spans.points.find(offset).is_ok_and(|point| fits(&point)) {
                // Whoever reads it is told of a failure.
                let _ = spans.get(&cache, offset);
            }
        });
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

    fn is_at_hand(&self, span: Span) -> bool {
        let end = span.end.min(self.size);
        let mut at = span.start;
        while at < end {
            match self.spans.points.find(at) {
                Ok(point) if point.next_output > at && self.cache.has(&self.spans.key(point)) => at = point.next_output,
                _ => return false,
            }
        }
        true
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
        self.spans.blob.origin()
    }
}
