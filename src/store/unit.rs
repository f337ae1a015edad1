//! The unit of the cache: spans of one fixed size, counted from the start of a blob. Pure arithmetic.

use crate::span::Span;
use std::ops::Range;

/// Bytes of a span: what is fetched, checked and forgotten as one. Small enough that a random 4 KiB read, which may
/// touch two, costs well under 1 MiB; large enough that its 32-byte check is one part in 8192.
pub const SPAN: u64 = 256 << 10;

/// Blobs up to this are fetched whole and hashed before their first byte is served (design section 6).
pub const SMALL: u64 = 8 << 20;

/// The largest blob that is served; its table of checks takes 128 MiB of address space, touched as it fills.
pub const MAX_BLOB: u64 = 1 << 40;

/// How many spans a blob of `size` bytes has.
pub(super) const fn count(size: u64) -> u32 {
    size.div_ceil(SPAN) as u32
}

/// The bytes of span `index` of a blob of `size` bytes; the last one may be short.
pub(super) fn bytes_of(index: u32, size: u64) -> Span {
    let start = u64::from(index) * SPAN;
    Span::new(start, (start + SPAN).min(size))
}

/// The bytes of several spans that follow each other.
pub(super) fn bytes_of_run(run: &Range<u32>, size: u64) -> Span {
    Span::new(u64::from(run.start) * SPAN, (u64::from(run.end) * SPAN).min(size))
}

/// The spans that hold the bytes of `span`, which is not empty.
pub(super) fn touched(span: Span) -> Range<u32> {
    (span.start / SPAN) as u32..span.end.div_ceil(SPAN) as u32
}

/// A set of span indexes.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    set: u32,
}

impl Bits {
    /// The empty set over `count` spans.
    pub(super) fn new(count: u32) -> Bits {
        Bits { words: vec![0; count.div_ceil(64) as usize], set: 0 }
    }

    pub(super) fn has(&self, index: u32) -> bool {
        self.words.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub(super) fn insert(&mut self, index: u32) {
        if !self.has(index) {
            self.words[index as usize / 64] |= 1 << (index % 64);
            self.set += 1;
        }
    }

    pub(super) fn remove(&mut self, index: u32) {
        if self.has(index) {
            self.words[index as usize / 64] &= !(1 << (index % 64));
            self.set -= 1;
        }
    }

    /// How many are in the set.
    pub(super) fn len(&self) -> u32 {
        self.set
    }
}

/// The ascending `indexes` as runs of at most `longest`.
pub(super) fn runs(indexes: impl IntoIterator<Item = u32>, longest: u32) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some(run) if run.end == index && run.end - run.start < longest => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_cover_a_blob_exactly() {
        for size in [1, SPAN - 1, SPAN, SPAN + 1, 5 * SPAN] {
            let total: u64 = (0..count(size)).map(|index| bytes_of(index, size).len()).sum();
            assert_eq!(total, size);
            assert_eq!(touched(Span::new(0, size)), 0..count(size));
        }
        assert_eq!(count(0), 0);
        assert_eq!(touched(Span::new(SPAN - 1, SPAN + 1)), 0..2);
        assert_eq!(bytes_of_run(&(1..2), SPAN + 7), Span::new(SPAN, SPAN + 7));
    }

    #[test]
    fn runs_are_cut_and_split() {
        assert_eq!(runs([0, 1, 2, 5, 6], 2), [0..2, 2..3, 5..7]);
        assert!(runs([], 2).is_empty());
    }

    proptest! {
        #[test]
        fn bits_agree_with_flags(ops in prop::collection::vec((any::<bool>(), 0u32..100), 0..200)) {
            let (mut bits, mut flags) = (Bits::new(100), [false; 100]);
            for (add, index) in ops {
                if add { bits.insert(index) } else { bits.remove(index) }
                flags[index as usize] = add;
            }
            prop_assert_eq!(bits.len() as usize, flags.iter().filter(|f| **f).count());
            for (index, flag) in flags.iter().enumerate() {
                prop_assert_eq!(bits.has(index as u32), *flag);
            }
            prop_assert!(!bits.has(100_000));
        }
    }
}
