//! Which bytes of a window are referred to: all others are zeroed, and the window packs to a small part of itself.
//!
//! DEFLATE refers back 32 KiB at most, so that only the first 32 KiB after a checkpoint can reach into its window.
//! They are inflated twice more, from windows changed such that every byte copied out of the window differs from the
//! true one by a mark of its place: the low part of the place in the first run, the high part in the second.

use super::WINDOW;
use super::checkpoint::Packer;
use super::inflate::{Inflater, Stop};
use crate::error::{Error, Kind, Result};

/// Marks are 1 to 255: 0 would not be seen.
const MARKS: usize = 255;

/// The start of a span, as far as it can refer to the window before it.
pub(super) struct Start {
    /// The window, whole.
    window: Vec<u8>,
    /// The byte before the first, of which the high `bits` bits come first.
    byte: u8,
    bits: u8,
    /// The compressed bytes from the checkpoint on.
    compressed: Vec<u8>,
    /// What they inflate to.
    plain: Vec<u8>,
}

impl Start {
    /// The most compressed bytes that are kept of one. 32 KiB of content take little more than as much, but blocks
    /// without content have no end; a window that they hide is kept whole.
    pub(super) const MAX_COMPRESSED: usize = 128 << 10;

    pub(super) fn new(window: Vec<u8>, byte: u8, bits: u8) -> Start {
        Start { window, byte, bits, compressed: Vec::new(), plain: Vec::with_capacity(WINDOW) }
    }

    /// How much of the content, and how many compressed bytes, it still takes.
    pub(super) fn wants(&self) -> (usize, usize) {
        (WINDOW.saturating_sub(self.plain.len()), Start::MAX_COMPRESSED.saturating_sub(self.compressed.len()))
    }

    /// Takes the bytes that follow.
    pub(super) fn extend(&mut self, compressed: &[u8], plain: &[u8]) {
        self.compressed.extend_from_slice(compressed);
        self.plain.extend_from_slice(plain);
    }
}

/// Makes windows sparse, and packs them.
pub(super) struct Sparse {
    inflater: Inflater,
    packer: Packer,
    /// The marks of every place, low part and high part.
    marks: [Vec<u8>; 2],
    window: Vec<u8>,
    output: Vec<u8>,
}

impl Sparse {
    pub(super) fn new() -> Result<Sparse> {
        let low = (0..WINDOW).map(|place| (place % MARKS + 1) as u8).collect();
        let high = (0..WINDOW).map(|place| (place / MARKS + 1) as u8).collect();
        Ok(Sparse {
            inflater: Inflater::new()?,
            packer: Packer::new()?,
            marks: [low, high],
            window: Vec::with_capacity(WINDOW),
            output: vec![0; WINDOW],
        })
    }

    /// The window of `start`, packed. With `whole`, its bytes are all that can refer to the window: 32 KiB of content,
    /// or what there is up to the member's end. Otherwise every byte is kept.
    pub(super) fn pack(&mut self, start: &Start, whole: bool) -> Result<Vec<u8>> {
        if !whole {
            return self.packer.pack(&start.window);
        }
        let window = self.referred(start)?;
        self.packer.pack(&window)
    }

    /// The window with zeros for what nothing refers to, from the first byte on that something does.
    fn referred(&mut self, start: &Start) -> Result<Vec<u8>> {
        self.run(start, 0, start.plain.len())?;
        let lows: Vec<u8> = self.output.iter().zip(&start.plain).map(|(marked, plain)| marked ^ plain).collect();
        let last = lows.iter().rposition(|low| *low != 0).map_or(0, |last| last + 1);
        self.run(start, 1, last)?;
        let mut window = vec![0; start.window.len()];
        let mut first = window.len();
        for (low, (marked, plain)) in lows.into_iter().zip(self.output.iter().zip(&start.plain)).take(last) {
            if low == 0 {
                continue;
            }
            let Some(high) = usize::from(marked ^ plain).checked_sub(1) else { continue };
            let place = high * MARKS + usize::from(low) - 1;
            if let (Some(to), Some(from)) = (window.get_mut(place), start.window.get(place)) {
                *to = *from;
                first = first.min(place);
            }
        }
        Ok(window.split_off(first))
    }

