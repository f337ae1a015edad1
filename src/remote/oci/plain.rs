//! Which repositories answer a ranged request with the whole blob, so that asking for a part is of no use.

use crate::name::Repository;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer is relied on: a pull-through cache sends the whole blob only until it holds it.
const KEEP: Duration = Duration::from_secs(300);
/// How many repositories are remembered; beyond it all are forgotten, which costs each one wasted request.
const MAX_REPOSITORIES: usize = 10_000;

#[derive(Default)]
pub(super) struct Plain(Mutex<HashMap<Repository, Instant>>);

impl Plain {
    /// Whether `repository` was seen to ignore ranges lately.
    pub(super) fn is(&self, repository: &Repository) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(repository).is_some_and(|at| at.elapsed() < KEEP)
    }

    /// Remembers whether it does.
    pub(super) fn set(&self, repository: &Repository, plain: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !plain {
            seen.remove(repository);
            return;
        }
        if seen.len() >= MAX_REPOSITORIES {
            seen.clear();
        }
        seen.insert(repository.clone(), Instant::now());
    }
}
