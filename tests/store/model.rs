//! Whatever happens to the cache, in whatever order: a read gives the right bytes or an error, never anything else.

use crate::remote::*;
use proptest::prelude::*;
use regfs::digest::Digest;
use regfs::error::Kind;
use regfs::store::{Verify, maintain};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const SIZE: u64 = 10 * MIB + 4321;

#[derive(Clone, Debug)]
enum Op {
    Read { at: u64, len: u64 },
    Sequence { at: u64, steps: u64 },
    Flip { file: usize, bit: u64 },
    Truncate { file: usize, len: u64 },
    Remove { file: usize },
    Prune { to: u64 },
    Clear,
    Reopen,
    Restart { strict: bool },
    Neighbour { at: u64 },
    Remote(Mood),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Honest,
    Rangeless,
    Failing,
    Short,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let at = 0..SIZE;
    let op = prop_oneof![
        6 => (at.clone(), 1..2 * MIB).prop_map(|(at, len)| Op::Read { at, len }),
        4 => (at.clone(), 1..8u64).prop_map(|(at, steps)| Op::Sequence { at, steps }),
        3 => (any::<usize>(), any::<u64>()).prop_map(|(file, bit)| Op::Flip { file, bit }),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(file, len)| Op::Truncate { file, len }),
        1 => any::<usize>().prop_map(|file| Op::Remove { file }),
        1 => (0..12 * MIB).prop_map(|to| Op::Prune { to }),
        1 => Just(Op::Clear),
        2 => Just(Op::Reopen),
        2 => prop::bool::weighted(0.2).prop_map(|strict| Op::Restart { strict }),
        2 => at.prop_map(|at| Op::Neighbour { at }),
        3 => prop_oneof![
            3 => Just(Mood::Honest), 1 => Just(Mood::Rangeless), 1 => Just(Mood::Failing), 1 => Just(Mood::Short)
        ].prop_map(Op::Remote),
    ];
    prop::collection::vec(op, 1..25)
}

fn faults(mood: Mood) -> Faults {
    match mood {
        Mood::Honest => Faults::default(),
        Mood::Rangeless => Faults { ignores_range: true, ..Faults::default() },
        Mood::Failing => Faults { fails: Some((300_000, Kind::Server)), ..Faults::default() },
        Mood::Short => Faults { short: 100_000, ..Faults::default() },
    }
}

fn damaged(dir: &Path, file: usize) -> Option<std::path::PathBuf> {
    let mut files = Vec::new();
    files_under(dir, &mut files);
    files.sort();
    (!files.is_empty()).then(|| files[file % files.len()].clone())
}

fn shared() -> &'static (Arc<Vec<u8>>, Digest) {
    static CONTENT: OnceLock<(Arc<Vec<u8>>, Digest)> = OnceLock::new();
    CONTENT.get_or_init(|| content(SIZE, 90))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn never_a_wrong_byte(ops in ops()) {
        let (bytes, digest) = shared();
        let dir = tempfile::tempdir().expect("tempdir");
        let remote = Remote::new(bytes);
        let mut mood = Mood::Honest;
        let mut setup = Setup { memory: 2 * MIB, disk: 100 * MIB, ..Setup::default() };
        let mut store = setup.open(Some(dir.path()));
        let mut open = handle(&store, digest, &remote);
        let check = |handle: &regfs::store::Handle, at: u64, len: u64, mood: Mood| {
            let end = (at + len).min(SIZE);
            match read(handle, at, len) {
                Ok(got) => assert!(got == bytes[at as usize..end as usize], "wrong bytes in {at}..{end}"),
                Err(_) if matches!(mood, Mood::Failing | Mood::Short) => {}
                // It may have joined requests that began when the remote was in another mood; they end at once.
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(100));
                    assert!(read(handle, at, len).expect("the remote is honest") == bytes[at as usize..end as usize]);
                }
            }
        };
        for op in ops {
            match op {
                Op::Read { at, len } => check(&open, at, len, mood),
                Op::Sequence { at, steps } => {
                    for step in 0..steps {
                        let at = at + step * 500_000;
                        if at < SIZE {
                            check(&open, at, 500_000, mood);
                        }
                    }
                }
                Op::Flip { file, bit } => {
                    if let Some(file) = damaged(dir.path(), file) {
                        let len = file.metadata().map_or(0, |meta| meta.len());
                        if len > 0 {
                            flip(&file, bit % (len * 8));
                        }
                    }
                }
                Op::Truncate { file, len } => {
                    if let Some(file) = damaged(dir.path(), file) {
                        let open = std::fs::OpenOptions::new().write(true).open(file).expect("open");
                        let now = open.metadata().expect("stat").len();
                        open.set_len(len % (now + 1)).expect("truncated");
                    }
                }
                Op::Remove { file } => {
                    if let Some(file) = damaged(dir.path(), file) {
                        std::fs::remove_file(file).expect("removed");
                    }
                }
                Op::Prune { to } => {
                    maintain::prune(dir.path(), Some(to), None).expect("prune");
                }
                Op::Clear => {
                    maintain::clear(dir.path()).expect("clear");
                }
                Op::Reopen => open = handle(&store, digest, &remote),
                Op::Restart { strict } => {
                    setup.verify = if strict { Verify::Strict } else { Verify::Lazy };
                    drop(open);
                    store = setup.open(Some(dir.path()));
                    open = handle(&store, digest, &remote);
                }
                Op::Neighbour { at } => {
                    let other = setup.open(Some(dir.path()));
                    check(&handle(&other, digest, &remote), at, 700_000, mood);
                }
                Op::Remote(now) => {
                    // What is under way has still to do with the mood it began in.
                    eventually("idle", || remote.is_idle());
                    mood = now;
                    remote.set(faults(mood));
                }
            }
        }
        eventually("idle", || remote.is_idle());
        remote.set(Faults::default());
        read_through(open.as_ref(), bytes, MIB).expect("in the end, all is well");
    }
}
