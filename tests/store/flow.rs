//! How bytes flow: what is fetched, how often, who is told what.

use crate::remote::*;
use regfs::error::Kind;
use regfs::read_at::ReadAt;
use regfs::store::{SPAN, State, Verify, maintain};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn a_small_blob_is_fetched_once_and_kept() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(300_000, 1);
    let remote = Remote::new(&bytes);
    {
        let store = store(dir.path());
        assert_eq!(store.state(&digest), State::Absent);
        let handle = handle(&store, &digest, &remote);
        assert!(!handle.is_ready(0, 10));
        read_through(handle.as_ref(), &bytes, 1000).expect("read");
        assert!(handle.is_ready(0, 10));
        assert_eq!((store.state(&digest), store.size(&digest)), (State::Verified, Some(300_000)));
    }
    let store = store(dir.path());
    assert_eq!(store.get(&digest).expect("on disk")[..], bytes[..]);
    read_through(handle(&store, &digest, &remote).as_ref(), &bytes, 70_000).expect("read");
    assert_eq!(remote.streams(), 1);
}

#[test]
fn a_large_blob_is_read_ahead_verified_and_published() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(40 * MIB + 12_345, 2);
    let remote = Remote::new(&bytes);
    for step in [MIB, 128 << 10, 3 * MIB + 1] {
        let store = store(dir.path());
        let handle = handle(&store, &digest, &remote);
        read_through(handle.as_ref(), &bytes, step).expect("read");
        eventually("published", || handle.backing().is_some());
        assert_eq!(store.state(&digest), State::Verified);
        assert_eq!(remote.sent(), bytes.as_slice().len() as u64, "each byte once");
        assert!(remote.streams() < 30, "{} requests", remote.streams());
    }
    let names = std::fs::read_dir(dir.path().join("v1/parts")).expect("parts").count();
    assert_eq!(names, 0, "the part went with its names");
}

#[test]
fn a_random_read_fetches_little() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(64 * MIB, 3);
    let mut random = fastrand::Rng::with_seed(seed());
    let store = store(dir.path());
    for _ in 0..50 {
        let remote = Remote::new(&bytes);
        let handle = handle(&store, &digest, &remote);
        let at = random.u64(1..64 * MIB - 4096);
        assert_eq!(read(handle.as_ref(), at, 4096).expect("read"), bytes[at as usize..at as usize + 4096]);
        assert!(remote.sent() <= 2 * SPAN && remote.streams() <= 1, "{} bytes at {at}", remote.sent());
    }
}

#[test]
fn many_readers_fetch_a_cold_blob_once() {
    for size in [5 * MIB, 40 * MIB] {
        let dir = tempfile::tempdir().expect("tempdir");
        let (bytes, digest) = content(size, 4);
        let remote = Remote::with(&bytes, Faults { slow: Duration::from_micros(200), ..Faults::default() });
        let store = store(dir.path());
        std::thread::scope(|scope| {
            for reader in 0..64 {
                let (store, remote, bytes, digest) = (&store, &remote, &bytes, &digest);
                scope.spawn(move || {
                    let handle = handle(store, digest, remote);
                    read_through(handle.as_ref(), bytes, MIB + reader).expect("read");
                });
            }
        });
        assert_eq!(remote.sent(), size);
    }
}

#[test]
fn without_a_disk_everything_is_in_memory_and_still_verified() {
    let (bytes, digest) = content(60 * MIB, 5);
    let remote = Remote::new(&bytes);
    let setup = Setup { memory: 16 * MIB, ..Setup::default() };
    let store = setup.open(None);
    let handle = handle(&store, &digest, &remote);
    read_through(handle.as_ref(), &bytes, MIB).expect("read");
    assert_eq!(store.state(&digest), State::Verified);
    assert!(store.usage().memory_used <= 16 * MIB);
    // What comes again is checked now.
    remote.set(Faults { flips: Some(5 * MIB), ..Faults::default() });
    assert_eq!(read(handle.as_ref(), 5 * MIB, 10).expect_err("a lie").kind(), Kind::Corrupt);
    assert_eq!(read(handle.as_ref(), 9 * MIB, 10).expect("right"), bytes[9 * MIB as usize..][..10]);
    remote.set(Faults::default());
    read_through(handle.as_ref(), &bytes, MIB).expect("the remote is honest again");
}

