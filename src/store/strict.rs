//! Strict verification: nothing of a blob is served before all of it was fetched and hashed.

use super::content::Content;
use super::flight::Landing;
use super::unit::SPAN;
use super::{Verify, ahead};
use crate::error::Result;
use crate::read_at::ReadAt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How far fetching may run ahead of hashing, in spans: as much as waits in memory where there is no disk.
const WINDOW: u32 = (16 << 20) / SPAN as u32;
/// Bytes per request.
const CHUNK: u64 = 4 * ahead::MIN_WINDOW;
/// Requests in flight.
const JOBS: usize = 4;
/// How long a wait for hashing, or for anything else, lasts before it is looked at again.
const PATIENCE: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(10);

impl Content {
    /// Whether nothing of it is served before all of it was hashed.
    pub(super) fn is_strict(&self) -> bool {
        self.store.verify == Verify::Strict || self.probation.is_some()
    }

    /// Whether anything may be served at all.
    pub(super) fn serves(&self) -> bool {
        !self.is_strict() || self.lock().whole
    }

    /// Fetches and hashes what is left of the blob; `Corrupt` if it is not what the digest names. Failures are those
    /// of the remote; the next call goes on from there.
    pub(super) fn complete(self: &Arc<Content>, remote: &Arc<dyn ReadAt>) -> Result<()> {
        let before = self.lock().mismatch.as_ref().map_or(0, |(times, _)| *times);
        loop {
            self.check_poison()?;
            self.load()?;
            let mut state = self.lock();
            if state.whole {
                return Ok(());
            }
            if let Some((times, error)) = &state.mismatch
                && *times > before
            {
                return Err(error.clone());
            }
            self.kick(&mut state);
            let next = state.hash.upcoming();
            let missing: Vec<u32> = (next..self.count.min(next.saturating_add(WINDOW)))
                .filter(|&index| !state.have.has(index) && !state.hash.waits(index) && !state.flights.has(index))
                .collect();
            let room = JOBS.saturating_sub(state.flights.active()) as u64;
            let now = missing.len().min((room * CHUNK / SPAN) as usize);
            let jobs = self.start(&mut state, &missing[..now], CHUNK, remote);
            let flight = (next < self.count && state.flights.has(next)).then(|| state.flights.find(next)).flatten();
            if let Some((_, job)) = &flight {
                job.waiters.fetch_add(1, Ordering::Relaxed);
            }
            drop(state);
            jobs.into_iter().for_each(|job| self.launch(job, true));
            match flight {
                Some((slot, job)) => {
                    if let Landing::Failed(error) = self.wait(next, &slot, &job) {
                        return Err(error);
                    }
                }
                None => {
                    let state = self.lock();
                    // Something is hashed or fetched; if that has just ended, a moment does no harm.
                    let step = if state.hash.is_busy() { PATIENCE } else { MOMENT };
                    drop(self.changed.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner));
                }
            }
        }
    }
}
