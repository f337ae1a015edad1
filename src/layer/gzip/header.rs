//! The header of a gzip member (RFC 1952, 2.3), byte by byte, so that it may come in any pieces.
//!
//! Promises: takes exactly the header's bytes, keeps none of them. Does not know what comes before or after.

use super::MAX_HEADER;
use crate::error::{Error, Kind, Result};

const HCRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// The two bytes that every member begins with.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Where in a header the next byte belongs.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// The ten bytes that are always there; how many came.
    Fixed(u8),
    ExtraLow,
    ExtraHigh(u8),
    Extra(u16),
    Name,
    Comment,
    CheckLow,
    CheckHigh(u8),
    End,
}

/// Takes one header.
pub(super) struct Header {
    field: Field,
    flags: u8,
    taken: u64,
    crc: flate2::Crc,
}

impl Header {
    /// One of which nothing came yet.
    pub(super) fn new() -> Header {
        Header { field: Field::Fixed(0), flags: 0, taken: 0, crc: flate2::Crc::new() }
    }

    /// Takes what belongs to the header from the front of `input`: how many bytes, and whether it is complete now.
    ///
    /// `Corrupt` if it is none, `Unsupported` for another method than DEFLATE and for flags that RFC 1952 reserves,
    /// `TooBig` over [`MAX_HEADER`].
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, bool)> {
        for (at, &byte) in input.iter().enumerate() {
            if self.push(byte)? {
                return Ok((at + 1, true));
            }
        }
        Ok((input.len(), false))
    }

    fn push(&mut self, byte: u8) -> Result<bool> {
        self.taken += 1;
        if self.taken > MAX_HEADER {
            return Err(Error::new(Kind::TooBig, format!("a gzip header is over the limit of {MAX_HEADER} bytes")));
        }
        let expected = (self.crc.sum() & 0xffff) as u16;
        if !matches!(self.field, Field::CheckLow | Field::CheckHigh(_)) {
            self.crc.update(&[byte]);
        }
        self.field = match self.field {
            Field::Fixed(at) => self.fixed(at, byte)?,
            Field::ExtraLow => Field::ExtraHigh(byte),
            Field::ExtraHigh(low) => match u16::from_le_bytes([low, byte]) {
                0 => self.after(EXTRA),
                len => Field::Extra(len),
            },
            Field::Extra(1) => self.after(EXTRA),
            Field::Extra(left) => Field::Extra(left.saturating_sub(1)),
            Field::Name if byte == 0 => self.after(NAME),
            Field::Comment if byte == 0 => self.after(COMMENT),
            Field::CheckLow => Field::CheckHigh(byte),
            Field::CheckHigh(low) if u16::from_le_bytes([low, byte]) != expected => {
                return Err(Error::new(Kind::Corrupt, "the checksum of a gzip header is wrong"));
            }
            Field::CheckHigh(_) => Field::End,
            field @ (Field::Name | Field::Comment | Field::End) => field,
        };
        Ok(matches!(self.field, Field::End))
    }

    fn fixed(&mut self, at: u8, byte: u8) -> Result<Field> {
        match at {
            0 | 1 if byte != MAGIC[usize::from(at)] => {
                return Err(Error::new(Kind::Corrupt, "does not begin with the magic number of gzip"));
            }
            2 if byte != 8 => {
                return Err(Error::new(Kind::Unsupported, format!("gzip with compression method {byte}, not DEFLATE")));
            }
            3 if byte & RESERVED != 0 => {
                return Err(Error::new(Kind::Unsupported, format!("gzip with reserved flags ({byte:#04x})")));
            }
            3 => self.flags = byte,
            9 => return Ok(self.after(0)),
            _ => {}
        }
        Ok(Field::Fixed(at + 1))
    }

    /// The first field that is there after that of flag `done`.
    fn after(&self, done: u8) -> Field {
        // HCRC is the second bit but the last field.
        let order = [(EXTRA, Field::ExtraLow), (NAME, Field::Name), (COMMENT, Field::Comment)];
        let next = order.into_iter().find(|(flag, _)| *flag > done && self.flags & flag != 0);
        match next {
            Some((_, field)) => field,
            None if self.flags & HCRC != 0 => Field::CheckLow,
            None => Field::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with everything in it, and its length.
    fn full() -> Vec<u8> {
        let mut bytes = vec![0x1f, 0x8b, 8, HCRC | EXTRA | NAME | COMMENT | 1, 1, 2, 3, 4, 0, 255];
        bytes.extend([3, 0, b'S', b'G', 0]);
        bytes.extend(b"name\0comment\0");
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        bytes.extend((crc.sum() as u16).to_le_bytes());
        bytes
    }

    #[test]
    fn takes_every_field_and_not_a_byte_more() {
        let mut bytes = full();
        let len = bytes.len();
        bytes.extend([9; 5]);
        assert_eq!(Header::new().take(&bytes).expect("whole"), (len, true));
        let mut header = Header::new();
        for (at, byte) in bytes[..len].iter().enumerate() {
            assert_eq!(header.take(&[*byte]).expect("byte"), (1, at + 1 == len));
        }
        for flags in 0..32u8 {
            let mut bytes = vec![0x1f, 0x8b, 8, flags & !HCRC, 0, 0, 0, 0, 0, 3];
            bytes.extend(if flags & EXTRA != 0 { &[0u8, 0][..] } else { &[] });
            bytes.extend(if flags & NAME != 0 { &b"n\0"[..] } else { &[] });
            bytes.extend(if flags & COMMENT != 0 { &b"\0"[..] } else { &[] });
            let len = bytes.len();
            bytes.extend([0; 9]);
            assert_eq!(Header::new().take(&bytes).expect("whole"), (len, true), "flags {flags}");
        }
    }

    #[test]
    fn refuses_what_is_no_header() {
        let wrong = |at: usize, byte: u8| {
            let mut bytes = full();
            bytes[at] = byte;
            Header::new().take(&bytes).expect_err("refused").kind()
        };
        assert_eq!(wrong(0, 0), Kind::Corrupt);
        assert_eq!(wrong(1, 0x1f), Kind::Corrupt);
        assert_eq!(wrong(2, 7), Kind::Unsupported);
        assert_eq!(wrong(3, 0x80), Kind::Unsupported);
        assert_eq!(wrong(5, 77), Kind::Corrupt, "its own checksum");
        let mut endless = vec![0x1f, 0x8b, 8, NAME, 0, 0, 0, 0, 0, 3];
        endless.resize(MAX_HEADER as usize + 1, b'x');
        assert_eq!(Header::new().take(&endless).expect_err("endless").kind(), Kind::TooBig);
    }
}
