//! The first pass over a gzip blob: its content as it comes, and a checkpoint every so often.
//!
//! Promises: the content is given in order, once; a checkpoint that was given stays true. Keeps little: an output
//! buffer, zlib's window, and the start of one span until its window is known.

use super::checkpoint::{Checkpoint, Point};
use super::members::{Event, Members};
use super::sparse::{Sparse, Start};
use super::{MAX_SPAN, MAX_UNCOMPRESSED, MIN_SPACING, SPACING};
use crate::error::{Error, Kind, Result};

/// Bytes inflated at once: they stay in the processor's cache while they are hashed and looked at.
const BUFFER: usize = 128 << 10;

/// Inflates a blob, and finds its checkpoints.
pub struct Scanner {
    members: Members,
    sparse: Sparse,
    buffer: Vec<u8>,
    spacing: u64,
    input: u64,
    output: u64,
    /// The last compressed byte taken: a checkpoint may begin within it.
    last: u8,
    open: Option<Open>,
    /// The start of the open span, until its window is known.
    start: Option<Start>,
    closed: Vec<Checkpoint>,
    failed: Option<Error>,
}

/// The span that the content is in now.
struct Open {
    input: u64,
    bits: u8,
    output: u64,
    window: Vec<u8>,
    hash: blake3::Hasher,
}

impl Scanner {
    /// At the start of a blob, for its content alone: gives no checkpoints, so that blocks may be of any length.
    pub fn plain() -> Result<Scanner> {
        Ok(Scanner { spacing: u64::MAX, ..Scanner::new(SPACING)? })
    }

    /// At the start of a blob. Checkpoints are at least `spacing` bytes of content apart, or twice as many compressed
    /// ones; it is raised to [`MIN_SPACING`], and lowered to a quarter of [`MAX_SPAN`]. Fails only without memory.
    pub fn new(spacing: u64) -> Result<Scanner> {
        Ok(Scanner {
            members: Members::new()?,
            sparse: Sparse::new()?,
            buffer: vec![0; BUFFER],
            spacing: spacing.clamp(MIN_SPACING, MAX_SPAN / 4),
            input: 0,
            output: 0,
            last: 0,
            open: None,
            start: None,
            closed: Vec::new(),
            failed: None,
        })
    }

    /// Takes the next compressed bytes, in any pieces; gives what they inflate to, in order, to `out`.
    ///
    /// `Corrupt` for damage; `Unsupported` for a header that is not known here, and for a block over
    /// [`MAX_SPAN`], which zlib-ng writes at level 1: there is no place to begin again within, and the content is to be
    /// kept otherwise ([`Scanner::plain`]); `TooBig` over [`MAX_UNCOMPRESSED`]; else what `out` said. Once failed, it
    /// fails so for ever.
    pub fn feed(&mut self, compressed: &[u8], out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.run(compressed, out).inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// The input ended: `Corrupt` if not after a member. Checks of CRC32 and length were made as members ended.
    pub fn finish(&mut self) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.members.is_between() {
            let error = Error::new(Kind::Corrupt, format!("gzip data ends at byte {}, within a member", self.input));
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.close()
    }

    /// The checkpoints whose spans are complete and that were not taken yet, in order: what they cover can be read.
    /// After [`Scanner::finish`] they are all there, and cover all of the content.
    pub fn take_checkpoints(&mut self) -> Vec<Checkpoint> {
        std::mem::take(&mut self.closed)
    }

    /// How far it is: compressed bytes taken, up to the last member's end, and bytes of content given.
    pub fn position(&self) -> (u64, u64) {
        (self.input, self.output)
    }

    fn run(&mut self, compressed: &[u8], out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut rest = compressed;
        loop {
            let (room, most) = self.wants();
            let due = room == 0 || most == 0;
            let (room, most) = if due { (BUFFER, usize::MAX) } else { (room, most) };
            let given = rest.get(..most).unwrap_or(rest);
            let buffer = self.buffer.get_mut(..room).unwrap_or_default();
            let near = |error: Error, at: u64| error.context(format_args!("gzip data after byte {at}"));
            let step = self.members.step(given, buffer, due).map_err(|error| near(error, self.input))?;
            let (taken, left) = rest.split_at_checked(step.consumed).unwrap_or((rest, &[]));
            rest = left;
            self.input += taken.len() as u64;
            self.last = taken.last().copied().unwrap_or(self.last);
            self.produced(step.produced, out)?;
            self.follow(taken, step.produced, &step.event)?;
            match step.event {
                Event::Boundary { bits, start } => self.begin(bits, start)?,
                Event::Over => return Ok(()),
                // With the output full there may be more of it, whatever the input.
                Event::More if rest.is_empty() && step.produced < room => return Ok(()),
                Event::More | Event::MemberEnd => {}
            }
        }
    }

    /// How much of the content, and how many compressed bytes, to take before a checkpoint is due, or before the
    /// window of the last is known. Never beyond: checkpoints are the same in whatever pieces the input comes.
    fn wants(&self) -> (usize, usize) {
        let Some(open) = &self.open else { return (0, 0) };
        if let Some(start) = &self.start {
            return start.wants();
        }
        let until = |limit: u64, since: u64| usize::try_from(limit.saturating_sub(since)).unwrap_or(usize::MAX);
        (
            until(self.spacing, self.output - open.output).min(BUFFER),
            until(self.spacing.saturating_mul(2), self.input - open.input),
        )
    }

    /// The buffer's first `count` bytes are the next of the content.
    fn produced(&mut self, count: usize, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let bytes = self.buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        self.output += bytes.len() as u64;
        if self.output > MAX_UNCOMPRESSED {
            let what = format!("gzip data inflates to over the limit of {MAX_UNCOMPRESSED} bytes");
            return Err(Error::new(Kind::TooBig, what));
        }
        if let Some(open) = &mut self.open
            && self.spacing < u64::MAX
        {
            if self.output - open.output > MAX_SPAN {
                let what = format!("gzip data after byte {}: a DEFLATE block is over {MAX_SPAN} bytes", open.input);
                return Err(Error::new(Kind::Unsupported, what));
            }
            open.hash.update(bytes);
        }
        out(bytes)
    }

    /// Adds to the start of the span, and packs its window once that is known.
    fn follow(&mut self, compressed: &[u8], produced: usize, event: &Event) -> Result<()> {
        let Some(start) = &mut self.start else { return Ok(()) };
        start.extend(compressed, self.buffer.get(..produced).unwrap_or_default());
        let whole = start.wants().0 == 0 || *event == Event::MemberEnd;
        if (whole || start.wants().1 == 0)
            && let (Some(start), Some(open)) = (self.start.take(), &mut self.open)
        {
            open.window = self.sparse.pack(&start, whole)?;
        }
        Ok(())
    }

    /// Ends the open span here, and begins the next.
    fn begin(&mut self, bits: u8, start: bool) -> Result<()> {
        self.close()?;
        self.open = Some(Open {
            input: self.input,
            bits,
            output: self.output,
            window: Vec::new(),
            hash: blake3::Hasher::new(),
        });
        if !start {
            self.start = Some(Start::new(self.members.window()?, self.last, bits));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let window = match self.start.take() {
            Some(start) => self.sparse.pack(&start, false)?,
            None => open.window,
        };
        // A span of nothing is never read.
        if self.output > open.output && self.spacing < u64::MAX {
            let point = Point {
                input: open.input,
                bits: open.bits,
                output: open.output,
                next_input: self.input,
                next_output: self.output,
                check: Some(*open.hash.finalize().as_bytes()),
            };
            self.closed.push(Checkpoint { point, window });
        }
        Ok(())
    }
}
