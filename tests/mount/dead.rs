//! A registry that never answers costs its own paths an error, and nothing else anything.

use crate::support::content::Content;
use crate::support::fake::{Fault, Registry, Rule, What};
use crate::support::image::Image;
use crate::support::mount::{Mount, within};
use crate::support::run::{command, run_within};
use crate::support::wait_for;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

const READERS: usize = 64;
/// What must be answered although others wait.
const PROMPT: Duration = Duration::from_millis(100);

struct Scene {
    fake: Registry,
    mount: Mount,
    cached: PathBuf,
    stuck: Vec<PathBuf>,
}

/// One file in the cache, and 64 that cannot be had.
fn scene(timeout: &str) -> Scene {
    let fake = Registry::start();
    let image = Image::new([Content::random(1, 100_000)], "linux/amd64");
    fake.put("a/b", "v1", &image);
    let blobs: Vec<_> = (0..READERS as u64).map(|n| fake.blob("a/b", Content::random(100 + n, 50_000))).collect();
    let mount = Mount::new(&fake.host(), &["--timeout", timeout]);
    let cached = mount.path(&format!("a/b/blobs/{}", image.layers()[0].digest));
    std::fs::read(&cached).expect("fill the cache");
    fake.forget();
    fake.fault(Rule::any(Fault::Hang));
    let stuck = blobs.iter().map(|digest| mount.path(&format!("a/b/blobs/{digest}"))).collect();
    Scene { fake, mount, cached, stuck }
}

/// The longest of some reads of this path.
fn slowest(path: PathBuf) -> Duration {
    within(Duration::from_secs(30), "a read that needs no registry", move || {
        (0..10)
            .map(|_| {
                let start = Instant::now();
                std::fs::read(&path).expect("read");
                start.elapsed()
            })
            .max()
            .unwrap_or_default()
    })
}

#[test]
fn stuck_readers_hold_nobody_else_up_and_end_with_etimedout() {
    let scene = scene("4");
    let start = Instant::now();
    let readers: Vec<_> = scene
        .stuck
        .iter()
        .cloned()
        .map(|path| std::thread::spawn(move || std::fs::read(path).expect_err("nothing can come").raw_os_error()))
        .collect();
    wait_for("stuck requests", Duration::from_secs(5), || (scene.fake.count(What::Blob) > 0).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    let (cached, status) = (slowest(scene.cached.clone()), slowest(scene.mount.path(".regfs/status")));
    assert!(cached < PROMPT, "a cached file took {cached:?}");
    assert!(status < PROMPT, ".regfs/status took {status:?}");
    assert!(slowest(scene.mount.path(".regfs/errors")) < PROMPT);
    assert!(start.elapsed() < Duration::from_secs(4), "the readers were not stuck any more: {:?}", start.elapsed());
    for reader in readers {
        assert_eq!(reader.join().expect("a reader"), Some(libc::ETIMEDOUT), "{}", scene.mount.errors());
    }
    assert!(start.elapsed() < Duration::from_secs(45), "the last one ended after {:?}", start.elapsed());
    scene.mount.error_with("sha256:");
    scene.fake.heal();
    wait_for("recovery", Duration::from_secs(10), || std::fs::read(&scene.stuck[0]).ok());
}

#[test]
fn a_stuck_reader_can_be_interrupted() {
    let scene = scene("60");
    let mut cat =
        command("cat").arg(&scene.stuck[0]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run cat");
    wait_for("a stuck request", Duration::from_secs(5), || (scene.fake.count(What::Blob) > 0).then_some(()));
    let start = Instant::now();
    run_within(Duration::from_secs(5), command("kill").args(["-INT", &cat.id().to_string()])).ok();
    let ended = wait_for("the end of cat", Duration::from_secs(5), || cat.try_wait().expect("wait for cat"));
    assert!(!ended.success());
    assert!(start.elapsed() < Duration::from_secs(2), "interrupted after {:?}", start.elapsed());
}

#[test]
fn a_stuck_mount_can_be_unmounted() {
    let mut scene = scene("60");
    let mut cat =
        command("cat").arg(&scene.stuck[0]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run cat");
    wait_for("a stuck request", Duration::from_secs(5), || (scene.fake.count(What::Blob) > 0).then_some(()));
    // Who merely has a file open holds the mount; who is stuck on a remote that does not answer is let go.
    let umount = scene.mount.umount().ok();
    assert!(umount.took < Duration::from_secs(8), "umount took {:?}", umount.took);
    assert!(!scene.mount.is_mounted());
    let ended = wait_for("the end of cat", Duration::from_secs(5), || cat.try_wait().expect("wait for cat"));
    assert!(!ended.success());
    scene.mount.wait();
}
