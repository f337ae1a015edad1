//! One header block: its checksum, its format and its fields.
//!
//! Promises: a block is taken or refused as Go's `archive/tar` does, field by field. Knows nothing of records, long
//! names or what comes after the block.

use super::number::{numeric, octal};
use crate::error::{Error, Kind, Result};
use std::ops::Range;

/// Everything in a tar is in blocks of this many bytes.
pub(super) const BLOCK: usize = 512;

/// A block as it is in the archive.
pub(super) type Block = [u8; BLOCK];

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const FLAG: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const VERSION: Range<usize> = 263..265;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_ATIME: Range<usize> = 476..488;
const STAR_CTIME: Range<usize> = 488..500;
const STAR_TRAILER: Range<usize> = 508..512;
const GNU_ATIME: Range<usize> = 345..357;
const GNU_CTIME: Range<usize> = 357..369;
const GNU_REAL_SIZE: Range<usize> = 483..495;

/// Which layout the fields after the name of the link have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// What a header block says, numbers as they are written.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) flag: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: i64,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) mtime: i64,
    pub(super) device: (i64, i64),
}

/// Whether the block is one of the two that end an archive.
pub(super) fn is_zero(block: &Block) -> bool {
    block.iter().all(|byte| *byte == 0)
}

impl Header {
    /// Reads a block that is not zero. `Corrupt` if the checksum or a number is wrong.
    pub(super) fn parse(block: &Block) -> Result<Header> {
        let format = format(block)?;
        let mut header = Header {
            format,
            flag: block[FLAG],
            name: text(&block[NAME]).to_vec(),
            link: text(&block[LINK]).to_vec(),
            size: number(block, SIZE, "size")?,
            mode: number(block, MODE, "mode")?,
            uid: number(block, UID, "owner")?,
            gid: number(block, GID, "group")?,
            mtime: number(block, MTIME, "time")?,
            device: (0, 0),
        };
        if format != Format::V7 {
            header.device = (number(block, MAJOR, "device number")?, number(block, MINOR, "device number")?);
            let prefix = prefix(block, format)?;
            if !prefix.is_empty() {
                header.name = [prefix, b"/", &header.name].concat();
            }
        }
        Ok(header)
    }
}

/// The size that an old GNU sparse file unfolds to.
pub(super) fn gnu_real_size(block: &Block) -> Result<i64> {
    number(block, GNU_REAL_SIZE, "real size")
}

/// Checks the sum, then tells the format by its marks.
fn format(block: &Block) -> Result<Format> {
    let sums = sums(block);
    let claimed = octal(&block[CHECKSUM]).ok_or_else(|| corrupt("the checksum is not a number"))?;
    if claimed != sums.0 && claimed != sums.1 {
        return Err(corrupt("the checksum is wrong"));
    }
    Ok(match (&block[MAGIC], &block[VERSION]) {
        (b"ustar\0", _) if &block[STAR_TRAILER] == b"tar\0" => Format::Star,
        (b"ustar\0", _) => Format::Ustar,
        (b"ustar ", b" \0") => Format::Gnu,
        _ => Format::V7,
    })
}

/// The sums of the bytes, unsigned as POSIX says and signed as old Sun tars did, the field of the sum taken as spaces.
fn sums(block: &Block) -> (i64, i64) {
    let spaces = i64::from(b' ') * CHECKSUM.len() as i64;
    let unsigned = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let high = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(byte >> 7)).sum::<u32>();
    let sum = i64::from(unsigned(block) - unsigned(&block[CHECKSUM])) + spaces;
    (sum, sum - 256 * i64::from(high(block) - high(&block[CHECKSUM])))
}

