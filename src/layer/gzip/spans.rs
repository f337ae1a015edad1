//! What is made of spans once their bytes are known, their checks and their packed windows: on a thread of its own,
//! beside inflating.
//!
//! Promises: a span is in the table once it is closed, whole, in order, and soon: whether inflating goes on or not.
//! Little waits: whoever is faster waits for the other.

use super::checkpoint::{Checkpoint, Point, Table};
use super::sparse::{Sparse, Start};
use crate::error::{Error, Kind, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Jobs that may wait; one is a buffer of content at most.
const JOBS: usize = 8;

/// The spans of one blob, as they come.
pub(super) struct Spans {
    /// Content of the open span that was not handed over, and how much of the buffer it is.
    buffer: Vec<u8>,
    filled: usize,
    to: Option<SyncSender<Job>>,
    /// Buffers that were hashed, to be filled again.
    back: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<Result<()>>>,
}

enum Job {
    /// The next bytes of the open span: so many of the buffer.
    Content(Vec<u8>, usize),
    /// How the open span starts, and whether that is all that can refer to the window.
    Start(Box<Start>, bool),
    /// The open span ends, and is this one; its check is not known yet.
    Close(Point),
}

impl Spans {
    /// Spans that go to `table`, whose content comes in buffers of `size` bytes.
    pub(super) fn new(table: Arc<Table>, size: usize) -> Result<Spans> {
        let (to, from) = sync_channel(JOBS);
        let (give, back) = sync_channel(JOBS + 2);
        let sparse = Sparse::new()?;
        let run = move || work(&from, &give, sparse, &table);
        let thread = std::thread::Builder::new().name("regfs-spans".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::io("start a thread", error))?;
        Ok(Spans { buffer: vec![0; size], filled: 0, to: Some(to), back, thread: Some(thread) })
    }

    /// Where the next content is to be written to; never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// The first `count` bytes of the room.
    pub(super) fn written(&self, count: usize) -> &[u8] {
        self.buffer.get(self.filled..self.filled.saturating_add(count)).unwrap_or_default()
    }

    /// The first `count` bytes of the room are the open span's next.
    pub(super) fn take(&mut self, count: usize) -> Result<()> {
        self.filled = self.filled.saturating_add(count).min(self.buffer.len());
        if self.filled == self.buffer.len() { self.flush() } else { Ok(()) }
    }

    /// How the open span starts.
    pub(super) fn start(&mut self, start: Start, whole: bool) -> Result<()> {
        self.send(Job::Start(Box::new(start), whole))
    }

    /// The open span ends.
    pub(super) fn close(&mut self, point: Point) -> Result<()> {
        self.flush()?;
        self.send(Job::Close(point))
    }

    /// Waits until all that was closed is in the table.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.to = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(Error::new(Kind::Io, "the thread that keeps checkpoints has ended")),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        let size = self.buffer.len();
        let next = self.back.try_recv().unwrap_or_else(|_| vec![0; size]);
        let full = std::mem::replace(&mut self.buffer, next);
        let filled = std::mem::take(&mut self.filled);
        self.send(Job::Content(full, filled))
    }

    fn send(&mut self, job: Job) -> Result<()> {
        if self.to.as_ref().is_some_and(|to| to.send(job).is_ok()) {
            return Ok(());
        }
        // It ends before it is told to only with a failure.
        self.finish()?;
        Err(Error::new(Kind::Io, "the thread that keeps checkpoints has ended"))
    }
}

fn work(from: &Receiver<Job>, back: &SyncSender<Vec<u8>>, mut sparse: Sparse, table: &Table) -> Result<()> {
    let mut hash = blake3::Hasher::new();
    let mut window = Vec::new();
    while let Ok(job) = from.recv() {
        match job {
            Job::Content(buffer, filled) => {
                hash.update(buffer.get(..filled).unwrap_or_default());
                let _ = back.try_send(buffer);
            }
            Job::Start(start, whole) => window = sparse.pack(&start, whole)?,
            Job::Close(point) => {
                let check = Some(*hash.finalize().as_bytes());
                let window = std::mem::take(&mut window);
                hash.reset();
                // A span of nothing is never read.
                if point.next_output > point.output {
                    table.extend([Checkpoint { point: Point { check, ..point }, window }]);
                }
            }
        }
    }
    Ok(())
}
