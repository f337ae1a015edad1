//! The running digest of an open blob, and what follows from it: publishing or dropping.
//!
//! Spans are hashed in order as they arrive, from memory where they still are, from the file where hashing is
//! behind; what came in an earlier run, or out of order, is read from the file once all of it is there. One thread
//! hashes a blob at a time, never the one that fetches.

use super::content::{Content, State};
use super::disk::layout::Layout;
use super::disk::part::{Data, Origin};
use super::disk::publish::{Proof, keep_table, publish};
use super::disk::table::{self, ABSENT, Sum, Table};
use super::unit::{self, SPAN};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::journal::count;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that wait for their turn in memory; what is over is read back from the file.
pub(super) const MAX_PENDING: u64 = 16 << 20;
/// What a pass over a file reads at once, a multiple of a span.
const PASS: usize = 4 * SPAN as usize;

/// How far the digest of a blob has come.
pub(super) struct Progress {
    /// Away while somebody hashes.
    hasher: Option<Hasher>,
    /// The next span to hash.
    next: u32,
    /// Whether that one is being hashed right now.
    at_it: bool,
    pending: BTreeMap<u32, Bytes>,
    pending_bytes: u64,
}

impl Progress {
    pub(super) fn new(digest: &Digest) -> Result<Progress> {
        Ok(Progress {
            hasher: Some(Hasher::like(digest)?),
            next: 0,
            at_it: false,
            pending: BTreeMap::new(),
            pending_bytes: 0,
        })
    }

    /// Whether a thread is hashing.
    pub(super) fn is_busy(&self) -> bool {
        self.hasher.is_none()
    }

    /// Whether `limit` bytes wait in memory.
    pub(super) fn is_full(&self, limit: u64) -> bool {
        self.pending_bytes >= limit
    }

    /// Whether span `index` is part of the digest already.
    pub(super) fn has_taken(&self, index: u32) -> bool {
        index < self.upcoming()
    }

    /// The first span that hashing has not begun with.
    pub(super) fn upcoming(&self) -> u32 {
        self.next + u32::from(self.at_it)
    }

    /// Keeps the bytes of span `index` for their turn, if there is room within `limit`; what comes later makes room.
    pub(super) fn offer(&mut self, index: u32, bytes: Bytes, limit: u64) {
        if self.has_taken(index) {
            return;
        }
        self.take(index);
        while self.is_full(limit) && self.pending.last_key_value().is_some_and(|(last, _)| *last > index) {
            if let Some((_, last)) = self.pending.pop_last() {
                self.pending_bytes -= last.len() as u64;
            }
        }
        if !self.is_full(limit) {
            self.pending_bytes += bytes.len() as u64;
            self.pending.insert(index, bytes);
        }
    }

    /// Whether span `index` waits for its turn in memory.
    pub(super) fn waits(&self, index: u32) -> bool {
        self.pending.contains_key(&index)
    }

    fn take(&mut self, index: u32) -> Option<Bytes> {
        let bytes = self.pending.remove(&index)?;
        self.pending_bytes -= bytes.len() as u64;
        Some(bytes)
    }
}

enum Step {
    Bytes(Bytes),
    Disk(Arc<Data>, Sum),
    Done,
    Nothing,
}

impl Content {
    /// Whether all spans are here, on disk or waiting for their turn.
    fn is_all_here(&self, state: &State) -> bool {
        let enough = state.have.len() as usize + state.hash.pending.len() >= self.count as usize;
        enough && (state.hash.next..self.count).all(|index| state.have.has(index) || state.hash.waits(index))
    }

    /// Whether all spans that are not hashed yet are here, and hashing goes on to the end without another request.
    pub(super) fn is_ending(self: &Arc<Content>, state: &mut State) -> bool {
        self.kick(state);
        let mut landing = false;
        let all = (state.hash.upcoming()..self.count).all(|index| {
            // What has just landed is not noted yet.
            let landed = state.flights.has_landed(index);
            landing |= landed;
            landed || state.hash.waits(index) || state.have.has(index)
        });
        all && (landing || state.hash.is_busy())
    }

