//! eStargz layers (stargz-snapshotter, docs/estargz.md): gzip members that can be entered, and a table of contents at
//! the end that an annotation of the layer authenticates.
//!
//! Promises: without the annotation nothing is an eStargz; the table is used only if it has the annotated digest. What
//! the table says, and how files are read by it, is in [`crate::layer::chunked`].

mod footer;
mod member;

use crate::digest::{Digest, verify};
use crate::error::{Error, Kind, Result};
use crate::layer::chunked::{MAX_TOC, Packing, TocLayer, parse};
use crate::layer::zstd::exact::exact;
use crate::read_at::ReadAt;
use crate::span::Span;
use std::collections::BTreeMap;

/// Names the digest of the table's JSON.
const ANNOTATION: &str = "containerd.io/snapshot/stargz/toc.digest";
/// How much of the end is read at once: footer and table of most layers.
const TAIL: u64 = 256 << 10;

/// The digest of the table of contents, if the annotations of a layer say that it is an eStargz; `Corrupt` if it is
/// malformed.
pub fn detect(annotations: &BTreeMap<String, String>) -> Result<Option<Digest>> {
    let Some(text) = annotations.get(ANNOTATION) else { return Ok(None) };
    text.parse().map(Some).map_err(|error: Error| error.as_kind(Kind::Corrupt).context("eStargz"))
}

/// Reads the table of contents, in one or two ranges of the blob, and checks it.
///
/// Errors: `Corrupt` for a layer that is none, is damaged or lies; `TooBig` for a table over its limit; `Unsupported`
/// for a table that is kept in another image; and the blob's own.
pub fn open(blob: &dyn ReadAt, digest: &Digest) -> Result<TocLayer> {
    let estargz = |error: Error| error.context("eStargz");
    let len = blob.len()?;
    let tail_start = len.saturating_sub(TAIL);
    let tail = exact(blob, Span::new(tail_start, len))?;
    let (toc_start, footer_len) = footer::parse(&tail).map_err(estargz)?;
    let toc_end = len - footer_len;
    if toc_start >= toc_end {
        let why = format!("eStargz: the table at byte {toc_start} is not before the footer at {toc_end}");
        return Err(Error::new(Kind::Corrupt, why));
    }
    if toc_end - toc_start > MAX_TOC {
        let (len, limit) = (toc_end - toc_start, MAX_TOC >> 20);
        return Err(Error::new(
            Kind::TooBig,
            format!("eStargz: a table of {len} bytes is over the limit of {limit} MiB"),
        ));
    }
    let here = toc_start.checked_sub(tail_start).and_then(|skip| tail.get(skip as usize..));
    let json = match here.and_then(|rest| rest.get(..(toc_end - toc_start) as usize)) {
        Some(packed) => member::json(packed),
        None => {
            let mut packed = exact(blob, Span::new(toc_start, tail_start))?;
            packed.extend_from_slice(tail.get(..tail.len() - footer_len as usize).unwrap_or_default());
            drop(tail);
            member::json(&packed)
        }
    };
    let json = json.map_err(estargz)?;
    verify(digest, &json).map_err(estargz)?;
    parse(&json, Packing::Gzip, toc_start).map_err(estargz)
}

#[cfg(test)]
mod tests;
