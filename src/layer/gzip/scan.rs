//! The first pass over a gzip blob: its content as it comes, and a checkpoint every so often.
//!
//! Promises: the content is given in order, once; a checkpoint that is in the table stays true. Keeps little: a few
//! buffers, zlib's window, and the start of one span until its window is known.

use super::checkpoint::{Point, Table};
use super::members::{Event, Members};
use super::spans::Spans;
use super::sparse::Start;
use super::{MAX_SPAN, MAX_UNCOMPRESSED, MIN_SPACING};
use crate::error::{Error, Kind, Result};
use std::sync::Arc;

/// Bytes inflated at once: they stay in the processor's cache while they are hashed and looked at.
const BUFFER: usize = 128 << 10;

/// Inflates a blob, and finds its checkpoints.
pub struct Scanner {
    members: Members,
    keep: Keep,
    input: u64,
    output: u64,
    /// The last compressed byte taken: a checkpoint may begin within it.
    last: u8,
    open: Option<Open>,
    /// The start of the open span, until its window is known.
    start: Option<Start>,
    failed: Option<Error>,
}

/// What is kept of the content.
enum Keep {
    /// Checkpoints so far apart.
    Spans(Spans, u64),
    /// Nothing: it only passes through a buffer.
    Nothing(Vec<u8>),
}

/// The span that the content is in now.
struct Open {
    input: u64,
    bits: u8,
    output: u64,
}

impl Keep {
    fn room(&mut self) -> &mut [u8] {
        match self {
            Keep::Spans(spans, _) => spans.room(),
            Keep::Nothing(buffer) => buffer,
        }
    }

    fn written(&self, count: usize) -> &[u8] {
        match self {
            Keep::Spans(spans, _) => spans.written(count),
            Keep::Nothing(buffer) => buffer.get(..count).unwrap_or_default(),
        }
    }
}

impl Scanner {
    /// At the start of a blob, for its content alone: finds no checkpoints, so that blocks may be of any length.
    pub fn plain() -> Result<Scanner> {
        Scanner::keeping(Keep::Nothing(vec![0; BUFFER]))
    }

    /// At the start of a blob. Adds to `table`, soon after they are known, checkpoints at least `spacing` bytes of content
    /// apart, or twice as many compressed ones; it is raised to [`MIN_SPACING`], and lowered to a quarter of
    /// [`MAX_SPAN`]. What the table covers can be read. Fails only without memory or threads.
    pub fn new(spacing: u64, table: Arc<Table>) -> Result<Scanner> {
        Scanner::keeping(Keep::Spans(Spans::new(table, BUFFER)?, spacing.clamp(MIN_SPACING, MAX_SPAN / 4)))
    }

    fn keeping(keep: Keep) -> Result<Scanner> {
        let members = Members::new()?;
        Ok(Scanner { members, keep, input: 0, output: 0, last: 0, open: None, start: None, failed: None })
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

    /// The input ended: `Corrupt` if not after a member. Checks of CRC32 and length were made as members ended. After it
    /// the checkpoints are all in the table, and cover all of the content.
    pub fn finish(&mut self) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.members.is_between() {
            let error = Error::new(Kind::Corrupt, format!("gzip data ends at byte {}, within a member", self.input));
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.close()?;
        match &mut self.keep {
            Keep::Spans(spans, _) => spans.finish(),
            Keep::Nothing(_) => Ok(()),
        }
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
            let buffer = self.keep.room();
            let room = room.min(buffer.len());
            let buffer = buffer.get_mut(..room).unwrap_or_default();
            let near = |error: Error, at: u64| error.context(format_args!("gzip data after byte {at}"));
            let step = self.members.step(given, buffer, due).map_err(|error| near(error, self.input))?;
            let (taken, left) = rest.split_at_checked(step.consumed).unwrap_or((rest, &[]));
            rest = left;
            self.input += taken.len() as u64;
            self.last = taken.last().copied().unwrap_or(self.last);
            self.produced(taken, step.produced, &step.event, out)?;
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
        let (Keep::Spans(_, spacing), Some(open)) = (&self.keep, &self.open) else {
            return if self.open.is_some() { (BUFFER, usize::MAX) } else { (0, 0) };
        };
        if let Some(start) = &self.start {
            return start.wants();
        }
        let until = |limit: u64, since: u64| usize::try_from(limit.saturating_sub(since)).unwrap_or(usize::MAX);
        (
            until(*spacing, self.output - open.output).min(BUFFER),
            until(spacing.saturating_mul(2), self.input - open.input),
        )
    }

    /// `taken` gave the next `count` bytes of the content.
    fn produced(
        &mut self,
        taken: &[u8],
        count: usize,
        event: &Event,
        out: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let bytes = self.keep.written(count);
        self.output += bytes.len() as u64;
        if self.output > MAX_UNCOMPRESSED {
            let what = format!("gzip data inflates to over the limit of {MAX_UNCOMPRESSED} bytes");
            return Err(Error::new(Kind::TooBig, what));
        }
        if let (Keep::Spans(..), Some(open)) = (&self.keep, &self.open)
            && self.output - open.output > MAX_SPAN
        {
            let what = format!("gzip data after byte {}: a DEFLATE block is over {MAX_SPAN} bytes", open.input);
            return Err(Error::new(Kind::Unsupported, what));
        }
        if !bytes.is_empty() {
            out(bytes)?;
        }
        let mut known = None;
        if let Some(start) = &mut self.start {
            start.extend(taken, bytes);
            let (content, compressed) = start.wants();
            let whole = content == 0 || *event == Event::MemberEnd;
            if whole || compressed == 0 {
                known = self.start.take().map(|start| (start, whole));
            }
        }
        let Keep::Spans(spans, _) = &mut self.keep else { return Ok(()) };
        spans.take(count)?;
        known.map_or(Ok(()), |(start, whole)| spans.start(start, whole))
    }

    /// Ends the open span here, and begins the next.
    fn begin(&mut self, bits: u8, start: bool) -> Result<()> {
        self.close()?;
        self.open = Some(Open { input: self.input, bits, output: self.output });
        if !start && matches!(self.keep, Keep::Spans(..)) {
            self.start = Some(Start::new(self.members.window()?, self.last, bits));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let (Keep::Spans(spans, _), Some(open)) = (&mut self.keep, self.open.take()) else { return Ok(()) };
        if let Some(start) = self.start.take() {
            spans.start(start, false)?;
        }
        spans.close(Point {
            input: open.input,
            bits: open.bits,
            output: open.output,
            next_input: self.input,
            next_output: self.output,
            check: None,
        })
    }
}