    /// Sets hashing going if there is something to hash.
    pub(super) fn kick(self: &Arc<Content>, state: &mut State) {
        if state.published || state.hash.is_busy() || matches!(self.step(state), Step::Nothing) {
            return;
        }
        if let Some(hasher) = state.hash.hasher.take() {
            let content = self.clone();
            self.store.workers.queue(Box::new(move || content.hash(hasher)));
        }
    }

    fn step(&self, state: &State) -> Step {
        let next = state.hash.next;
        if next == self.count {
            return Step::Done;
        }
        if let Some(bytes) = state.hash.pending.get(&next) {
            return Step::Bytes(bytes.clone());
        }
        // A part of an earlier run is read only where all is to be hashed, or that decides the digest; a proved blob
        // only once it is complete and can be published.
        let complete = state.have.len() == self.count;
        let due = match state.whole {
            true => complete,
            false => complete || state.fresh.has(next) || self.is_strict() || self.is_all_here(state),
        };
        match &state.data {
            Some(data) if state.have.has(next) && due => Step::Disk(data.clone(), state.sums[next as usize]),
            _ => Step::Nothing,
        }
    }

    /// Hashes as far as there are spans.
    fn hash(self: &Arc<Content>, mut hasher: Hasher) {
        let mut buffer = Vec::new();
        loop {
            let mut state = self.lock();
            let (step, next) = (self.step(&state), state.hash.next);
            if matches!(step, Step::Nothing) {
                state.hash.hasher = Some(hasher);
                drop(state);
                return self.changed.notify_all();
            }
            state.hash.at_it = !matches!(step, Step::Done);
            drop(state);
            match &step {
                Step::Bytes(bytes) => hasher.update(bytes),
                Step::Disk(data, sum) => {
                    let part = unit::bytes_of(next, self.size);
                    buffer.resize(part.len() as usize, 0);
                    let read = data.file.read_exact_at(&mut buffer, part.start);
                    if read.is_err() || table::sum(&buffer) != *sum {
                        self.lock().hash.at_it = false;
                        self.lose(data, next, sum);
                        continue;
                    }
                    hasher.update(&buffer);
                }
                Step::Done => return self.decide(hasher),
                Step::Nothing => {}
            }
            let mut state = self.lock();
            state.hash.take(next);
            if matches!(step, Step::Disk(..)) {
                state.checked.insert(next);
            }
            state.hash.next += 1;
            state.hash.at_it = false;
            drop(state);
            self.changed.notify_all();
        }
    }

    fn decide(self: &Arc<Content>, hasher: Hasher) {
        match Proof::check(&self.digest, hasher) {
            Ok(proof) => {
                let mut state = self.lock();
                state.whole = true;
                self.store.prove(&self.digest, self.size, &state.sums);
                drop(state);
                if self.probation.is_some() {
                    self.store.absolve(self);
                }
                self.changed.notify_all();
                self.keep(&proof);
            }
            Err(error) => self.condemn(error.context(format!("read blob {}", self.digest))),
        }
    }

    /// Publishes the file, if all is in it; keeps the table in any case.
    fn keep(self: &Arc<Content>, proof: &Proof) {
        let Some(disk) = &self.store.disk else { return };
        let (sums, data) = {
            let mut state = self.lock();
            let complete = state.have.len() == self.count;
            if !complete && let Ok(progress) = Progress::new(&self.digest) {
                // Should the file become complete after all, it is hashed then, and published.
                state.hash = progress;
            }
            (state.sums.clone(), state.data.clone().filter(|_| complete))
        };
        let table = Table { digest: self.digest.clone(), size: self.size, whole: true, sums };
        let kept = keep_table(&disk.layout, &table, proof);
        if let Err(error) = kept {
            return disk.failed("keep the checks of a blob", &error);
        }
        disk.added(table::place(self.count));
        let Some(data) = data else { return };
        let fits = data.file.metadata().is_ok_and(|meta| meta.len() == self.size);
        if !fits || matches!(data.origin, Origin::Blob) {
            return;
        }
        match publish(&disk.layout, &data.file, proof, true) {
            Ok(()) => {
                data.unname();
                disk.published(matches!(data.origin, Origin::Part { .. }));
                let mut state = self.lock();
                state.published = true;
                // What this process wrote, it hashed.
                let wrote: Vec<u32> = (0..self.count).filter(|&index| state.fresh.has(index)).collect();
                wrote.into_iter().for_each(|index| state.checked.insert(index));
                if state.checked.len() == self.count {
                    disk.trust(&self.digest, &data.file);
                }
                drop(state);
                self.changed.notify_all();
            }
            // Its names were taken away meanwhile: it serves whoever has it open.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => disk.failed("publish a blob", &error),
        }
    }

