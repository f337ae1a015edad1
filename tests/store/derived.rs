//! What is made from layers: kept whole or not at all, found by everybody, bounded.

use crate::disk::Tmpfs;
use crate::remote::*;
use regfs::digest::Digest;
use regfs::error::Kind;
use regfs::store::maintain::{self, Kept};
use regfs::store::{Derived, Draft, Store, check};
use std::fs::{File, FileTimes};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const DIR: &str = "REGFS_TEST_DERIVE";
const KINDS: [Derived; 2] = [Derived::Index, Derived::Chunks];

/// Where a kept file is.
fn path(dir: &Path, kind: Derived, digest: &Digest) -> PathBuf {
    let hex = digest.encoded();
    dir.join("v1").join(kind.name()).join("sha256").join(&hex[..2]).join(hex)
}

fn layer(number: u64) -> Digest {
    Digest::of(&number.to_le_bytes())
}

/// Bytes that tell whether they are whole: a seed, and what follows from it.
fn sealed(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    [seed.to_le_bytes().to_vec(), len.to_le_bytes().to_vec(), bytes].concat()
}

fn is_sealed(bytes: &[u8]) -> bool {
    let number = |at: usize| bytes.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().expect("eight")));
    matches!((number(0), number(8)), (Some(seed), Some(len)) if len < 64 * MIB && bytes == sealed(seed, len))
}

fn draft(store: &Arc<Store>, kind: Derived, digest: &Digest, bytes: &[u8]) -> Draft {
    let mut draft = store.draft(kind, digest).expect("a draft");
    bytes.chunks(100_000).for_each(|part| draft.write_all(part).expect("written"));
    draft
}

fn keep(store: &Arc<Store>, kind: Derived, digest: &Digest, bytes: &[u8]) -> File {
    store.keep(draft(store, kind, digest, bytes)).expect("kept")
}

fn contents(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("read");
    bytes
}

fn found(store: &Store, kind: Derived, digest: &Digest) -> Option<Vec<u8>> {
    store.derived(kind, digest).map(contents)
}

#[test]
fn what_is_kept_is_found_by_others_and_later() {
    let dir = tempfile::tempdir().expect("tempdir");
    let digest = layer(1);
    let (one, other) = (store(dir.path()), store(dir.path()));
    for (kind, bytes) in KINDS.into_iter().zip([sealed(1, 3 * MIB), sealed(2, 10)]) {
        assert!(one.derived(kind, &digest).is_none());
        let draft = draft(&one, kind, &digest, &bytes);
        assert!(one.derived(kind, &digest).is_none() && other.derived(kind, &digest).is_none(), "it is a draft");
        let before = one.usage().disk_used;
        let file = one.keep(draft).expect("kept");
        assert_eq!((&file).write(b"x").expect_err("to read alone").raw_os_error(), Some(libc::EBADF));
        assert_eq!(contents(file), bytes, "from the start");
        assert!(one.usage().disk_used.abs_diff(before) < MIB, "counted once");
        let mode = std::fs::metadata(path(dir.path(), kind, &digest)).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    for store in [&one, &other, &store(dir.path())] {
        assert_eq!(found(store, Derived::Index, &digest), Some(sealed(1, 3 * MIB)));
        assert_eq!(found(store, Derived::Chunks, &digest), Some(sealed(2, 10)));
        assert!(store.derived(Derived::Index, &layer(2)).is_none());
    }
    assert_eq!(one.state(&digest), regfs::store::State::Absent, "it is not the blob");
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store(dir.path());
    store.settle(Duration::from_secs(10));
    let before = store.usage().disk_used;
    let draft = draft(&store, Derived::Chunks, &layer(1), &[7; 1_000_000]);
    assert!(store.usage().disk_used >= before + 1_000_000, "it takes room already");
    drop(draft);
    assert_eq!(store.usage().disk_used, before);
    let mut files = Vec::new();
    files_under(dir.path(), &mut files);
    files.retain(|file| !file.ends_with("evict.lock"));
    assert_eq!(files, Vec::<PathBuf>::new());
}

#[test]
fn what_is_replaced_or_discarded_stays_readable_for_who_has_it() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (store, digest) = (store(dir.path()), layer(1));
    let first = keep(&store, Derived::Index, &digest, &sealed(1, MIB));
    let second = keep(&store, Derived::Index, &digest, &sealed(2, 2 * MIB));
    assert_eq!(contents(first), sealed(1, MIB));
    assert_eq!(found(&store, Derived::Index, &digest), Some(sealed(2, 2 * MIB)));
    store.discard(Derived::Index, &digest);
    store.discard(Derived::Chunks, &digest);
    assert!(store.derived(Derived::Index, &digest).is_none());
    assert_eq!(contents(second), sealed(2, 2 * MIB));
    keep(&store, Derived::Index, &digest, b"anew");
    assert_eq!(found(&store, Derived::Index, &digest), Some(b"anew".to_vec()));
}