#[test]
fn a_wrong_blob_is_poison() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(20 * MIB, 6);
    let remote = Remote::with(&bytes, Faults { flips: Some(7 * MIB), ..Faults::default() });
    let setup = Setup::default();
    let told = Arc::new(AtomicU64::new(0));
    {
        let store = setup.open(Some(dir.path()));
        let counter = told.clone();
        store.on_poison(Box::new(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let handle = handle(&store, &digest, &remote);
        let mut at = 0;
        // Bytes are served until all are known; the last ones come after the verdict.
        let error = loop {
            match read(handle.as_ref(), at, MIB) {
                Ok(got) => at += got.len() as u64,
                Err(error) => break error,
            }
            assert!(at < 20 * MIB, "a reader from the start must see it");
        };
        assert_eq!(error.kind(), Kind::Corrupt);
        assert_eq!(read(handle.as_ref(), 0, 10).expect_err("poison").kind(), Kind::Corrupt);
        assert_eq!(store.state(&digest), State::Poisoned);
        assert_eq!(told.load(Ordering::Relaxed), 1, "caches further up hear of it first");
        assert_eq!(setup.journal.counters.poisoned.load(Ordering::Relaxed), 1);
        assert_eq!(setup.journal.errors().len(), 1);
        assert_eq!(store.usage().memory_used, 0);
    }
    // A new mount starts afresh, and nothing of the wrong blob is left.
    remote.set(Faults::default());
    let store = setup.open(Some(dir.path()));
    assert_eq!(store.state(&digest), State::Absent);
    read_through(handle(&store, &digest, &remote).as_ref(), &bytes, MIB).expect("read");
}

#[test]
fn poison_is_served_again_once_all_of_it_was_hashed() {
    for on_disk in [true, false] {
        let dir = tempfile::tempdir().expect("tempdir");
        let (bytes, digest) = content(20 * MIB, 17);
        let flips = Faults { flips: Some(7 * MIB), ..Faults::default() };
        let (bad, good) = (Remote::with(&bytes, flips.clone()), Remote::new(&bytes));
        let store = Setup::default().open(on_disk.then(|| dir.path()));
        let first = handle(&store, &digest, &bad);
        let served = (0..20).take_while(|at| read(first.as_ref(), at * MIB, MIB).is_ok()).count();
        assert!(served < 20, "a reader from the start must see it");
        // Nothing wrong from here on, whoever asks for it, and at most one try.
        let sent = bad.sent();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let again = handle(&store, &digest, &bad);
                    assert_eq!(read(again.as_ref(), 7 * MIB, 10).expect_err("wrong").kind(), Kind::Corrupt);
                    assert_eq!(read(again.as_ref(), 0, 10).expect_err("just tried").kind(), Kind::Corrupt);
                });
            }
        });
        assert!(bad.sent() <= sent + 20 * MIB, "{} MiB more", (bad.sent() - sent) / MIB);
        assert_eq!(store.state(&digest), State::Poisoned);
        // Mended, it is tried again after a while; until it passes, nothing is served.
        bad.set(Faults::default());
        let start = std::time::Instant::now();
        let mended = handle(&store, &digest, &bad);
        assert_eq!(read(mended.as_ref(), 0, 10).expect_err("just tried").kind(), Kind::Corrupt);
        if on_disk {
            // Another repository has it right.
            let other = handle(&store, &digest, &good);
            assert_eq!(read(other.as_ref(), 7 * MIB, 10).expect("right"), bytes[7 * MIB as usize..][..10]);
            assert_eq!(good.sent(), 20 * MIB, "all of it before the first byte");
            read_through(other.as_ref(), &bytes, MIB).expect("read");
        } else {
            while read(mended.as_ref(), 0, 10).is_err() {
                assert!(start.elapsed() < Duration::from_secs(20), "it is mended");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        read_through(mended.as_ref(), &bytes, MIB).expect("what passed is everybody's");
        assert_eq!(store.state(&digest), State::Verified);
        assert_eq!(read(first.as_ref(), 0, 10).expect_err("it had wrong bytes").kind(), Kind::Corrupt);
        drop((mended, first));
        // Gone from the cache and wrong again: not lazily, this time.
        bad.set(flips);
        if on_disk {
            eventually("kept", || maintain::list(dir.path()).expect("list").len() == 1);
            maintain::clear(dir.path()).expect("clear");
            if let Ok(got) = read(handle(&store, &digest, &bad).as_ref(), 7 * MIB, 10) {
                assert_eq!(got, bytes[7 * MIB as usize..][..10], "memory may still have it, right");
            }
        }
    }
}

