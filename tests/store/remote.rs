//! A remote in memory that can be as wrong as any, and helpers around a store.

use regfs::digest::Digest;
use regfs::error::{Error, Kind, Result};
use regfs::journal::Journal;
use regfs::read_at::{ReadAt, Sink};
use regfs::span::Span;
use regfs::store::{Config, Handle, Store, Verify};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const MIB: u64 = 1 << 20;

/// What a remote does to what it is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Sends everything from the start, whatever is asked.
    pub(crate) ignores_range: bool,
    /// Ends this many bytes early, without an error.
    pub(crate) short: u64,
    /// Fails after this many bytes, with this kind.
    pub(crate) fails: Option<(u64, Kind)>,
    /// Waits this long before each run of bytes.
    pub(crate) slow: Duration,
    /// Flips a bit of the byte at this offset.
    pub(crate) flips: Option<u64>,
}

/// A remote in memory that counts what it is asked.
pub(crate) struct Remote {
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) streams: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) asked: Mutex<Vec<Span>>,
    busy: AtomicU64,
}

/// Counts one stream for as long as it lives.
struct Busy<'a>(&'a AtomicU64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Remote {
    pub(crate) fn new(content: &Arc<Vec<u8>>) -> Arc<Remote> {
        Arc::new(Remote {
            content: content.clone(),
            faults: Mutex::default(),
            streams: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            asked: Mutex::default(),
            busy: AtomicU64::new(0),
        })
    }

    pub(crate) fn with(content: &Arc<Vec<u8>>, faults: Faults) -> Arc<Remote> {
        let remote = Remote::new(content);
        remote.set(faults);
        remote
    }

    pub(crate) fn set(&self, faults: Faults) {
        *self.faults.lock().expect("faults") = faults;
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether nothing is being asked right now.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }
}

/// Runs of an odd length, so that spans are made of several, cut anywhere.
const RUN: usize = 65_521;

impl ReadAt for Remote {
    fn len(&self) -> Result<u64> {
        Ok(self.content.as_slice().len() as u64)
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
        panic!("the store asks in streams")
    }

    fn origin(&self) -> String {
        format!("{self:p}")
    }

    fn stream(&self, span: Span, sink: Sink<'_>) -> Result<()> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::SeqCst);
        let _busy = Busy(&self.busy);
        self.asked.lock().expect("asked").push(span);
        let first = self.faults.lock().expect("faults").clone();
        let len = self.content.as_slice().len();
        let (mut at, end) = match first.ignores_range {
            true => (0, len),
            false => (span.start as usize, (span.end as usize).min(len)),
        };
        let end = end.saturating_sub(first.short as usize);
        let start = at;
        while at < end {
            let faults = self.faults.lock().expect("faults").clone();
            if !faults.slow.is_zero() {
                std::thread::sleep(faults.slow);
            }
            if let Some((after, kind)) = faults.fails
                && (at - start) as u64 >= after
            {
                return Err(Error::new(kind, "the remote fails, as the test wants it"));
            }
            let to = (at + RUN).min(end);
            self.sent.fetch_add((to - at) as u64, Ordering::Relaxed);
            match faults.flips {
                Some(flip) if (at as u64..to as u64).contains(&flip) => {
                    let mut bytes = self.content[at..to].to_vec();
                    bytes[flip as usize - at] ^= 4;
                    sink(at as u64, &bytes)?;
                }
                _ => sink(at as u64, &self.content[at..to])?,
            }
            at = to;
        }
        Ok(())
    }
}

/// Bytes that look like nothing else, and their digest.
pub(crate) fn content(size: u64, seed: u64) -> (Arc<Vec<u8>>, Digest) {
    let mut bytes = vec![0; size as usize];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    let digest = Digest::of(&bytes);
    (Arc::new(bytes), digest)
}

/// How a test wants its store.
pub(crate) struct Setup {
    pub(crate) disk: u64,
    pub(crate) memory: u64,
    pub(crate) verify: Verify,
    pub(crate) journal: Arc<Journal>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { disk: 1 << 40, memory: 64 * MIB, verify: Verify::Lazy, journal: Arc::new(Journal::new()) }
    }
}

impl Setup {
    pub(crate) fn open(&self, dir: Option<&Path>) -> Arc<Store> {
        Store::open(Config {
            dir: dir.map(Path::to_owned),
            disk_bytes: self.disk,
            memory_bytes: self.memory,
            verify: self.verify,
            journal: self.journal.clone(),
        })
        .expect("a store always opens")
    }
}

/// A store on `dir` as most tests want it.
pub(crate) fn store(dir: &Path) -> Arc<Store> {
    Setup::default().open(Some(dir))
}

pub(crate) fn handle(store: &Arc<Store>, digest: &Digest, remote: &Arc<Remote>) -> Arc<Handle> {
    let size = remote.len().expect("length");
    store.blob(digest, size, remote.clone()).expect("blob").open()
}

/// Reads `span` in one call.
pub(crate) fn read(handle: &dyn ReadAt, start: u64, len: u64) -> Result<Vec<u8>> {
    let mut buf = vec![0xaa; len as usize];
    let got = handle.read_at(&mut buf, start)?;
    buf.truncate(got);
    Ok(buf)
}

/// Reads everything from the start in pieces of `step`, and compares.
pub(crate) fn read_through(handle: &dyn ReadAt, content: &[u8], step: u64) -> Result<()> {
    let mut at = 0;
    while at < content.len() as u64 {
        let got = read(handle, at, step)?;
        assert!(!got.is_empty(), "ends at {at}");
        assert!(got == content[at as usize..at as usize + got.len()], "wrong bytes at {at}");
        at += got.len() as u64;
    }
    assert_eq!(read(handle, at, 1)?.len(), 0);
    Ok(())
}

/// Waits until `done`, at most ten seconds.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A seed, printed.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    // captured, and shown where a test fails
    #[allow(clippy::print_stdout)]
    {
        println!("SEED={seed}");
    }
    seed
}

/// All files under `dir`.
pub(crate) fn files_under(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().expect("type").is_dir() {
            true => files_under(&entry.path(), files),
            false => files.push(entry.path()),
        }
    }
}

/// Flips a bit of `file`.
pub(crate) fn flip(file: &Path, bit: u64) {
    use std::os::unix::fs::FileExt;
    let open = std::fs::OpenOptions::new().read(true).write(true).open(file).expect("open");
    let mut byte = [0];
    open.read_exact_at(&mut byte, bit / 8).expect("read");
    open.write_all_at(&[byte[0] ^ 1 << (bit % 8)], bit / 8).expect("write");
}
