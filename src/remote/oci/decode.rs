//! A gzip stream that a front end put around a blob, taken off as it arrives.

use crate::error::{Error, Kind, Result};
use flate2::write::MultiGzDecoder;
use std::io::Write;

/// How much is decoded at once: gzip expands at most about a thousandfold, so this bounds what one step may yield.
const STEP: usize = 4 << 10;

pub(super) struct Decoder(MultiGzDecoder<Vec<u8>>);

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder(MultiGzDecoder::new(Vec::new()))
    }

    /// Takes encoded `bytes`, gives `sink` what they decode to, in order.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        for step in bytes.chunks(STEP) {
            self.0.write_all(step).map_err(broken)?;
            self.drain(sink)?;
        }
        Ok(())
    }

    /// Says that no more will come, gives `sink` what is left.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.0.try_finish().map_err(broken)?;
        self.drain(sink)
    }

    fn drain(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let decoded = std::mem::take(self.0.get_mut());
        if decoded.is_empty() { Ok(()) } else { sink(&decoded) }
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::with(Kind::Protocol, "the gzip encoding that the server put around it is broken", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_across_parts_and_notices_what_is_missing() {
        let plain: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).expect("write");
        let encoded = encoder.finish().expect("finish");
        let run = |encoded: &[u8]| {
            let mut decoder = Decoder::new();
            let mut got = Vec::new();
            let mut sink = |part: &[u8]| {
                got.extend_from_slice(part);
                Ok(())
            };
            let done = encoded.chunks(777).try_for_each(|part| decoder.push(part, &mut sink));
            let done = done.and_then(|()| decoder.finish(&mut sink));
            (done, got)
        };
        let (done, got) = run(&encoded);
        done.expect("whole");
        assert_eq!(got, plain);
        let (done, got) = run(&encoded[..encoded.len() / 2]);
        assert_eq!(done.expect_err("half").kind(), Kind::Protocol);
        assert!(plain.starts_with(&got));
        assert!(run(b"not gzip at all").0.is_err());
    }
}
