//! Several stores on one directory, in one process and in several.

use crate::remote::*;
use regfs::error::Kind;
use regfs::read_at::ReadAt;
use regfs::store::{State, check, maintain};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const DIR: &str = "REGFS_TEST_SHARE";

#[test]
fn a_second_store_reads_on_its_own_and_the_first_takes_what_it_published() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(40 * MIB, 30);
    let (one, two) = (store(dir.path()), store(dir.path()));
    let (first, second) = (Remote::new(&bytes), Remote::new(&bytes));
    let slow = handle(&one, &digest, &first);
    read(slow.as_ref(), 0, 10).expect("begun");
    let fast = handle(&two, &digest, &second);
    read_through(fast.as_ref(), &bytes, MIB).expect("read");
    eventually("published", || fast.backing().is_some());
    let sent = first.sent();
    read_through(slow.as_ref(), &bytes, MIB).expect("read");
    assert!(first.sent() - sent < 4 * MIB, "it is there: {} MiB fetched again", (first.sent() - sent) / MIB);
    drop((slow, fast));
    let names = std::fs::read_dir(dir.path().join("v1/parts")).expect("parts").count();
    assert_eq!(names, 0, "no part is left of a published blob");
}

#[test]
fn an_open_file_outlives_its_names() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(30 * MIB, 31);
    let store = store(dir.path());
    let remote = Remote::new(&bytes);
    let whole = handle(&store, &digest, &remote);
    read_through(whole.as_ref(), &bytes, MIB).expect("read");
    eventually("published", || whole.backing().is_some());
    let (other, other_digest) = content(30 * MIB, 32);
    let half = Remote::new(&other);
    let part = handle(&store, &other_digest, &half);
    read(part.as_ref(), 10 * MIB, MIB).expect("read");
    let cleared = maintain::clear(dir.path()).expect("clear");
    assert!(cleared.dropped == 2 && cleared.left == 0, "{cleared:?}");
    for remote in [&remote, &half] {
        remote.set(Faults { fails: Some((0, Kind::Unreachable)), ..Faults::default() });
    }
    read_through(whole.as_ref(), &bytes, MIB).expect("still open");
    assert_eq!(read(part.as_ref(), 10 * MIB, MIB).expect("still open"), other[10 * MIB as usize..11 * MIB as usize]);
    // What lost its names cannot be published under somebody else's; it is read to its end all the same.
    half.set(Faults::default());
    read_through(part.as_ref(), &other, MIB).expect("read");
    drop((whole, part));
    assert_eq!(store.state(&digest), State::Absent);
    read_through(handle(&store, &digest, &Remote::new(&bytes)).as_ref(), &bytes, MIB).expect("anew");
    assert_eq!(check::verify(dir.path(), &mut |_| ()).expect("verify").wrong, Vec::<String>::new());
}

/// Run by the parent in a process of its own; on its own, it has nothing to do.
#[test]
fn child_reads() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let mut random = fastrand::Rng::new();
    for _ in 0..3 {
        let setup = Setup { disk: 40 * MIB, memory: 8 * MIB, ..Setup::default() };
        let store = setup.open(Some(&dir));
        let mut numbers = [40, 41, 42, 43];
        random.shuffle(&mut numbers);
        for number in numbers {
            let (bytes, digest) = content(number % 3 * 9 * MIB + 1_000_000, number);
            let faults = Faults { slow: Duration::from_micros(random.u64(0..100)), ..Faults::default() };
            let handle = handle(&store, &digest, &Remote::with(&bytes, faults));
            read_through(handle.as_ref(), &bytes, random.u64(100_000..2 * MIB)).expect("read");
        }
    }
}

#[test]
fn many_processes_share_a_directory() {
    let dir = tempfile::tempdir().expect("tempdir");
    let children: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().expect("this program"))
                .args(["neighbours::child_reads", "--exact", "--nocapture"])
                .env(DIR, dir.path())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("spawned")
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let found = check::verify(dir.path(), &mut |_| ()).expect("verify");
    assert_eq!(found.wrong, Vec::<String>::new());
    assert!(found.right > 0);
}
