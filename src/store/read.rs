//! Reading an open blob: each span from memory, from disk, or off a flight, checked before it is served.

use super::buffer::Buffer;
use super::content::Content;
use super::disk::part::Data;
use super::disk::reopen;
use super::disk::table::{self, Sum};
use super::flight::{Job, Landing, Slot};
use super::unit::{self, SPAN};
use crate::error::{Error, Kind, Result};
use crate::journal::count;
use crate::read_at::ReadAt;
use crate::span::Span;
use bytes::Bytes;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How often one read starts over because what it relied on went away meanwhile.
const ROUNDS: usize = 16;
/// How often a wait looks whether what it waits for is still under way.
const GLANCE: Duration = Duration::from_secs(1);
/// How long the last bytes of a blob are held back for the verdict on all of it. Hashing keeps pace with fetching;
/// a blob that was fetched out of order is read once more from disk.
const VERDICT: Duration = Duration::from_secs(30);

/// Where the spans of one read are.
struct Sources {
    at_hand: Vec<(u32, Bytes)>,
    data: Option<Arc<Data>>,
    on_disk: Vec<(u32, Sum)>,
    waits: Vec<(u32, Arc<Slot>, Arc<Job>)>,
    jobs: Vec<Arc<Job>>,
}

impl Content {
    /// Fills `buf` with the bytes of `span`, as long as it; asks `remote` for what is not here. Spans of `sequential`
    /// reads are the first to go from memory once they were read.
    pub(super) fn fill(
        self: &Arc<Content>,
        buf: &mut [u8],
        span: Span,
        remote: &Arc<dyn ReadAt>,
        sequential: bool,
    ) -> Result<()> {
        let mut todo: Vec<u32> = unit::touched(span).collect();
        self.reader.store(todo.last().copied().unwrap_or(0), Ordering::Relaxed);
        let mut tried_own = false;
        for _ in 0..ROUNDS {
            self.check_poison()?;
            todo.retain(|&index| !self.take_memory(index, buf, span, sequential));
            if todo.is_empty() {
                return Ok(());
            }
            let sources = self.locate(&todo, remote)?;
            todo.clear();
            sources.jobs.into_iter().for_each(|job| self.launch(job, true));
            for (index, bytes) in sources.at_hand {
                copy(index, &bytes, buf, span);
            }
            if let Some(data) = sources.data {
                self.take_disk(&data, &sources.on_disk, buf, span, sequential, &mut todo);
            }
            let mut failure: Option<Error> = None;
            let mut others = false;
            for (index, slot, job) in sources.waits {
                match self.wait(index, &slot, &job) {
                    Landing::Bytes(bytes) => {
                        copy(index, &bytes, buf, span);
                        self.pass(index, span, sequential);
                    }
                    Landing::Dropped => todo.push(index),
                    // What another repository refuses, this reader's may have.
                    Landing::Failed(error) if !tried_own && refused(&error) && !Arc::ptr_eq(&job.remote, remote) => {
                        others = true;
                        todo.push(index);
                    }
                    Landing::Failed(error) => {
                        failure.get_or_insert(error);
                    }
                }
            }
            tried_own |= others;
            if let Some(error) = failure {
                return Err(error);
            }
            if todo.is_empty() {
                return self.check_poison();
            }
        }
        Err(Error::new(Kind::Busy, format!("read blob {}: what is fetched is gone as fast as it comes", self.digest)))
    }

    fn take_memory(&self, index: u32, buf: &mut [u8], span: Span, sequential: bool) -> bool {
        let key = self.key(index);
        let Some(bytes) = self.store.memory.get(&key) else { return false };
        let part = copy(index, &bytes, buf, span);
        self.pass(index, span, sequential);
        count(&self.store.journal.counters.memory_bytes, part);
        true
    }

    /// A sequence has read past span `index`: where there is a disk to come back to, it need not stay in memory.
    fn pass(&self, index: u32, span: Span, sequential: bool) {
        if sequential && self.store.disk.is_some() && span.end >= unit::bytes_of(index, self.size).end {
            self.store.memory.demote(&self.key(index));
        }
    }

