//! `kill -9` at random instants while the cache fills: nothing wrong is served afterwards, nothing leaks, and the
//! mountpoint that was left behind is recovered by `regfs umount` and by mounting again.

use crate::support::content::Content;
use crate::support::fake::Registry;
use crate::support::mount::{Plan, is_mounted};
use crate::support::run::{command, run};
use crate::support::{regfs, seed, wait_for};
use regfs::digest::Digest;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const ROUNDS: usize = 50;

#[test]
fn killed_fifty_times_nothing_is_wrong_afterwards() {
    let seed = seed("kill -9");
    let mut rng = fastrand::Rng::with_seed(seed);
    let fake = Registry::start();
    // A small one, some in the middle, one of several spans.
    let blobs: Vec<(Digest, Content)> = [50_000, 2_000_000, 9_000_000, 40_000_000]
        .into_iter()
        .enumerate()
        .map(|(n, len)| {
            let content = Content::random(seed.wrapping_add(n as u64), len);
            (fake.blob("a/b", content.clone()), content)
        })
        .collect();
    let directory = tempfile::tempdir().expect("tempdir");
    let (cache, point) = (directory.path().join("cache"), directory.path().join("mnt"));
    std::fs::create_dir(&point).expect("create the mountpoint");
    let plan = Plan::new(&fake.host()).cache(&cache).point(&point);
    for round in 0..ROUNDS {
        let mut mount = plan.mount();
        let mut readers: Vec<_> = blobs
            .iter()
            .map(|(digest, _)| {
                let mut cat = command("cat");
                let cat =
                    cat.arg(point.join(format!("a/b/blobs/{digest}"))).stdout(Stdio::null()).stderr(Stdio::null());
                cat.spawn().expect("run cat")
            })
            .collect();
        std::thread::sleep(Duration::from_micros(rng.u64(..120_000)));
        mount.kill();
        for reader in &mut readers {
            let _ = reader.wait();
        }
        assert!(is_mounted(&point), "the kernel keeps a dead mount");
        // Every other time the next mount has to recover it.
        if round % 2 == 0 {
            run(Command::new(regfs()).arg("umount").arg(&point)).ok();
            assert!(!is_mounted(&point), "regfs umount left the dead mount");
        } else {
            std::mem::forget(mount);
        }
        if round % 10 == 9 {
            let mount = plan.mount();
            for (digest, content) in &blobs {
                let bytes = mount.read(&format!("a/b/blobs/{digest}")).expect("read");
                assert!(Content::from(bytes).digest() == content.digest(), "wrong bytes, round {round}, seed {seed}");
            }
            drop(mount);
            clear(&cache, &mut rng);
        }
    }
    let mount = plan.mount();
    for (digest, content) in &blobs {
        let bytes = mount.read(&format!("a/b/blobs/{digest}")).expect("read");
        assert!(Content::from(bytes).digest() == content.digest(), "wrong bytes at the end, seed {seed}");
    }
    drop(mount);
    let verify = run(Command::new(regfs()).args(["cache", "verify", "--cache-dir"]).arg(&cache));
    assert_eq!(verify.code, Some(0), "{}{}", verify.text(), verify.err);
    let (used, wanted) = (size(&cache), blobs.iter().map(|(_, content)| content.len()).sum::<u64>());
    assert!(used < wanted + wanted / 4 + 4_000_000, "the cache holds {used} bytes for {wanted} of content: it leaks");
}

/// Now and then the cache begins anew, so that later rounds fill it too.
fn clear(cache: &Path, rng: &mut fastrand::Rng) {
    if rng.bool() {
        run(Command::new(regfs()).args(["cache", "clear", "--cache-dir"]).arg(cache)).ok();
    }
}

/// Bytes on disk below a directory.
fn size(directory: &Path) -> u64 {
    let du = run(command("du").args(["-s", "--block-size=1"]).arg(directory)).ok().text();
    du.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a size")
}

/// The kernel is told to drop the pages of a wrong blob while readers of it wait for their answer, which then never
/// comes: `regfs umount` ends them all.
#[test]
fn killed_while_wrong_pages_are_dropped_it_can_be_unmounted() {
    let mut rng = fastrand::Rng::with_seed(seed("kill -9 of the wrong"));
    let fake = Registry::start();
    let digest = fake.blob("a/b", Content::random(1, 20_000_000));
    fake.corrupt(&digest, 300_000);
    let directory = tempfile::tempdir().expect("tempdir");
    let point = directory.path().join("mnt");
    std::fs::create_dir(&point).expect("create the mountpoint");
    let plan = Plan::new(&fake.host()).point(&point);
    for round in 0..12 {
        let mount = plan.mount();
        let mut cats: Vec<_> = (0..2)
            .map(|_| {
                let mut cat = command("cat");
                let cat = cat.arg(point.join(format!("a/b/blobs/{digest}")));
                cat.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run cat")
            })
            .collect();
        std::thread::sleep(Duration::from_millis(rng.u64(20..400)));
        mount.signal("KILL");
        std::mem::forget(mount);
        std::thread::sleep(Duration::from_millis(50));
        // Every other time the next mount has to recover it.
        let recovered = match round % 2 {
            0 => Ok(()),
            _ => plan.try_mount().map(drop),
        };
        let unmounted = is_mounted(&point).then(|| run(Command::new(regfs()).arg("umount").arg(&point)));
        // Whatever came of it: nothing stays behind of a failed test.
        run(command("umount").arg("-f").arg(&point));
        recovered.expect("mounted again");
        unmounted.map(|unmounted| unmounted.ok());
        for cat in &mut cats {
            wait_for("a reader of a dead mount to end", Duration::from_secs(20), || cat.try_wait().expect("wait"));
        }
        assert!(!is_mounted(&point), "regfs umount left the dead mount of round {round}");
    }
}
