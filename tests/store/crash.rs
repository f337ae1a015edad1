//! kill -9 at any instant: whatever is served afterwards is right, and nothing is left behind.

use crate::remote::*;
use regfs::digest::Digest;
use regfs::store::{check, maintain};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const DIR: &str = "REGFS_TEST_FILL";
/// Sizes of the blobs that are filled: small, and large enough for parts.
const SIZES: [u64; 3] = [300_000, 9 * MIB + 5, 20 * MIB];

fn blobs() -> Vec<(Arc<Vec<u8>>, Digest)> {
    SIZES.iter().map(|size| content(*size, *size)).collect()
}

/// Run by the parent in a process of its own; on its own, it has nothing to do.
#[test]
fn child_fills() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let blobs = blobs();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let store = store(&dir);
        for (bytes, digest) in &blobs {
            let faults = Faults { slow: Duration::from_micros(100), ..Faults::default() };
            let handle = handle(&store, digest, &Remote::with(bytes, faults));
            if fastrand::bool() {
                read_through(handle.as_ref(), bytes, MIB).expect("read");
            } else {
                for _ in 0..40 {
                    let at = fastrand::u64(0..bytes.as_slice().len() as u64 - 5000);
                    let got = read(handle.as_ref(), at, 5000).expect("read");
                    assert!(got == bytes[at as usize..at as usize + 5000], "wrong bytes at {at}");
                }
            }
            store.remember(digest.as_str(), &bytes[..1000]);
        }
        maintain::prune(&dir, Some(fastrand::u64(0..30 * MIB)), None).expect("prune");
    }
}

#[test]
fn nothing_wrong_is_served_after_fifty_kills() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().expect("tempdir");
    let blobs = blobs();
    let mut published = 0;
    for round in 0..50 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["crash::child_fills", "--exact"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("spawned");
        std::thread::sleep(Duration::from_millis(random.u64(20..250)));
        assert!(child.try_wait().expect("wait").is_none(), "round {round}: the child found something wrong");
        child.kill().expect("killed");
        child.wait().expect("reaped");

        published += assert_proved(dir.path());
        let found = check::verify(dir.path(), &mut |_| ()).expect("verify");
        assert_eq!(found.wrong, Vec::<String>::new(), "round {round}");
        let store = store(dir.path());
        for (bytes, digest) in &blobs {
            let remote = Remote::new(bytes);
            read_through(handle(&store, digest, &remote).as_ref(), bytes, MIB).expect("read");
            if let Some(fact) = store.recall(digest.as_str()) {
                assert_eq!(fact, bytes[..1000]);
            }
        }
        drop(store);
        if random.bool() {
            maintain::clear(dir.path()).expect("clear");
        } else {
            maintain::prune(dir.path(), Some(random.u64(0..30 * MIB)), None).expect("prune");
        }
    }
    assert!(published > 0, "no child lived long enough to publish anything");
    maintain::clear(dir.path()).expect("clear");
    let tmp = std::fs::read_dir(dir.path().join("v1/tmp")).expect("tmp").count();
    assert!(tmp <= 50, "{tmp} temporary files");
}

/// Every name in `blobs/` is the digest of what it names; how many there are.
fn assert_proved(dir: &Path) -> usize {
    let mut files = Vec::new();
    files_under(&dir.join("v1/blobs"), &mut files);
    for file in &files {
        let bytes = std::fs::read(file).expect("read");
        assert_eq!(Digest::of(&bytes).encoded(), file.file_name().expect("name").to_str().expect("hex"));
    }
    files.len()
}
