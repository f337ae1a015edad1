//! The digest of a layer's archive (OCI's diffID), computed on a thread of its own while the archive comes by.

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Kind, Result};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes handed over at once.
const PIECE: usize = 512 << 10;
/// Pieces that may wait: more would only be memory.
const PIECES: usize = 4;

/// A digest under way.
pub(super) struct Diff {
    pending: Vec<u8>,
    to: Option<SyncSender<Vec<u8>>>,
    /// Buffers that were hashed, to be filled again.
    back: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<Digest>>,
}

impl Diff {
    pub(super) fn start() -> Result<Diff> {
        let (to, from) = sync_channel::<Vec<u8>>(PIECES);
        let (give, back) = sync_channel(PIECES + 2);
        let mut hasher = Hasher::like(&Digest::of(b""))?;
        let run = move || {
            while let Ok(mut piece) = from.recv() {
                hasher.update(&piece);
                piece.clear();
                let _ = give.try_send(piece);
            }
            hasher.finish()
        };
        let thread = std::thread::Builder::new().name("regfs-diff".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::io("start a thread", error))?;
        Ok(Diff { pending: Vec::with_capacity(PIECE), to: Some(to), back, thread: Some(thread) })
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == PIECE {
                let next = self.back.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
                self.send(next)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, next: Vec<u8>) -> Result<()> {
        let piece = std::mem::replace(&mut self.pending, next);
        let sent = self.to.as_ref().map(|to| to.send(piece));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { Err(ended()) }
    }

    pub(super) fn finish(mut self) -> Result<Digest> {
        self.send(Vec::new())?;
        self.to = None;
        self.thread.take().and_then(|thread| thread.join().ok()).ok_or_else(ended)
    }
}

fn ended() -> Error {
    Error::new(Kind::Io, "the thread that computes the archive's digest has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_digest_whatever_the_pieces() {
        let bytes: Vec<u8> = (0..3 * PIECE + 77).map(|n| (n / 7) as u8).collect();
        for step in [1000, PIECE, PIECE * 2 + 1] {
            let mut diff = Diff::start().expect("start");
            bytes.chunks(step).for_each(|piece| diff.update(piece).expect("update"));
            assert_eq!(diff.finish().expect("finish"), Digest::of(&bytes));
        }
        assert_eq!(Diff::start().expect("start").finish().expect("finish"), Digest::of(b""));
    }
}
