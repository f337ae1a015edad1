//! Half-open byte ranges and sets of them. Pure arithmetic; knows nothing of files or wires.

use std::collections::BTreeMap;
use std::fmt;

/// The bytes `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Span {
    /// The bytes from `start` up to `end`; empty if `end` is not after `start`.
    pub const fn new(start: u64, end: u64) -> Span {
        Span { start, end: if end < start { start } else { end } }
    }

    /// The number of bytes.
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it holds no byte.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What both hold.
    pub fn intersect(&self, other: Span) -> Span {
        Span::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The smallest span on multiples of `unit` that holds this one, cut at `limit`.
    pub fn align(&self, unit: u64, limit: u64) -> Span {
        let start = self.start / unit * unit;
        Span::new(start, self.end.div_ceil(unit).saturating_mul(unit).min(limit))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A set of bytes, kept as disjoint, non-adjacent spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanSet {
    /// start -> end
    spans: BTreeMap<u64, u64>,
}

impl SpanSet {
    /// The empty set.
    pub fn new() -> SpanSet {
        SpanSet::default()
    }

    /// Adds the bytes of `span`.
    pub fn insert(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        let (mut start, mut end) = (span.start, span.end);
        while let Some((&s, &e)) = self.spans.range(..=end).next_back() {
            if e < start {
                break;
            }
            start = start.min(s);
            end = end.max(e);
            self.spans.remove(&s);
        }
        self.spans.insert(start, end);
    }

    /// Takes the bytes of `span` out.
    pub fn remove(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        while let Some((&s, &e)) = self.spans.range(..span.end).next_back() {
            if e <= span.start {
                break;
            }
            self.spans.remove(&s);
            if e > span.end {
                self.spans.insert(span.end, e);
            }
            if s < span.start {
                self.spans.insert(s, span.start);
            }
        }
    }

    /// Whether every byte of `span` is in the set.
    pub fn contains(&self, span: Span) -> bool {
        span.is_empty() || self.spans.range(..=span.start).next_back().is_some_and(|(_, &e)| e >= span.end)
    }

    /// The parts of `span` that are not in the set, ascending.
    pub fn missing(&self, span: Span) -> Vec<Span> {
        let mut gaps = Vec::new();
        let mut at = span.start;
        if let Some((_, &e)) = self.spans.range(..=span.start).next_back() {
            at = at.max(e);
        }
        for (&s, &e) in self.spans.range(span.start..) {
            if s >= span.end {
                break;
            }
            if s > at {
                gaps.push(Span::new(at, s));
            }
            at = at.max(e);
        }
        if at < span.end {
            gaps.push(Span::new(at, span.end));
        }
        gaps
    }

    /// The number of bytes in the set.
    pub fn len(&self) -> u64 {
        self.spans.iter().map(|(s, e)| e - s).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The spans, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.spans.iter().map(|(&start, &end)| Span { start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn aligned_spans_hold_the_original_and_stop_at_the_limit() {
        assert_eq!(Span::new(5, 9).align(4, 100), Span::new(4, 12));
        assert_eq!(Span::new(5, 9).align(4, 10), Span::new(4, 10));
        assert_eq!(Span::new(8, 8).align(4, 10), Span::new(8, 8));
    }

    proptest! {
        /// Any sequence of inserts and removes holds the same bytes as a plain array of flags.
        #[test]
        fn agrees_with_an_array_of_flags(ops in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..12), 0..40),
                                         from in 0u64..40, len in 0u64..20) {
            let mut set = SpanSet::new();
            let mut flags = [false; 64];
            for (add, start, len) in ops {
                let span = Span::new(start, start + len);
                if add { set.insert(span) } else { set.remove(span) }
                flags[start as usize..(start + len) as usize].fill(add);
            }
            let span = Span::new(from, from + len);
            let mut missing = [false; 64];
            for gap in set.missing(span) {
                prop_assert!(!gap.is_empty());
                missing[gap.start as usize..gap.end as usize].fill(true);
            }
            for (at, (&held, &gap)) in flags.iter().zip(&missing).enumerate() {
                let inside = (span.start..span.end).contains(&(at as u64));
                prop_assert_eq!(gap, inside && !held);
            }
            prop_assert_eq!(set.len(), flags.iter().filter(|f| **f).count() as u64);
            prop_assert_eq!(set.contains(span), flags[from as usize..(from + len) as usize].iter().all(|f| *f));
            let spans: Vec<_> = set.iter().collect();
            prop_assert!(spans.windows(2).all(|w| w[0].end < w[1].start));
        }
    }
}
