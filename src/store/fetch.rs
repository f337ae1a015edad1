//! Fetching spans of an open blob: what to ask for at once, taking what comes, telling who waits.

use super::content::{Content, State};
use super::disk::table;
use super::flight::{Job, Landing};
use super::gather::Gather;
use super::hash::MAX_PENDING;
use super::unit::{self, SPAN};
use crate::error::{Error, Kind, Result};
use crate::journal::count;
use crate::read_at::ReadAt;
use crate::span::Span;
use bytes::Bytes;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Requests in flight per blob before reading ahead waits.
const MAX_AHEAD_JOBS: usize = 4;
/// The longest that a fetch stands still because hashing or its reader is behind and there is no disk to put bytes on.
const HOLD: Duration = Duration::from_secs(10);
/// How often it looks again.
const STEP: Duration = Duration::from_millis(10);

impl Content {
    /// Puts `missing` (ascending, nowhere, not in flight) in flight, in requests of at most `chunk` bytes. The jobs
    /// are to be launched after the lock is let go.
    pub(super) fn start(
        &self,
        state: &mut State,
        missing: &[u32],
        chunk: u64,
        remote: &Arc<dyn ReadAt>,
    ) -> Vec<Arc<Job>> {
        let Some(&first) = missing.first() else { return Vec::new() };
        if state.flights.is_rangeless() {
            // It sends everything anyway: one request for all that is left.
            return vec![state.flights.start(first..self.count, remote)];
        }
        let runs = unit::runs(missing.iter().copied(), chunk.div_ceil(SPAN) as u32);
        runs.into_iter().map(|run| state.flights.start(run, remote)).collect()
    }

    /// Has the bytes of `span` on their way, in requests of at most `chunk` bytes, without waiting. Returns how far
    /// that was done, and the jobs that bring them, whoever began them: they count on the caller until it abandons them.
    pub(super) fn prefetch(
        self: &Arc<Content>,
        span: Span,
        chunk: u64,
        remote: &Arc<dyn ReadAt>,
    ) -> (u64, Vec<Arc<Job>>) {
        if self.silence(&**remote).is_err() {
            return (span.start, Vec::new());
        }
        let mut state = self.lock();
        let is_missing = |state: &State, index: u32| {
            !state.have.has(index) && !state.flights.has(index) && !self.store.memory.has(&self.key(index))
        };
        let missing: Vec<u32> = unit::touched(span).filter(|&index| is_missing(&state, index)).collect();
        let touched = unit::touched(span);
        let mut jobs = state.flights.jobs_for(touched.start..touched.end);
        let (begun, mut asked) = (jobs.len(), span.end);
        for run in unit::runs(missing, chunk.div_ceil(SPAN) as u32) {
            if state.flights.active() >= MAX_AHEAD_JOBS {
                asked = u64::from(run.start) * SPAN;
                break;
            }
            let run: Vec<u32> = run.filter(|&index| !state.flights.has(index)).collect();
            jobs.extend(self.start(&mut state, &run, chunk, remote));
        }
        jobs.iter().for_each(|job| job.adopt());
        drop(state);
        jobs[begun..].iter().for_each(|job| self.launch(job.clone(), false));
        (asked, jobs)
    }

    /// Gives `job` to a thread. Where none is free, one that a reader waits for runs on the reader's own.
    pub(super) fn launch(self: &Arc<Content>, job: Arc<Job>, awaited: bool) {
        let (content, carried) = (self.clone(), job.clone());
        match self.store.fetchers.run(Box::new(move || content.carry_out(&carried))) {
            Ok(()) => {}
            Err(task) if awaited => task(),
            Err(_) => self.end(&job, Landing::Dropped, Landing::Dropped),
        }
    }

    /// Runs `job` to its end, which is always told to whoever waits.
    fn carry_out(self: &Arc<Content>, job: &Arc<Job>) {
        let died = Error::new(Kind::Io, format!("read blob {}: the request ended without an answer", self.digest));
        let mut ending = Ending { content: self, job, asked: Landing::Failed(died), other: Landing::Dropped };
        let dropped = (Landing::Dropped, Landing::Dropped);
        (ending.asked, ending.other) = if job.is_idle() || self.look_again() {
            dropped
        } else {
            let (mut called_off, start) = (false, Instant::now());
            match self.stream(job, &mut called_off) {
                _ if called_off => dropped,
                Ok(()) => {
                    let short = format!("read blob {}: the remote sent less than its {} bytes", self.digest, self.size);
                    (Landing::Failed(Error::new(Kind::Corrupt, short)), Landing::Dropped)
                }
                Err(error) => {
                    self.note(&*job.remote, &error, start.elapsed());
                    (Landing::Failed(error.clone()), Landing::Failed(error))
                }
            }
        };
    }

    fn end(&self, job: &Arc<Job>, asked: Landing, other: Landing) {
        self.lock().flights.end(job, &asked, &other);
        self.changed.notify_all();
    }

