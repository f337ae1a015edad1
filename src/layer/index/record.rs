//! The fixed record of a node, the same in memory and in the file, and how numbers are read out of bytes.
//!
//! Little-endian, [`SIZE`] bytes: permissions and kind (u16), flags (u16), nanoseconds (u32), seconds (i64), uid, gid
//! (u32), size (u64), names (u32), extended attributes (u32), data (u64). What data means depends on the kind.

use crate::layer::entry::{Kind, Time};

/// Bytes of a record.
pub(super) const SIZE: usize = 48;
/// Bytes of a name in a directory: where the name is, and its node.
pub(super) const DIRENT: usize = 8;
/// Bytes of an extent: at, offset, length.
pub(super) const EXTENT: usize = 24;

/// The archive had a member for it.
const EXPLICIT: u16 = 1;
/// The file's only extent covers all of it; data is its offset.
const SINGLE: u16 = 2;

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) explicit: bool,
    pub(super) single: bool,
    /// At most `0o7777`.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) size: u64,
    pub(super) nlink: u32,
    /// One more than where the attributes are in their heap; 0 for none.
    pub(super) xattrs: u32,
    /// A file: the offset of its single extent, or its run of extents, whose head tells the bytes they cover. A
    /// directory: its run of names. A link: the run of its target's bytes. A device: major and minor. Runs are
    /// [`pair`]s of a count and where it starts.
    pub(super) data: u64,
}

impl Record {
    /// The bytes of the record.
    pub(super) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let flags = (u16::from(self.explicit) * EXPLICIT) | (u16::from(self.single) * SINGLE);
        bytes[0..2].copy_from_slice(&(self.mode & 0o7777 | code(self.kind) << 12).to_le_bytes());
        bytes[2..4].copy_from_slice(&flags.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.mtime.nanos.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.mtime.secs.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.uid.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.gid.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.size.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.nlink.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.xattrs.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.data.to_le_bytes());
        bytes
    }

    /// The record of `bytes`; `None` if it says what no record says.
    pub(super) fn decode(bytes: &[u8; SIZE]) -> Option<Record> {
        let word = u16_at(bytes, 0)?;
        let flags = u16_at(bytes, 2)?;
        let nanos = u32_at(bytes, 4)?;
        if flags & !(EXPLICIT | SINGLE) != 0 || nanos >= 1_000_000_000 {
            return None;
        }
        Some(Record {
            kind: kind(word >> 12)?,
            explicit: flags & EXPLICIT != 0,
            single: flags & SINGLE != 0,
            mode: word & 0o7777,
            uid: u32_at(bytes, 16)?,
            gid: u32_at(bytes, 20)?,
            mtime: Time { secs: u64_at(bytes, 8)?.cast_signed(), nanos },
            size: u64_at(bytes, 24)?,
            nlink: u32_at(bytes, 32)?,
            xattrs: u32_at(bytes, 36)?,
            data: u64_at(bytes, 40)?,
        })
    }
}

/// Two numbers in one: a count and where it starts, or a major and a minor number.
pub(super) const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

/// The two numbers of a [`pair`].
pub(super) const fn unpair(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}

const fn code(kind: Kind) -> u16 {
    match kind {
        Kind::File => 0,
        Kind::Dir => 1,
        Kind::Symlink => 2,
        Kind::Hardlink => 3,
        Kind::Char => 4,
        Kind::Block => 5,
        Kind::Fifo => 6,
    }
}

const fn kind(code: u16) -> Option<Kind> {
    Some(match code {
        0 => Kind::File,
        1 => Kind::Dir,
        2 => Kind::Symlink,
        3 => Kind::Hardlink,
        4 => Kind::Char,
        5 => Kind::Block,
        6 => Kind::Fifo,
        _ => return None,
    })
}

/// The two bytes at `at`, if there are so many.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// The four bytes at `at`, if there are so many.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// The eight bytes at `at`, if there are so many.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// The `len` bytes at `at`, if there are so many.
pub(super) fn slice(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(len)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_that_decodes_is_its_bytes(bytes in any::<[u8; SIZE]>(), code in 0u8..8) {
            let mut bytes = bytes;
            bytes[1] = bytes[1] & 0xf | code << 4;
            bytes[2] &= 3;
            bytes[3] = 0;
            bytes[7] &= 0x3f;
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }

    #[test]
    fn every_kind_has_its_code() {
        for number in 0..16 {
            assert_eq!(kind(number).map(code), (number < 7).then_some(number));
        }
    }

    #[test]
    fn numbers_past_the_end_are_none() {
        assert_eq!(u64_at(&[1; 8], 1), None);
        assert_eq!(u16_at(&[1; 8], usize::MAX), None);
        assert_eq!(slice(&[1; 8], 4, usize::MAX), None);
        assert_eq!(unpair(pair(7, u32::MAX)), (7, u32::MAX));
    }
}
