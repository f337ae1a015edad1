//! Where inflating can start: the checkpoints of a zTOC ("zinfo"), and the digests of the spans between them.

use super::corrupt;
use super::flat::Table;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::span::Span;
use bytes::Bytes;

/// Bytes of a window.
const WINDOW: usize = 32 << 10;
/// A checkpoint: input, output, bits, window.
const POINT: usize = 8 + 8 + 1 + WINDOW;
/// The head of the checkpoints: how many, and the size of a span.
const HEAD: usize = 4 + 8;
/// The head of a gzip member without a name, after which the first versions had their first point.
const GZIP_HEAD: u64 = 10;
/// The fields of the compression info, by their order in the schema.
mod field {
    pub(super) const ALGORITHM: u16 = 0;
    pub(super) const MAX_SPAN: u16 = 1;
    pub(super) const DIGESTS: u16 = 2;
    pub(super) const CHECKPOINTS: u16 = 3;
}

/// How to get into a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Points {
    /// It is gzip: inflating starts at these, ascending; the first has output 0.
    Gzip(Vec<Point>),
    /// It is a tar archive as it is, and needs none.
    Tar,
}

/// A point where raw inflating can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The first whole byte of input.
    pub input: u64,
    /// How many upper bits of the byte before it come first, below 8.
    pub bits: u8,
    /// The first byte of output.
    pub output: u64,
    /// The 32 KiB of output before it; empty if there is none.
    pub window: Bytes,
    /// The input up to the next point, with the byte that has the bits.
    pub span: Span,
    /// The digest of that input.
    pub digest: Digest,
}

/// The points of a layer of these sizes.
pub(super) fn parse(info: &Table<'_>, blob: &Bytes, packed: u64, unpacked: u64) -> Result<Points> {
    match info.u8(field::ALGORITHM, 1)? {
        1 => {}
        2 => return Ok(Points::Tar),
        other => return Err(Error::new(Kind::Unsupported, format!("compression {other} is not known"))),
    }
    let bytes = info.bytes(field::CHECKPOINTS)?;
    let raws = raws(bytes)?;
    let digests = info.vector(field::DIGESTS)?;
    if digests.len() != raws.len() || i64::from(info.i32(field::MAX_SPAN)?) + 1 != raws.len() as i64 {
        return Err(corrupt("it has another number of digests than of points"));
    }
    let mut points: Vec<Point> = Vec::with_capacity(raws.len());
    for (raw, digest) in raws.iter().zip(digests.strings()) {
        let before = points.last().map(|point| (point.input, point.output));
        let in_order = match before {
            Some((input, output)) => raw.input > input && raw.output > output,
            None => raw.output == 0,
        };
        if !in_order || raw.bits > 7 || raw.input == 0 || raw.input > packed || raw.output > unpacked {
            return Err(corrupt(&format!("point {} cannot be there", points.len())));
        }
        let text = std::str::from_utf8(digest?).map_err(|_| corrupt("a digest is malformed"))?;
        let digest: Digest = text.parse().map_err(|error: Error| error.as_kind(Kind::Corrupt))?;
        if let Some(last) = points.last_mut() {
            last.span.end = raw.input;
        }
        let span = Span { start: raw.input - u64::from(raw.bits > 0), end: packed };
        let window = raw.window.map_or_else(Bytes::new, |window| blob.slice_ref(window));
        points.push(Point { input: raw.input, bits: raw.bits, output: raw.output, window, span, digest });
    }
    Ok(Points::Gzip(points))
}

struct Raw<'a> {
    input: u64,
    output: u64,
    bits: u8,
    window: Option<&'a [u8]>,
}

/// The checkpoints as they are. The first versions left the first of them out; the length tells.
fn raws(bytes: &[u8]) -> Result<Vec<Raw<'_>>> {
    let wrong = || corrupt("its points are not as many as it says");
    let (head, body) = bytes.split_at_checked(HEAD).ok_or_else(wrong)?;
    let count = head.first_chunk().map_or(0, |count| i32::from_le_bytes(*count));
    let count = usize::try_from(count).map_err(|_| wrong())?;
    let here = body.len() / POINT;
    if !body.len().is_multiple_of(POINT) || count == 0 || (here != count && here + 1 != count) {
        return Err(wrong());
    }
    let mut raws = Vec::with_capacity(count);
    if here < count {
        raws.push(Raw { input: GZIP_HEAD, output: 0, bits: 0, window: None });
    }
    for point in body.chunks_exact(POINT) {
        let (input, rest) = point.split_first_chunk().ok_or_else(wrong)?;
        let (output, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let (bits, window) = rest.split_first().ok_or_else(wrong)?;
        let output = u64::from_le_bytes(*output);
        let window = Some(window).filter(|_| output > 0);
        raws.push(Raw { input: u64::from_le_bytes(*input), output, bits: *bits, window });
    }
    Ok(raws)
}
