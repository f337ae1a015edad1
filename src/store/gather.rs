//! Makes spans out of the runs of bytes that a remote delivers. Pure.
//!
//! Runs come in ascending order, of any length, anywhere; a span is complete when all of it came without a gap.
//! What is not a whole span is dropped.

use super::buffer::Buffer;
use super::unit::{self, SPAN};
use bytes::Bytes;

/// A gatherer for one stream of one blob.
pub(super) struct Gather {
    size: u64,
    index: u32,
    /// The bytes of span `index` so far; from its start, without a gap.
    buffer: Buffer,
    /// Where the next run belongs if it is to continue.
    at: u64,
    /// Whether span `index` is wanted at all.
    wanted: bool,
}

impl Gather {
    /// For a blob of `size` bytes.
    pub(super) fn new(size: u64) -> Gather {
        Gather { size, index: 0, buffer: Buffer::default(), at: u64::MAX, wanted: false }
    }

    /// Takes the run `bytes` at `offset`, which ends within the blob. Calls `done` for each span that is complete
    /// and that `wanted` said yes to when its first byte came.
    pub(super) fn push<E>(
        &mut self,
        mut offset: u64,
        mut bytes: &[u8],
        wanted: &mut dyn FnMut(u32) -> bool,
        done: &mut dyn FnMut(u32, Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        if offset != self.at {
            self.wanted = false;
        }
        while !bytes.is_empty() {
            let index = (offset / SPAN) as u32;
            let span = unit::bytes_of(index, self.size);
            if offset == span.start {
                self.wanted = wanted(index);
                self.index = index;
                self.buffer = if self.wanted { Buffer::new() } else { Buffer::default() };
            }
            let take = bytes.len().min((span.end.max(offset + 1) - offset) as usize);
            let (now, rest) = bytes.split_at(take);
            if self.wanted {
                self.buffer.bytes().extend_from_slice(now);
                if self.buffer.as_ref().len() as u64 == span.len() {
                    self.wanted = false;
                    done(self.index, std::mem::take(&mut self.buffer).freeze())?;
                }
            }
            offset += take as u64;
            bytes = rest;
        }
        self.at = offset;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn gives_each_whole_span_once(size in 1u64..4 * SPAN, start in 0u64..SPAN * 2, cuts in prop::collection::vec(1usize..SPAN as usize, 1..30)) {
            let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut gather = Gather::new(size);
            let mut got: Vec<(u32, Bytes)> = Vec::new();
            let start = start.min(size);
            let mut at = start as usize;
            let mut cuts = cuts.into_iter().cycle();
            while at < content.len() {
                let end = (at + cuts.next().expect("cycle")).min(content.len());
                gather.push(at as u64, &content[at..end], &mut |index| index != 1, &mut |index, bytes| {
                    got.push((index, bytes));
                    Ok::<(), ()>(())
                }).expect("no failure");
                at = end;
            }
            let expected: Vec<u32> =
                (start.div_ceil(SPAN) as u32..unit::count(size)).filter(|index| *index != 1).collect();
            prop_assert_eq!(got.iter().map(|(index, _)| *index).collect::<Vec<_>>(), expected);
            for (index, bytes) in got {
                let span = unit::bytes_of(index, size);
                prop_assert_eq!(&bytes[..], &content[span.start as usize..span.end as usize]);
            }
        }
    }

    #[test]
    fn a_gap_spoils_the_span_it_is_in() {
        let mut gather = Gather::new(3 * SPAN);
        let mut got = Vec::new();
        let mut push = |offset: u64, len: u64| {
            gather
                .push(offset, &vec![0; len as usize], &mut |_| true, &mut |index, _| {
                    got.push(index);
                    Ok::<(), ()>(())
                })
                .expect("no failure");
        };
        push(0, 10);
        push(11, SPAN - 11);
        push(SPAN, SPAN);
        push(2 * SPAN + 1, SPAN - 1);
        assert_eq!(got, [1]);
    }
}
