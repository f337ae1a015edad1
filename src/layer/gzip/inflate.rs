//! A safe inflater of raw DEFLATE (RFC 1951) that can stop between blocks, begin at any bit, and be given a window.
//!
//! The only place that knows zlib's interface; zlib-rs is behind it. Promises: reads only the input it is given and
//! writes only the output it is given, whatever the data. Does not know gzip.

use super::WINDOW;
use crate::error::{Error, Kind, Result};
use libz_rs_sys as z;

/// Inflates one DEFLATE stream at a time.
pub(super) struct Inflater {
    /// In a box: zlib's state may refer to it, so it stays where it is.
    stream: Box<z::z_stream>,
}

/// What one call did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes taken from the input.
    pub(super) consumed: usize,
    /// Bytes written to the output.
    pub(super) produced: usize,
    /// Why it returned.
    pub(super) stop: Stop,
}

/// Why a call returned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Input or output ran out.
    More,
    /// Between two blocks: `bits` high bits of the last byte taken belong to the next one, at most 7.
    Block {
        /// How many bits.
        bits: u8,
    },
    /// The stream ended.
    End,
}

// SAFETY: the stream owns its state, on the heap, and shares it with nobody; the pointers to input and output are used
// only within `inflate`.
#[allow(unsafe_code)]
unsafe impl Send for Inflater {}

/// The most bytes handed over in one call: zlib counts in 32 bits.
const MAX_CALL: usize = 1 << 30;

impl Inflater {
    /// One that is at the beginning of a stream.
    pub(super) fn new() -> Result<Inflater> {
        let mut stream = Box::<z::z_stream>::default();
        // SAFETY: the stream is initialised as zlib asks (no input, default allocators), the version is a C string,
        // and the size is that of the struct.
        #[allow(unsafe_code)]
        let code = unsafe {
            z::inflateInit2_(&mut *stream, -15, z::zlibVersion(), size_of::<z::z_stream>() as core::ffi::c_int)
        };
        match code {
            z::Z_OK => Ok(Inflater { stream }),
            _ => Err(failed("begin", code)),
        }
    }

    /// Forgets everything: at the beginning of a stream again.
    pub(super) fn reset(&mut self) -> Result<()> {
        // SAFETY: the stream was initialised by `new`.
        #[allow(unsafe_code)]
        let code = unsafe { z::inflateReset(&mut *self.stream) };
        if code == z::Z_OK { Ok(()) } else { Err(failed("begin again", code)) }
    }

    /// Takes the `bits` high bits of `byte` as the first input; `bits` over 7 are `Corrupt`.
    pub(super) fn prime(&mut self, bits: u8, byte: u8) -> Result<()> {
        if bits > 7 {
            return Err(Error::new(Kind::Corrupt, format!("{bits} bits of a byte are not 7 or fewer")));
        }
        if bits == 0 {
            return Ok(());
        }
        let value = i32::from(byte >> (8 - bits));
        // SAFETY: the stream was initialised by `new`.
        #[allow(unsafe_code)]
        let code = unsafe { z::inflatePrime(&mut *self.stream, i32::from(bits), value) };
        if code == z::Z_OK { Ok(()) } else { Err(failed("begin at a bit", code)) }
    }

    /// Takes `window` as the bytes before the first; more than 32 KiB are `Corrupt`.
    pub(super) fn set_window(&mut self, window: &[u8]) -> Result<()> {
        if window.len() > WINDOW {
            return Err(Error::new(Kind::Corrupt, format!("a window of {} bytes is over {WINDOW}", window.len())));
        }
        // SAFETY: the stream was initialised by `new`; pointer and length are those of a slice.
        #[allow(unsafe_code)]
        let code = unsafe { z::inflateSetDictionary(&mut *self.stream, window.as_ptr(), window.len() as u32) };
        if code == z::Z_OK { Ok(()) } else { Err(failed("take a window", code)) }
    }

    /// The last bytes inflated, up to 32 KiB.
    pub(super) fn window(&self) -> Result<Vec<u8>> {
        let mut window = vec![0; WINDOW];
        let mut len = 0;
        // SAFETY: the stream was initialised by `new`; zlib writes at most a window, which the vector holds.
        #[allow(unsafe_code)]
        let code = unsafe { z::inflateGetDictionary(&*self.stream, window.as_mut_ptr(), &mut len) };
        if code != z::Z_OK {
            return Err(failed("give its window", code));
        }
        window.truncate(len as usize);
        Ok(window)
    }

