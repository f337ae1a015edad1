//! The last bytes of an eStargz: an empty gzip member whose extra field says where the table of contents is.

use crate::error::{Error, Kind, Result};

/// Bytes of a footer, with a subfield in the extra field as RFC 1952 wants it.
const LEN: usize = 51;
/// Bytes of a footer of the first stargz writers, without.
const LEGACY_LEN: usize = 47;
/// Bytes of a footer that says that the table is elsewhere.
const EXTERNAL_LEN: usize = 46;
/// A gzip member with an extra field.
const GZIP: [u8; 4] = [0x1f, 0x8b, 8, 4];

/// Where the table starts, and the length of the footer, from the end of a blob.
pub(super) fn parse(tail: &[u8]) -> Result<(u64, u64)> {
    if let Some(extra) = extra(tail, LEN, 26)
        && let Some(field) = extra.strip_prefix(b"SG\x16\0")
        && let Some(offset) = offset(field)
    {
        return Ok((offset, LEN as u64));
    }
    if let Some(offset) = extra(tail, LEGACY_LEN, 22).and_then(offset) {
        return Ok((offset, LEGACY_LEN as u64));
    }
    if extra(tail, EXTERNAL_LEN, 21).is_some_and(|extra| extra == b"SG\x11\0STARGZEXTERNALTOC") {
        return Err(Error::new(Kind::Unsupported, "the table of contents is kept in another image"));
    }
    Err(Error::new(Kind::Corrupt, "the layer does not end with a footer"))
}

/// The extra field of the member in the last `len` bytes, if it is one with a field of `extra_len` bytes.
fn extra(tail: &[u8], len: usize, extra_len: usize) -> Option<&[u8]> {
    let footer = tail.get(tail.len().checked_sub(len)?..)?;
    let (head, rest) = footer.split_at_checked(10)?;
    let (claimed, rest) = rest.split_first_chunk::<2>()?;
    let fits = head.starts_with(&GZIP) && usize::from(u16::from_le_bytes(*claimed)) == extra_len;
    rest.get(..extra_len).filter(|_| fits)
}

/// Sixteen hexadecimal digits and a magic.
fn offset(field: &[u8]) -> Option<u64> {
    let digits = field.strip_suffix(b"STARGZ").filter(|digits| digits.len() == 16)?;
    // from_str_radix would take a sign
    let plain = digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with this extra field.
    fn footer(extra: &[u8]) -> Vec<u8> {
        let len = (extra.len() as u16).to_le_bytes();
        let head = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
        [&head[..], &len, extra, &[1, 0, 0, 0xff, 0xff], &[0; 8]].concat()
    }

    #[test]
    fn the_three_kinds() {
        let tail = [b"before".to_vec(), footer(b"SG\x16\x000000000000abcdefSTARGZ")].concat();
        assert_eq!(parse(&tail).expect("footer"), (0xab_cdef, 51));
        assert_eq!(parse(&footer(b"0000000000000010STARGZ")).expect("legacy"), (16, 47));
        let external = parse(&footer(b"SG\x11\x00STARGZEXTERNALTOC")).expect_err("elsewhere");
        assert_eq!(external.kind(), Kind::Unsupported);
    }

    #[test]
    fn what_is_no_footer() {
        let good = footer(b"SG\x16\x000000000000abcdefSTARGZ");
        for len in 0..good.len() {
            assert_eq!(parse(&good[good.len() - len..]).expect_err("cut").kind(), Kind::Corrupt);
        }
        for extra in [
            b"SG\x16\x00+000000000abcdefSTARGZ",
            b"SG\x16\x000000000000abcdefSTARGX",
            b"SX\x16\x000000000000abcdefSTARGZ",
        ] {
            assert_eq!(parse(&footer(extra)).expect_err("wrong").kind(), Kind::Corrupt);
        }
    }
}