#[test]
fn unknown_algorithms_are_refused() {
    let store = Setup::default().open(None);
    let digest: Digest = "blake3:abc".parse().expect("a digest");
    assert_eq!(store.draft(Derived::Index, &digest).err().expect("refused").kind(), Kind::Unsupported);
    assert!(store.derived(Derived::Index, &digest).is_none());
}

#[test]
fn many_at_once_leave_one_whole_file() {
    let dir = tempfile::tempdir().expect("tempdir");
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let dir = dir.path();
            scope.spawn(move || {
                let store = store(dir);
                for round in 0..30 {
                    let bytes = sealed(thread * 100 + round, fastrand::u64(0..400_000));
                    assert!(contents(keep(&store, Derived::Index, &layer(1), &bytes)) == bytes, "what was kept");
                    if fastrand::u8(0..4) == 0 {
                        store.discard(Derived::Index, &layer(1));
                    }
                    assert!(found(&store, Derived::Index, &layer(1)).is_none_or(|bytes| is_sealed(&bytes)));
                }
            });
        }
    });
    assert_eq!(std::fs::read_dir(dir.path().join("v1/tmp")).expect("tmp").count(), 0);
}

/// Run by the parent in a process of its own; on its own, it has nothing to do.
#[test]
fn child_keeps() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let store = store(&dir);
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let (kind, digest) = (KINDS[fastrand::usize(0..2)], layer(fastrand::u64(0..5)));
        keep(&store, kind, &digest, &sealed(fastrand::u64(..), fastrand::u64(0..2 * MIB)));
    }
}

#[test]
fn nothing_half_has_a_name_after_thirty_kills() {
    let mut random = fastrand::Rng::with_seed(seed());
    let dir = tempfile::tempdir().expect("tempdir");
    let mut kept = 0;
    for round in 0..30 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["derived::child_keeps", "--exact"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("spawned");
        std::thread::sleep(Duration::from_millis(random.u64(20..150)));
        assert!(child.try_wait().expect("wait").is_none(), "round {round}: the child failed");
        child.kill().expect("killed");
        child.wait().expect("reaped");
        let mut files = Vec::new();
        KINDS.iter().for_each(|kind| files_under(&dir.path().join("v1").join(kind.name()), &mut files));
        for file in &files {
            assert!(is_sealed(&std::fs::read(file).expect("read")), "round {round}: {}", file.display());
        }
        kept += files.len();
        maintain::clear(dir.path()).expect("clear");
    }
    assert!(kept > 0, "no child lived long enough to keep anything");
}