    /// Inflates from `input` to `output`; with `blocks` it also returns between any two blocks.
    pub(super) fn inflate(&mut self, input: &[u8], output: &mut [u8], blocks: bool) -> Result<Step> {
        let (given, room) = (input.len().min(MAX_CALL), output.len().min(MAX_CALL));
        self.stream.next_in = input.as_ptr();
        self.stream.avail_in = given as u32;
        self.stream.next_out = output.as_mut_ptr();
        self.stream.avail_out = room as u32;
        let flush = if blocks { z::Z_BLOCK } else { z::Z_NO_FLUSH };
        // SAFETY: the stream was initialised by `new`; the pointers are to slices of at least the lengths given, which
        // outlive the call, and the output is initialised memory that nobody else sees.
        #[allow(unsafe_code)]
        let code = unsafe { z::inflate(&mut *self.stream, flush) };
        let consumed = given.saturating_sub(self.stream.avail_in as usize);
        let produced = room.saturating_sub(self.stream.avail_out as usize);
        let state = self.stream.data_type;
        let stop = match code {
            z::Z_STREAM_END => Stop::End,
            // After the last block (64) comes the end, not a block.
            z::Z_OK | z::Z_BUF_ERROR if blocks && state & 128 != 0 && state & 64 == 0 => {
                Stop::Block { bits: (state & 7) as u8 }
            }
            z::Z_OK | z::Z_BUF_ERROR => Stop::More,
            _ => return Err(self.damaged(code)),
        };
        Ok(Step { consumed, produced, stop })
    }

    fn damaged(&self, code: i32) -> Error {
        if code != z::Z_DATA_ERROR || self.stream.msg.is_null() {
            return failed("go on", code);
        }
        // SAFETY: a message of zlib is a constant C string.
        #[allow(unsafe_code)]
        let words = unsafe { std::ffi::CStr::from_ptr(self.stream.msg) };
        Error::new(Kind::Corrupt, format!("damaged DEFLATE data: {}", words.to_string_lossy()))
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: the stream was initialised by `new` and is not used again.
        #[allow(unsafe_code)]
        unsafe {
            z::inflateEnd(&mut *self.stream);
        }
    }
}

fn failed(what: &str, code: i32) -> Error {
    let kind = if code == z::Z_MEM_ERROR { Kind::Io } else { Kind::Corrupt };
    Error::new(kind, format!("inflate cannot {what} (code {code})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(bytes).expect("write");
        encoder.finish().expect("finish")
    }

    #[test]
    fn stops_between_blocks_and_begins_there_again() {
        let plain: Vec<u8> = (0..300_000u32).flat_map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()).collect();
        let packed = deflated(&plain);
        let mut inflater = Inflater::new().expect("new");
        let mut output = vec![0; plain.len()];
        let (mut at, mut out, mut stops) = (0, 0, 0);
        loop {
            let step = inflater.inflate(&packed[at..], &mut output[out..], true).expect("inflate");
            (at, out) = (at + step.consumed, out + step.produced);
            match step.stop {
                Stop::End => break,
                // before the end
                Stop::More => assert!(step.consumed + step.produced > 0),
                Stop::Block { bits } => {
                    stops += 1;
                    let mut other = Inflater::new().expect("new");
                    other.prime(bits, packed[at - 1]).expect("prime");
                    let window = inflater.window().expect("window");
                    assert_eq!(window, plain[out.saturating_sub(WINDOW)..out]);
                    other.set_window(&window).expect("window");
                    let mut rest = vec![0; plain.len() - out];
                    let step = other.inflate(&packed[at..], &mut rest, false).expect("inflate");
                    assert_eq!(step.produced, rest.len());
                    assert!(rest == plain[out..], "from byte {at}, {bits} bits");
                }
            }
        }
        assert!(stops > 3 && output == plain);
        inflater.reset().expect("reset");
        assert_eq!(inflater.inflate(&packed, &mut output, false).expect("again").stop, Stop::End);
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        let mut inflater = Inflater::new().expect("new");
        assert_eq!(inflater.prime(8, 0xff).expect_err("bits").kind(), Kind::Corrupt);
        assert_eq!(inflater.set_window(&[0; WINDOW + 1]).expect_err("long").kind(), Kind::Corrupt);
        inflater.set_window(&[]).expect("none at all");
        let error = inflater.inflate(&[0xff; 9], &mut [0; 9], false).expect_err("no such block");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("invalid block type"), "{error}");
    }

    #[test]
    fn empty_input_and_empty_output_are_no_failure() {
        let packed = deflated(b"abc");
        let mut inflater = Inflater::new().expect("new");
        let nothing = Step { consumed: 0, produced: 0, stop: Stop::More };
        assert_eq!(inflater.inflate(&[], &mut [0; 4], false).expect("no input"), nothing);
        inflater.inflate(&packed, &mut [], false).expect("no output");
    }
}
