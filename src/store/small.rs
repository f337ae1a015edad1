//! Small blobs: fetched whole, hashed before the first byte is served, kept whole.
//!
//! Neither their files nor their memory have span checks: a file is hashed against its digest each time it is read
//! into memory.

use super::Store;
use super::disk::part::Data;
use super::disk::publish::{Proof, publish};
use super::disk::{Disk, touch};
use super::memory::Key;
use super::unit::SMALL;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::journal::count;
use crate::read_at::ReadAt;
use crate::span::Span;
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

/// The small blobs that are being fetched.
#[derive(Default)]
pub(super) struct Smalls {
    map: Mutex<HashMap<(Digest, u64), Arc<Fetch>>>,
    ended: Condvar,
}

struct Fetch {
    remote: Arc<dyn ReadAt>,
    outcome: OnceLock<Result<Bytes>>,
}

/// Tells whoever waits, whatever happened.
struct Ending<'a> {
    smalls: &'a Smalls,
    key: &'a (Digest, u64),
    fetch: &'a Fetch,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut map = self.smalls.map.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.fetch.outcome.set(Err(Error::new(Kind::Io, format!("read blob {}: no answer", self.key.0))));
        map.remove(self.key);
        drop(map);
        self.smalls.ended.notify_all();
    }
}

impl Store {
    /// The whole of a small blob, from memory, disk or `remote`. However many ask, it is fetched once.
    pub(super) fn small(&self, digest: &Digest, size: u64, remote: &Arc<dyn ReadAt>) -> Result<Bytes> {
        if let Some(bytes) = self.memory.get(&Key::whole(digest)) {
            return of_size(digest, size, bytes);
        }
        let key = (digest.clone(), size);
        let mut refused = false;
        loop {
            let mut map = self.smalls.map.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(fetch) = map.get(&key).cloned() {
                while fetch.outcome.get().is_none() {
                    map = self.smalls.ended.wait(map).unwrap_or_else(PoisonError::into_inner);
                }
                drop(map);
                match fetch.outcome.get() {
                    // What another repository refuses, this reader's may have.
                    Some(Err(error))
                        if !refused
                            && matches!(error.kind(), Kind::NotFound | Kind::Denied | Kind::Forbidden)
                            && !Arc::ptr_eq(&fetch.remote, remote) =>
                    {
                        refused = true;
                        continue;
                    }
                    Some(outcome) => return outcome.clone(),
                    None => continue,
                }
            }
            // It may have come between the look into memory and the lock.
            if let Some(bytes) = self.memory.get(&Key::whole(digest)) {
                return of_size(digest, size, bytes);
            }
            let fetch = Arc::new(Fetch { remote: remote.clone(), outcome: OnceLock::new() });
            map.insert(key.clone(), fetch.clone());
            drop(map);
            let _ending = Ending { smalls: &self.smalls, key: &key, fetch: &fetch };
            let outcome = self.obtain(digest, size, remote);
            let _ = fetch.outcome.set(outcome.clone());
            return outcome;
        }
    }

    fn obtain(&self, digest: &Digest, size: u64, remote: &Arc<dyn ReadAt>) -> Result<Bytes> {
        if let Some(bytes) = self.small_on_disk(digest) {
            count(&self.journal.counters.disk_bytes, bytes.len() as u64);
            self.memory.insert(Key::whole(digest), bytes.clone());
            return of_size(digest, size, bytes);
        }
        let bytes = fetch(digest, size, remote.as_ref())?;
        count(&self.journal.counters.remote_bytes, size);
        let proof = Proof::of(digest, &bytes).map_err(|error| {
            count(&self.journal.counters.poisoned, 1);
            error.context(format!("read blob {digest}"))
        })?;
        self.keep_small(&proof, &bytes);
        Ok(bytes)
    }

    /// Keeps the proved `bytes` in memory and, if it takes them, on disk.
    pub(super) fn keep_small(&self, proof: &Proof, bytes: &Bytes) {
        self.memory.insert(Key::whole(proof.digest()), bytes.clone());
        let Some(disk) = self.disk.as_ref().filter(|disk| disk.is_writable()) else { return };
        match write(disk, proof, bytes) {
            Ok(()) => {
                disk.added(bytes.len() as u64);
                disk.published(false);
            }
            Err(error) => disk.failed("write to the cache", &error),
        }
    }

    /// The content of `digest` if it is on disk, small, and right. What is not right is dropped.
    pub(super) fn small_on_disk(&self, digest: &Digest) -> Option<Bytes> {
        let disk = self.disk.as_ref()?;
        let file = Data::blob(&disk.layout, digest).ok()??.file;
        let len = file.metadata().ok()?.len();
        if len > SMALL {
            return None;
        }
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0).ok()?;
        if Proof::of(digest, &bytes).is_err() {
            log::warn!("the cache holds wrong bytes for {digest}: dropped");
            count(&self.journal.counters.corrupt_spans, 1);
            let _ = std::fs::remove_file(disk.layout.blob(digest));
            return None;
        }
        touch(&file);
        Some(bytes.into())
    }
}

/// Writes a small file. It is not synced: what a power cut leaves of it is noticed when it is read.
fn write(disk: &Disk, proof: &Proof, bytes: &[u8]) -> io::Result<()> {
    let temp = disk.layout.temp()?;
    temp.file.write_all_at(bytes, 0)?;
    publish(&disk.layout, &temp.file, proof, false)
}

fn of_size(digest: &Digest, size: u64, bytes: Bytes) -> Result<Bytes> {
    if bytes.len() as u64 == size {
        return Ok(bytes);
    }
    let why = format!("read blob {digest}: it has {} bytes, not the {size} that were promised", bytes.len());
    Err(Error::new(Kind::Corrupt, why))
}

fn fetch(digest: &Digest, size: u64, remote: &dyn ReadAt) -> Result<Bytes> {
    // A size is a promise: memory is taken as the bytes come.
    let mut buffer = Vec::with_capacity(size.min(1 << 20) as usize);
    let corrupt = |why: String| Error::new(Kind::Corrupt, format!("read blob {digest}: {why}"));
    if size > 0 {
        remote.stream(Span::new(0, size), &mut |at, bytes| {
            if at.saturating_add(bytes.len() as u64) > size {
                return Err(corrupt(format!("the remote sends more than its {size} bytes")));
            }
            // A remote that starts over sends again what is here.
            let known = (buffer.len() as u64).checked_sub(at);
            let Some(known) = known else { return Err(corrupt(format!("the remote leaves a gap before byte {at}"))) };
            buffer.extend_from_slice(bytes.get(known as usize..).unwrap_or_default());
            Ok(())
        })?;
    }
    if (buffer.len() as u64) < size {
        return Err(corrupt(format!("the remote sent {} of its {size} bytes", buffer.len())));
    }
    Ok(buffer.into())
}
