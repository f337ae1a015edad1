//! Where the frames of a layer are: the table that reading it at random needs.

use super::seal::{Reader, Writer};
use crate::error::{Error, Kind, Result};
use crate::span::Span;

/// A piece is closed by the end of the frame that makes it this large, in the blob or in content: small frames share one.
const GROUP: u64 = 256 << 10;
/// The most content of a piece that is worth decoding for a read of a part of it.
const MAX_PIECE: u64 = 8 << 20;
/// What a piece may take in the blob: content that does not compress, and empty blocks between.
const MAX_PACKED: u64 = 2 * MAX_PIECE;
/// Says what the bytes are and in which version.
const MAGIC: &[u8; 8] = b"rfsfrm\0\x01";

/// One or a few frames, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where they are in the blob.
    pub blob: Span,
    /// Their content in the whole.
    pub content: Span,
}

/// The frames of a layer, in pieces. Pieces cover the content without gaps; frames without content are in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    pieces: Vec<Piece>,
    blob_len: u64,
    len: u64,
}

impl Frames {
    /// Whether each piece is small enough to be decoded for a read of a part of it. If not, the layer has to be
    /// re-chunked.
    pub fn is_seekable(&self) -> bool {
        self.pieces.iter().all(|piece| piece.content.len() <= MAX_PIECE && piece.blob.len() <= MAX_PACKED)
    }

    /// The length of the content.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The length of the blob.
    pub fn blob_len(&self) -> u64 {
        self.blob_len
    }

    /// The pieces, ascending.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The table as bytes that tell their version and whether they are whole.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(MAGIC, 24 + self.pieces.len() * 32);
        for number in [self.blob_len, self.len, self.pieces.len() as u64] {
            to.number(number);
        }
        for Piece { blob, content } in &self.pieces {
            for number in [blob.start, blob.end, content.start, content.end] {
                to.number(number);
            }
        }
        to.finish()
    }

    /// The table of such bytes; `Corrupt` if they are not whole or do not add up.
    pub fn from_bytes(bytes: &[u8]) -> Result<Frames> {
        let mut from = Reader::new(MAGIC, bytes, "table of frames")?;
        let (blob_len, len, count) = (from.number()?, from.number()?, from.count(32)?);
        let mut pieces = Vec::with_capacity(count);
        let (mut at, mut made) = (0, 0);
        for _ in 0..count {
            let [blob_start, blob_end, start, end] = [from.number()?, from.number()?, from.number()?, from.number()?];
            if blob_start < at || blob_end <= blob_start || start != made || end <= start {
                return Err(Error::new(Kind::Corrupt, "the table of frames is not in order"));
            }
            (at, made) = (blob_end, end);
            pieces.push(Piece { blob: Span::new(blob_start, blob_end), content: Span::new(start, end) });
        }
        if at > blob_len || made != len {
            return Err(Error::new(Kind::Corrupt, "the table of frames does not add up"));
        }
        Ok(Frames { pieces, blob_len, len })
    }
}

/// Gathers frames as they end. The table is bounded: a piece but the last has [`GROUP`] bytes of blob or of content.
#[derive(Default)]
pub(super) struct Builder {
    pieces: Vec<Piece>,
    /// Whether the last piece takes another frame.
    open: bool,
}

impl Builder {
    /// Notes a frame: from where to where in the blob, and in content.
    pub(super) fn frame(&mut self, at: u64, end: u64, made: u64, made_end: u64) {
        if made == made_end {
            return;
        }
        match self.pieces.last_mut().filter(|piece| self.open && at.saturating_sub(piece.blob.end) < GROUP) {
            // What is skipped between is decoded, and skipped, again.
            Some(piece) => {
                piece.blob.end = end;
                piece.content.end = made_end;
            }
            None => self.pieces.push(Piece { blob: Span::new(at, end), content: Span::new(made, made_end) }),
        }
        self.open = self.pieces.last().is_some_and(|piece| piece.blob.len() < GROUP && piece.content.len() < GROUP);
    }

    pub(super) fn finish(mut self, blob_len: u64, len: u64) -> Frames {
        self.pieces.shrink_to_fit();
        Frames { pieces: self.pieces, blob_len, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames() -> Frames {
        let mut builder = Builder::default();
        builder.frame(8, 100, 0, 1000);
        builder.frame(100, 112, 1000, 1000);
        builder.frame(112, 200, 1000, GROUP);
        builder.frame(200, 300, GROUP, GROUP + 1);
        builder.frame(GROUP * 2, GROUP * 2 + 9, GROUP + 1, GROUP + 2);
        builder.finish(GROUP * 3, GROUP + 2)
    }

    #[test]
    fn small_frames_share_a_piece() {
        let blobs: Vec<_> = frames().pieces.iter().map(|piece| piece.blob).collect();
        assert_eq!(blobs, [Span::new(8, 200), Span::new(200, 300), Span::new(GROUP * 2, GROUP * 2 + 9)]);
        assert!(frames().is_seekable());
        let mut builder = Builder::default();
        builder.frame(0, 9, 0, MAX_PIECE + 1);
        assert!(!builder.finish(9, MAX_PIECE + 1).is_seekable());
    }

    #[test]
    fn survives_bytes() {
        assert_eq!(Frames::from_bytes(&frames().to_bytes()).expect("whole"), frames());
        let empty = Builder::default().finish(0, 0);
        assert_eq!(Frames::from_bytes(&empty.to_bytes()).expect("whole"), empty);
    }

    #[test]
    fn tables_that_do_not_add_up() {
        for bend in [
            |frames: &mut Frames| frames.len += 1,
            |frames: &mut Frames| frames.blob_len = 1,
            |frames: &mut Frames| frames.pieces[1].content.start -= 1,
            |frames: &mut Frames| frames.pieces[1].blob.start -= 1,
            |frames: &mut Frames| frames.pieces[0].blob.end = 8,
        ] {
            let mut bent = frames();
            bend(&mut bent);
            assert_eq!(Frames::from_bytes(&bent.to_bytes()).expect_err("bent").kind(), Kind::Corrupt);
        }
    }

    proptest! {
        #[test]
        fn any_flip_is_noticed(at in 0usize..10_000, bit in 0u8..8, cut in any::<bool>()) {
            let mut bytes = frames().to_bytes();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            prop_assert_eq!(Frames::from_bytes(&bytes).expect_err("damaged").kind(), Kind::Corrupt);
        }
    }
}
