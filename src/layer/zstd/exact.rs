//! Reads a span of a blob, all of it.

use crate::error::{Error, Kind, Result};
use crate::read_at::ReadAt;
use crate::span::Span;

/// The bytes of `span`, whose length the caller has bounded. `Corrupt` if the blob ends before.
pub(in crate::layer) fn exact(blob: &dyn ReadAt, span: Span) -> Result<Vec<u8>> {
    let mut bytes = vec![0; span.len() as usize];
    let mut have = 0;
    while let Some(rest) = bytes.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match blob.read_at(rest, span.start.saturating_add(have as u64))? {
            0 => return Err(Error::new(Kind::Corrupt, format!("the blob ends within bytes {span}"))),
            got => have += got,
        }
    }
    Ok(bytes)
}
