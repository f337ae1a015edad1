//! Buffers of one span, used again and again: without, threads that fetch and threads that drop would each keep freed
//! memory of their own, and the kernel would zero a page for each page fetched.

use super::unit::SPAN;
use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many buffers are kept when nobody uses them: 8 MiB.
const MAX_SPARE: usize = 32;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn spare() -> MutexGuard<'static, Vec<Vec<u8>>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer that goes back when it, or the last [`Bytes`] made of it, is dropped. Empty at first.
#[derive(Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    /// One with room for a span.
    pub(super) fn new() -> Buffer {
        let mut buffer = Buffer::used();
        buffer.0.clear();
        buffer
    }

    /// One with what its last user left in it: clearing is for whom it matters to.
    fn used() -> Buffer {
        let spare = spare().pop();
        Buffer(spare.unwrap_or_else(|| Vec::with_capacity(SPAN as usize)))
    }

    /// One of `len` bytes, at most a span, of no particular value.
    pub(super) fn of_len(len: usize) -> Buffer {
        let mut buffer = Buffer::used();
        buffer.0.resize(len, 0);
        buffer
    }

    /// The bytes, to be filled.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The bytes, to be kept and shared. What is far smaller than a span gets room of its own size.
    pub(super) fn freeze(self) -> Bytes {
        if self.0.len() * 2 < self.0.capacity() { Bytes::copy_from_slice(&self.0) } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.0.capacity() != SPAN as usize {
            return;
        }
        let buffer = std::mem::take(&mut self.0);
        let mut spare = spare();
        if spare.len() < MAX_SPARE {
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_empty_and_keeps_what_was_frozen() {
        let mut buffer = Buffer::new();
        buffer.bytes().extend_from_slice(&[7; SPAN as usize]);
        let bytes = buffer.freeze();
        assert_eq!(Buffer::of_len(9).as_ref().len(), 9);
        assert!(Buffer::new().as_ref().is_empty());
        assert!(bytes.iter().all(|byte| *byte == 7));
        let mut small = Buffer::new();
        small.bytes().push(1);
        assert_eq!(small.freeze()[..], [1]);
    }
}
