//! When and how far to read ahead: the window of one handle. Pure: positions in, ranges out.
//!
//! Sequential reads grow the window from [`MIN_WINDOW`] to [`MAX_WINDOW`] by doubling; a seek drops it. The kernel
//! sends the parts of one sequential read on several threads, so "sequential" allows for reads that overtake each
//! other by as many times their own length as there are under way at once.

use crate::span::Span;

/// The first window: a sequential reader has shown nothing yet but its first bytes.
pub(super) const MIN_WINDOW: u64 = 1 << 20;
/// The largest window: 100 ms of a 2.5 Gbit/s line.
pub(super) const MAX_WINDOW: u64 = 32 << 20;
/// How many of its own lengths a read may be off the expected place and still belong to the sequence: the requests
/// that the kernel reads ahead with, of which any may come last.
const SLACK: u64 = 16;

/// What one handle has read and asked for.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// One past the furthest byte of the sequence.
    next: u64,
    /// Bytes to be at hand from `next` on; 0 before a sequence is recognised.
    window: u64,
    /// One past the furthest byte that was asked for ahead.
    frontier: u64,
    started: bool,
}

/// What a read calls for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The bytes to have under way, beyond the read itself; empty if enough are.
    pub(super) ahead: Span,
    /// Whether the sequence broke: what was asked for ahead is no longer wanted.
    pub(super) seek: bool,
}

impl Ahead {
    /// Takes note of a read of `span` in a blob of `size` bytes; `limit` bounds the window in bytes.
    pub(super) fn read(&mut self, span: Span, size: u64, limit: u64) -> Plan {
        let slack = span.len().saturating_mul(SLACK);
        let sequential = if self.started {
            span.start <= self.next.saturating_add(slack) && span.end.saturating_add(slack) >= self.next
        } else {
            // The first read of a handle: at the start, it most likely goes on; elsewhere it looks something up.
            span.start == 0
        };
        // Readers of one file share its pages in the kernel: each handle is asked for what the others lack. A skip that
        // ends within reach is no reason to call off what lies between.
        let near =
            span.start < self.frontier.saturating_add(MAX_WINDOW) && span.end.saturating_add(MAX_WINDOW) > self.next;
        let seek = self.started && !sequential && self.window > 0 && !near;
        self.started = true;
        if !sequential {
            *self = Ahead { next: span.end, window: 0, frontier: span.end, started: true };
            return Plan { ahead: Span::new(span.end, span.end), seek };
        }
        if span.end > self.next || self.window == 0 {
            self.window = (self.window * 2).clamp(MIN_WINDOW, MAX_WINDOW).min(limit);
        }
        self.next = self.next.max(span.end);
        self.frontier = self.frontier.max(span.start);
        // To a multiple of what is asked for at once: what is left over would be a request of its own.
        let unit = self.window.clamp(1, MIN_WINDOW);
        let reach = (self.next + self.window) / unit * unit;
        let end = reach.max(self.next).min(size);
        // Asking in steps of a quarter keeps requests few and the line busy.
        if end < size && end.saturating_sub(self.frontier) < self.window / 4 {
            return Plan { ahead: Span::new(self.frontier, self.frontier), seek: false };
        }
        Plan { ahead: Span::new(self.frontier, end), seek: false }
    }

    /// Bytes up to `end` have been asked for.
    pub(super) fn asked(&mut self, end: u64) {
        self.frontier = self.frontier.max(end);
    }

    /// Whether the last read went on where others ended.
    pub(super) fn is_sequential(&self) -> bool {
        self.window > 0
    }

    /// The largest piece to ask for at once, in bytes.
    pub(super) fn chunk(&self) -> u64 {
        (self.window / 4).max(MIN_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn read(ahead: &mut Ahead, start: u64, len: u64) -> Plan {
        let plan = ahead.read(Span::new(start, start + len), 1 << 30, MAX_WINDOW);
        ahead.asked(plan.ahead.end);
        plan
    }

    #[test]
    fn a_sequence_grows_the_window_and_a_seek_drops_it() {
        let mut ahead = Ahead::default();
        assert_eq!(read(&mut ahead, 0, MIB).ahead, Span::new(0, 2 * MIB));
        assert_eq!(read(&mut ahead, MIB, MIB).ahead, Span::new(2 * MIB, 4 * MIB));
        for at in 2..64 {
            let plan = read(&mut ahead, at * MIB, MIB);
            assert!(!plan.seek && plan.ahead.len() <= MAX_WINDOW);
        }
        assert!(ahead.frontier >= 64 * MIB + MAX_WINDOW * 3 / 4, "the window is full: {ahead:?}");
        assert_eq!(ahead.chunk(), MAX_WINDOW / 4);
        let plan = read(&mut ahead, 500 * MIB, 4096);
        assert!(plan.seek && plan.ahead.is_empty());
        let plan = read(&mut ahead, 900 * MIB, 4096);
        assert!(!plan.seek && plan.ahead.is_empty(), "there is no window left to drop");
        assert_eq!(read(&mut ahead, 900 * MIB + 4096, 4096).ahead.end, 901 * MIB, "a new sequence");
    }

    #[test]
    fn a_skip_within_reach_calls_nothing_off() {
        let mut ahead = Ahead::default();
        for at in 0..8 {
            read(&mut ahead, at * MIB, MIB);
        }
        let plan = read(&mut ahead, 30 * MIB, MIB);
        assert!(!plan.seek && plan.ahead.is_empty());
        assert!(!read(&mut ahead, 31 * MIB, MIB).ahead.is_empty(), "a new sequence");
        assert!(read(&mut ahead, 500 * MIB, MIB).seek);
    }

    #[test]
    fn the_first_request_is_for_one_window_whatever_the_kernel_asks_for_first() {
        for len in [4096, 16 << 10, 128 << 10, MIB - 1] {
            assert_eq!(read(&mut Ahead::default(), 0, len).ahead, Span::new(0, MIB));
        }
    }

    #[test]
    fn random_reads_ask_for_nothing_more() {
        let mut ahead = Ahead::default();
        for at in [7, 3, 9, 1, 8, 2] {
            assert!(read(&mut ahead, at * 50 * MIB, 4096).ahead.is_empty());
        }
    }

    #[test]
    fn reads_that_overtake_each_other_stay_a_sequence() {
        let mut ahead = Ahead::default();
        for at in [0, 2, 1, 3, 5, 4, 7, 6] {
            assert!(!read(&mut ahead, at * MIB, MIB).seek, "{at}");
        }
    }

    #[test]
    fn the_window_stops_at_the_end_and_at_the_limit() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.read(Span::new(0, 10), 100, MAX_WINDOW).ahead, Span::new(0, 100));
        let mut ahead = Ahead::default();
        assert_eq!(ahead.read(Span::new(0, 10), 1 << 30, 4096).ahead, Span::new(0, 4096));
    }
}
