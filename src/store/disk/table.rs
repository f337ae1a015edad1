//! The table of a blob: one check per span, and a header that says what it belongs to. The format, pure.
//!
//! ```text
//! 0   magic "regfs-t1"      8   version u32     12  flags u32 (1 = whole)    16  size u64
//! 24  digest length u32     28  digest          172 seal: blake3 of all checks, if whole
//! 204 zeros                 224 blake3 of bytes 0..224
//! 256 one blake3 per span; zeros = absent
//! ```
//! Numbers are little-endian. A whole table was made by a pass over the blob whose digest matched: its checks are as
//! good as the digest, so they are sealed together. The checks of a part are written one by one as spans arrive; a
//! damaged one costs its span a second fetch, nothing else.

use crate::digest::Digest;
use crate::store::unit;

/// The check of one span.
pub(in crate::store) type Sum = [u8; 32];
/// What stands in place of a check where the span is not there.
pub(in crate::store) const ABSENT: Sum = [0; 32];

/// Bytes before the first check.
pub(in crate::store) const HEADER: usize = 256;
const MAGIC: &[u8; 8] = b"regfs-t1";
const VERSION: u32 = 1;
const WHOLE: u32 = 1;
const MAX_DIGEST: usize = 144;

/// A table in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Table {
    /// What blob it is of.
    pub(in crate::store) digest: Digest,
    /// The blob's size in bytes.
    pub(in crate::store) size: u64,
    /// Whether a pass whose digest matched made it.
    pub(in crate::store) whole: bool,
    /// One check per span.
    pub(in crate::store) sums: Vec<Sum>,
}

/// The check of a span's bytes.
pub(in crate::store) fn sum(bytes: &[u8]) -> Sum {
    *blake3::hash(bytes).as_bytes()
}

/// Where in the file the check of span `index` is.
pub(in crate::store) fn place(index: u32) -> u64 {
    HEADER as u64 + u64::from(index) * 32
}

impl Table {
    /// The header alone.
    pub(in crate::store) fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let digest = self.digest.as_str().as_bytes();
        let len = digest.len().min(MAX_DIGEST);
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&(if self.whole { WHOLE } else { 0 }).to_le_bytes());
        header[16..24].copy_from_slice(&self.size.to_le_bytes());
        header[24..28].copy_from_slice(&(len as u32).to_le_bytes());
        header[28..28 + len].copy_from_slice(&digest[..len]);
        if self.whole {
            header[172..204].copy_from_slice(&sum(self.sums.as_flattened()));
        }
        let check = sum(&header[..224]);
        header[224..].copy_from_slice(&check);
        header
    }

    /// The whole file.
    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        let mut file = self.header().to_vec();
        file.extend_from_slice(self.sums.as_flattened());
        file
    }

    /// Reads a table back; `None` if any of it is damaged, or it is of a version that is not known here.
    /// Checks that a part's file does not reach to are absent.
    pub(in crate::store) fn decode(file: &[u8]) -> Option<Table> {
        let (header, body) = file.split_at_checked(HEADER)?;
        let number = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        if header[..8] != MAGIC[..] || number(8)? != VERSION || sum(&header[..224])[..] != header[224..] {
            return None;
        }
        let whole = number(12)? & WHOLE != 0;
        let size = u64::from_le_bytes(header[16..24].try_into().ok()?);
        let digest = std::str::from_utf8(header.get(28..28 + number(24)? as usize)?).ok()?.parse().ok()?;
        if size > unit::MAX_BLOB {
            return None;
        }
        let mut sums = vec![ABSENT; unit::count(size) as usize];
        let known = body.len().min(sums.len() * 32);
        sums.as_flattened_mut()[..known].copy_from_slice(&body[..known]);
        if whole && (known != sums.len() * 32 || sum(sums.as_flattened())[..] != header[172..204]) {
            return None;
        }
        Some(Table { digest, size, whole, sums })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(whole: bool) -> Table {
        Table { digest: Digest::of(b"x"), size: 3 * unit::SPAN + 1, whole, sums: (0..4).map(|n| sum(&[n])).collect() }
    }

    #[test]
    fn comes_back_as_it_was() {
        for whole in [false, true] {
            assert_eq!(Table::decode(&table(whole).encode()), Some(table(whole)));
        }
        assert_eq!(table(true).encode().len() as u64, place(4));
        let long = Table { digest: format!("sha512:{}", "0".repeat(128)).parse().expect("digest"), ..table(true) };
        assert_eq!(Table::decode(&long.encode()), Some(long));
    }

    #[test]
    fn a_part_may_be_short_and_a_whole_table_may_not() {
        let part = Table::decode(&table(false).encode()[..place(2) as usize]).expect("a part");
        assert_eq!(part.sums[1..3], [sum(&[1]), ABSENT]);
        assert_eq!(Table::decode(&table(true).encode()[..place(2) as usize]), None);
        assert_eq!(Table::decode(&table(false).encode()[..100]), None);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(bit in 0usize..(HEADER + 4 * 32) * 8) {
            let mut file = table(true).encode();
            file[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Table::decode(&file), None);
            let mut file = table(false).encode();
            file[bit / 8] ^= 1 << (bit % 8);
            match Table::decode(&file) {
                None => prop_assert!(bit / 8 < HEADER),
                Some(read) => prop_assert!(read.sums != table(false).sums),
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            Table::decode(&bytes);
        }
    }
}
