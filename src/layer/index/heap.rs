//! Byte strings that are kept once, however often they are said.

use crate::error::{Error, Kind, Result};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// Strings one after another, told apart by offset and length; equal strings have the same offset.
pub(super) struct Heap {
    bytes: Vec<u8>,
    known: HashTable<(u32, u32)>,
    // Keyed by chance: what collides is not for an archive's maker to choose.
    state: RandomState,
    limit: usize,
    what: &'static str,
}

impl Heap {
    /// An empty heap of `what`, in words for a user, that takes at most `limit` bytes (below 4 GiB).
    pub(super) fn new(what: &'static str, limit: usize) -> Heap {
        debug_assert!(limit <= u32::MAX as usize, "offsets have 32 bits");
        Heap { bytes: Vec::new(), known: HashTable::new(), state: RandomState::new(), limit, what }
    }

    /// Where the string is, if it was added.
    pub(super) fn find(&self, string: &[u8]) -> Option<u32> {
        let bytes = &self.bytes;
        self.known.find(self.state.hash_one(string), |(at, len)| piece(bytes, *at, *len) == string).map(|(at, _)| *at)
    }

    /// Where the string is, added if it is new. `TooBig` over the limit.
    pub(super) fn add(&mut self, string: &[u8]) -> Result<u32> {
        if let Some(at) = self.find(string) {
            return Ok(at);
        }
        if string.len() > self.limit - self.bytes.len() {
            return Err(Error::new(
                Kind::TooBig,
                format!("{} of the layer are over the limit of {} bytes", self.what, self.limit),
            ));
        }
        // Both fit: the limit does.
        let (at, len) = (self.bytes.len() as u32, string.len() as u32);
        self.bytes.extend_from_slice(string);
        let (bytes, state) = (&self.bytes, &self.state);
        self.known
            .insert_unique(state.hash_one(string), (at, len), |(at, len)| state.hash_one(piece(bytes, *at, *len)));
        Ok(at)
    }

    /// All strings.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives back what only adding and finding need; both are over after it.
    pub(super) fn freeze(&mut self) {
        self.known = HashTable::new();
        self.bytes.shrink_to_fit();
    }
}

fn piece(bytes: &[u8], at: u32, len: u32) -> &[u8] {
    super::record::slice(bytes, at as usize, len as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_kept_once() {
        let mut heap = Heap::new("names", 1 << 20);
        let offsets: Vec<u32> = (0..1000).map(|n: u32| heap.add(n.to_string().as_bytes()).expect("add")).collect();
        let len = heap.bytes().len();
        for (n, at) in offsets.iter().enumerate() {
            assert_eq!(heap.add(n.to_string().as_bytes()).expect("again"), *at);
            assert_eq!(heap.find(n.to_string().as_bytes()), Some(*at));
        }
        assert_eq!(heap.bytes().len(), len);
        assert_eq!(heap.find(b"x"), None);
        // A string within another is another string.
        assert_ne!(heap.add(b"99").expect("add"), heap.add(b"999").expect("add"));
    }

    #[test]
    fn over_the_limit_is_too_big() {
        let mut heap = Heap::new("names", 4);
        heap.add(b"abc").expect("fits");
        assert_eq!(heap.add(b"de").expect_err("over").kind(), Kind::TooBig);
        heap.add(b"abc").expect("is there");
        heap.add(b"d").expect("fits");
    }
}
