//! Whether a registry is there at all: one that did not answer a moment ago is not waited for again by every name.
//!
//! Promises: only failures of the wire count, and of those a timeout only if nothing else was answered meanwhile; they
//! are told again for [`FAILURE_TTL`] and not a moment longer.

use super::cached::FAILURE_TTL;
use crate::error::{Error, Kind, Result};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What is known of one registry's health.
#[derive(Default)]
pub(super) struct Pulse(Mutex<State>);

#[derive(Default)]
struct State {
    answered: Option<Instant>,
    failed: Option<(Error, Instant)>,
}

impl Pulse {
    /// What `request` gives; or the failure that another one just had.
    pub(super) fn ask<T>(&self, request: impl FnOnce() -> Result<T>) -> Result<T> {
        let since = Instant::now();
        if let Some((error, when)) = &self.0.lock().unwrap_or_else(PoisonError::into_inner).failed
            && when.elapsed() < FAILURE_TTL
        {
            return Err(error.context("not asked, as a moment ago"));
        }
        let outcome = request();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Err(error) if error.kind() == Kind::Unreachable => state.failed = Some((error.clone(), Instant::now())),
            Err(error) if error.kind() == Kind::Timeout => {
                if state.answered.is_none_or(|answered| answered < since) {
                    state.failed = Some((error.clone(), Instant::now()));
                }
            }
            _ => *state = State { answered: Some(Instant::now()), failed: None },
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn fails(kind: Kind) -> Result<u32> {
        Err(Error::new(kind, "no"))
    }

    #[test]
    fn one_wait_is_enough_for_a_moment() {
        for kind in [Kind::Unreachable, Kind::Timeout] {
            let pulse = Pulse::default();
            assert!(pulse.ask(|| fails(kind)).is_err());
            let again = pulse.ask(|| Ok(1)).expect_err("not asked");
            assert_eq!(again.kind(), kind);
            assert_eq!(again.to_string(), "not asked, as a moment ago: no");
            std::thread::sleep(FAILURE_TTL + Duration::from_millis(20));
            assert_eq!(pulse.ask(|| Ok(1)).expect("asked again"), 1);
        }
    }

    #[test]
    fn one_bad_answer_is_not_a_dead_registry() {
        let pulse = Pulse::default();
        for kind in [Kind::NotFound, Kind::Denied, Kind::Server, Kind::Corrupt] {
            assert!(pulse.ask(|| fails(kind)).is_err());
            assert_eq!(pulse.ask(|| Ok(1)).expect("asked"), 1);
        }
        let slow = pulse.ask(|| {
            pulse.ask(|| Ok(2)).expect("answered meanwhile");
            fails(Kind::Timeout)
        });
        assert!(slow.is_err());
        assert_eq!(pulse.ask(|| Ok(3)).expect("asked"), 3);
    }
}