    /// Finds each of `indexes`; what is nowhere is put in flight, unless the remote was silent a moment ago.
    fn locate(&self, indexes: &[u32], remote: &Arc<dyn ReadAt>) -> Result<Sources> {
        let mut state = self.lock();
        let (mut at_hand, mut on_disk, mut flying, mut missing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for &index in indexes {
            if state.have.has(index) {
                on_disk.push((index, state.sums[index as usize]));
            } else if state.flights.has(index) {
                flying.push(index);
            } else if let Some(bytes) = self.store.memory.get(&self.key(index)) {
                // It came since this read looked there, and the disk did not take it.
                at_hand.push((index, bytes));
            } else {
                missing.push(index);
                flying.push(index);
            }
        }
        if !missing.is_empty() {
            self.silence(&**remote)?;
        }
        let jobs = self.start(&mut state, &missing, unit::SMALL, remote);
        let mut waits = Vec::with_capacity(flying.len());
        for index in flying {
            if let Some((slot, job)) = state.flights.find(index) {
                job.waiters.fetch_add(1, Ordering::Relaxed);
                waits.push((index, slot, job));
            }
        }
        Ok(Sources { at_hand, data: state.data.clone(), on_disk, waits, jobs })
    }

    /// Waits for a flight to end. Whoever fetches keeps the deadlines; a job always ends.
    pub(super) fn wait(&self, index: u32, slot: &Arc<Slot>, job: &Job) -> Landing {
        let mut state = self.lock();
        let landing = loop {
            if let Some(landing) = slot.landing() {
                break landing.clone();
            }
            if !state.flights.holds(index, slot) {
                break Landing::Dropped;
            }
            state = self.changed.wait_timeout(state, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        job.waiters.fetch_sub(1, Ordering::Relaxed);
        landing
    }

    /// Reads spans from the file and checks them; those that are not right are forgotten, and left in `todo`.
    fn take_disk(
        &self,
        data: &Data,
        spans: &[(u32, Sum)],
        buf: &mut [u8],
        span: Span,
        sequential: bool,
        todo: &mut Vec<u32>,
    ) {
        let mut served = 0;
        let mut rest = spans;
        while let Some(&(first, first_sum)) = rest.first() {
            // As many whole spans as follow each other are read at once, straight to where they belong.
            let whole = |index: u32| {
                let part = unit::bytes_of(index, self.size);
                span.intersect(part) == part
            };
            let run =
                rest.iter().enumerate().take_while(|(n, (index, _))| *index == first + *n as u32 && whole(*index));
            let run = run.count();
            if run == 0 {
                match self.edge(data, first, &first_sum) {
                    Some(bytes) => {
                        served += copy(first, &bytes, buf, span);
                        if sequential {
                            self.store.memory.demote(&self.key(first));
                        }
                    }
                    None => todo.push(first),
                }
                rest = &rest[1..];
                continue;
            }
            let (now, later) = rest.split_at(run);
            let at = unit::bytes_of_run(&(first..first + run as u32), self.size);
            let target = &mut buf[(at.start - span.start) as usize..(at.end - span.start) as usize];
            let got = read_up_to(data, target, at.start);
            let mut right = Vec::with_capacity(run);
            for ((index, sum), bytes) in now.iter().zip(target.chunks(SPAN as usize)) {
                let end = unit::bytes_of(*index, self.size).end - at.start;
                if end <= got as u64 && table::sum(bytes) == *sum {
                    right.push(*index);
                    served += bytes.len() as u64;
                } else {
                    self.lose(data, *index, sum);
                    todo.push(*index);
                }
            }
            self.found_right(&right);
            rest = later;
        }
        count(&self.store.journal.counters.disk_bytes, served);
    }

    /// A whole span of which only a part is wanted.
    fn edge(&self, data: &Data, index: u32, sum: &Sum) -> Option<Bytes> {
        let part = unit::bytes_of(index, self.size);
        let mut buffer = Buffer::of_len(part.len() as usize);
        let got = read_up_to(data, buffer.bytes(), part.start);
        if got < buffer.as_ref().len() || table::sum(buffer.as_ref()) != *sum {
            self.lose(data, index, sum);
            return None;
        }
        self.found_right(&[index]);
        let bytes = buffer.freeze();
        let _state = self.lock();
        // Under the lock: memory is emptied after a content was condemned, not filled.
        if self.check_poison().is_ok() {
            self.store.memory.insert(self.key(index), bytes.clone());
        }
        Some(bytes)
    }

    /// Tells the kernel what of the file will be read next.
    pub(super) fn advise(&self, span: Span) {
        let state = self.lock();
        let Some(data) = state.data.clone().filter(|_| state.have.has((span.start / SPAN) as u32)) else { return };
        drop(state);
        let (start, len) = (span.start as libc::off_t, span.len() as libc::off_t);
        let _ = posix_fadvise(&data.file, start, len, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }

    /// The file of the blob, if it is published and all of it was found right by this process.
    pub(super) fn backing(&self) -> Option<Arc<File>> {
        self.check_poison().ok()?;
        let state = self.lock();
        let right = state.published && state.checked.len() == self.count;
        let data = state.data.clone().filter(|_| right)?;
        drop(state);
        // Another descriptor, that only reads: it goes to whoever asks.
        reopen(&data.file).ok().map(Arc::new)
    }

    fn found_right(&self, indexes: &[u32]) {
        let mut state = self.lock();
        if state.checked.len() < self.count {
            indexes.iter().for_each(|&index| state.checked.insert(index));
            if state.published
                && state.checked.len() == self.count
                && let (Some(disk), Some(data)) = (&self.store.disk, &state.data)
            {
                disk.trust(&self.digest, &data.file);
            }
        }
    }

    /// Forgets span `index`, which is not what `sum` says.
    pub(super) fn lose(&self, data: &Data, index: u32, sum: &Sum) {
        let mut state = self.lock();
        if !state.have.has(index) || state.sums[index as usize] != *sum {
            // Somebody was faster, and perhaps it is right again.
            return;
        }
        state.have.remove(index);
        state.fresh.remove(index);
        state.checked.remove(index);
        drop(state);
        data.forget(index);
        count(&self.store.journal.counters.corrupt_spans, 1);
        if let Some(disk) = &self.store.disk {
            disk.distrust(&self.digest);
        }
        log::warn!("the cache holds wrong bytes for span {index} of {}: fetching them again", self.digest);
    }

    /// Waits for the verdict on the whole blob, if it is about to come: once the last bytes of a first pass are here,
    /// nothing is served before it, so that a reader who came from the start learns of a mismatch.
    pub(super) fn await_verdict(self: &Arc<Content>) -> Result<()> {
        let deadline = Instant::now() + VERDICT;
        let mut state = self.lock();
        while !state.whole && self.poison.get().is_none() && Instant::now() < deadline {
            if !self.is_ending(&mut state) {
                break;
            }
            let step = Duration::from_secs(1);
            state = self.changed.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.check_poison()
    }
}

/// Whether the remote said that this is not to be had there.
fn refused(error: &Error) -> bool {
    matches!(error.kind(), Kind::NotFound | Kind::Denied | Kind::Forbidden | Kind::Stale)
}

/// Copies what `span` wants of span `index` to its place in `buf`; how many bytes that were.
fn copy(index: u32, bytes: &[u8], buf: &mut [u8], span: Span) -> u64 {
    let start = u64::from(index) * SPAN;
    let part = span.intersect(Span::new(start, start + bytes.len() as u64));
    buf[(part.start - span.start) as usize..(part.end - span.start) as usize]
        .copy_from_slice(&bytes[(part.start - start) as usize..(part.end - start) as usize]);
    part.len()
}

/// Reads as much as there is. What cannot be read counts as not there.
fn read_up_to(data: &Data, buf: &mut [u8], offset: u64) -> usize {
    let mut done = 0;
    while done < buf.len() {
        match data.file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::warn!("read the cache: {error}");
                break;
            }
        }
    }
    done
}