    /// Asks the remote and takes what comes.
    fn stream(self: &Arc<Content>, job: &Arc<Job>, called_off: &mut bool) -> Result<()> {
        let span = unit::bytes_of_run(&job.run, self.size);
        let mut gather = Gather::new(self.size);
        let mut untouched = true;
        job.remote.stream(span, &mut |at, bytes| {
            if std::mem::take(&mut untouched) && at == span.start && at > 0 {
                self.lock().flights.ranges_work();
            }
            if !self.admit(job, span, at, bytes.len() as u64)? {
                *called_off = true;
                return Err(Error::new(Kind::Interrupted, "nobody waits for it any more"));
            }
            let mut wanted = |index: u32| self.wants(job, index);
            gather.push(at, bytes, &mut wanted, &mut |index, bytes| self.arrived(job, index, bytes))
        })
    }

    /// Whether `job` goes on with `len` bytes at `at`, which it may not have asked for.
    fn admit(&self, job: &Arc<Job>, asked: Span, at: u64, len: u64) -> Result<bool> {
        if at.saturating_add(len) > self.size {
            let why = format!("read blob {}: the remote sends more than its {} bytes", self.digest, self.size);
            return Err(Error::new(Kind::Corrupt, why));
        }
        if at < asked.start || at >= asked.end {
            return Ok(self.lock().flights.lead(job) && self.is_open());
        }
        Ok(!job.is_idle() || self.is_open() && self.lock().flights.leads(job))
    }

    fn wants(&self, job: &Arc<Job>, index: u32) -> bool {
        let state = self.lock();
        state.flights.carries(job, index) || state.flights.leads(job) && !state.have.has(index)
    }

    /// Takes a span that came: checks what can be checked, tells who waits, keeps it.
    fn arrived(self: &Arc<Content>, job: &Arc<Job>, index: u32, bytes: Bytes) -> Result<()> {
        count(&self.store.journal.counters.remote_bytes, bytes.len() as u64);
        let sum = table::sum(&bytes);
        let mut state = self.lock();
        // Under the lock: whoever condemns it takes the lock after saying so, and empties memory after that.
        self.check_poison()?;
        // Once proved or hashed, a span can be nothing else.
        let settled = state.whole || state.hash.has_taken(index);
        if settled && state.sums[index as usize] != sum {
            let why =
                format!("read blob {}: the remote now sends other bytes at {}", self.digest, u64::from(index) * SPAN);
            return Err(Error::new(Kind::Corrupt, why));
        }
        if state.whole || self.probation.is_none() {
            self.store.memory.insert(self.key(index), bytes.clone());
        }
        state.flights.land(job, index, &bytes);
        let (data, new) = (state.data.clone(), !state.have.has(index));
        drop(state);
        self.changed.notify_all();
        let disk = self.store.disk.as_ref();
        let kept = disk.zip(data.as_ref()).is_some_and(|(disk, data)| disk.write(data, index, &bytes, &sum, new));
        if !kept {
            self.hold(job, index);
        }
        // Several may have been let through by the last of the room.
        let room = if kept { self.room(true) } else { 2 * self.room(false) };
        let mut state = self.lock();
        // Other bytes may have come for the same span and been hashed meanwhile: then it is those that count.
        let settled = state.whole || state.hash.has_taken(index);
        let differs = settled && state.sums[index as usize] != sum;
        // What was dropped as a whole meanwhile is not half taken up again.
        let current = match (&state.data, &data) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            (now, then) => now.is_none() && then.is_none(),
        };
        if current && !differs {
            state.sums[index as usize] = sum;
            if kept {
                state.have.insert(index);
                state.fresh.insert(index);
                if state.whole && state.published {
                    // Mended: what was written is what is proved.
                    state.checked.insert(index);
                }
            }
            // What is on disk need not crowd memory: it is read back in its turn.
            if !(settled || kept && state.hash.is_full(room)) {
                state.hash.offer(index, bytes.clone(), room);
            }
        }
        state.flights.done(index, &bytes);
        self.kick(&mut state);
        drop(state);
        self.store.tidy(false);
        Ok(())
    }

    /// Bytes that may wait in memory to be hashed: with no disk to come back to, all that is read ahead.
    fn room(&self, kept: bool) -> u64 {
        if kept { MAX_PENDING } else { MAX_PENDING.max(self.store.window() + MAX_PENDING / 2) }
    }

    /// Holds up the fetch of span `index`, which no disk keeps: hashing must not fall behind, and a stream that
    /// nobody can ask for a part must not run away from its reader.
    fn hold(&self, job: &Arc<Job>, index: u32) {
        let window = (self.store.window() / SPAN) as u32;
        let mut held = Duration::ZERO;
        let mut seen = (0, 0);
        while held < HOLD && self.is_open() {
            let state = self.lock();
            let behind = state.hash.is_full(self.room(false)) && state.hash.is_busy();
            let now = self.reader.load(Ordering::Relaxed);
            let away = state.flights.leads(job) && index > now.saturating_add(window);
            if !behind && !away {
                break;
            }
            let progress = (now, state.hash.upcoming());
            held = if progress == seen { held + STEP } else { Duration::ZERO };
            seen = progress;
            drop(self.changed.wait_timeout(state, STEP).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Ends its job when dropped, whatever happened.
struct Ending<'a> {
    content: &'a Content,
    job: &'a Arc<Job>,
    /// How spans end that the job asked for and that did not come.
    asked: Landing,
    /// How others end that counted on its stream.
    other: Landing,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let rest = |landing: &mut Landing| std::mem::replace(landing, Landing::Dropped);
        self.content.end(self.job, rest(&mut self.asked), rest(&mut self.other));
    }
}
