//! Sparse files: the four ways to say which parts of a file are in the archive.
//!
//! Old GNU headers hold a few parts themselves and more in blocks after them; PAX 0.0 and 0.1 have them in records,
//! PAX 1.0 as text before the data. Promises: a map is in order, within the file, and tells exactly of the bytes that
//! the archive holds, or it is refused; none is longer than [`MAX_PARTS`]. Knows nothing of members.

use super::MAX_SPECIAL;
use super::header::{BLOCK, Block};
use super::number::{decimal, numeric};
use super::pax::Records;
use crate::error::{Error, Kind, Result};
use crate::layer::entry::Extent;

/// Parts in the map of one file; what fits into [`MAX_SPECIAL`] bytes of text, for maps that are no text too.
pub(super) const MAX_PARTS: usize = MAX_SPECIAL / 4;

/// A part of a file that is in the archive: where it is in the file, and how long. Not checked yet.
pub(super) type Part = (i64, i64);

/// The parts of an old GNU header itself: four, and a flag.
const GNU_HEADER: std::ops::Range<usize> = 386..483;
/// The parts of a block after it: twenty-one, and a flag.
const GNU_BLOCK: std::ops::Range<usize> = 0..505;
const GNU_PART: usize = 24;

/// Adds the parts of an old GNU header. True if a block with more comes before the data.
pub(super) fn gnu_header(block: &Block, parts: &mut Vec<Part>) -> Result<bool> {
    gnu_parts(&block[GNU_HEADER], parts)
}

/// Adds the parts of a block after an old GNU header. True if one more follows.
pub(super) fn gnu_block(block: &Block, parts: &mut Vec<Part>) -> Result<bool> {
    gnu_parts(&block[GNU_BLOCK], parts)
}

fn gnu_parts(array: &[u8], parts: &mut Vec<Part>) -> Result<bool> {
    for part in array.chunks_exact(GNU_PART) {
        // An unused part ends the list of this block, as for GNU, BSD and Go.
        if part.first() == Some(&0) {
            break;
        }
        let (offset, len) = part.split_at(GNU_PART / 2);
        match (numeric(offset), numeric(len)) {
            (Some(offset), Some(len)) if parts.len() < MAX_PARTS => parts.push((offset, len)),
            (Some(_), Some(_)) => return Err(too_long()),
            _ => return Err(corrupt("the sparse map holds what is not a number")),
        }
    }
    Ok(array.last().is_some_and(|flag| *flag != 0))
}

/// What the records say of a file's parts.
pub(super) enum Pax {
    /// It is not sparse, or in a format that is not known and so reads as it is.
    Dense,
    /// The parts of format 0.0 or 0.1.
    Listed(Vec<Part>),
    /// Format 1.0: a [`TextMap`] is before the data.
    InData,
}