#[test]
fn on_a_full_disk_a_draft_goes_on_in_memory() {
    let Some(disk) = Tmpfs::new("6m") else { return };
    let (one, digest) = (store(&disk.path()), layer(1));
    let first = keep(&one, Derived::Chunks, &layer(2), &sealed(1, 4 * MIB));
    let bytes = sealed(2, 5 * MIB);
    let draft = draft(&one, Derived::Index, &digest, &bytes);
    assert!(one.usage().degraded.is_some_and(|why| why.contains("space")), "{:?}", one.usage());
    assert!(one.usage().held >= 5 * MIB);
    assert!(contents(one.keep(draft).expect("kept")) == bytes);
    assert!(found(&one, Derived::Index, &digest) == Some(bytes.clone()), "for this process");
    assert!(store(&disk.path()).derived(Derived::Index, &digest).is_none(), "and no other");
    assert!(contents(first) == sealed(1, 4 * MIB));
    // While the disk is left alone, memory it is from the start.
    keep(&one, Derived::Index, &layer(3), b"small");
    assert_eq!(found(&one, Derived::Index, &layer(3)), Some(b"small".to_vec()));
    one.discard(Derived::Index, &layer(3));
    assert!(one.derived(Derived::Index, &layer(3)).is_none());
    // Where there is room again, it is used, and memory given back.
    maintain::clear(&disk.path()).expect("clear");
    std::thread::sleep(Duration::from_millis(5100));
    assert!(contents(keep(&one, Derived::Index, &digest, &bytes)) == bytes);
    assert_eq!((one.usage().held, one.usage().degraded), (0, None));
    assert!(found(&store(&disk.path()), Derived::Index, &digest) == Some(bytes));
}

/// A file of `len` zeros that takes no memory.
fn sparse(store: &Arc<Store>, kind: Derived, digest: &Digest, len: u64) -> File {
    let draft = store.draft(kind, digest).expect("a draft");
    draft.set_len(len).expect("sparse");
    store.keep(draft).expect("kept")
}

#[test]
fn without_a_disk_memory_holds_as_much_as_it_may() {
    let store = Setup::default().open(None);
    let len = |kind, number| Some(store.derived(kind, &layer(number))?.metadata().expect("stat").len());
    let old = sparse(&store, Derived::Index, &layer(1), 100 * MIB);
    sparse(&store, Derived::Chunks, &layer(1), 100 * MIB);
    assert_eq!(store.usage().held, 200 * MIB);
    assert_eq!(len(Derived::Chunks, 1), Some(100 * MIB));
    sparse(&store, Derived::Index, &layer(2), 100 * MIB);
    assert_eq!(len(Derived::Chunks, 1), None, "chunks go before any index");
    assert_eq!(len(Derived::Index, 1), Some(100 * MIB));
    let unheld = sparse(&store, Derived::Chunks, &layer(3), 100 * MIB);
    assert_eq!(len(Derived::Chunks, 3), None, "and no index goes for chunks");
    assert_eq!(unheld.metadata().expect("stat").len(), 100 * MIB, "who made it has it");
    sparse(&store, Derived::Index, &layer(3), 100 * MIB);
    assert_eq!(len(Derived::Index, 2), None, "used longest ago");
    assert_eq!(len(Derived::Index, 1), Some(100 * MIB));
    assert_eq!(store.usage().held, 200 * MIB);
    // What is over by itself is refused as it is written, and what was taken for it is given back.
    let mut draft = store.draft(Derived::Index, &layer(4)).expect("a draft");
    draft.write_all(b"begun").expect("written");
    draft.seek(SeekFrom::Start(256 * MIB)).expect("sparse");
    assert_eq!(draft.write_all(b"x").expect_err("too much").kind(), ErrorKind::StorageFull);
    drop(draft);
    store.discard(Derived::Index, &layer(1));
    store.discard(Derived::Index, &layer(3));
    assert_eq!(store.usage().held, 0);
    assert_eq!(old.metadata().expect("stat").len(), 100 * MIB);
}

/// Puts a small blob, or keeps an index, last used `age` seconds ago.
fn aged(dir: &Path, store: &Arc<Store>, index: bool, number: u64, age: u64) -> PathBuf {
    let (bytes, blob) = content(MIB, 1000 + number);
    let path = if index {
        keep(store, Derived::Index, &layer(number), &bytes);
        path(dir, Derived::Index, &layer(number))
    } else {
        store.put(&blob, bytes.to_vec().into()).expect("put");
        dir.join("v1/blobs/sha256").join(&blob.encoded()[..2]).join(blob.encoded())
    };
    let used = SystemTime::now() - Duration::from_secs(age);
    let file = File::options().write(true).open(&path).expect("it is there");
    file.set_times(FileTimes::new().set_accessed(used).set_modified(used)).expect("times");
    path
}