#[test]
fn a_wrong_small_blob_is_an_error_until_it_is_right() {
    let (bytes, digest) = content(MIB, 7);
    let remote = Remote::with(&bytes, Faults { flips: Some(7), ..Faults::default() });
    let store = Setup::default().open(None);
    let handle = handle(&store, &digest, &remote);
    assert_eq!(read(handle.as_ref(), 500_000, 10).expect_err("wrong").kind(), Kind::Corrupt);
    remote.set(Faults::default());
    read_through(handle.as_ref(), &bytes, MIB).expect("right now");
}

#[test]
fn strict_serves_nothing_before_all_is_hashed() {
    for on_disk in [true, false] {
        let dir = tempfile::tempdir().expect("tempdir");
        let (bytes, digest) = content(40 * MIB, 8);
        let remote = Remote::with(&bytes, Faults { flips: Some(39 * MIB), ..Faults::default() });
        let setup = Setup { verify: Verify::Strict, memory: 24 * MIB, ..Setup::default() };
        let store = setup.open(on_disk.then(|| dir.path()));
        let handle = handle(&store, &digest, &remote);
        assert_eq!(read(handle.as_ref(), 0, 10).expect_err("wrong at its end").kind(), Kind::Corrupt);
        remote.set(Faults { fails: Some((0, Kind::Timeout)), ..Faults::default() });
        assert_eq!(read(handle.as_ref(), 0, 10).expect_err("fails").kind(), Kind::Timeout);
        remote.set(Faults::default());
        assert_eq!(read(handle.as_ref(), 7, 10).expect("right now"), bytes[7..17]);
        assert_eq!(store.state(&digest), State::Verified);
        read_through(handle.as_ref(), &bytes, MIB).expect("read");
    }
}

#[test]
fn a_remote_that_ignores_range_is_asked_once() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(50 * MIB, 9);
    let faults = Faults { ignores_range: true, slow: Duration::from_micros(50), ..Faults::default() };
    let remote = Remote::with(&bytes, faults);
    let store = store(dir.path());
    let handle = handle(&store, &digest, &remote);
    assert_eq!(read(handle.as_ref(), 45 * MIB, 10).expect("read"), bytes[45 * MIB as usize..][..10]);
    read_through(handle.as_ref(), &bytes, MIB).expect("read");
    assert!(remote.sent() <= 2 * 50 * MIB, "{} MiB sent", remote.sent() / MIB);
    eventually("published", || handle.backing().is_some());
}

#[test]
fn ignored_range_under_many_readers() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(30 * MIB, 10);
    let faults = Faults { ignores_range: true, slow: Duration::from_micros(100), ..Faults::default() };
    let remote = Remote::with(&bytes, faults);
    let store = store(dir.path());
    let seed = seed();
    std::thread::scope(|scope| {
        for reader in 0..16 {
            let (store, remote, bytes, digest) = (&store, &remote, &bytes, &digest);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed + reader);
                let handle = handle(store, digest, remote);
                for _ in 0..20 {
                    let at = random.u64(0..30 * MIB - 5000);
                    let got = read(handle.as_ref(), at, 5000).expect("read");
                    assert!(got == bytes[at as usize..at as usize + 5000], "wrong bytes at {at}");
                }
            });
        }
    });
}