    /// Drops everything: the digest does not match. What may have been served makes the digest poison.
    fn condemn(self: &Arc<Content>, error: Error) {
        if let Some(origin) = &self.probation {
            return self.fail_try(origin, error);
        }
        if !self.is_strict() {
            // Before anything is dropped: whoever finds it gone learns why.
            self.store.poisons.mark(&self.digest);
            let _ = self.poison.set(error.clone());
        }
        let mut state = self.lock();
        let data = state.data.take();
        let fresh = State::new(&self.digest, self.count);
        let failures = state.mismatch.as_ref().map_or(0, |(times, _)| *times);
        state.flights.call_off();
        if let Ok(fresh) = fresh {
            let flights = std::mem::take(&mut state.flights);
            *state = State { flights, ..fresh };
        }
        state.mismatch = Some((failures + 1, error.clone()));
        drop(state);
        if let Some(data) = data {
            data.unname();
        }
        if let Some(disk) = &self.store.disk {
            let _ = std::fs::remove_file(disk.layout.spans(&self.digest));
        }
        self.store.memory.forget(&self.digest);
        self.store.disprove(&self.digest);
        if self.is_strict() {
            // Nothing of it was served: the next read may try again, from the disk on.
            self.loaded.store(false, std::sync::atomic::Ordering::Release);
        } else {
            self.store.tell_poison(&self.digest, &error);
        }
        self.changed.notify_all();
    }

    /// A try at a digest that did not match before: it is this content alone that is done with, for nobody had
    /// anything of it.
    fn fail_try(&self, origin: &str, error: Error) {
        self.store.poisons.failed(&self.digest, self.size, origin, &error);
        count(&self.store.journal.counters.poisoned, 1);
        let _ = self.poison.set(error);
        self.lock().flights.call_off();
        self.changed.notify_all();
    }
}

/// A pass over a file of `digest`: its table, kept in `spans/` as well, or `None` if the file is something else.
/// `progress` is told of the bytes as they are read, and may end the pass.
pub(super) fn recheck(
    layout: &Layout,
    digest: &Digest,
    file: &File,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<Option<Table>> {
    let size = file.metadata()?.len();
    let Ok(mut hasher) = Hasher::like(digest) else { return Ok(None) };
    if size > unit::MAX_BLOB {
        return Ok(None);
    }
    let mut sums = vec![ABSENT; unit::count(size) as usize];
    let mut buffer = vec![0; PASS];
    let mut at = 0;
    while at < size {
        let take = (size - at).min(PASS as u64) as usize;
        file.read_exact_at(&mut buffer[..take], at)?;
        for (n, bytes) in buffer[..take].chunks(SPAN as usize).enumerate() {
            sums[(at / SPAN) as usize + n] = table::sum(bytes);
        }
        hasher.update(&buffer[..take]);
        at += take as u64;
        progress(take as u64)?;
    }
    let Ok(proof) = Proof::check(digest, hasher) else { return Ok(None) };
    let table = Table { digest: digest.clone(), size, whole: true, sums };
    // Without its table it is hashed again next time, no more.
    if size > unit::SMALL
        && let Err(error) = keep_table(layout, &table, &proof)
    {
        log::debug!("keep the checks of {digest}: {error}");
    }
    Ok(Some(table))
}