/// Reads the records of a sparse file. `Corrupt` if the list is malformed.
pub(super) fn pax(records: &Records) -> Result<Pax> {
    match (records.get("GNU.sparse.major"), records.get("GNU.sparse.minor")) {
        (Some(b"1"), Some(b"0")) => return Ok(Pax::InData),
        (Some(b"0"), Some(b"0" | b"1")) => {}
        // Formats 0.0 and 0.1 come without a version.
        (None, None) if records.get("GNU.sparse.map").is_some() => {}
        _ => return Ok(Pax::Dense),
    }
    let count = records.number("GNU.sparse.numblocks")?.ok_or_else(|| corrupt("the sparse map has no length"))?;
    let mut numbers = Vec::new();
    if let Some(list) = records.get("GNU.sparse.map") {
        for number in list.split(|byte| *byte == b',') {
            numbers.push(decimal(number).ok_or_else(|| corrupt("the sparse map holds what is not a number"))?);
        }
    }
    let (parts, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() || usize::try_from(count) != Ok(parts.len()) {
        return Err(corrupt("the sparse map is not as long as it says"));
    }
    Ok(Pax::Listed(parts.iter().map(|[offset, len]| (*offset, *len)).collect()))
}

/// The map of PAX 1.0, block by block: how many parts, then the offset and length of each, every number in a line.
#[derive(Default)]
pub(super) struct TextMap {
    text: Vec<u8>,
    lines: usize,
    /// Lines of the whole map, once the first is read.
    wanted: Option<usize>,
}

impl TextMap {
    /// Bytes of the map so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes the next block; the parts with the last of them. `TooBig` over [`MAX_SPECIAL`].
    pub(super) fn block(&mut self, block: &Block) -> Result<Option<Vec<Part>>> {
        if self.text.len() + BLOCK > MAX_SPECIAL {
            return Err(too_long());
        }
        self.text.extend_from_slice(block);
        self.lines += block.iter().filter(|byte| **byte == b'\n').count();
        if self.lines == 0 {
            return Ok(None);
        }
        let wanted = match self.wanted {
            Some(wanted) => wanted,
            None => {
                let count = self.numbers().next().flatten().and_then(|count| usize::try_from(count).ok());
                let count = count.ok_or_else(|| corrupt("the length of the sparse map is not a number"))?;
                if count > MAX_PARTS {
                    return Err(too_long());
                }
                *self.wanted.insert(1 + 2 * count)
            }
        };
        if self.lines < wanted {
            return Ok(None);
        }
        let numbers: Option<Vec<i64>> = self.numbers().take(wanted).skip(1).collect();
        let numbers = numbers.ok_or_else(|| corrupt("the sparse map holds what is not a number"))?;
        Ok(Some(numbers.as_chunks::<2>().0.iter().map(|[offset, len]| (*offset, *len)).collect()))
    }

    fn numbers(&self) -> impl Iterator<Item = Option<i64>> + '_ {
        self.text.split(|byte| *byte == b'\n').map(decimal)
    }
}

/// Where the parts of a file of `size` bytes are, if its data is the `len` bytes at `offset` in the archive.
///
/// Empty parts are left out and touching ones joined. `Corrupt` if the parts overlap, are out of order, reach past the
/// file's end, or hold more or less than `len` bytes.
pub(super) fn extents(parts: &[Part], size: u64, offset: u64, len: u64) -> Result<Vec<Extent>> {
    let mut extents: Vec<Extent> = Vec::new();
    let (mut end, mut used) = (0, 0);
    for (at, part) in parts {
        let (Ok(at), Ok(part)) = (u64::try_from(*at), u64::try_from(*part)) else {
            return Err(corrupt("the sparse map has a negative part"));
        };
        // Neither sum overflows: each number is below 2^63.
        if at < end || at + part > size {
            return Err(corrupt("the sparse map has parts that overlap or are past the end"));
        }
        end = at + part;
        if part > len - used {
            return Err(corrupt("the sparse map tells of more data than there is"));
        }
        match extents.last_mut() {
            _ if part == 0 => {}
            Some(last) if last.at + last.len == at => last.len += part,
            _ => extents.push(Extent { at, offset: offset + used, len: part }),
        }
        used += part;
    }
    if used < len {
        return Err(corrupt("the sparse map leaves out data that is there"));
    }
    Ok(extents)
}

fn corrupt(what: &str) -> Error {
    Error::new(Kind::Corrupt, what)
}