#[test]
fn a_short_remote_is_corrupt_and_a_long_one_too() {
    for size in [MIB, 20 * MIB] {
        let (bytes, digest) = content(size, 11);
        let remote = Remote::with(&bytes, Faults { short: 10, ..Faults::default() });
        let store = Setup::default().open(None);
        let short = handle(&store, &digest, &remote);
        let error = read_through(short.as_ref(), &bytes, MIB).expect_err("short");
        assert_eq!(error.kind(), Kind::Corrupt);
        // The manifest says less than there is.
        let long = Remote::with(&bytes, Faults { ignores_range: true, ..Faults::default() });
        let long = store.blob(&digest, size - 1, long).expect("blob").open();
        let error = read(long.as_ref(), size - 1000, 900).expect_err("long");
        assert_eq!(error.kind(), Kind::Corrupt);
        // Both get over it.
        remote.set(Faults::default());
        read_through(short.as_ref(), &bytes, MIB).expect("read");
    }
}

#[test]
fn a_failure_is_told_to_all_who_wait_and_not_remembered() {
    for size in [MIB, 20 * MIB] {
        let dir = tempfile::tempdir().expect("tempdir");
        let (bytes, digest) = content(size, 12);
        let faults =
            Faults { fails: Some((0, Kind::Unreachable)), slow: Duration::from_millis(50), ..Faults::default() };
        let remote = Remote::with(&bytes, faults);
        let store = store(dir.path());
        let handle = handle(&store, &digest, &remote);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                let handle = &handle;
                scope.spawn(move || {
                    let error = read(handle.as_ref(), 0, 4096).expect_err("fails");
                    assert_eq!(error.kind(), Kind::Unreachable);
                });
            }
        });
        assert!(remote.streams() <= 16, "{}", remote.streams());
        remote.set(Faults::default());
        read_through(handle.as_ref(), &bytes, MIB).expect("read");
        // A remote that fails half way keeps what came.
        assert_eq!(remote.sent(), size);
    }
}

#[test]
fn another_repository_may_have_what_one_refuses() {
    for size in [MIB, 20 * MIB] {
        let (bytes, digest) = content(size, 13);
        let faults = Faults { fails: Some((0, Kind::Denied)), slow: Duration::from_millis(100), ..Faults::default() };
        let refusing = Remote::with(&bytes, faults);
        let granting = Remote::new(&bytes);
        let store = Setup::default().open(None);
        std::thread::scope(|scope| {
            scope.spawn(|| read(handle(&store, &digest, &refusing).as_ref(), 9, 9).expect_err("refused"));
            eventually("asked", || refusing.streams() == 1);
            assert_eq!(read(handle(&store, &digest, &granting).as_ref(), 9, 9).expect("granted"), bytes[9..18]);
        });
    }
}

#[test]
fn a_closed_handle_leaves_nothing_running() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(200 * MIB, 14);
    let remote = Remote::with(&bytes, Faults { slow: Duration::from_micros(500), ..Faults::default() });
    let store = store(dir.path());
    let open = handle(&store, &digest, &remote);
    for at in 0..20 {
        read(open.as_ref(), at * MIB, MIB).expect("read");
    }
    drop(open);
    std::thread::sleep(Duration::from_millis(200));
    let sent = remote.sent();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(remote.sent(), sent, "still fetching for nobody");
    assert!(sent < 60 * MIB, "{} MiB for 20", sent / MIB);
}

#[test]
fn what_others_count_on_outlives_who_began_it() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(24 * MIB, 19);
    let remote = Remote::with(&bytes, Faults { slow: Duration::from_millis(2), ..Faults::default() });
    let store = store(dir.path());
    let last = handle(&store, &digest, &remote);
    assert_eq!(read(last.as_ref(), 0, 9).expect("read"), bytes[..9]);
    // Each begins a little more than the one before it, and leaves in the middle of that.
    for at in 1..12 {
        let next = handle(&store, &digest, &remote);
        for at in 0..at {
            read(next.as_ref(), at * MIB, MIB).expect("read");
            read(last.as_ref(), at * MIB, MIB).expect("read");
        }
    }
    read_through(last.as_ref(), &bytes, MIB).expect("read");
    assert_eq!(remote.sent(), 24 * MIB, "each byte is sent once");
}

