//! What a layer's blob is, told from its first bytes: media types lie, and the same name is used for several.
//!
//! Promises: what is not handled is refused by its name. Knows nothing of what follows the first block.

use crate::error::{Error, Kind, Result};

/// How many bytes of the head of a blob [`detect`] wants; fewer only if the blob has no more.
pub const HEAD: usize = 512;

/// How a layer's blob is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878), or skippable frames that come before it.
    Zstd,
    /// A tar archive as it is.
    Tar,
    /// No byte at all: an empty archive.
    Empty,
}

/// What is known by its magic, to be named when it is refused.
const REFUSED: [(&[u8], &str); 11] = [
    (b"BZh", "bzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
    (&[0x02, 0x21, 0x4c, 0x18], "lz4 (legacy)"),
    (&[0x5d, 0, 0], "lzma"),
    (b"LZIP", "lzip"),
    (&[0x1f, 0x9d], "compress (.Z)"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"hsqs", "squashfs"),
    (b"070701", "cpio"),
];

/// Tells the format of a blob from its first [`HEAD`] bytes; `Unsupported`, with the name of what was found, for others.
pub fn detect(head: &[u8]) -> Result<Format> {
    let magic = |at: usize, bytes: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    if head.is_empty() {
        return Ok(Format::Empty);
    }
    if magic(0, &[0x1f, 0x8b]) {
        return Ok(Format::Gzip);
    }
    if let Some([first, rest @ ..]) = head.first_chunk::<4>() {
        if [*first, rest[0], rest[1], rest[2]] == [0x28, 0xb5, 0x2f, 0xfd]
            || (first & 0xf0 == 0x50 && *rest == [0x2a, 0x4d, 0x18])
        {
            return Ok(Format::Zstd);
        }
        if (0x22..=0x27).contains(first) && *rest == [0xb5, 0x2f, 0xfd] {
            return Err(refuse("zstd of before version 1.0"));
        }
    }
    if magic(257, b"ustar") || is_tar(head) {
        return Ok(Format::Tar);
    }
    if let Some((_, name)) = REFUSED.iter().find(|(bytes, _)| magic(0, bytes)) {
        return Err(refuse(name));
    }
    let shown = hex::encode(head.get(..8).unwrap_or(head));
    Err(refuse(&format!("of an unknown kind (it begins with {shown})")))
}

fn refuse(name: &str) -> Error {
    Error::new(Kind::Unsupported, format!("the layer is {name}; gzip, zstd and plain tar can be read"))
}

/// Whether the first block is a header with the right checksum, or the zeros that end an archive of nothing.
fn is_tar(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<512>() else { return false };
    if block.iter().all(|b| *b == 0) {
        return true;
    }
    let digits = block[148..156].trim_ascii_start();
    let mut claimed = 0i64;
    let mut any = false;
    for digit in digits.iter().take_while(|b| (b'0'..=b'7').contains(b)) {
        claimed = claimed * 8 + i64::from(digit - b'0');
        any = true;
    }
    let field = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let sum: i64 = block.iter().enumerate().map(|(at, b)| i64::from(field(at, *b))).sum();
    // Some old archivers added signed characters.
    let signed: i64 = block.iter().enumerate().map(|(at, b)| i64::from(field(at, *b).cast_signed())).sum();
    any && (claimed == sum || claimed == signed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header as Unix V7 wrote them: no magic, only a checksum.
    fn v7() -> Vec<u8> {
        let mut block = vec![0u8; 512];
        block[..5].copy_from_slice(b"hello");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    #[test]
    fn by_magic() {
        assert_eq!(detect(b"").expect("empty"), Format::Empty);
        assert_eq!(detect(&[0x1f, 0x8b, 8]).expect("gzip"), Format::Gzip);
        assert_eq!(detect(&[0x28, 0xb5, 0x2f, 0xfd, 0]).expect("zstd"), Format::Zstd);
        for first in 0x50..=0x5f {
            assert_eq!(detect(&[first, 0x2a, 0x4d, 0x18]).expect("skippable"), Format::Zstd);
        }
        assert_eq!(detect(&v7()).expect("v7"), Format::Tar);
        assert_eq!(detect(&[0; 1024]).expect("zeros"), Format::Tar);
        let mut ustar = vec![b'x'; 512];
        ustar[257..262].copy_from_slice(b"ustar");
        assert_eq!(detect(&ustar).expect("ustar"), Format::Tar);
    }

    #[test]
    fn what_is_not_handled_is_named() {
        for (bytes, name) in REFUSED {
            let error = detect(bytes).expect_err(name);
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(detect(&[0x25, 0xb5, 0x2f, 0xfd]).expect_err("old").to_string().contains("before"));
        assert!(detect(b"<html>").expect_err("html").to_string().contains("3c68746d6c3e"));
        let mut wrong = v7();
        wrong[0] = b'j';
        assert_eq!(detect(&wrong).expect_err("checksum").kind(), Kind::Unsupported);
        assert_eq!(detect(&[0; 511]).expect_err("short").kind(), Kind::Unsupported);
    }

    proptest! {
        #[test]
        fn never_panics(head in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = detect(&head);
        }
    }
}
