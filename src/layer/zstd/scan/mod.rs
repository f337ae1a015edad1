//! The first pass over a zstd layer: compressed bytes are pushed in, content comes out, frames are noted.

use super::frame::{self, Frame};
use super::table::{Builder, Frames};
use super::{MAX_CONTENT, MAX_WINDOW_LOG};
use crate::error::{Error, Kind, Result};
use zstd::stream::raw::{DParameter, Decoder, Operation};

/// How much content is handed out at once, in bytes.
const STEP: usize = 128 << 10;

/// A decoder of a whole layer. Memory: the window of the frame (at most 128 MiB, usually 8), and 128 KiB.
pub struct Scanner {
    decoder: Decoder<'static>,
    state: State,
    /// Compressed bytes taken.
    at: u64,
    /// Bytes of content made.
    made: u64,
    frames: Builder,
    buffer: Vec<u8>,
}

enum State {
    /// In the head of a frame, of which these bytes came.
    Head(Vec<u8>),
    /// In a skippable frame that has so many bytes left.
    Skip(u64),
    /// In a frame that began at this byte, with the content before it.
    Data { at: u64, made: u64 },
    /// After an error.
    Failed,
}

impl Scanner {
    /// A scanner at the first byte of a layer.
    pub fn new() -> Result<Scanner> {
        let broken = |error| Error::with(Kind::Io, "start a zstd decoder", error);
        let mut decoder = Decoder::new().map_err(broken)?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(broken)?;
        let state = State::Head(Vec::new());
        Ok(Scanner { decoder, state, at: 0, made: 0, frames: Builder::default(), buffer: vec![0; STEP] })
    }

    /// Takes the next compressed bytes; `out` is given the content that they make, in order, in parts of at most
    /// 128 KiB. The content of a frame with a damaged checksum is handed out before the damage is seen: what was made
    /// is only right once [`Scanner::finish`] said so. After an error the scanner is of no more use.
    ///
    /// Errors: `Corrupt`, `TooBig` (window, content), `Unsupported` (dictionary), and what `out` returns.
    pub fn feed(&mut self, mut compressed: &[u8], out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while !compressed.is_empty() {
            let taken = match std::mem::replace(&mut self.state, State::Failed) {
                State::Head(head) => self.head(head, compressed, out)?,
                State::Skip(left) => {
                    let taken = usize::try_from(left).map_or(compressed.len(), |left| left.min(compressed.len()));
                    self.skipping(left - taken as u64);
                    taken
                }
                State::Data { at, made } => self.data(at, made, compressed, out)?,
                State::Failed => return Err(Error::new(Kind::Corrupt, "the zstd stream failed before")),
            };
            self.at += taken as u64;
            compressed = compressed.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Bytes of content made so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// The table of frames, once all was fed; `Corrupt` if the layer ends within a frame.
    pub fn finish(self) -> Result<Frames> {
        let within = match self.state {
            State::Head(head) if head.is_empty() => return Ok(self.frames.finish(self.at, self.made)),
            State::Head(_) => "the head of a frame",
            State::Skip(_) => "a skippable frame",
            State::Data { .. } => "a frame",
            State::Failed => "a frame that is damaged",
        };
        Err(Error::new(Kind::Corrupt, format!("the zstd stream ends at byte {}, within {within}", self.at)))
    }

    /// Takes one byte of a head. The bytes of the head go to the decoder together.
    fn head(&mut self, mut head: Vec<u8>, input: &[u8], out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let start = self.at - head.len() as u64;
        head.extend(input.first());
        match frame::parse(&head).map_err(|error| error.context(format!("zstd frame at byte {start}")))? {
            None => self.state = State::Head(head),
            Some(Frame::Skip(left)) => self.skipping(left),
            Some(Frame::Data) => {
                self.decoder.reinit().map_err(|error| damaged(start, error))?;
                let taken = self.data(start, self.made, &head, out)?;
                if taken != head.len() {
                    return Err(Error::new(Kind::Corrupt, format!("zstd frame at byte {start}: its head is damaged")));
                }
            }
        }
        Ok(1)
    }

    fn skipping(&mut self, left: u64) {
        self.state = if left == 0 { State::Head(Vec::new()) } else { State::Skip(left) };
    }

    /// Decodes until the frame ends or the input is used up; how much of it was taken.
    fn data(&mut self, at: u64, made: u64, input: &[u8], out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let status = self.decoder.run_on_buffers(rest, &mut self.buffer).map_err(|error| damaged(at, error))?;
            taken += status.bytes_read;
            self.made += status.bytes_written as u64;
            if self.made > MAX_CONTENT {
                return Err(Error::new(
                    Kind::TooBig,
                    format!("zstd frame at byte {at}: the content is over the limit of {} GiB", MAX_CONTENT >> 30),
                ));
            }
            if status.bytes_written > 0 {
                out(self.buffer.get(..status.bytes_written).unwrap_or_default())?;
            }
            if status.remaining == 0 {
                self.frames.frame(at, self.at + taken as u64, made, self.made);
                self.state = State::Head(Vec::new());
                return Ok(taken);
            }
            if taken >= input.len() && status.bytes_written < self.buffer.len() {
                self.state = State::Data { at, made };
                return Ok(taken);
            }
            if status.bytes_read == 0 && status.bytes_written == 0 {
                return Err(Error::new(Kind::Corrupt, format!("zstd frame at byte {at}: the decoder does not go on")));
            }
        }
    }
}

fn damaged(at: u64, error: std::io::Error) -> Error {
    Error::with(Kind::Corrupt, format!("zstd frame at byte {at} is damaged"), error)
}

#[cfg(test)]
mod tests;
