//! What tests stand on: scripted and fake servers, real servers in other processes, mounts.
//!
//! Promises: every wait is bounded, everything that was started ends when its value is dropped, every port is free
//! when it is taken, every random choice prints its seed. Knows nothing of the program's inside: what it serves is
//! made from the protocols alone, so that an error of the program is not repeated here.
// Every test binary uses its own part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod archive;
pub mod client;
pub mod compare;
pub mod content;
pub mod fake;
pub mod http;
pub mod image;
pub mod mount;
pub mod push;
pub mod random_layers;
pub mod run;
pub mod servers;

pub use mount::Mount;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The program under test.
pub fn regfs() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_regfs"))
}

/// Asks `done` every few milliseconds until it gives a value; panics, naming `what`, once `limit` has passed.
pub fn wait_for<T>(what: &str, limit: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The seed of this run's random choices: `REGFS_SEED` where it is set, the clock otherwise. Prints it, so that a
/// failing run can be repeated.
pub fn seed(what: &str) -> u64 {
    let seed = match std::env::var("REGFS_SEED") {
        Ok(text) => text.trim().parse().expect("REGFS_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    #[allow(clippy::print_stderr)]
    {
        eprintln!("{what}: REGFS_SEED={seed}");
    }
    seed
}