#[test]
fn indexes_go_last_but_do_not_fill_the_cache() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store(dir.path());
    // The indexes are the oldest: 1, 2, 3; then blobs 4 to 8.
    let paths: Vec<PathBuf> = (1..=8).map(|n| aged(dir.path(), &store, n <= 3, n, 10_000 - n)).collect();
    let left = || -> Vec<usize> { (1..=8).filter(|n| paths[n - 1].exists()).collect() };
    // A quarter of ten holds two of them: the oldest index is the first to go, as it is the oldest of all.
    assert_eq!(maintain::prune(dir.path(), Some(7 * MIB + 99_999), None).expect("prune").derived, 1);
    assert_eq!(left(), [2, 3, 4, 5, 6, 7, 8], "a quarter holds one");
    maintain::prune(dir.path(), Some(6 * MIB + 99_999), None).expect("prune");
    assert_eq!(left(), [3, 4, 5, 6, 7, 8]);
    let freed = maintain::prune(dir.path(), Some(4 * MIB + 99_999), None).expect("prune");
    assert_eq!((freed.dropped, freed.derived), (2, 0));
    assert_eq!(left(), [3, 6, 7, 8], "the one that a quarter holds stays, though it is the oldest");
    // What was not used for long goes, whatever it is.
    let freed = maintain::prune(dir.path(), None, Some(Duration::from_secs(9996))).expect("prune");
    assert_eq!((freed.dropped, freed.derived, left()), (0, 1, vec![6, 7, 8]));
}

#[test]
fn a_use_is_noted() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store(dir.path());
    let path = aged(dir.path(), &store, true, 1, 5000);
    store.derived(Derived::Index, &layer(1)).expect("here");
    let used = std::fs::metadata(&path).expect("stat").accessed().expect("atime");
    assert!(used.elapsed().expect("past") < Duration::from_secs(60));
}

#[test]
fn a_cache_at_its_size_keeps_what_is_new_and_stays_within() {
    let dir = tempfile::tempdir().expect("tempdir");
    let setup = Setup { disk: 40 * MIB, ..Setup::default() };
    let store = setup.open(Some(dir.path()));
    let first = keep(&store, Derived::Chunks, &layer(0), &sealed(0, 9 * MIB));
    for number in 1..12 {
        keep(&store, Derived::Chunks, &layer(number), &sealed(number, 9 * MIB));
        assert!(store.derived(Derived::Chunks, &layer(number)).is_some(), "{number}");
        let mut files = Vec::new();
        files_under(dir.path(), &mut files);
        let taken: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum();
        assert!(taken < 60 * MIB, "{} MiB", taken / MIB);
    }
    assert_eq!(store.usage().held, 0, "the disk took all of it");
    eventually("within its size", || store.usage().disk_used <= 40 * MIB);
    assert!(store.derived(Derived::Chunks, &layer(0)).is_none());
    assert!(contents(first) == sealed(0, 9 * MIB), "evicted, and readable for who has it");
}

#[test]
fn a_draft_larger_than_the_cache_is_refused_or_held() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = Setup { disk: 10 * MIB, ..Setup::default() }.open(Some(dir.path()));
    let bytes = sealed(1, 20 * MIB);
    let file = keep(&store, Derived::Chunks, &layer(1), &bytes);
    assert!(contents(file) == bytes);
    assert!(store.usage().degraded.is_some(), "it is over its size");
    assert!(!path(dir.path(), Derived::Chunks, &layer(1)).exists());
    assert!(found(&store, Derived::Chunks, &layer(1)) == Some(bytes));
}

