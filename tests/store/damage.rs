//! Flipped bits in every kind of cache file: noticed, fetched anew, never served.

use crate::remote::*;
use regfs::error::Kind;
use regfs::read_at::ReadAt;
use regfs::store::{SPAN, State, maintain};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

fn only(dir: &Path, name: &str) -> PathBuf {
    let mut files = Vec::new();
    files_under(&dir.join("v1").join(name), &mut files);
    assert_eq!(files.len(), 1, "{name}: {files:?}");
    files.remove(0)
}

#[test]
fn a_flipped_bit_in_a_published_blob_is_mended() {
    let mut random = fastrand::Rng::with_seed(seed());
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(20 * MIB + 77, 20);
    let size = bytes.as_slice().len() as u64;
    let setup = Setup::default();
    read_through(handle(&setup.open(Some(dir.path())), &digest, &Remote::new(&bytes)).as_ref(), &bytes, MIB)
        .expect("read");
    let wrong = || setup.journal.counters.corrupt_spans.load(Ordering::Relaxed);
    eventually("published", || setup.open(Some(dir.path())).state(&digest) == State::Verified);
    for round in 1..=10 {
        flip(&only(dir.path(), "blobs"), random.u64(0..size * 8));
        let remote = Remote::new(&bytes);
        let store = setup.open(Some(dir.path()));
        let handle = handle(&store, &digest, &remote);
        read_through(handle.as_ref(), &bytes, MIB).expect("read");
        assert_eq!(wrong(), round, "noticed once, mended for good");
        assert!(remote.sent() <= SPAN, "only the span is fetched anew");
        // A reader has its bytes before the disk does.
        eventually("all of it found right", || handle.backing().is_some());
    }
}

#[test]
fn without_the_remote_a_damaged_span_costs_itself_alone() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(20 * MIB, 21);
    let remote = Remote::new(&bytes);
    read_through(handle(&store(dir.path()), &digest, &remote).as_ref(), &bytes, MIB).expect("read");
    eventually("published", || store(dir.path()).state(&digest) == State::Verified);
    flip(&only(dir.path(), "blobs"), 8 * 5 * MIB);
    remote.set(Faults { fails: Some((0, Kind::Unreachable)), ..Faults::default() });
    let store = store(dir.path());
    let handle = handle(&store, &digest, &remote);
    assert_eq!(read(handle.as_ref(), 5 * MIB, 10).expect_err("damaged").kind(), Kind::Unreachable);
    assert_eq!(read(handle.as_ref(), 6 * MIB, MIB).expect("sound"), bytes[6 * MIB as usize..7 * MIB as usize]);
    assert!(handle.backing().is_none());
    // A lie is not taken for the span that is missing.
    remote.set(Faults { flips: Some(5 * MIB + 3), ..Faults::default() });
    assert_eq!(read(handle.as_ref(), 5 * MIB, 10).expect_err("a lie").kind(), Kind::Corrupt);
    remote.set(Faults::default());
    read_through(handle.as_ref(), &bytes, MIB).expect("read");
}

#[test]
fn a_damaged_or_missing_table_is_made_anew_and_a_damaged_blob_without_one_is_dropped() {
    let mut random = fastrand::Rng::with_seed(seed());
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(12 * MIB, 22);
    let fill = |remote: &std::sync::Arc<Remote>| {
        let store = store(dir.path());
        read_through(handle(&store, &digest, remote).as_ref(), &bytes, MIB).expect("read");
        eventually("published", || {
            store.state(&digest) == State::Verified && handle(&store, &digest, remote).backing().is_some()
        });
    };
    fill(&Remote::new(&bytes));
    let remote = Remote::new(&bytes);
    for _ in 0..10 {
        let table = only(dir.path(), "spans");
        let len = std::fs::metadata(&table).expect("stat").len();
        flip(&table, random.u64(0..len * 8));
        fill(&remote);
    }
    std::fs::remove_file(only(dir.path(), "spans")).expect("remove");
    fill(&remote);
    assert_eq!(remote.sent(), 0, "the blob is its own proof");
    let table = only(dir.path(), "spans");
    flip(&table, 8 * 100);
    flip(&only(dir.path(), "blobs"), 8 * 7 * MIB);
    fill(&remote);
    assert_eq!(remote.sent(), 12 * MIB, "neither proves the other");
}

