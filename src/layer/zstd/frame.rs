//! The head of a frame (RFC 8878, 3.1.1 and 3.1.2): what it is and how much memory it asks for.

use super::MAX_WINDOW_LOG;
use crate::error::{Error, Kind, Result};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Content.
    Data,
    /// So many bytes to be skipped after the head.
    Skip(u64),
}

/// Parses the head of a frame. `None` if `head` has too few bytes; otherwise it has exactly as many as the head needs,
/// if it was given byte by byte.
pub(super) fn parse(head: &[u8]) -> Result<Option<Frame>> {
    let Some((magic, rest)) = head.split_first_chunk::<4>() else { return Ok(None) };
    match u32::from_le_bytes(*magic) {
        0xfd2f_b528 => data(rest),
        0x184d_2a50..=0x184d_2a5f => {
            Ok(rest.first_chunk::<4>().map(|size| Frame::Skip(u64::from(u32::from_le_bytes(*size)))))
        }
        _ => Err(Error::new(Kind::Corrupt, format!("not a zstd frame: it begins with {}", hex::encode(magic)))),
    }
}

fn data(rest: &[u8]) -> Result<Option<Frame>> {
    let Some((&descriptor, rest)) = rest.split_first() else { return Ok(None) };
    if descriptor & 0x08 != 0 {
        return Err(Error::new(Kind::Corrupt, "a reserved bit of the frame's header is set"));
    }
    let single = descriptor & 0x20 != 0;
    let dictionary_len = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size_len = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let window_len = usize::from(!single);
    let Some(fields) = rest.get(..window_len + dictionary_len + size_len) else { return Ok(None) };
    let (window, fields) = fields.split_at(window_len);
    let (dictionary, size) = fields.split_at(dictionary_len);
    if dictionary.iter().any(|b| *b != 0) {
        return Err(Error::new(Kind::Unsupported, "the frame needs a dictionary"));
    }
    let window = match window.first() {
        Some(byte) => {
            let base = 1u64 << (10 + (byte >> 3));
            base + base / 8 * u64::from(byte & 7)
        }
        // The window of a frame without one is its content.
        None => number(size).saturating_add(if size_len == 2 { 256 } else { 0 }),
    };
    if window > 1 << MAX_WINDOW_LOG {
        let limit = 1u64 << (MAX_WINDOW_LOG - 20);
        return Err(Error::new(
            Kind::TooBig,
            format!("the frame asks for a window of {window} bytes, over the limit of {limit} MiB"),
        ));
    }
    Ok(Some(Frame::Data))
}

/// A little-endian number of at most 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

    fn head(rest: &[u8]) -> Vec<u8> {
        [&MAGIC[..], rest].concat()
    }

    #[test]
    fn asks_for_as_many_bytes_as_the_head_has() {
        let frame = zstd::bulk::compress(&[7; 100_000], 1).expect("compress");
        let needed = (0..=18).find(|n| parse(&frame[..*n]).expect("valid").is_some()).expect("a head");
        // magic, descriptor, four bytes of size: a single segment
        assert_eq!(needed, 9);
        assert_eq!(parse(&[0x5f, 0x2a, 0x4d, 0x18, 1, 0, 0]).expect("valid"), None);
        assert_eq!(parse(&[0x5f, 0x2a, 0x4d, 0x18, 1, 0, 0, 1]).expect("valid"), Some(Frame::Skip(0x0100_0001)));
    }

    #[test]
    fn windows_are_bounded() {
        // exponent 17 is 128 MiB
        assert_eq!(parse(&head(&[0, 17 << 3])).expect("128 MiB"), Some(Frame::Data));
        assert_eq!(parse(&head(&[0, (17 << 3) | 1])).expect_err("144 MiB").kind(), Kind::TooBig);
        assert_eq!(parse(&head(&[0, 0xff])).expect_err("huge").kind(), Kind::TooBig);
        // a single segment of 2^63 bytes and more
        assert_eq!(parse(&head(&[0xe0, 255, 255, 255, 255, 255, 255, 255, 255])).expect_err("e").kind(), Kind::TooBig);
        assert_eq!(parse(&head(&[0xe0, 0, 0, 0, 8, 0, 0, 0, 0])).expect("128 MiB"), Some(Frame::Data));
    }

    #[test]
    fn dictionaries_and_reserved_bits_are_refused() {
        assert_eq!(parse(&head(&[1, 0, 9])).expect_err("dictionary").kind(), Kind::Unsupported);
        assert_eq!(parse(&head(&[1, 0, 0])).expect("dictionary 0 is none"), Some(Frame::Data));
        assert_eq!(parse(&head(&[8, 0])).expect_err("reserved").kind(), Kind::Corrupt);
        assert_eq!(parse(b"\x1f\x8b\x08\0").expect_err("gzip").kind(), Kind::Corrupt);
    }
}