#[test]
fn a_draft_without_end_does_not_empty_the_cache() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = Setup { disk: 16 * MIB, ..Setup::default() }.open(Some(dir.path()));
    let paths: Vec<PathBuf> = (1..=14).map(|n| aged(dir.path(), &store, n == 1, n, 10_000 - n)).collect();
    let bytes = sealed(1, 40 * MIB);
    let file = keep(&store, Derived::Chunks, &layer(100), &bytes);
    assert!(contents(file) == bytes, "in memory");
    let left: Vec<usize> = (1..=14).filter(|n| paths[n - 1].exists()).collect();
    assert_eq!((left[0], left.last()), (1, Some(&14)), "the index and what was used last: {left:?}");
    assert!(left.len() >= 6 && left.len() < 14, "about half: {left:?}");
    store.discard(Derived::Chunks, &layer(100));
    assert_eq!(store.usage().held, 0);
}

#[test]
fn what_has_no_business_there_is_ignored() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store(dir.path());
    let index = |number| path(dir.path(), Derived::Index, &layer(number));
    std::fs::create_dir_all(index(1)).expect("a directory in place of a file");
    keep(&store, Derived::Index, &layer(2), b"sound");
    let nonsense = index(2).with_file_name("nonsense");
    std::fs::write(&nonsense, b"?").expect("written");
    std::fs::write(dir.path().join("v1/index/stray"), b"?").expect("written");
    std::fs::create_dir_all(index(3).parent().expect("parent")).expect("mkdir");
    std::os::unix::fs::symlink(index(2), index(3)).expect("a link");
    assert!(store.derived(Derived::Index, &layer(1)).is_none());
    assert!(store.derived(Derived::Index, &layer(3)).is_none(), "a link is not followed");
    assert_eq!(found(&store, Derived::Index, &layer(2)), Some(b"sound".to_vec()));
    let listed = maintain::list(dir.path()).expect("list");
    assert_eq!(listed.iter().map(|entry| entry.digest.clone()).collect::<Vec<_>>(), [layer(2)]);
    let checked = check::verify(dir.path(), &mut |_| ()).expect("verify");
    assert_eq!((checked.wrong, checked.unchecked), (vec!["nonsense".to_owned()], 1));
    assert!(!nonsense.exists());
    // What cannot have its name is held, and no other blob is worse off.
    assert_eq!(contents(keep(&store, Derived::Index, &layer(1), b"held")), b"held");
    assert_eq!(found(&store, Derived::Index, &layer(1)), Some(b"held".to_vec()));
}

#[test]
fn is_listed_pruned_and_cleared_and_not_judged() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store(dir.path());
    let index = keep(&store, Derived::Index, &layer(1), &[1; 5000]);
    keep(&store, Derived::Chunks, &layer(1), &[2; 7000]);
    let (bytes, blob) = content(1000, 1);
    store.put(&blob, bytes.to_vec().into()).expect("put");
    let entries = maintain::list(dir.path()).expect("list");
    let size = |kept| entries.iter().find(|entry| entry.kept == kept).map(|entry| (entry.size, entry.cached));
    assert_eq!(size(Kept::Derived(Derived::Index)), Some((Some(5000), 5000)));
    assert_eq!(size(Kept::Derived(Derived::Chunks)), Some((Some(7000), 7000)));
    assert_eq!((entries.len(), size(Kept::Whole)), (3, Some((Some(1000), 1000))));
    flip(&path(dir.path(), Derived::Index, &layer(1)), 800);
    let checked = check::verify(dir.path(), &mut |_| ()).expect("verify");
    assert_eq!((checked.right, checked.unchecked, checked.wrong.len()), (1, 2, 0), "{checked:?}");
    let freed = maintain::clear(dir.path()).expect("clear");
    assert_eq!((freed.dropped, freed.derived, freed.left), (1, 2, 0), "{freed:?}");
    assert!(KINDS.iter().all(|kind| store.derived(*kind, &layer(1)).is_none()));
    let mut byte = [0];
    index.read_exact_at(&mut byte, 4999).expect("still open");
    assert_eq!(byte, [1]);
}
