//! The record of one request: counted while it is under way, written to the journal when it ends, however it ends.

use super::origin;
use crate::journal::{Journal, Request};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// A request under way; its end is the drop.
pub(super) struct Record {
    journal: Arc<Journal>,
    remote: String,
    method: &'static str,
    url: String,
    range: String,
    outcome: String,
    bytes: u64,
    time: SystemTime,
    started: Instant,
}

impl Record {
    /// Counts a request that is sent now.
    pub(super) fn start(
        journal: &Arc<Journal>,
        remote: &str,
        method: &reqwest::Method,
        url: &Url,
        range: &str,
    ) -> Record {
        journal.remote(remote, |health| {
            health.requests += 1;
            health.in_flight += 1;
        });
        Record {
            journal: Arc::clone(journal),
            remote: remote.to_owned(),
            method: match method.as_str() {
                "GET" => "GET",
                "HEAD" => "HEAD",
                _ => "POST",
            },
            url: origin::shown(url),
            range: range.to_owned(),
            outcome: "given up".to_owned(),
            bytes: 0,
            time: SystemTime::now(),
            started: Instant::now(),
        }
    }

    /// Since the request was sent.
    pub(super) fn took(&self) -> Duration {
        self.started.elapsed()
    }

    /// `get https://host/path`
    pub(super) fn words(&self) -> String {
        format!("{} {}", self.method.to_ascii_lowercase(), self.url)
    }

    /// The remote answered.
    pub(super) fn answered(&mut self, status: u16) {
        self.outcome = status.to_string();
        self.journal.remote(&self.remote, |health| {
            health.answered = Some(SystemTime::now());
            health.failure = None;
        });
    }

    /// The wire failed, before the answer or in its body.
    pub(super) fn failed(&mut self, words: &str) {
        self.outcome = match self.outcome.as_str() {
            "given up" => words.to_owned(),
            status => format!("{status}, then {words}"),
        };
        let failure = (SystemTime::now(), format!("{}: {words}", self.words()));
        self.journal.remote(&self.remote, |health| health.failure = Some(failure));
    }

    /// Bytes of the body arrived.
    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.journal.remote(&self.remote, |health| health.bytes += bytes as u64);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.journal.remote(&self.remote, |health| health.in_flight = health.in_flight.saturating_sub(1));
        self.journal.requested(Request {
            time: self.time,
            remote: std::mem::take(&mut self.remote),
            method: self.method,
            url: std::mem::take(&mut self.url),
            range: std::mem::take(&mut self.range),
            outcome: std::mem::take(&mut self.outcome),
            bytes: self.bytes,
            took: self.started.elapsed(),
        });
    }
}
