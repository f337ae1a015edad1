//! The cache directory on bad days: damaged files, a full disk, no permission, two mounts at once.

use crate::support::content::Content;
use crate::support::fake::Registry;
use crate::support::mount::{Mount, Plan, is_mounted};
use crate::support::run::{command, program, run};
use crate::support::seed;
use regfs::digest::Digest;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn scene() -> (Registry, Vec<(Digest, Content)>) {
    let fake = Registry::start();
    let blobs = [1000, 700_000, 9_000_000, 24_000_000]
        .into_iter()
        .enumerate()
        .map(|(n, len)| {
            let content = Content::random(n as u64, len);
            (fake.blob("a/b", content.clone()), content)
        })
        .collect();
    (fake, blobs)
}

#[track_caller]
fn all_right(mount: &Mount, blobs: &[(Digest, Content)]) {
    for (digest, content) in blobs {
        let bytes = mount.read(&format!("a/b/blobs/{digest}"));
        let bytes = bytes.unwrap_or_else(|error| panic!("read {digest}: {error}\n{}", mount.errors()));
        assert!(bytes == content.to_vec(), "wrong bytes of {digest}");
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).expect("list").flatten() {
            let path = entry.path();
            if path.is_dir() { todo.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

#[test]
fn a_flipped_bit_in_any_cache_file_is_noticed() {
    let seed = seed("flipped bits");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (fake, blobs) = scene();
    let directory = tempfile::tempdir().expect("tempdir");
    let plan = Plan::new(&fake.host()).cache(directory.path());
    let mount = plan.mount();
    all_right(&mount, &blobs);
    // One that is there in part only.
    let partial = Content::random(77, 30_000_000);
    let digest = fake.blob("a/b", partial.clone());
    let mut buf = [0; 4096];
    let file = std::fs::File::open(mount.path(&format!("a/b/blobs/{digest}"))).expect("open");
    file.read_exact_at(&mut buf, 15_000_000).expect("read");
    drop(file);
    drop(mount);
    for file in files(directory.path()) {
        let handle = std::fs::OpenOptions::new().read(true).write(true).open(&file).expect("open");
        let len = handle.metadata().expect("stat").len();
        // Several bits of each: the small files of bookkeeping are nothing but bits that matter.
        for _ in 0..3 {
            if len > 0 {
                let at = rng.u64(..len);
                let mut byte = [0];
                handle.read_exact_at(&mut byte, at).expect("read");
                handle.write_all_at(&[byte[0] ^ (1 << rng.u8(..8))], at).expect("write");
            }
        }
    }
    let mount = plan.mount();
    let partial = [(digest, partial)];
    all_right(&mount, &partial);
    all_right(&mount, &blobs);
}

#[test]
fn cut_and_lengthened_cache_files_are_noticed() {
    let (fake, blobs) = scene();
    for change in [|len: u64| len / 2, |len: u64| len + 1000, |_: u64| 0] {
        let directory = tempfile::tempdir().expect("tempdir");
        let plan = Plan::new(&fake.host()).cache(directory.path());
        all_right(&plan.mount(), &blobs);
        for file in files(directory.path()) {
            let handle = std::fs::OpenOptions::new().write(true).open(&file).expect("open");
            handle.set_len(change(handle.metadata().expect("stat").len())).expect("set the length");
        }
        all_right(&plan.mount(), &blobs);
    }
}

/// A small file system in memory, unmounted when dropped.
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    pub fn new(options: &str) -> Tmpfs {
        let directory = tempfile::tempdir().expect("tempdir");
        let options = format!("mode=1777,{options}");
        run(as_root("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path())).ok();
        Tmpfs(directory)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = as_root("umount").arg("-l").arg(self.0.path()).status();
        assert!(!is_mounted(self.0.path()) || std::thread::panicking(), "the small disk is still mounted");
    }
}

/// A command that only root may run: by sudo where this is somebody else.
pub fn as_root(name: &str) -> Command {
    if run(command("id").arg("-u")).ok().text().trim() == "0" {
        return command(name);
    }
    let mut sudo = command("sudo");
    sudo.arg("-n").arg(program(name));
    sudo
}

#[test]
fn a_full_cache_disk_only_costs_the_cache() {
    let (fake, blobs) = scene();
    let disk = Tmpfs::new("size=6m");
    let mount = Plan::new(&fake.host()).cache(&disk.0.path().join("cache")).mount();
    for _ in 0..2 {
        all_right(&mount, &blobs);
    }
    drop(mount);
}

#[test]
fn a_cache_disk_that_fills_up_later_only_costs_the_cache() {
    let (fake, blobs) = scene();
    let disk = Tmpfs::new("size=60m");
    let mount = Plan::new(&fake.host()).cache(&disk.0.path().join("cache")).mount();
    all_right(&mount, &blobs[..2]);
    run(command("dd").arg("if=/dev/zero").arg(format!("of={}", disk.0.path().join("filler").display())).arg("bs=1M"))
        .failed();
    all_right(&mount, &blobs);
    std::fs::remove_file(disk.0.path().join("filler")).expect("remove");
    all_right(&mount, &blobs);
    drop(mount);
}

#[test]
fn a_cache_directory_that_is_read_only_is_read_or_passed_by() {
    let (fake, blobs) = scene();
    let disk = Tmpfs::new("size=100m");
    let plan = Plan::new(&fake.host()).cache(&disk.0.path().join("cache"));
    all_right(&plan.mount(), &blobs[..2]);
    run(as_root("mount").args(["-o", "remount,ro"]).arg(disk.0.path())).ok();
    all_right(&plan.mount(), &blobs);
    let empty = Tmpfs::new("size=1m,ro");
    all_right(&Plan::new(&fake.host()).cache(&empty.0.path().join("cache")).mount(), &blobs);
}

#[test]
fn two_mounts_share_one_cache() {
    let (fake, blobs) = scene();
    let directory = tempfile::tempdir().expect("tempdir");
    let plan = Plan::new(&fake.host()).cache(directory.path());
    let mounts = [plan.mount(), plan.mount()];
    std::thread::scope(|scope| {
        for mount in &mounts {
            for _ in 0..3 {
                scope.spawn(|| all_right(mount, &blobs));
            }
        }
    });
    // A third finds everything there.
    let third = plan.mount();
    fake.forget();
    all_right(&third, &blobs);
    assert!(fake.body_bytes() < 10_000, "{} bytes were fetched again", fake.body_bytes());
    // What one evicts, another may be reading.
    let small = plan.clone().args(&["--cache-size", "10M"]).mount();
    std::thread::scope(|scope| {
        for mount in [&mounts[0], &mounts[1], &third, &small] {
            scope.spawn(|| all_right(mount, &blobs));
        }
    });
}
