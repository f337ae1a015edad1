//! What must hold for the reader on any bytes at all: the body of property tests, and of a fuzz target.

use super::Reader;
use crate::error::{Kind, Result};
use crate::layer::entry::{Entry, Kind as Type};

/// What an archive was read as: the members before its end or failure, and that.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) entries: Vec<Entry>,
    pub(super) end: Result<(), (Kind, String)>,
}

/// Panics unless the bytes read the same in all ways, and all that is found is in order. Bytes with headers are tried
/// once more with their checksums right: nearly all mutations of an archive break them, and show nothing more.
pub(super) fn check(bytes: &[u8]) {
    check_as_they_are(bytes);
    let mut mended = bytes.to_vec();
    for block in mended.as_chunks_mut::<512>().0 {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    if mended != bytes {
        check_as_they_are(&mended);
    }
}

fn check_as_they_are(bytes: &[u8]) {
    let outcome = read(bytes);
    assert_eq!(outcome, read_in_pieces(bytes, 1), "in single bytes");
    assert_eq!(outcome, read_in_pieces(bytes, 700), "in pieces");
    assert_eq!(outcome, read_skipping(bytes), "with skips");
    assert!(outcome.entries.len() <= bytes.len() / 512, "more members than headers");
    let mut last = 0;
    for entry in &outcome.entries {
        assert!(entry.mode <= 0o7777 && entry.mtime.nanos < 1_000_000_000, "{entry:?}");
        assert!(entry.kind == Type::File || entry.size == 0 && entry.extents.is_empty(), "{entry:?}");
        let mut at = 0;
        for extent in &entry.extents {
            assert!(extent.len > 0 && extent.at >= at && extent.offset >= last, "{entry:?}");
            at = extent.at.checked_add(extent.len).expect("within a file");
            last = extent.offset.checked_add(extent.len).expect("within an archive");
            assert!(at <= entry.size, "{entry:?}");
        }
    }
    assert!(outcome.end.is_err() || last <= bytes.len() as u64, "content past the end");
}

/// Reads an archive in one piece.
pub(super) fn read(bytes: &[u8]) -> Outcome {
    read_in_pieces(bytes, bytes.len().max(1))
}

/// Reads an archive in pieces of a length.
pub(super) fn read_in_pieces(bytes: &[u8], len: usize) -> Outcome {
    let (mut reader, mut entries) = (Reader::new(), Vec::new());
    let mut found = |entry| {
        entries.push(entry);
        Ok(())
    };
    let end = bytes.chunks(len).try_for_each(|piece| reader.feed(piece, &mut found)).and_then(|()| reader.finish());
    assert!(end.is_err() || reader.position() == bytes.len() as u64, "all is taken");
    assert_eq!(reader.finish().is_ok(), end.is_ok(), "an error is for good");
    Outcome { entries, end: end.map_err(|error| (error.kind(), error.to_string())) }
}

/// Reads an archive as by random access: content is passed over, at most as far as there are bytes.
pub(super) fn read_skipping(bytes: &[u8]) -> Outcome {
    let (mut reader, mut entries) = (Reader::new(), Vec::new());
    let mut found = |entry| {
        entries.push(entry);
        Ok(())
    };
    let end = loop {
        let rest = &bytes[reader.position() as usize..];
        let skippable = reader.skippable().min(rest.len() as u64);
        if rest.is_empty() || reader.ended() {
            break reader.finish();
        } else if skippable > 0 {
            reader.skip(skippable);
        } else if let Err(error) = reader.feed(&rest[..rest.len().min(512)], &mut found) {
            break Err(error);
        }
    };
    Outcome { entries, end: end.map_err(|error| (error.kind(), error.to_string())) }
}
