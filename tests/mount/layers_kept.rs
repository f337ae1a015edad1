//! What is kept of layers, on bad days: killed mounts, several mounts, small, full and damaged caches, other versions.

use crate::damage::{Tmpfs, as_root};
use crate::layered::{Gate, Layer, Pack, files, image, noise, read, refused, status};
use crate::support::fake::Registry;
use crate::support::mount::{Mount, Plan};
use crate::support::run::{command, run};
use crate::support::{regfs, seed, wait_for};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A registry with an image of a layer of each kind, and what is in them.
struct Scene {
    fake: Registry,
    layers: Vec<Layer>,
    /// A large file of each layer, the last member but one.
    large: Vec<Vec<u8>>,
}

impl Scene {
    fn new(size: u64) -> Scene {
        let fake = Registry::start();
        let kinds = [Pack::Gzip, Pack::Zstd, Pack::Tar];
        let large: Vec<Vec<u8>> = (0..kinds.len() as u64).map(|n| noise(n + 40, size)).collect();
        let names: Vec<[String; 3]> =
            (0..kinds.len()).map(|n| ["first", "large", "last"].map(|s| format!("{s}{n}"))).collect();
        let layers: Vec<Layer> = kinds
            .into_iter()
            .zip(&names)
            .zip(&large)
            .map(|((how, [first, big, last]), large)| files(how, &[(first, b"first"), (big, large), (last, b"last")]))
            .collect();
        fake.put("a/b", "v1", &image(&layers.iter().collect::<Vec<_>>()));
        Scene { fake, layers, large }
    }

    fn plan(&self, cache: &Path) -> Plan {
        Plan::new(&self.fake.host()).args(&["--timeout", "20"]).cache(cache)
    }

    /// Every file is there and right.
    #[track_caller]
    fn all_right(&self, mount: &Mount) {
        assert_eq!(mount.list("a/b/tags/v1/rootfs").len(), 3 * self.layers.len());
        for (n, large) in self.large.iter().enumerate() {
            assert_eq!(read(mount, &format!("a/b/tags/v1/rootfs/first{n}")), Ok(b"first".to_vec()), "layer {n}");
            let got = read(mount, &format!("a/b/tags/v1/rootfs/large{n}"));
            assert!(got.as_ref() == Ok(large), "layer {n}: {:?}\n{}", got.map(|got| got.len()), mount.errors());
            assert_eq!(read(mount, &format!("a/b/tags/v1/rootfs/last{n}")), Ok(b"last".to_vec()), "layer {n}");
        }
    }

    /// Waits until every layer is known, reading nothing of their content.
    fn index(&self, mount: &Mount) {
        assert_eq!(mount.list("a/b/tags/v1/rootfs").len(), 3 * self.layers.len());
        wait_for("the indexes to be kept", SOON, || (status(mount)["indexing"] == json!({})).then_some(()));
    }
}

/// Every file below a directory of the cache.
fn kept(cache: &Path, part: &str) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![cache.join("v1").join(part)]);
    while let Some(path) = todo.pop() {
        for entry in std::fs::read_dir(&path).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { todo.push(path) } else { found.push(path) }
        }
    }
    found
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("write");
}

