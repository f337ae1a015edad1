//! One chunk: fetched, unpacked, checked.

use super::{Check, Chunk, MAX_CHUNK, Packing};
use crate::error::{Error, Kind, Result};
use crate::layer::zstd::MAX_WINDOW_LOG;
use crate::read_at::ReadAt;
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufReader, Read};

/// The least and the most that is asked of the blob at once.
const STEPS: (u64, u64) = (512, 4 << 20);

/// The content of `chunk`, out of the layer's `blob`. It is [`Chunk::len`] bytes and has the digest, or it is an error:
/// `Corrupt`, `TooBig`, or what the blob returns. No more is unpacked than the chunk claims, and no more is read than
/// that needs.
pub fn inflate(blob: &dyn ReadAt, packing: Packing, chunk: &Chunk) -> Result<Bytes> {
    let corrupt = |why: &str| Error::new(Kind::Corrupt, format!("chunk at bytes {}: {why}", chunk.blob));
    if chunk.len.max(chunk.skip) > MAX_CHUNK {
        return Err(Error::new(Kind::TooBig, format!("a chunk is over the limit of {} MiB", MAX_CHUNK >> 20)));
    }
    let Check::Sha256(expected) = chunk.check else { return Ok(vec![0; chunk.len as usize].into()) };
    let unpacked = chunk.skip + chunk.len;
    // What does not compress takes a little more than it is; the rest of the range belongs to others.
    let enough = (unpacked + unpacked / 64 + 64).clamp(STEPS.0, STEPS.1).min(chunk.blob.len().max(1));
    let packed = Packed { blob, at: chunk.blob.start, end: chunk.blob.end };
    let packed = BufReader::with_capacity(enough as usize, packed);
    let mut content = Vec::with_capacity(chunk.len as usize);
    let read = match packing {
        Packing::Gzip => cut(GzDecoder::new(packed), chunk, &mut content),
        Packing::Zstd => zstd::stream::read::Decoder::with_buffer(packed).and_then(|mut decoder| {
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            cut(decoder, chunk, &mut content)
        }),
    };
    read.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(cause) => cause.clone(),
        None => Error::with(Kind::Corrupt, corrupt("damaged").to_string(), error),
    })?;
    if content.len() as u64 != chunk.len {
        return Err(corrupt(&format!("{} bytes, not {}", content.len(), chunk.len)));
    }
    if Sha256::digest(&content).as_slice() != expected {
        return Err(corrupt("its content has another digest than the table of contents says"));
    }
    Ok(content.into())
}

/// Reads what the chunk is of what comes out of its member or frame.
fn cut(mut from: impl Read, chunk: &Chunk, content: &mut Vec<u8>) -> io::Result<()> {
    let skipped = io::copy(&mut from.by_ref().take(chunk.skip), &mut io::sink())?;
    if skipped == chunk.skip {
        from.take(chunk.len).read_to_end(content)?;
    }
    Ok(())
}

/// A range of a blob as a stream. Errors of the blob are passed on inside.
struct Packed<'a> {
    blob: &'a dyn ReadAt,
    at: u64,
    end: u64,
}

impl Read for Packed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.end - self.at).map_or(buf.len(), |left| left.min(buf.len()));
        let buf = buf.get_mut(..want).unwrap_or_default();
        if buf.is_empty() {
            return Ok(0);
        }
        let got = self.blob.read_at(buf, self.at).map_err(io::Error::other)?;
        self.at += got as u64;
        Ok(got)
    }
}