    /// Inflates `len` bytes of the start again, from a window whose bytes are changed by the marks of their places.
    fn run(&mut self, start: &Start, part: usize, len: usize) -> Result<()> {
        self.window.clear();
        let marks = self.marks.get(part).map(Vec::as_slice).unwrap_or_default();
        self.window.extend(start.window.iter().zip(marks).map(|(byte, mark)| byte ^ mark));
        self.inflater.reset()?;
        self.inflater.prime(start.bits, start.byte)?;
        self.inflater.set_window(&self.window)?;
        let (mut taken, mut made) = (0, 0);
        while made < len {
            let input = start.compressed.get(taken..).unwrap_or_default();
            let output = self.output.get_mut(made..len).unwrap_or_default();
            let step = self.inflater.inflate(input, output, false)?;
            (taken, made) = (taken + step.consumed, made + step.produced);
            if made < len && (step.stop == Stop::End || step.consumed + step.produced == 0) {
                return Err(Error::new(Kind::Corrupt, "a checkpoint does not inflate to what the whole did"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::unpack;
    use super::*;

    /// Content deflated with `window` as the bytes before it, in one piece.
    fn deflated(window: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut deflate = flate2::Compress::new(flate2::Compression::new(9), false);
        deflate.set_dictionary(window).expect("dictionary");
        let mut packed = Vec::with_capacity(plain.len() * 2 + 100);
        deflate.compress_vec(plain, &mut packed, flate2::FlushCompress::Finish).expect("deflate");
        packed
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(1);
        (0..len).map(|_| random.u8(..)).collect()
    }

    fn sparse(window: &[u8], plain: &[u8], whole: bool) -> Vec<u8> {
        let mut start = Start::new(window.to_vec(), 0, 0);
        start.extend(&deflated(window, plain), plain);
        unpack(&Sparse::new().expect("sparse").pack(&start, whole).expect("pack")).expect("unpack")
    }

    #[test]
    fn keeps_what_is_referred_to_and_nothing_else() {
        let window = noise(WINDOW);
        let plain = [&window[1000..1300], &[0; 9], &window[WINDOW - 400..WINDOW - 300]].concat();
        let kept = sparse(&window, &plain, true);
        let first = WINDOW - kept.len();
        assert!((1000..1010).contains(&first), "nothing before the first byte that is referred to: {first}");
        for (at, byte) in kept.iter().enumerate() {
            let place = first + at;
            let inside = (1000..1300).contains(&place) || (WINDOW - 400..WINDOW - 300).contains(&place);
            assert!(*byte == window[place] || *byte == 0, "byte {place}");
            assert!(inside || *byte == 0, "byte {place} is not referred to");
        }
        let zeros = kept.iter().filter(|byte| **byte == 0).count();
        assert!(kept.len() - zeros > 350, "most of what is referred to is not zero: {zeros} of {}", kept.len());
    }

    #[test]
    fn keeps_nothing_where_nothing_is_referred_to() {
        assert_eq!(sparse(&noise(WINDOW), &[1, 2, 3], true), b"");
        assert_eq!(sparse(b"", &[1, 2, 3], true), b"");
    }

    #[test]
    fn keeps_all_where_not_everything_was_seen() {
        let window = noise(WINDOW);
        assert_eq!(sparse(&window, &[1, 2, 3], false), window);
    }

    #[test]
    fn what_does_not_inflate_to_what_it_did_is_an_error() {
        let mut start = Start::new(noise(100), 0, 0);
        start.extend(&deflated(b"", b"abc"), b"abcd");
        assert_eq!(Sparse::new().expect("sparse").pack(&start, true).expect_err("short").kind(), Kind::Corrupt);
    }
}
