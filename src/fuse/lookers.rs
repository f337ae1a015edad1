//! Who looks at what it lists: `ls -l` and `tar` do, `find` and plain `ls` do not.
//!
//! Names come with attributes or without them (READDIRPLUS, READDIR), and the kernel asks for them with each first page
//! of a directory. But every name with attributes is an inode that kernel and mount keep, which a walk over a million
//! files may not be worth. So attributes come along for those who were seen to want them. Being wrong costs a lookup
//! per name, or memory: never a wrong answer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many threads are remembered; more than walk at once.
const REMEMBERED: usize = 64;

/// The threads that looked at a file lately, the latest last.
#[derive(Default)]
pub(super) struct Lookers(Mutex<VecDeque<u32>>);

impl Lookers {
    /// The thread looked up a file.
    pub(super) fn saw(&self, thread: u32) {
        let mut known = self.lock();
        if !known.contains(&thread) {
            if known.len() == REMEMBERED {
                known.pop_front();
            }
            known.push_back(thread);
        }
    }

    /// Whether it did lately.
    pub(super) fn looks(&self, thread: u32) -> bool {
        self.lock().contains(&thread)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered() {
        let lookers = Lookers::default();
        for thread in 0..=REMEMBERED as u32 {
            assert!(!lookers.looks(thread));
            lookers.saw(thread);
            lookers.saw(thread);
            assert!(lookers.looks(thread));
        }
        assert!(!lookers.looks(0) && lookers.looks(1));
    }
}
