//! The content of a layer of many small frames, read at random: a read decodes the frames that it needs.

use super::cache::{Cache, Owner, fill};
use super::exact::exact;
use super::table::{Frames, Piece};
use crate::error::{Error, Kind, Result};
use crate::read_at::ReadAt;
use crate::span::Span;
use bytes::Bytes;
use std::sync::Arc;

/// The content of a layer, over its blob. What the blob says is believed as far as its frames have checksums: the
/// blob's own reader checks it.
pub struct Framed {
    blob: Arc<dyn ReadAt>,
    frames: Arc<Frames>,
    cache: Arc<Cache>,
    owner: Owner,
}

impl Framed {
    /// The content of `blob`, whose first pass made `frames`. `Unsupported` if the frames are too large for this
    /// ([`Frames::is_seekable`]), `Corrupt` if the blob has another length.
    pub fn new(blob: Arc<dyn ReadAt>, frames: Arc<Frames>, cache: Arc<Cache>) -> Result<Framed> {
        if !frames.is_seekable() {
            return Err(Error::new(Kind::Unsupported, "the zstd frames are too large to be read one by one"));
        }
        let len = blob.len()?;
        if len != frames.blob_len() {
            let why = format!("the blob has {len} bytes, its table of frames is for {}", frames.blob_len());
            return Err(Error::new(Kind::Corrupt, why));
        }
        let owner = cache.owner();
        Ok(Framed { blob, frames, cache, owner })
    }

    fn decode(&self, piece: &Piece) -> Result<Bytes> {
        let corrupt = |why: &str| Error::new(Kind::Corrupt, format!("zstd frames at bytes {}: {why}", piece.blob));
        let packed = exact(self.blob.as_ref(), piece.blob)?;
        let mut content = vec![0; piece.content.len() as usize];
        let mut decoder = zstd::bulk::Decompressor::new().map_err(|e| Error::with(Kind::Io, "start a decoder", e))?;
        let got = decoder
            .decompress_to_buffer(&packed, &mut content[..])
            .map_err(|error| Error::with(Kind::Corrupt, corrupt("damaged").to_string(), error))?;
        if got != content.len() {
            return Err(corrupt(&format!("{got} bytes of content, not {}", content.len())));
        }
        Ok(content.into())
    }
}

impl ReadAt for Framed {
    fn len(&self) -> Result<u64> {
        Ok(self.frames.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let pieces = self.frames.pieces();
        fill(buf, offset, self.frames.len(), |at| {
            let index = pieces.partition_point(|piece| piece.content.end <= at);
            let piece = pieces.get(index).ok_or_else(|| Error::new(Kind::Corrupt, "the table of frames has a gap"))?;
            let bytes = self.cache.get(self.owner, index as u64, || self.decode(piece))?;
            Ok((piece.content.start, bytes))
        })
    }

    fn is_at_hand(&self, span: Span) -> bool {
        let pieces = self.frames.pieces();
        let first = pieces.partition_point(|piece| piece.content.end <= span.start);
        let mut touched = pieces.iter().enumerate().skip(first).take_while(|(_, piece)| piece.content.start < span.end);
        touched.all(|(index, _)| self.cache.has(self.owner, index as u64))
    }

    fn origin(&self) -> String {
        self.blob.origin()
    }
}
