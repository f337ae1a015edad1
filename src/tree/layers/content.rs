//! The content of a layer that is at hand: its index, and what the index says of how to read the blob.

use super::Shared;
use super::layer::Ready;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::layer::gzip::{self, Inflated, Point, Points};
use crate::layer::index::{Facts, Format, Index};
use crate::layer::zstd::rechunk::{self, Rechunked};
use crate::layer::zstd::{Framed, Frames};
use crate::read_at::ReadAt;
use crate::store::Derived;
use std::sync::Arc;

impl Shared {
    /// The layer whose index is `index`, over `blob`.
    pub(super) fn open(&self, index: Index, blob: Arc<dyn ReadAt>) -> Result<Ready> {
        let index = Arc::new(index);
        let Facts { layer, verified, uncompressed, format, .. } = index.facts().clone();
        let content: Arc<dyn ReadAt> = match format {
            Format::Tar => blob,
            Format::Gzip => {
                let points = Arc::new(Indexed(index.clone()));
                Arc::new(Inflated::new(blob, points, uncompressed, self.inflated.clone(), layer))
            }
            Format::Zstd => {
                let frames = Arc::new(Frames::from_bytes(table(&index)?)?);
                Arc::new(Framed::new(blob, frames, self.decoded.clone())?)
            }
            Format::Copy => {
                let table = Arc::new(rechunk::Table::from_bytes(table(&index)?)?);
                let file = self.store.derived(Derived::Chunks, &layer).ok_or_else(|| gone(&layer))?;
                Arc::new(Rechunked::new(file, table, self.decoded.clone()))
            }
        };
        Ok(Ready { toc: index, content, verified })
    }
}

fn gone(layer: &Digest) -> Error {
    Error::new(Kind::Corrupt, format!("the copy of layer {} is gone from the cache", layer.short()))
}

/// The table that an index keeps for formats without points.
fn table(index: &Index) -> Result<&[u8]> {
    Ok(index.point(0)?.window)
}

/// The points of an index.
struct Indexed(Arc<Index>);

impl Points for Indexed {
    fn find(&self, offset: u64) -> Result<Point> {
        let number = self.0.point_at(offset)?;
        let number = number.ok_or_else(|| Error::new(Kind::Corrupt, "the index has no point to begin at"))?;
        let point = self.0.point(number)?;
        let (next_input, next_output) = match number + 1 < self.0.points() {
            true => self.0.point(number + 1).map(|next| (next.input, next.output))?,
            false => (self.0.facts().compressed, self.0.facts().uncompressed),
        };
        let check = Some(point.check);
        Ok(Point { input: point.input, bits: point.bits, output: point.output, next_input, next_output, check })
    }

    fn window(&self, point: &Point) -> Result<Vec<u8>> {
        let found = self.0.point_at(point.output)?.map(|number| self.0.point(number)).transpose()?;
        match found.filter(|found| found.output == point.output) {
            Some(found) => gzip::unpack(found.window),
            None => Err(Error::new(Kind::Corrupt, "the index has no such point")),
        }
    }
}
