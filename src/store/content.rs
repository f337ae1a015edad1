//! A blob that is open: what of it is where, and reading it.
//!
//! One [`Content`] per digest and process, shared by all handles, from the first read to the last close. Its state
//! lock is held for bookkeeping alone, never across I/O, hashing or a remote; it comes before the lock of
//! [`super::memory`], which is a leaf. `load` is before both, and is there to be held across disk I/O, once.

use super::Store;
use super::disk::part::{self, Data, Origin};
use super::disk::table::{self, ABSENT, Sum};
use super::disk::{Disk, touch};
use super::flight::Flights;
use super::hash::{self, Progress};
use super::memory::Key;
use super::unit::{self, Bits};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::read_at::ReadAt;
use crate::span::Span;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a remote that did not answer for so long is not asked again for the same blob.
const SILENCE: Duration = Duration::from_secs(1);

/// An open blob of more than [`unit::SMALL`] bytes.
pub(super) struct Content {
    pub(super) store: Arc<Store>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) count: u32,
    pub(super) state: Mutex<State>,
    /// A span landed, a job ended, the digest was decided.
    pub(super) changed: Condvar,
    /// Why nothing is served any more, once the digest was found not to match.
    pub(super) poison: OnceLock<Error>,
    pub(super) loaded: AtomicBool,
    pub(super) load: Mutex<()>,
    handles: AtomicUsize,
    /// Until when a remote is not asked again that did not answer: its origin, and the failure.
    silence: Mutex<Option<(Instant, String, Error)>>,
    /// The last span that somebody read.
    pub(super) reader: AtomicU32,
    /// The one origin that it is fetched from, if it is a try at a digest that did not match before.
    pub(super) probation: Option<String>,
}

/// What is known of the spans.
pub(super) struct State {
    /// The file behind it, if the disk is used.
    pub(super) data: Option<Arc<Data>>,
    /// The check of each span, as far as it is known; all, and proved, if `whole`.
    pub(super) sums: Vec<Sum>,
    /// The spans in `data`.
    pub(super) have: Bits,
    /// Those of them that came in this run.
    pub(super) fresh: Bits,
    /// Those of them that this process knows to be right in the file.
    pub(super) checked: Bits,
    /// Whether `sums` were made by a pass whose digest matched.
    pub(super) whole: bool,
    /// Whether `data` has a name in `blobs/`.
    pub(super) published: bool,
    pub(super) flights: Flights,
    pub(super) hash: Progress,
    /// The last pass whose digest did not match, and how many there were.
    pub(super) mismatch: Option<(u64, Error)>,
}

impl State {
    pub(super) fn new(digest: &Digest, count: u32) -> Result<State> {
        Ok(State {
            data: None,
            sums: vec![ABSENT; count as usize],
            have: Bits::new(count),
            fresh: Bits::new(count),
            checked: Bits::new(count),
            whole: false,
            published: false,
            flights: Flights::default(),
            hash: Progress::new(digest)?,
            mismatch: None,
        })
    }
}

