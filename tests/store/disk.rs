//! Disks that are full, read-only, or too small for what is read. Mounting needs root.

use crate::remote::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use regfs::read_at::ReadAt;
use regfs::store::State;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A small file system of its own, or `None` without the right to mount one: then there is nothing to test.
pub(crate) struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    pub(crate) fn new(size: &str) -> Option<Tmpfs> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "these tests need root");
            return None;
        }
        let dir = tempfile::tempdir().expect("tempdir");
        let options = format!("size={size},mode=0700");
        mount(Some("regfs-test"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("mounted");
        Some(Tmpfs(dir))
    }

    fn try_remount(&self, options: &str, flags: MsFlags) -> bool {
        let flags = flags | MsFlags::MS_REMOUNT;
        mount(None::<&str>, self.0.path(), None::<&str>, flags, Some(options)).is_ok()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("cache")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

fn eventually_healed(store: &std::sync::Arc<regfs::store::Store>) {
    // A disk that refused a write is left alone for five seconds.
    std::thread::sleep(Duration::from_millis(5100));
    store.remember("key", b"fact");
    assert_eq!(store.recall("key").as_deref(), Some(&b"fact"[..]));
}

#[test]
fn a_full_disk_is_served_around_and_used_again() {
    let Some(disk) = Tmpfs::new("6m") else { return };
    let store = Setup { memory: 8 * MIB, ..Setup::default() }.open(Some(&disk.path()));
    let (bytes, digest) = content(30 * MIB, 50);
    let (small, small_digest) = content(MIB, 51);
    let remote = Remote::new(&bytes);
    let open = handle(&store, &digest, &remote);
    read_through(open.as_ref(), &bytes, MIB).expect("a full disk is no reason to fail");
    assert!(store.usage().degraded.is_some_and(|why| why.contains("space")), "{:?}", store.usage());
    assert_eq!(store.state(&digest), State::Verified, "hashed all the same");
    read_through(handle(&store, &small_digest, &Remote::new(&small)).as_ref(), &small, MIB).expect("small");
    read_through(open.as_ref(), &bytes, MIB).expect("again");
    assert!(disk.try_remount("size=200m", MsFlags::empty()));
    eventually_healed(&store);
    let remote = Remote::new(&bytes);
    read_through(handle(&store, &digest, &remote).as_ref(), &bytes, MIB).expect("read");
    assert!(store.usage().degraded.is_none(), "{:?}", store.usage());
    let remote = Remote::new(&bytes);
    read_through(handle(&store, &digest, &remote).as_ref(), &bytes, MIB).expect("read");
    assert!(remote.sent() <= 8 * MIB, "what was not in memory is on disk now");
}

#[test]
fn a_read_only_directory_means_memory_alone() {
    let Some(disk) = Tmpfs::new("100m") else { return };
    let (bytes, digest) = content(20 * MIB, 52);
    {
        let store = store(&disk.path());
        let open = handle(&store, &digest, &Remote::new(&bytes));
        read(open.as_ref(), 0, 10).expect("read");
    }
    // Nothing has a file open for writing once the last fetch has ended.
    eventually("read-only", || disk.try_remount("", MsFlags::MS_RDONLY));
    let store = store(&disk.path());
    assert!(store.usage().degraded.is_some());
    let open = handle(&store, &digest, &Remote::new(&bytes));
    read_through(open.as_ref(), &bytes, MIB).expect("read");
    assert_eq!(store.state(&digest), State::Verified);
}

/// Bytes that the files under `dir` take.
fn taken(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut files = Vec::new();
    files_under(dir, &mut files);
    files.iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.blocks() * 512).sum()
}

#[test]
fn the_cache_keeps_to_its_size_while_it_is_read() {
    let dir = tempfile::tempdir().expect("tempdir");
    let setup = Setup { disk: 40 * MIB, memory: 8 * MIB, ..Setup::default() };
    let store = setup.open(Some(dir.path()));
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (store, dir) = (&store, dir.path());
            scope.spawn(move || {
                for round in 0..6 {
                    let (bytes, digest) = content(12 * MIB - reader, 60 + (reader + round) % 5);
                    let handle = handle(store, &digest, &Remote::new(&bytes));
                    read_through(handle.as_ref(), &bytes, MIB).expect("read");
                    assert!(taken(dir) < 60 * MIB, "{} MiB", taken(dir) / MIB);
                }
            });
        }
    });
    eventually("within its size", || taken(dir.path()) <= 41 * MIB);
    assert!(setup.journal.counters.evicted_bytes.load(std::sync::atomic::Ordering::Relaxed) > 0);
    // Alone, with nothing beside it that wants its room, a blob is kept whole, once a full disk is tried again.
    let mut seed = 70;
    eventually("what is read is kept", || {
        seed += 1;
        let (bytes, digest) = content(9 * MIB, seed);
        read_through(handle(&store, &digest, &Remote::new(&bytes)).as_ref(), &bytes, MIB).expect("read");
        std::thread::sleep(std::time::Duration::from_millis(200));
        let kept = regfs::store::maintain::list(dir.path()).expect("list");
        kept.iter().any(|entry| entry.digest == digest && entry.kept == regfs::store::maintain::Kept::Whole)
    });
}

#[test]
fn a_blob_larger_than_the_cache_is_read_and_verified() {
    let dir = tempfile::tempdir().expect("tempdir");
    let setup = Setup { disk: 10 * MIB, ..Setup::default() };
    let store = setup.open(Some(dir.path()));
    let (bytes, digest) = content(60 * MIB, 70);
    let open = handle(&store, &digest, &Remote::new(&bytes));
    read_through(open.as_ref(), &bytes, MIB).expect("read");
    assert_eq!(store.state(&digest), State::Verified);
    assert!(taken(dir.path()) < 13 * MIB, "{} MiB", taken(dir.path()) / MIB);
    assert!(store.usage().degraded.is_some());
}

#[test]
fn evicted_blobs_keep_their_checks() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (bytes, digest) = content(20 * MIB, 71);
    {
        let store = store(dir.path());
        let handle = handle(&store, &digest, &Remote::new(&bytes));
        read_through(handle.as_ref(), &bytes, MIB).expect("read");
        eventually("published", || handle.backing().is_some());
    }
    let mut files = Vec::new();
    files_under(&dir.path().join("v1/blobs"), &mut files);
    std::fs::remove_file(&files[0]).expect("evicted");
    let store = store(dir.path());
    let lying = Remote::with(&bytes, Faults { flips: Some(9 * MIB + 9), ..Faults::default() });
    let open = handle(&store, &digest, &lying);
    assert_eq!(read(open.as_ref(), 3 * MIB, 9).expect("right"), bytes[3 * MIB as usize..][..9]);
    assert_eq!(read(open.as_ref(), 9 * MIB, 9).expect_err("a lie").kind(), regfs::error::Kind::Corrupt);
    lying.set(Faults::default());
    read_through(open.as_ref(), &bytes, MIB).expect("read");
    eventually("published again", || open.backing().is_some());
}