/// Where a part has something, in MiB, in an order that is no sequence.
const PLACES: [u64; 10] = [17, 5, 13, 1, 9, 19, 7, 15, 3, 11];

#[test]
fn a_damaged_part_is_fetched_where_it_is_damaged() {
    let mut random = fastrand::Rng::with_seed(seed());
    let (bytes, digest) = content(20 * MIB, 23);
    for what in ["data", "checks", "header"] {
        for _ in 0..5 {
            let dir = tempfile::tempdir().expect("tempdir");
            let remote = Remote::new(&bytes);
            {
                let store = store(dir.path());
                let handle = handle(&store, &digest, &remote);
                // Here and there, so that nothing is read ahead and the part stays one.
                for at in PLACES {
                    read(handle.as_ref(), at * MIB, 200_000).expect("read");
                }
            }
            let released = |entry: &maintain::Entry| entry.kept == maintain::Kept::Part;
            eventually("released", || maintain::list(dir.path()).expect("list").iter().all(released));
            let part = dir.path().join("v1/parts").join(digest.as_str().replace(':', "-"));
            let table = PathBuf::from(format!("{}.table", part.display()));
            match what {
                "data" => flip(&part, 8 * MIB * PLACES[random.usize(0..10)] + random.u64(0..1_600_000)),
                "checks" => flip(&table, 8 * 256 + random.u64(0..8 * 32 * 70)),
                _ => flip(&table, random.u64(0..8 * 256)),
            }
            let before = remote.sent();
            let store = store(dir.path());
            let handle = handle(&store, &digest, &remote);
            read_through(handle.as_ref(), &bytes, MIB).expect("read");
            if what != "header" {
                assert!(remote.sent() <= 20 * MIB + 2 * SPAN, "{what}: {before}, then {}", remote.sent() - before);
            }
            eventually("published", || handle.backing().is_some());
        }
    }
}

#[test]
fn a_damaged_small_blob_is_fetched_anew() {
    let mut random = fastrand::Rng::with_seed(seed());
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(100_000, 24);
    let remote = Remote::new(&bytes);
    for round in 1..10 {
        let fresh = store(dir.path());
        read_through(handle(&fresh, &digest, &remote).as_ref(), &bytes, MIB).expect("read");
        assert_eq!(remote.streams(), round);
        flip(&only(dir.path(), "blobs"), random.u64(0..800_000));
        assert!(store(dir.path()).get(&digest).is_none());
    }
}

#[test]
fn a_damaged_fact_is_forgotten() {
    let dir = tempfile::tempdir().expect("tempdir");
    store(dir.path()).remember("host", b"what it is known for");
    assert_eq!(store(dir.path()).recall("host").expect("known"), b"what it is known for");
    assert!(store(dir.path()).recall("other").is_none());
    let file = only(dir.path(), "known");
    let len = std::fs::metadata(&file).expect("stat").len();
    flip(&file, fastrand::Rng::with_seed(seed()).u64(0..len * 8));
    assert!(store(dir.path()).recall("host").is_none());
}

#[test]
fn another_size_is_corrupt_and_no_poison() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(12 * MIB, 25);
    let store = store(dir.path());
    let remote = Remote::new(&bytes);
    read_through(handle(&store, &digest, &remote).as_ref(), &bytes, MIB).expect("read");
    eventually("published", || handle(&store, &digest, &remote).backing().is_some());
    for size in [12 * MIB - 1, 12 * MIB + 1, 100 * MIB] {
        let blob = store.blob(&digest, size, remote.clone()).expect("not known yet").open();
        assert_eq!(read(blob.as_ref(), 0, 10).expect_err("another size").kind(), Kind::Corrupt);
    }
    read_through(handle(&store, &digest, &remote).as_ref(), &bytes, MIB).expect("read");
}
