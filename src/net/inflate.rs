//! gzip bodies, decoded piece by piece: what comes in is small, what comes out stays small.
//!
//! Promises: no more than about a megabyte comes out of one call, however hostile the stream. Knows RFC 1952.

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use std::io::Write;

/// How much is fed to the decoder at once: deflate makes at most about a thousand bytes out of one.
const STEP: usize = 1 << 10;

/// A decoder of one body.
pub(super) struct Inflate {
    decoder: MultiGzDecoder<Vec<u8>>,
    pending: Bytes,
    seen: bool,
}

/// The decoder that a body needs, if any; what it is encoded as, where that is not known here.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Inflate>, String> {
    match headers.get(CONTENT_ENCODING).map(|encoding| encoding.to_str().unwrap_or("?").trim()) {
        None | Some("") => Ok(None),
        Some(identity) if identity.eq_ignore_ascii_case("identity") => Ok(None),
        Some(gzip) if ["gzip", "x-gzip"].iter().any(|name| gzip.eq_ignore_ascii_case(name)) => Ok(Some(Inflate::new())),
        Some(other) => Err(crate::name::escape(other.as_bytes())),
    }
}

impl Inflate {
    fn new() -> Inflate {
        Inflate { decoder: MultiGzDecoder::new(Vec::new()), pending: Bytes::new(), seen: false }
    }

    /// Takes the next part of the encoded body; only after [`Inflate::next`] said that there is nothing more.
    pub(super) fn feed(&mut self, encoded: Bytes) {
        debug_assert!(self.pending.is_empty());
        self.seen |= !encoded.is_empty();
        self.pending = encoded;
    }

    /// The next decoded part; `None` when more has to be fed.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, String> {
        while !self.pending.is_empty() {
            let step = self.pending.len().min(STEP);
            let taken =
                self.decoder.write(&self.pending[..step]).map_err(|error| format!("the body is not gzip: {error}"))?;
            self.pending.advance(taken);
            let _ = self.decoder.flush();
            if !self.decoder.get_ref().is_empty() {
                return Ok(Some(Bytes::from(std::mem::take(self.decoder.get_mut()))));
            }
            if taken == 0 {
                return Err("the body goes on after the end of its gzip stream".to_owned());
            }
        }
        Ok(None)
    }

    /// Whether the stream ended where it says it ends. An empty body is whole.
    pub(super) fn is_whole(&mut self) -> bool {
        !self.seen || self.decoder.try_finish().is_ok()
    }
}