#[test]
fn who_comes_after_a_long_wait_in_vain_is_told_at_once_and_a_moment_later_asks_anew() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(20 * MIB, 23);
    let store = store(dir.path());
    let dead = Faults { fails: Some((MIB, Kind::Timeout)), slow: Duration::from_millis(80), ..Faults::default() };
    let remote = Remote::with(&bytes, dead);
    let open = handle(&store, &digest, &remote);
    // One who has it open all the time.
    read(open.as_ref(), 19 * MIB, 1).expect("a byte of the first megabyte that comes");
    let reader = || read(handle(&store, &digest, &remote).as_ref(), 5 * MIB, 2 * MIB);
    assert_eq!(reader().expect_err("it took a second").kind(), Kind::Timeout);
    let asked = remote.streams();
    for _ in 0..20 {
        assert_eq!(reader().expect_err("a moment ago").kind(), Kind::Timeout);
    }
    assert_eq!(remote.streams(), asked);
    remote.set(Faults::default());
    eventually("another try", || reader().is_ok());
}

#[test]
fn what_a_killed_run_left_complete_is_hashed_and_gets_its_name() {
    for proved in [true, false] {
        let dir = tempfile::tempdir().expect("tempdir");
        let (bytes, digest) = content(20 * MIB, 24);
        let remote = Remote::new(&bytes);
        {
            let store = store(dir.path());
            read_through(handle(&store, &digest, &remote).as_ref(), &bytes, MIB).expect("read");
            eventually("published", || store.usage().blobs == 1);
        }
        // As if it had been killed before that: a part with its table, and perhaps the proof of it.
        let only = |name: &str| {
            let mut files = Vec::new();
            files_under(&dir.path().join("v1").join(name), &mut files);
            files.remove(0)
        };
        let part = dir.path().join("v1/parts").join(digest.as_str().replace(':', "-"));
        std::fs::rename(only("blobs"), &part).expect("rename");
        let proof = only("spans");
        let mut table = std::fs::read(&proof).expect("table");
        table[12..16].fill(0);
        table[172..204].fill(0);
        let check = *blake3::hash(&table[..224]).as_bytes();
        table[224..256].copy_from_slice(&check);
        std::fs::write(part.with_extension("table"), table).expect("write");
        if !proved {
            std::fs::remove_file(proof).expect("remove");
        }
        let store = store(dir.path());
        let sent = remote.sent();
        read_through(handle(&store, &digest, &remote).as_ref(), &bytes, MIB).expect("read");
        eventually("published", || store.state(&digest) == State::Verified);
        assert_eq!(remote.sent(), sent, "it was all here");
    }
}

#[test]
fn a_bad_directory_means_memory_alone() {
    let dir = tempfile::tempdir().expect("tempdir");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("write");
    for bad in [file.as_path(), Path::new("/proc/nothing/here")] {
        let (bytes, digest) = content(10 * MIB, 17);
        let store = Setup::default().open(Some(bad));
        assert!(store.usage().degraded.is_some());
        read_through(handle(&store, &digest, &Remote::new(&bytes)).as_ref(), &bytes, MIB).expect("read");
        store.remember("key", b"fact");
        assert_eq!(store.recall("key").as_deref(), Some(&b"fact"[..]));
    }
}

#[test]
fn strict_goes_on_with_what_an_earlier_run_left() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(60 * MIB, 18);
    {
        let remote = Remote::new(&bytes);
        let store = store(dir.path());
        // More than strict looks ahead, from the start on, and not all; each piece on its own.
        for at in (0..40).rev() {
            read(handle(&store, &digest, &remote).as_ref(), at * MIB, MIB).expect("read");
        }
        eventually("idle", || remote.is_idle());
        eventually("released", || maintain::list(dir.path()).expect("list")[0].kept == maintain::Kept::Part);
    }
    let setup = Setup { verify: Verify::Strict, ..Setup::default() };
    let remote = Remote::new(&bytes);
    let store = setup.open(Some(dir.path()));
    let open = handle(&store, &digest, &remote);
    assert_eq!(read(open.as_ref(), 9, 9).expect("read"), bytes[9..18]);
    assert_eq!(store.state(&digest), State::Verified);
    assert!(remote.sent() <= 20 * MIB, "what was here is not fetched again: {} of 20 MiB", remote.sent());
}