fn too_long() -> Error {
    Error::new(Kind::TooBig, format!("the sparse map is over {MAX_PARTS} parts or {MAX_SPECIAL} bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::craft;
    use super::*;
    use proptest::prelude::*;

    fn listed(pairs: &[(&str, &str)]) -> Result<Option<Vec<Part>>> {
        let text: Vec<u8> = pairs.iter().flat_map(|(key, value)| craft::record(key, value.as_bytes())).collect();
        pax(&Records::parse(&text)?).map(|found| match found {
            Pax::Listed(parts) => Some(parts),
            Pax::Dense | Pax::InData => None,
        })
    }

    /// Feeds text to a map, padded to blocks; its parts and how many bytes it took.
    fn in_text(text: &str) -> Result<Option<(Vec<Part>, usize)>> {
        let mut padded = text.as_bytes().to_vec();
        padded.resize(padded.len().next_multiple_of(BLOCK), 0);
        let mut map = TextMap::default();
        for block in padded.as_chunks::<BLOCK>().0 {
            if let Some(parts) = map.block(block)? {
                return Ok(Some((parts, map.len())));
            }
        }
        Ok(None)
    }

    #[test]
    fn maps_in_records() {
        let (count, map) = ("GNU.sparse.numblocks", "GNU.sparse.map");
        let (major, minor) = ("GNU.sparse.major", "GNU.sparse.minor");
        assert_eq!(listed(&[(count, "2"), (map, "0,1,2,3")]).expect("map"), Some(vec![(0, 1), (2, 3)]));
        assert_eq!(listed(&[(count, "2"), (map, "0,1,02,3")]).expect("map"), Some(vec![(0, 1), (2, 3)]));
        assert_eq!(listed(&[(major, "0"), (minor, "0"), (count, "0")]).expect("map"), Some(vec![]));
        assert_eq!(listed(&[(major, "0"), (minor, "1"), (count, "1"), (map, "5,6")]).expect("map"), Some(vec![(5, 6)]));
        // Not sparse, or of a kind that nobody knows.
        assert_eq!(listed(&[(count, "2")]).expect("dense"), None);
        assert_eq!(listed(&[(major, "0"), (minor, "2"), (count, "1"), (map, "5,6")]).expect("dense"), None);
        assert_eq!(listed(&[(major, "1"), (count, "1"), (map, "5,6")]).expect("dense"), None);
        for (blocks, list) in [
            ("9223372036854775807", "0,1,2,3"),
            ("4\0", "0,1,2,3"),
            ("4", "0,1,2,3"),
            ("1", "0,1,2"),
            ("-2", "0,1,2,3"),
            ("", "0,1,2,3"),
            ("2", "0, 1,2,3"),
            ("2", "0,one1,2,3"),
            ("1", "0,"),
        ] {
            let error = listed(&[(count, blocks), (map, list)]).expect_err(list);
            assert_eq!(error.kind(), Kind::Corrupt, "{blocks:?} {list:?}");
        }
    }

    #[test]
    fn maps_in_text() {
        let zeros = |n| "0".repeat(n);
        assert_eq!(in_text("0\n").expect("map"), Some((vec![], 512)));
        assert_eq!(in_text("1\n2\n3\n").expect("map"), Some((vec![(2, 3)], 512)));
        assert_eq!(in_text("1\n2\n3\n4\n").expect("lines to spare"), Some((vec![(2, 3)], 512)));
        let split = format!("{}1\n{}5\n{}2\n", zeros(300), zeros(1000), zeros(800));
        assert_eq!(in_text(&split).expect("map"), Some((vec![(5, 2)], 2560)));
        assert_eq!(in_text(&format!("{}1\n5\n1\n", zeros(512))).expect("map"), Some((vec![(5, 1)], 1024)));
        assert_eq!(in_text("1\n2\n").expect("more to come"), None);
        assert_eq!(in_text("0").expect("more to come"), None);
        for bad in ["ab\n", "\n", "1\n2\n\n", "-1\n", "9223372036854775808\n", "1\n+\n2\n"] {
            assert_eq!(in_text(bad).expect_err(bad).kind(), Kind::Corrupt, "{bad:?}");
        }
        let many = |count: usize| format!("{count}\n{}", "0\n0\n".repeat(count));
        assert_eq!(in_text(&many(200_000)).expect("many").map(|(parts, _)| parts.len()), Some(200_000));
        for huge in [many(MAX_PARTS), "9223372036854775807\n".into(), "262145\n".into(), zeros(2 * MAX_SPECIAL)] {
            assert_eq!(in_text(&huge).expect_err("huge").kind(), Kind::TooBig);
        }
    }

    #[test]
    fn maps_of_old_headers() {
        let mut block = [0; BLOCK];
        let put = |array: &mut [u8], at: usize, part: (u64, u64)| {
            array[at * GNU_PART..][..GNU_PART]
                .copy_from_slice(format!("{:011o}\0{:011o}\0", part.0, part.1).as_bytes());
        };
        put(&mut block[GNU_HEADER], 0, (0, 1));
        put(&mut block[GNU_HEADER], 1, (2, 1));
        // After an unused part nothing is looked at.
        put(&mut block[GNU_HEADER], 3, (6, 1));
        let mut parts = Vec::new();
        assert!(!gnu_header(&block, &mut parts).expect("header"));
        assert_eq!(parts, [(0, 1), (2, 1)]);
        block[482] = b'1';
        assert!(gnu_header(&block, &mut Vec::new()).expect("header with more"));
        let mut block = [0; BLOCK];
        (0..21).for_each(|at| put(&mut block, at, (at as u64 * 2, 1)));
        assert!(!gnu_block(&block, &mut parts).expect("block"));
        assert_eq!(parts.len(), 23);
        block[504] = 1;
        assert!(gnu_block(&block, &mut parts).expect("block with more"));
        let mut full = vec![(0, 0); MAX_PARTS - 20];
        assert_eq!(gnu_block(&block, &mut full).expect_err("too many").kind(), Kind::TooBig);
        block[..4].copy_from_slice(b"fewa");
        assert_eq!(gnu_block(&block, &mut parts).expect_err("no number").kind(), Kind::Corrupt);
    }

    #[test]
    fn parts_become_extents() {
        let extent = |at, offset, len| Extent { at, offset, len };
        let found = extents(&[(1, 3), (6, 0), (6, 0), (6, 2), (9, 0)], 9, 1000, 5).expect("extents");
        assert_eq!(found, [extent(1, 1000, 3), extent(6, 1003, 2)]);
        assert_eq!(extents(&[(0, 2), (2, 3)], 9, 7, 5).expect("joined"), [extent(0, 7, 5)]);
        assert_eq!(extents(&[], 9, 7, 0).expect("all hole"), []);
        let max = i64::MAX;
        for (parts, size, len) in [
            (&[(0, 2), (1, 3)][..], 9, 5),
            (&[(6, 2), (1, 3)], 9, 5),
            (&[(-1, 2)], 9, 2),
            (&[(1, -2)], 9, 2),
            (&[(0, 10)], 9, 10),
            (&[(max, max)], max as u64, max as u64),
            (&[(10, 0)], 9, 0),
            (&[(1, 3)], 9, 4),
            (&[(1, 3)], 9, 2),
            (&[], 9, 1),
        ] {
            assert_eq!(extents(parts, size, 0, len).expect_err("bad map").kind(), Kind::Corrupt, "{parts:?}");
        }
    }

    proptest! {
        /// Extents that are given cover their part of the file and all the data, once and in order.
        #[test]
        fn extents_hold_their_promise(parts in prop::collection::vec((0i64..60, 0i64..9), 0..6), size in 0u64..70) {
            let len = parts.iter().map(|(_, len)| *len as u64).sum();
            let Ok(extents) = extents(&parts, size, 100, len) else { return Ok(()) };
            let (mut at, mut offset) = (0, 100);
            for (turn, extent) in extents.iter().enumerate() {
                prop_assert!(extent.len > 0 && (extent.at > at || turn == 0));
                prop_assert_eq!(extent.offset, offset);
                (at, offset) = (extent.at + extent.len, extent.offset + extent.len);
                prop_assert!(at <= size);
            }
            prop_assert_eq!(offset, 100 + len);
        }
    }
}
