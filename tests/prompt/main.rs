//! What has to be quick, timed with nothing beside it: cargo runs one test program at a time, and these tests one
//! after another.

// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "../store/remote.rs"]
mod remote;
#[path = "../support/mod.rs"]
mod support;

use regfs::error::{Error, Kind, Result};
use regfs::read_at::ReadAt;
use remote::{MIB, Remote, content, handle, read, read_through, store};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::Mount;
use support::fake::Registry;

const PROMPT: Duration = Duration::from_millis(100);

/// Runs `once` nine times and holds the middle one to [`PROMPT`].
fn is_prompt(mut once: impl FnMut(u64) -> Duration) {
    let mut times: Vec<Duration> = (0..9).map(&mut once).collect();
    times.sort();
    assert!(times[4] < PROMPT, "{times:?}");
}

fn alone<T>(test: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _turn = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    test()
}

#[test]
fn a_mount_is_usable() {
    alone(|| {
        let fake = Registry::start();
        is_prompt(|_| Mount::new(&fake.host(), &[]).took);
    });
}

#[test]
fn a_cached_and_a_cold_blob_are_read_beside_64_that_are_stuck() {
    alone(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let (bytes, digest) = content(20 * MIB, 15);
        let store = store(dir.path());
        let good = Remote::new(&bytes);
        read_through(handle(&store, &digest, &good).as_ref(), &bytes, MIB).expect("read");
        let stop = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            for number in 0..64 {
                let (stop, store) = (stop.clone(), &store);
                scope.spawn(move || {
                    let digest = regfs::digest::Digest::of(&[number]);
                    let blob = store.blob(&digest, 20 * MIB, Arc::new(Stuck(stop))).expect("blob");
                    let error = read(blob.open().as_ref(), 0, 10).expect_err("stuck");
                    assert_eq!(error.kind(), Kind::Timeout);
                });
            }
            std::thread::sleep(Duration::from_millis(200));
            is_prompt(|seed| {
                let (other, other_digest) = content(9 * MIB, 16 + seed);
                let cold = Remote::new(&other);
                let start = Instant::now();
                let cached = handle(&store, &digest, &good);
                read(cached.as_ref(), 11 * MIB, MIB).expect("cached");
                read(handle(&store, &other_digest, &cold).as_ref(), 2 * MIB, 10).expect("cold, elsewhere");
                start.elapsed()
            });
            stop.store(true, Ordering::Relaxed);
        });
    });
}

/// Never answers, until it is told to stop.
struct Stuck(Arc<AtomicBool>);

impl ReadAt for Stuck {
    fn len(&self) -> Result<u64> {
        Ok(20 * MIB)
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
        for _ in 0..3000 {
            std::thread::sleep(Duration::from_millis(10));
            if self.0.load(Ordering::Relaxed) {
                break;
            }
        }
        Err(Error::new(Kind::Timeout, "nothing came"))
    }
}
