//! A registry that dies while a layer streams: who waits gets away, nobody else is held up, and it goes on.

use crate::layered::{Gate, Pack, files, image, noise, read, refused, status};
use crate::support::content::Content;
use crate::support::fake::{Registry, What};
use crate::support::mount::{Mount, Plan, within};
use crate::support::run::command;
use crate::support::wait_for;
use serde_json::json;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);
/// What must be answered although others wait.
const PROMPT: Duration = Duration::from_millis(100);
/// Where the registry falls silent.
const HELD: u64 = 6_000_000;
const FILLER: u64 = 24_000_000;
const READERS: usize = 64;

struct Scene {
    fake: Registry,
    gate: Gate,
    mount: Mount,
}

/// A registry with an image whose one layer does not end, and another that is small.
fn scene(timeout: &str) -> Scene {
    let fake = Registry::start();
    let layer = files(Pack::Gzip, &[("early", b"early"), ("filler", &noise(1, FILLER)), ("late", b"late")]);
    fake.put("a/b", "v1", &image(&[&layer]));
    fake.put("a/b", "small", &image(&[&files(Pack::Gzip, &[("file", b"file")])]));
    let gate = Gate::new(&fake, &layer.0.digest, HELD);
    let mount = Plan::new(&fake.host()).args(&["--timeout", timeout]).mount();
    Scene { fake, gate, mount }
}

impl Scene {
    fn begun(&self) {
        wait_for("the layer to be read", SOON, || (status(&self.mount)["indexing"] != json!({})).then_some(()));
    }
}

#[test]
fn who_waits_for_a_layer_holds_nobody_else_up() {
    let Scene { fake, gate, mount } = scene("30");
    let cached = fake.blob("a/b", Content::random(5, 10_000));
    let cached = format!("a/b/blobs/{cached}");
    mount.read(&cached).expect("fill the cache");
    assert_eq!(read(&mount, "a/b/tags/small/rootfs/file"), Ok(b"file".to_vec()));
    assert_eq!(read(&mount, "a/b/tags/v1/rootfs/early"), Ok(b"early".to_vec()));
    let readers: Vec<_> = (0..READERS)
        .map(|n| mount.path(&format!("a/b/tags/v1/rootfs/none{n}")))
        .map(|path| std::thread::spawn(move || std::fs::metadata(path).map_err(|error| error.raw_os_error())))
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    for path in [&*cached, ".regfs/status", ".regfs/metrics", "a/b/tags/small/rootfs/file", "a/b/tags/v1/rootfs/early"]
    {
        // The best of a few: the machine is shared.
        let best = (0..5)
            .map(|_| {
                let start = Instant::now();
                mount.read(path).expect(path);
                start.elapsed()
            })
            .min();
        assert!(best < Some(PROMPT), "{path}: {best:?}");
    }
    assert!(readers.iter().all(|reader| !reader.is_finished()), "the layer was to be waited for");
    gate.open();
    within(SOON, "the readers", move || {
        for reader in readers {
            let error = reader.join().expect("a reader").map(|_| ()).expect_err("no such file");
            assert_eq!(error, Some(libc::ENOENT));
        }
    });
}

#[test]
fn a_registry_that_dies_half_way_is_an_error_in_time_and_goes_on_when_it_is_back() {
    let Scene { fake, gate, mount } = scene("2");
    let late = "a/b/tags/v1/rootfs/late";
    let start = Instant::now();
    let errno = refused(&mount, late);
    assert!([libc::ETIMEDOUT, libc::EHOSTUNREACH].contains(&errno), "{errno}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(mount.error_with("rootfs/late").contains("layer "));
    fake.down();
    let errno = refused(&mount, late);
    assert!([libc::ETIMEDOUT, libc::EHOSTUNREACH].contains(&errno), "{errno}");
    gate.open();
    fake.up();
    fake.forget();
    assert_eq!(wait_for("recovery", SOON, || read(&mount, late).ok()), b"late");
    // It went on where it was.
    let fetched = fake.body_bytes();
    assert!(fetched < FILLER, "{fetched} bytes: all of it was fetched again");
    assert_eq!(read(&mount, "a/b/tags/v1/rootfs/early"), Ok(b"early".to_vec()));
    let filler = read(&mount, "a/b/tags/v1/rootfs/filler").expect("all of it");
    assert!(filler == noise(1, FILLER));
    assert!(fake.count(What::Blob) > 0);
}

#[test]
fn a_cut_connection_is_not_even_noticed() {
    let Scene { fake, gate, mount } = scene("10");
    let path = mount.path("a/b/tags/v1/rootfs/late");
    let reader = std::thread::spawn(move || std::fs::read(path));
    wait_for("requests", SOON, || (fake.count(What::Blob) > 2).then_some(()));
    fake.disconnect();
    gate.open();
    assert_eq!(within(SOON, "a reader", move || reader.join().expect("a reader")).expect("late"), b"late");
}

#[test]
fn signals_end_who_waits_for_a_layer() {
    let scene = scene("30");
    for (program, path) in [("cat", "late"), ("stat", "none"), ("ls", "")] {
        let path = scene.mount.path(&format!("a/b/tags/v1/rootfs/{path}"));
        let mut stuck = command(program).arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start");
        scene.begun();
        std::thread::sleep(Duration::from_millis(300));
        assert!(stuck.try_wait().expect("wait").is_none(), "{program} was to wait");
        let pid = nix::unistd::Pid::from_raw(stuck.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("kill");
        let ended = wait_for("the end of a program", Duration::from_secs(3), || stuck.try_wait().expect("wait"));
        assert_eq!(ended.signal(), Some(libc::SIGINT), "{program}");
    }
    scene.gate.open();
}

#[test]
fn a_mount_can_be_taken_away_while_a_layer_streams() {
    let mut scene = scene("30");
    let path = scene.mount.path("a/b/tags/v1/rootfs/early");
    std::fs::read(path).expect("what has come");
    scene.begun();
    scene.mount.umount().ok();
    assert_eq!(scene.mount.wait(), Some(0));
    assert!(!scene.mount.is_mounted());
    scene.gate.open();
}
