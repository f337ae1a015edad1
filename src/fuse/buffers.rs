//! Buffers for reads: a few are kept, so that a fast reader does not pay for fresh memory with each request.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// How many idle buffers are kept: more than read at once on most machines, 8 MiB at most with the kernel's largest
/// requests of 1 MiB.
const KEPT: usize = 8;

/// The buffers that are idle.
#[derive(Clone, Default)]
pub(super) struct Buffers {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer of the length asked for; its bytes are anything. Goes back when dropped.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Buffers,
}

impl Buffers {
    /// A buffer of `len` bytes.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let mut bytes = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if bytes.len() < len {
            // Fresh from the system it is zero already, and costs memory only where it is written.
            bytes = vec![0; len];
        }
        Buffer { bytes, len, home: self.clone() }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_kept() {
        let buffers = Buffers::default();
        let all: Vec<Buffer> = (0..KEPT + 3).map(|n| buffers.take(n + 1)).collect();
        assert!(all.iter().enumerate().all(|(n, buffer)| buffer.len() == n + 1));
        drop(all);
        assert_eq!(buffers.idle.lock().expect("lock").len(), KEPT);
        assert_eq!(buffers.take(1 << 20).len(), 1 << 20);
    }
}