impl Content {
    /// Nothing of it is here yet. `probation` is the origin it is tried from, where the digest did not match before.
    pub(super) fn new(store: &Arc<Store>, digest: &Digest, size: u64, probation: Option<String>) -> Result<Content> {
        let count = unit::count(size);
        Ok(Content {
            store: store.clone(),
            digest: digest.clone(),
            size,
            count,
            state: Mutex::new(State::new(digest, count)?),
            changed: Condvar::new(),
            poison: OnceLock::new(),
            loaded: AtomicBool::new(false),
            load: Mutex::new(()),
            handles: AtomicUsize::new(0),
            silence: Mutex::default(),
            reader: AtomicU32::new(0),
            probation,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn key(&self, index: u32) -> Key {
        Key::span(&self.digest, self.size, index)
    }

    /// One handle more.
    pub(super) fn enter(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// One handle less; the last one leaves nothing running that nobody waits for.
    pub(super) fn leave(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.lock().flights.call_off();
        }
    }

    /// Whether any handle is open.
    pub(super) fn is_open(&self) -> bool {
        self.handles.load(Ordering::Relaxed) > 0
    }

    /// Whether all that is served of it is verified.
    pub(super) fn is_verified(&self) -> bool {
        self.lock().whole
    }

    /// Whether anything of it is here.
    pub(super) fn is_begun(&self) -> bool {
        let state = self.lock();
        state.have.len() > 0 || state.sums.iter().any(|sum| *sum != ABSENT)
    }

    /// The error of a digest that was found not to match, if it was.
    pub(super) fn check_poison(&self) -> Result<()> {
        self.poison.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// A request of `remote` ended with `error` after so long. Whether it would answer now is not asked again at once.
    pub(super) fn note(&self, remote: &dyn ReadAt, error: &Error, took: Duration) {
        if matches!(error.kind(), Kind::Timeout | Kind::Unreachable) && took >= SILENCE {
            let silence = (Instant::now() + SILENCE, remote.origin(), error.clone());
            *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = Some(silence);
        }
    }

    /// The failure of a moment ago to get anything from `remote`. Readers of one place come one after another: the
    /// kernel lets the next one ask when the one before it was told, and each would wait as long again.
    pub(super) fn silence(&self, remote: &dyn ReadAt) -> Result<()> {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        match &*silence {
            Some((until, origin, error)) if Instant::now() < *until && *origin == remote.origin() => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Whether all of `span` is in memory.
    pub(super) fn is_ready(&self, span: Span) -> bool {
        unit::touched(span).all(|index| self.store.memory.has(&self.key(index)))
    }
}

impl Content {
    /// Finds what is on disk, at the first read. Disk trouble leaves the blob without a file; `Corrupt` if what is
    /// there proves that the blob has another size.
    pub(super) fn load(self: &Arc<Content>) -> Result<()> {
        if self.loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let _loading = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        if self.loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(disk) = &self.store.disk {
            match found(disk, &self.digest, self.size, self.probation.is_none()) {
                Ok(found) => self.adopt(found?),
                Err(error) => disk.failed("open the cache", &error),
            }
        }
        self.recall_proof();
        // All of it may be here, of a run that ended before it was hashed, or before it got its name.
        self.kick(&mut self.lock());
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes over what was found on disk.
    fn adopt(&self, found: Found) {
        let mut state = self.lock();
        state.published = matches!(found.data.origin, Origin::Blob);
        for index in 0..self.count {
            let sum = found.present[index as usize];
            // Where a whole table says otherwise, the part holds something else.
            if sum != ABSENT && found.whole.as_ref().is_none_or(|whole| whole[index as usize] == sum) {
                state.have.insert(index);
                state.sums[index as usize] = sum;
            }
        }
        if found.checked {
            if let Some(disk) = &self.store.disk {
                disk.trust(&self.digest, &found.data.file);
            }
            (0..self.count).for_each(|index| state.checked.insert(index));
        }
        if let Some(whole) = found.whole {
            state.sums = whole;
            state.whole = true;
        }
        state.data = Some(Arc::new(found.data));
    }

    /// Takes up the checks that a pass of this run made, where no disk kept them.
    fn recall_proof(&self) {
        let Some(sums) = self.store.proved(&self.digest, self.size) else { return };
        let mut state = self.lock();
        if !state.whole {
            for index in 0..self.count {
                if state.have.has(index) && state.sums[index as usize] != sums[index as usize] {
                    state.have.remove(index);
                }
            }
            state.sums = sums.to_vec();
            state.whole = true;
        }
    }

    /// Takes up the blob if another process has published it since; whether it did.
    pub(super) fn look_again(&self) -> bool {
        let Some(disk) = &self.store.disk else { return false };
        if self.lock().published || !disk.layout.blob(&self.digest).exists() {
            return false;
        }
        let Ok(Ok(found)) = found(disk, &self.digest, self.size, false) else { return false };
        let Some(proved) = found.whole.as_ref().filter(|_| matches!(found.data.origin, Origin::Blob)) else {
            return false;
        };
        let mut state = self.lock();
        let differs = state.sums.iter().zip(proved).any(|(seen, sum)| *seen != ABSENT && seen != sum);
        let part = state.data.take();
        drop(state);
        self.adopt(found);
        if let Some(part) = part {
            part.unname();
        }
        if differs {
            // What this process was sent, and may have served, was not it.
            self.store.invalidate(&self.digest);
        }
        true
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        // A part that is no longer written may be what has to make room.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.data.take().is_some() {
            self.store.tidy(true);
        }
    }
}

/// What is on disk of a blob.
struct Found {
    data: Data,
    /// The checks of the spans that are in `data`.
    present: Vec<Sum>,
    /// The checks of all spans, proved.
    whole: Option<Vec<Sum>>,
    /// Whether all of `data` was read and found right just now, or earlier in this run.
    checked: bool,
}

/// Finds what is on disk; a part that is unproved only if `parts`, an unnamed file otherwise.
fn found(disk: &Disk, digest: &Digest, size: u64, parts: bool) -> io::Result<Result<Found>> {
    let layout = &disk.layout;
    let other_size = |is: u64| {
        Error::new(Kind::Corrupt, format!("read blob {digest}: it has {is} bytes, not the {size} that were promised"))
    };
    let mut table = part::whole_table(layout, digest);
    if let Some(data) = Data::blob(layout, digest)? {
        touch(&data.file);
        let mut checked = disk.is_trusted(digest, &data.file);
        if table.is_none() {
            table = hash::recheck(layout, digest, &data.file, &mut |_| Ok(()))?;
            checked = table.is_some();
        }
        match table {
            Some(table) if table.size != size => return Ok(Err(other_size(table.size))),
            Some(table) => {
                return Ok(Ok(Found { data, present: table.sums.clone(), whole: Some(table.sums), checked }));
            }
            // What it was when it got its name, it no longer is.
            None => std::fs::remove_file(layout.blob(digest))?,
        }
        table = None;
    }
    if let Some(table) = &table
        && table.size != size
    {
        return Ok(Err(other_size(table.size)));
    }
    let (data, present) = match parts {
        true => Data::part(layout, digest, size)?,
        false => (Data::unnamed(layout)?, vec![ABSENT; unit::count(size) as usize]),
    };
    if matches!(data.origin, Origin::Part { .. }) && present.iter().all(|sum| *sum == ABSENT) {
        disk.begun(table::place(unit::count(size)));
    }
    touch(&data.file);
    Ok(Ok(Found { data, present, whole: table.map(|table| table.sums), checked: false }))
}
