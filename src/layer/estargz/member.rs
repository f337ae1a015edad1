//! The gzip member with the table of contents: a tar archive of one file.

use crate::error::{Error, Kind, Result};
use crate::layer::chunked::MAX_TOC;
use flate2::bufread::GzDecoder;
use std::io::Read as _;

/// What the file is called.
const NAME: &[u8] = b"stargz.index.json";
/// Bytes of a tar header.
const BLOCK: usize = 512;

/// The JSON in a packed table of contents.
pub(super) fn json(packed: &[u8]) -> Result<Vec<u8>> {
    let damaged = |error| Error::with(Kind::Corrupt, "the table of contents cannot be unpacked", error);
    let mut member = GzDecoder::new(packed);
    let mut header = [0; BLOCK];
    member.read_exact(&mut header).map_err(damaged)?;
    let len = size(&header)?;
    let mut json = Vec::new();
    member.take(len).read_to_end(&mut json).map_err(damaged)?;
    if json.len() as u64 != len {
        return Err(Error::new(
            Kind::Corrupt,
            format!("the table of contents does not have the {len} bytes it claims"),
        ));
    }
    Ok(json)
}

/// The size in the header, which has to be that of the one file. Its checksum is not looked at: the digest tells.
fn size(header: &[u8; BLOCK]) -> Result<u64> {
    let (name, rest) = header.split_at(100);
    if name.strip_prefix(NAME).is_none_or(|rest| rest.iter().any(|b| *b != 0)) {
        return Err(Error::new(Kind::Corrupt, "the table of contents is not called stargz.index.json"));
    }
    let digits = rest.get(24..36).unwrap_or_default().trim_ascii();
    let digits = digits.strip_suffix(b"\0").unwrap_or(digits).trim_ascii();
    let size = digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    });
    match size.filter(|_| !digits.is_empty()) {
        None => Err(Error::new(Kind::Corrupt, "the table of contents has no size")),
        Some(size) if size > MAX_TOC => {
            let limit = MAX_TOC >> 20;
            Err(Error::new(Kind::TooBig, format!("a table of {size} bytes is over the limit of {limit} MiB")))
        }
        Some(size) => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn packed(name: &[u8], size: &[u8], body: &[u8]) -> Vec<u8> {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name);
        header[124..124 + size.len()].copy_from_slice(size);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[&header[..], body].concat()).expect("write");
        encoder.finish().expect("finish")
    }

    #[test]
    fn the_one_file() {
        assert_eq!(json(&packed(NAME, b"00000000002\0", b"{}\0\0\0")).expect("json"), b"{}");
        for (name, size, body, kind) in [
            (&b"other"[..], &b"00000000002\0"[..], &b"{}"[..], Kind::Corrupt),
            (b"stargz.index.jsonx", b"00000000002\0", b"{}", Kind::Corrupt),
            (NAME, b"", b"{}", Kind::Corrupt),
            (NAME, b"0000000000x\0", b"{}", Kind::Corrupt),
            (NAME, b"00000000003\0", b"{}", Kind::Corrupt),
            (NAME, b"77777777777\0", b"{}", Kind::TooBig),
        ] {
            assert_eq!(json(&packed(name, size, body)).expect_err("wrong").kind(), kind);
        }
        let whole = packed(NAME, b"00000000002\0", b"{}");
        for cut in 0..whole.len() - 30 {
            assert_eq!(json(&whole[..cut]).expect_err("cut").kind(), Kind::Corrupt);
        }
    }
}
