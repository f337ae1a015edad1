//! What is known of a span of the content: where it is, compressed and inflated, its window, its check.
//!
//! A span is what lies between two checkpoints. Whoever keeps them ([`Table`] in memory, an index on disk, somebody
//! else's index) gives them as [`Points`]; they are claims, and reading through them trusts none.

use super::WINDOW;
use crate::error::{Error, Kind, Result};
use std::sync::{PoisonError, RwLock};

/// A place where inflating can begin, and how far it goes from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// The first compressed byte that belongs to it as a whole.
    pub input: u64,
    /// How many high bits of the byte before `input` come first, at most 7.
    pub bits: u8,
    /// The first byte of the content that comes of it.
    pub output: u64,
    /// No compressed byte from here on is needed.
    pub next_input: u64,
    /// The first byte of the content that is the next point's.
    pub next_output: u64,
    /// The blake3 hash of the content from `output` to `next_output`, where the whole was inflated once.
    pub check: Option<[u8; 32]>,
}

/// A point with its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where it is.
    pub point: Point,
    /// The bytes before `point.output` that are referred to, packed; empty if none are.
    pub window: Vec<u8>,
}

/// The points of one layer.
pub trait Points: Send + Sync {
    /// The last point whose content begins at or before `offset`. An answer that does not hold `offset` is taken for
    /// damage by whoever asked.
    fn find(&self, offset: u64) -> Result<Point>;

    /// The window of a point that `find` gave, unpacked: at most 32 KiB, ending just before the point's content.
    fn window(&self, point: &Point) -> Result<Vec<u8>>;
}

/// The level that windows are packed at; higher ones gain a hundredth for several times the time.
const LEVEL: i32 = 3;

/// Packs windows.
pub(super) struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    pub(super) fn new() -> Result<Packer> {
        zstd::bulk::Compressor::new(LEVEL).map(Packer).map_err(|error| Error::io("begin to pack windows", error))
    }

    /// `window`, packed; [`unpack`] undoes it.
    pub(super) fn pack(&mut self, window: &[u8]) -> Result<Vec<u8>> {
        if window.is_empty() {
            return Ok(Vec::new());
        }
        self.0.compress(window).map_err(|error| Error::io("pack a window", error))
    }
}

/// Unpacks a window of [`Checkpoint`]; `Corrupt` if it is damaged or over 32 KiB.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    if packed.is_empty() {
        return Ok(Vec::new());
    }
    zstd::bulk::decompress(packed, WINDOW)
        .map_err(|error| Error::with(Kind::Corrupt, "the window of a checkpoint is damaged", error))
}

/// Checkpoints in memory, of a layer that may still be growing.
#[derive(Default)]
pub struct Table(RwLock<Vec<Checkpoint>>);

impl Table {
    /// An empty one.
    pub fn new() -> Table {
        Table::default()
    }

    /// Adds what follows the points that are in it.
    pub fn extend(&self, checkpoints: impl IntoIterator<Item = Checkpoint>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(checkpoints);
    }

    /// Shows all that are in it, in order.
    pub fn with<T>(&self, look: impl FnOnce(&[Checkpoint]) -> T) -> T {
        look(&self.read())
    }

    /// How much of the content can be read through it, in bytes from the start.
    pub fn covered(&self) -> u64 {
        self.read().last().map_or(0, |last| last.point.next_output)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Checkpoint>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last of `points`, ascending, that begins at or before `offset`.
fn last_before(points: &[Checkpoint], offset: u64) -> Option<&Checkpoint> {
    points.get(points.partition_point(|at| at.point.output <= offset).checked_sub(1)?)
}

/// `Busy` for what was not inflated so far.
impl Points for Table {
    fn find(&self, offset: u64) -> Result<Point> {
        match last_before(&self.read(), offset) {
            Some(found) if offset < found.point.next_output => Ok(found.point),
            _ => Err(Error::new(Kind::Busy, format!("byte {offset} of the content was not inflated so far"))),
        }
    }

    fn window(&self, point: &Point) -> Result<Vec<u8>> {
        match last_before(&self.read(), point.output) {
            Some(found) if found.point == *point => unpack(&found.window),
            _ => Err(Error::new(Kind::Corrupt, format!("no checkpoint at byte {} of the content", point.output))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(output: u64, next_output: u64) -> Point {
        Point { input: output / 2, bits: 0, output, next_input: next_output / 2, next_output, check: None }
    }

    #[test]
    fn finds_the_span_that_holds_an_offset() {
        let table = Table::new();
        assert_eq!(table.find(0).expect_err("empty").kind(), Kind::Busy);
        let window = Packer::new().expect("packer").pack(b"window").expect("pack");
        table.extend([Checkpoint { point: point(0, 10), window: Vec::new() }]);
        table.extend([Checkpoint { point: point(10, 30), window }]);
        assert_eq!(table.find(9).expect("first"), point(0, 10));
        assert_eq!(table.find(10).expect("second"), point(10, 30));
        assert_eq!((table.find(30).expect_err("beyond").kind(), table.covered()), (Kind::Busy, 30));
        assert_eq!(table.window(&point(10, 30)).expect("window"), b"window");
        assert_eq!(table.window(&point(0, 10)).expect("none"), b"");
        assert_eq!(table.window(&point(10, 31)).expect_err("another").kind(), Kind::Corrupt);
    }

    #[test]
    fn windows_that_are_no_windows_are_corrupt() {
        let mut packer = Packer::new().expect("packer");
        let whole = packer.pack(&[7; WINDOW]).expect("pack");
        assert_eq!(unpack(&whole).expect("fits").len(), WINDOW);
        let long = packer.pack(&[7; WINDOW + 1]).expect("pack");
        for bad in [&long[..], b"x", &whole[..whole.len() - 1]] {
            assert_eq!(unpack(bad).expect_err("bad").kind(), Kind::Corrupt);
        }
    }
}
