//! zstd:chunked: the annotations of a layer name a frame with the table of contents, and its digest.

use super::{MAX_TOC, Packing, TocLayer, parse};
use crate::digest::{Digest, verify};
use crate::error::{Error, Kind, Result};
use crate::layer::zstd::MAX_WINDOW_LOG;
use crate::layer::zstd::exact::exact;
use crate::name::escape;
use crate::read_at::ReadAt;
use crate::span::Span;
use std::collections::BTreeMap;
use std::io::Read as _;

/// The dialects: containers/storage, stargz-snapshotter.
const DIALECTS: [&str; 2] = ["io.github.containers.zstd-chunked.", "io.containers.zstd-chunked."];
/// The only type of table that there is.
const CRFS: u64 = 1;
/// The head of the skippable frame around the table.
const SKIPPABLE_HEAD: u64 = 8;

/// What annotations say of the table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The digest of the packed table.
    pub digest: Digest,
    /// Where it is in the blob.
    pub span: Span,
    /// Its length when it is unpacked.
    pub len: u64,
}

/// Whether the annotations of a layer say that it is zstd:chunked. `None` if they do not; an error if they do and what
/// they say is malformed, or over a limit.
pub fn detect(annotations: &BTreeMap<String, String>) -> Result<Option<Position>> {
    let found = DIALECTS.iter().find_map(|prefix| {
        let get = |name: &str| annotations.get(&format!("{prefix}{name}"));
        Some((get("manifest-checksum")?, get("manifest-position")?))
    });
    let Some((checksum, position)) = found else { return Ok(None) };
    let malformed = || {
        let shown: String = escape(position.as_bytes()).chars().take(100).collect();
        Error::new(Kind::Corrupt, format!("zstd:chunked: the position \"{shown}\" is malformed"))
    };
    let mut numbers = [0u64; 4];
    let mut parts = position.split(':');
    for number in &mut numbers {
        let digits = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit())).ok_or_else(malformed)?;
        *number = digits.parse().map_err(|_| malformed())?;
    }
    let [offset, packed, len, kind] = numbers;
    let end = offset.checked_add(packed).filter(|_| parts.next().is_none() && offset >= SKIPPABLE_HEAD && packed > 0);
    let end = end.ok_or_else(malformed)?;
    if kind != CRFS {
        return Err(Error::new(Kind::Unsupported, format!("zstd:chunked: a table of type {kind} is not known")));
    }
    if packed.max(len) > MAX_TOC {
        let why = format!("zstd:chunked: a table of {len} bytes is over the limit of {} MiB", MAX_TOC >> 20);
        return Err(Error::new(Kind::TooBig, why));
    }
    let digest = checksum.parse().map_err(|error: Error| error.as_kind(Kind::Corrupt).context("zstd:chunked"))?;
    Ok(Some(Position { digest, span: Span { start: offset, end }, len }))
}

/// Reads the table of contents, one range of the blob, and checks it. Errors as [`parse`] has them, and the blob's own.
pub fn open(blob: &dyn ReadAt, position: &Position) -> Result<TocLayer> {
    let toc = |error: Error| error.context("zstd:chunked");
    let blob_len = blob.len()?;
    if position.span.end > blob_len {
        let why = format!("zstd:chunked: the table at bytes {} is not within the {blob_len}", position.span);
        return Err(Error::new(Kind::Corrupt, why));
    }
    let packed = exact(blob, position.span)?;
    verify(&position.digest, &packed).map_err(toc)?;
    let json = unpack(&packed, position.len).map_err(toc)?;
    drop(packed);
    parse(&json, Packing::Zstd, position.span.start.saturating_sub(SKIPPABLE_HEAD)).map_err(toc)
}

fn unpack(packed: &[u8], len: u64) -> Result<Vec<u8>> {
    let damaged = |error| Error::with(Kind::Corrupt, "the table of contents cannot be unpacked", error);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(damaged)?;
    let mut json = Vec::new();
    decoder.take(len.saturating_add(1)).read_to_end(&mut json).map_err(damaged)?;
    if json.len() as u64 != len {
        return Err(Error::new(
            Kind::Corrupt,
            format!("the table of contents does not have the {len} bytes it claims"),
        ));
    }
    Ok(json)
}
