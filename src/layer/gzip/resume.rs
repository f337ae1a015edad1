//! Inflating one span from its checkpoint.
//!
//! Promises: reads only the compressed bytes of the span; takes no more memory than the limits say, whatever the
//! checkpoint claims; gives bytes only if they are as many as claimed, and if the check holds where there is one.

use super::checkpoint::{Point, Points};
use super::members::{Event, Members};
use super::{MAX_RATIO, MAX_SPAN};
use crate::error::{Error, Kind, Result};
use crate::read_at::ReadAt;
use bytes::Bytes;

/// Compressed bytes read at once; a span of text needs fewer.
const PIECE: u64 = 1 << 20;

/// The content of the span that begins at `point`; `Corrupt` if blob and checkpoint do not fit each other.
pub(super) fn inflate(blob: &dyn ReadAt, points: &dyn Points, point: &Point) -> Result<Bytes> {
    let corrupt = |why: &str| Err(Error::new(Kind::Corrupt, format!("checkpoint at byte {}: {why}", point.output)));
    let Some(len) = point.next_output.checked_sub(point.output) else { return corrupt("ends before it begins") };
    let Some(mut at) = point.input.checked_sub(u64::from(point.bits > 0)) else {
        return corrupt("begins before the first byte");
    };
    if point.bits > 7 {
        return corrupt("begins at no bit of a byte");
    }
    if len > MAX_SPAN {
        return corrupt("claims more than a span can be");
    }
    let compressed = point.next_input.saturating_sub(at);
    if len > compressed.saturating_mul(MAX_RATIO) {
        return corrupt("claims more than its compressed bytes can inflate to");
    }
    let window = points.window(point)?;
    let mut input = vec![0; PIECE.min(compressed) as usize];
    let mut content = vec![0; len as usize];
    let mut made = 0;
    let mut members = None;
    while made < content.len() {
        let most = point.next_input.saturating_sub(at).min(PIECE) as usize;
        let got = blob.read_at(input.get_mut(..most).unwrap_or_default(), at)?;
        if got == 0 {
            return corrupt("its compressed bytes end before its content");
        }
        at += got as u64;
        let mut rest = input.get(..got).unwrap_or_default();
        let members = match &mut members {
            Some(members) => members,
            none => {
                let first = rest.first().copied().unwrap_or_default();
                rest = rest.get(usize::from(point.bits > 0)..).unwrap_or_default();
                none.insert(Members::resume(point.bits, first, &window)?)
            }
        };
        while made < content.len() {
            let output = content.get_mut(made..).unwrap_or_default();
            let step = members.step(rest, output, false)?;
            made += step.produced;
            rest = rest.get(step.consumed..).unwrap_or_default();
            match step.event {
                Event::Over => return corrupt("the content ends before it does"),
                _ if rest.is_empty() => break,
                _ => {}
            }
        }
    }
    if let Some(check) = point.check
        && *blake3::hash(&content).as_bytes() != check
    {
        return corrupt("its content is not what was there when the layer was first read");
    }
    Ok(Bytes::from(content))
}