/// The part of the name that stands in a field of its own.
fn prefix(block: &Block, format: Format) -> Result<&[u8]> {
    Ok(match format {
        Format::V7 => b"",
        Format::Ustar => text(&block[PREFIX]),
        Format::Star => {
            number(block, STAR_ATIME, "access time")?;
            number(block, STAR_CTIME, "change time")?;
            text(&block[STAR_PREFIX])
        }
        Format::Gnu => {
            // Go before 1.8 wrote a prefix where GNU has two times. If these cannot be times, that is what it is.
            let is_time = |field: &[u8]| field.first() == Some(&0) || numeric(field).is_some();
            let prefix = text(&block[PREFIX]);
            if is_time(&block[GNU_ATIME]) && is_time(&block[GNU_CTIME]) || !prefix.is_ascii() { b"" } else { prefix }
        }
    })
}

/// What stands before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn number(block: &Block, field: Range<usize>, what: &str) -> Result<i64> {
    numeric(&block[field]).ok_or_else(|| corrupt(&format!("the {what} is not a number")))
}

fn corrupt(what: &str) -> Error {
    Error::new(Kind::Corrupt, what)
}

#[cfg(test)]
mod tests {
    use super::super::craft::Member;
    use super::*;

    fn block(member: &Member) -> Block {
        member.header()
    }

    #[test]
    fn the_four_formats_join_names_their_way() {
        let name = |member: Member| Header::parse(&block(&member)).map(|header| (header.format, header.name));
        let with_prefix = || Member::file("name").field(345, b"some/where");
        assert_eq!(name(with_prefix()).expect("ustar"), (Format::Ustar, b"some/where/name".to_vec()));
        assert_eq!(
            name(with_prefix().field(508, b"tar\0")).expect("star"),
            (Format::Star, b"some/where/name".to_vec())
        );
        assert_eq!(name(with_prefix().v7()).expect("v7"), (Format::V7, b"name".to_vec()));
        assert_eq!(name(Member::file("name").gnu()).expect("gnu"), (Format::Gnu, b"name".to_vec()));
        // As Go before 1.8 wrote it: a prefix among GNU's marks.
        assert_eq!(name(with_prefix().gnu()).expect("go 1.7"), (Format::Gnu, b"some/where/name".to_vec()));
        let times = Member::file("name").gnu().field(345, b"00000000001\0").field(357, b"00000000002\0");
        assert_eq!(name(times).expect("gnu with times"), (Format::Gnu, b"name".to_vec()));
        assert_eq!(name(Member::file("name").field(263, b"99")).expect("any version").0, Format::Ustar);
    }

    #[test]
    fn names_fill_their_fields() {
        let long = "n".repeat(100);
        let member = Member::file(&long).field(345, &[b'p'; 155]);
        let header = Header::parse(&block(&member)).expect("header");
        assert_eq!(header.name, [&[b'p'; 155][..], b"/", long.as_bytes()].concat());
        let star = Member::file("name").field(345, &[b'p'; 131]).field(476, b"00000000007\0").field(508, b"tar\0");
        assert_eq!(Header::parse(&block(&star)).expect("star").name, [&[b'p'; 131][..], b"/name"].concat());
    }

    #[test]
    fn both_checksums_are_right_and_no_other() {
        let member = Member::file("name").field(0, b"na\xff\xfe\x80e");
        let good = block(&member);
        let (unsigned, signed) = sums(&good);
        assert_eq!(signed, unsigned - 3 * 256);
        for (sum, right) in [(unsigned, true), (signed, true), (unsigned + 1, false), (0, false)] {
            let mut block = good;
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert_eq!(Header::parse(&block).is_ok(), right, "{sum}");
        }
        let mut block = good;
        block[CHECKSUM].copy_from_slice(b"garbage!");
        assert_eq!(Header::parse(&block).expect_err("garbage").kind(), Kind::Corrupt);
    }

    #[test]
    fn a_bad_number_is_refused() {
        for at in [100, 108, 116, 124, 136, 329, 337] {
            let error = Header::parse(&block(&Member::file("name").field(at, b"12x"))).expect_err("bad number");
            assert_eq!(error.kind(), Kind::Corrupt, "{at}");
        }
        assert!(Header::parse(&block(&Member::file("name").v7().field(329, b"12x"))).is_ok(), "no such field");
        let star = Member::file("name").field(476, b"12x").field(508, b"tar\0");
        assert!(Header::parse(&block(&star)).is_err(), "star's times");
    }
}
