//! The members of a gzip blob, one after the other, as one stream of content: from their start, or from a checkpoint.
//!
//! Promises: checks CRC32 and ISIZE of every member that it saw from its start; see [the rules](super) for what
//! follows a member. Keeps nothing but zlib's window. Does not know where in the blob it is.

use super::header::{Header, MAGIC};
use super::inflate::{Inflater, Stop};
use crate::error::{Error, Kind, Result};

/// Inflates members.
pub(super) struct Members {
    inflater: Inflater,
    state: State,
    /// Of the member's content so far, if it was seen from its start.
    crc: Option<flate2::Crc>,
}

enum State {
    Header(Header),
    Body,
    /// CRC32 and ISIZE: how many bytes of them came.
    Trailer([u8; 8], usize),
    /// A member ended, and this much of a magic number came since.
    Between(usize),
    /// What follows is no member.
    Over,
}

/// What one call did.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes taken from the input.
    pub(super) consumed: usize,
    /// Bytes written to the output.
    pub(super) produced: usize,
    /// Why it returned.
    pub(super) event: Event,
}

/// Why a call returned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The input was all taken, or the output is full.
    More,
    /// Inflating can begin here, with `bits` high bits of the last byte taken; told only if asked for.
    Boundary {
        /// At most 7.
        bits: u8,
        /// Whether it is at a member's start: nothing before it is referred to.
        start: bool,
    },
    /// A member ended, its checks held; what follows decides whether another comes.
    MemberEnd,
    /// The content is over; the rest of the input is ignored.
    Over,
}

impl Members {
    /// At the start of a blob.
    pub(super) fn new() -> Result<Members> {
        Ok(Members { inflater: Inflater::new()?, state: State::Header(Header::new()), crc: None })
    }

    /// In the middle of a member: between two blocks, the first of which begins with the `bits` high bits of `byte`.
    pub(super) fn resume(bits: u8, byte: u8, window: &[u8]) -> Result<Members> {
        let mut inflater = Inflater::new()?;
        inflater.prime(bits, byte)?;
        inflater.set_window(window)?;
        Ok(Members { inflater, state: State::Body, crc: None })
    }

    /// The last bytes inflated of this member, up to 32 KiB.
    pub(super) fn window(&self) -> Result<Vec<u8>> {
        self.inflater.window()
    }

    /// Whether the input may end here.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Between(_) | State::Over)
    }

    /// Inflates some of `input` to `output`; with `boundaries` it also returns where inflating can begin.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8], boundaries: bool) -> Result<Progress> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            let done = |consumed, event| Ok(Progress { consumed, produced: 0, event });
            // Only zlib may still have output when the input has run out.
            if rest.is_empty() && !matches!(self.state, State::Body | State::Over) {
                return done(consumed, Event::More);
            }
            match &mut self.state {
                State::Over => return done(consumed, Event::Over),
                State::Header(header) => {
                    let (taken, complete) = header.take(rest)?;
                    consumed += taken;
                    if complete {
                        self.inflater.reset()?;
                        self.crc = Some(flate2::Crc::new());
                        self.state = State::Body;
                        if boundaries {
                            return done(consumed, Event::Boundary { bits: 0, start: true });
                        }
                    }
                }
                State::Body => {
                    let step = self.inflater.inflate(rest, output, boundaries)?;
                    if let Some(crc) = &mut self.crc {
                        crc.update(output.get(..step.produced).unwrap_or_default());
                    }
                    let event = match step.stop {
                        Stop::Block { bits } => Event::Boundary { bits, start: false },
                        Stop::More => Event::More,
                        Stop::End => {
                            self.state = State::Trailer([0; 8], 0);
                            Event::More
                        }
                    };
                    return Ok(Progress { consumed: consumed + step.consumed, produced: step.produced, event });
                }
                State::Trailer(bytes, have) => {
                    let (Some(to), Some(&byte)) = (bytes.get_mut(*have), rest.first()) else { continue };
                    *to = byte;
                    *have += 1;
                    consumed += 1;
                    if *have == bytes.len() {
                        check(&self.crc, *bytes)?;
                        self.state = State::Between(0);
                        return done(consumed, Event::MemberEnd);
                    }
                }
                State::Between(have) => {
                    if MAGIC.get(*have) != rest.first() {
                        self.state = State::Over;
                        continue;
                    }
                    *have += 1;
                    consumed += 1;
                    if *have == MAGIC.len() {
                        let mut header = Header::new();
                        header.take(&MAGIC)?;
                        self.state = State::Header(header);
                    }
                }
            }
        }
    }
}

/// Compares a trailer with what was inflated, if it is known.
fn check(crc: &Option<flate2::Crc>, trailer: [u8; 8]) -> Result<()> {
    let [a, b, c, d, e, f, g, h] = trailer;
    let (sum, size) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    match crc {
        Some(crc) if crc.sum() != sum => Err(Error::new(Kind::Corrupt, "the CRC32 of a gzip member is wrong")),
        Some(crc) if crc.amount() != size => {
            Err(Error::new(Kind::Corrupt, "the length of a gzip member's content is not what its trailer says"))
        }
        _ => Ok(()),
    }
}
