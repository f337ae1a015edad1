//! The content of a layer that is at hand: its index, and what the index says of how to read the blob.

use super::layer::{Layer, Ready};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::layer::gzip::{self, Inflated, Point, Points};
use crate::layer::index::{Facts, Format, Index};
use crate::layer::zstd::rechunk::{self, Rechunked};
use crate::layer::zstd::{Framed, Frames};
use crate::read_at::ReadAt;
use crate::store::Blob;
use std::fs::File;
use std::sync::{Arc, Weak};

impl Ready {
    /// `layer`, whose index is `index`, over `blob`, or over `copy` if that is how it is read.
    pub(super) fn open(layer: &Arc<Layer>, index: Index, copy: Option<File>, blob: Arc<dyn ReadAt>) -> Result<Ready> {
        let shared = &layer.shared;
        let index = Arc::new(index);
        let Facts { layer: digest, verified, uncompressed, format, .. } = index.facts().clone();
        let content: Arc<dyn ReadAt> = match format {
            Format::Tar => blob,
            Format::Gzip => {
                let points = Arc::new(Indexed(index.clone()));
                Arc::new(Inflated::new(blob, points, uncompressed, shared.inflated.clone(), digest))
            }
            Format::Zstd => {
                let frames = Arc::new(Frames::from_bytes(table(&index)?)?);
                Arc::new(Framed::new(blob, frames, shared.decoded.clone())?)
            }
            Format::Copy => {
                let table = Arc::new(rechunk::Table::from_bytes(table(&index)?)?);
                let file = copy.ok_or_else(|| gone(&digest))?;
                let copy = Rechunked::new(file, table, shared.decoded.clone());
                Arc::new(Mended { layer: Arc::downgrade(layer), generation: layer.generation(), copy })
            }
        };
        Ok(Ready { toc: index, content, verified })
    }
}

/// The content of a layer that is kept as a copy; a copy that turns out damaged is made anew, once for each read.
struct Mended {
    layer: Weak<Layer>,
    generation: u64,
    copy: Rechunked,
}

impl ReadAt for Mended {
    fn len(&self) -> Result<u64> {
        self.copy.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let error = match self.copy.read_at(buf, offset) {
            Err(error) if error.kind() == Kind::Corrupt => error,
            done => return done,
        };
        let Some(layer) = self.layer.upgrade() else { return Err(error) };
        log::warn!("the copy of layer {} is made anew: {error}", layer.digest());
        layer.spoiled(self);
        // A handle that keeps this one open comes by here at each of its reads.
        let end = offset.saturating_add(buf.len() as u64).min(self.len()?);
        let next = layer.content(end, self.generation)?;
        match std::ptr::addr_eq(Arc::as_ptr(&next), self) {
            true => Err(error),
            false => next.read_at(buf, offset),
        }
    }
}

/// The content of a layer that is still being read: nothing of it is served once it was found not to be what its
/// digest names, whatever is still in memory.
pub(super) struct Unchecked {
    pub(super) blob: Arc<Blob>,
    pub(super) content: Inflated,
}

impl ReadAt for Unchecked {
    fn len(&self) -> Result<u64> {
        self.content.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let got = self.content.read_at(buf, offset)?;
        match self.blob.was_wrong() {
            true => Err(Error::new(Kind::Corrupt, format!("read blob {}: it was wrong before", self.blob.digest()))),
            false => Ok(got),
        }
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