#[test]
fn killed_while_indexing_nothing_half_made_is_used() {
    let mut rng = fastrand::Rng::with_seed(seed("kill -9 while indexing"));
    let scene = Scene::new(9_000_000);
    let directory = tempfile::tempdir().expect("tempdir");
    let (cache, point) = (directory.path().join("cache"), directory.path().join("mnt"));
    std::fs::create_dir(&point).expect("create the mountpoint");
    let plan = scene.plan(&cache).point(&point);
    for _ in 0..8 {
        let mut mount = plan.mount();
        let mut ls = command("ls")
            .arg(point.join("a/b/tags/v1/rootfs"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ls");
        std::thread::sleep(Duration::from_micros(rng.u64(..700_000)));
        mount.kill();
        let _ = ls.wait();
        run(Command::new(regfs()).arg("umount").arg(&point)).ok();
    }
    scene.all_right(&plan.mount());
    // What that one kept is whole: nothing is asked for again.
    scene.fake.down();
    let mount = scene.plan(&cache).args(&["--offline"]).mount();
    scene.all_right(&mount);
}

#[test]
fn two_mounts_index_one_layer_at_once_on_one_cache() {
    let scene = Scene::new(9_000_000);
    let cache = tempfile::tempdir().expect("tempdir");
    let plan = scene.plan(cache.path());
    let mounts = [plan.mount(), plan.mount()];
    std::thread::scope(|scope| {
        let readers: Vec<_> = mounts.iter().map(|mount| scope.spawn(|| scene.all_right(mount))).collect();
        readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
    });
    drop(mounts);
    assert_eq!(kept(cache.path(), "index").len(), scene.layers.len());
    scene.all_right(&plan.mount());
}

#[test]
fn offline_tells_what_is_kept_and_says_what_is_not() {
    let scene = Scene::new(100_000);
    let cache = tempfile::tempdir().expect("tempdir");
    let tags = |mount: &Mount| mount.list("a/b/tags");
    let mount = scene.plan(cache.path()).mount();
    tags(&mount);
    mount.text("a/b/tags/v1/config.json");
    drop(mount);
    let mount = scene.plan(cache.path()).args(&["--offline"]).mount();
    assert_eq!(refused(&mount, "a/b/tags/v1/rootfs/first2"), libc::EHOSTUNREACH);
    assert!(mount.error_with("rootfs/first2").contains("layer"));
    drop(mount);
    scene.index(&scene.plan(cache.path()).mount());
    let mount = scene.plan(cache.path()).args(&["--offline"]).mount();
    scene.all_right(&mount);
}

#[test]
fn caches_that_are_too_small_or_not_there_cost_speed_alone() {
    let scene = Scene::new(14_000_000);
    for args in [["--cache-size", "10M"], ["--cache-size", "0"]] {
        let cache = tempfile::tempdir().expect("tempdir");
        let mount = scene.plan(cache.path()).args(&args).mount();
        scene.all_right(&mount);
        scene.all_right(&mount);
    }
}

#[test]
fn full_and_read_only_disks_cost_speed_alone() {
    let scene = Scene::new(9_000_000);
    // Once the limit of the cache is what is full, once the disk.
    for args in [&[][..], &["--cache-size", "1G"]] {
        let disk = Tmpfs::new("size=6m");
        let mount = scene.plan(&disk.path().join("cache")).args(args).mount();
        scene.all_right(&mount);
        drop(mount);
    }
    let disk = Tmpfs::new("size=100m");
    let cache = disk.path().join("cache");
    let mount = scene.plan(&cache).mount();
    mount.list("a/b/tags/v1/layers/00");
    drop(mount);
    run(as_root("mount").args(["-o", "remount,ro"]).arg(disk.path())).ok();
    let mount = scene.plan(&cache).mount();
    scene.all_right(&mount);
    drop(mount);
}

#[test]
fn flipped_bits_and_other_versions_are_made_anew() {
    let scene = Scene::new(9_000_000);
    let cache = tempfile::tempdir().expect("tempdir");
    let plan = scene.plan(cache.path());
    scene.all_right(&plan.mount());
    type Damage = fn(&mut Vec<u8>);
    let damage: [(&str, Damage); 5] = [
        ("index", |bytes| *bytes.last_mut().expect("a byte") ^= 1),
        ("index", |bytes| bytes[7] ^= 0x40),
        ("index", |bytes| bytes.truncate(bytes.len() / 2)),
        ("index", Vec::clear),
        ("chunks", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
    ];
    for (part, spoil) in damage {
        let files = kept(cache.path(), part);
        assert!(!files.is_empty(), "nothing in {part}");
        files.iter().for_each(|file| change(file, spoil));
        scene.all_right(&plan.mount());
        scene.all_right(&plan.clone().args(&["--offline"]).mount());
    }
    // While it is mounted, too.
    let mount = plan.mount();
    scene.index(&mount);
    for file in kept(cache.path(), "chunks") {
        change(&file, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    }
    scene.all_right(&mount);
    for file in kept(cache.path(), "chunks") {
        std::fs::remove_file(file).expect("remove");
    }
    scene.all_right(&plan.mount());
    assert!(!kept(cache.path(), "chunks").is_empty(), "the copy is made anew");
}

#[test]
fn what_was_evicted_is_fetched_again_as_far_as_it_is_read_and_checked() {
    let scene = Scene::new(20_000_000);
    let cache = tempfile::tempdir().expect("tempdir");
    let plan = scene.plan(cache.path());
    scene.index(&plan.mount());
    let evict = || {
        for part in ["blobs", "parts"] {
            for file in kept(cache.path(), part) {
                if std::fs::metadata(&file).is_ok_and(|meta| meta.len() > 1_000_000) {
                    std::fs::remove_file(file).expect("remove");
                }
            }
        }
    };
    evict();
    scene.fake.forget();
    let mount = plan.mount();
    for n in 0..scene.layers.len() {
        assert_eq!(read(&mount, &format!("a/b/tags/v1/rootfs/last{n}")), Ok(b"last".to_vec()));
    }
    drop(mount);
    let fetched = scene.fake.body_bytes();
    assert!(fetched < 9_000_000, "{fetched} bytes for a few small files");
    // What comes is what the index says it should be, or an error.
    evict();
    let gates: Vec<Gate> = [0, 2]
        .into_iter()
        .map(|n| {
            let blob = &scene.layers[n].0;
            let mut wrong = blob.content.to_vec();
            wrong.iter_mut().for_each(|byte| *byte ^= 0x55);
            Gate::new(&scene.fake, &blob.digest, u64::MAX).lying(wrong)
        })
        .collect();
    let mount = plan.mount();
    for n in [0, 2] {
        assert_eq!(refused(&mount, &format!("a/b/tags/v1/rootfs/last{n}")), libc::EIO, "layer {n}");
    }
    gates.iter().for_each(|gate| gate.lies(None));
    for n in [0, 2] {
        let got = wait_for("recovery", SOON, || read(&mount, &format!("a/b/tags/v1/rootfs/last{n}")).ok());
        assert_eq!(got, b"last");
    }
    drop(mount);
}
