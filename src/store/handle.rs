//! An open blob with a read position of its own, from which it reads ahead.

use super::State;
use super::ahead::Ahead;
use super::blob::Blob;
use super::content::Content;
use super::flight::Job;
use super::memory::Key;
use crate::error::Result;
use crate::journal::count;
use crate::read_at::ReadAt;
use crate::span::Span;
use bytes::Bytes;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes of small blobs that open handles may hold on to, beyond the memory budget: without, a reader of small
/// pieces would have a blob hashed again for each when memory is short.
const MAX_PINNED: u64 = 32 << 20;
/// How far the kernel is told to read ahead in the cache's own files.
const ADVICE: u64 = 8 << 20;

/// One open blob; reads may come from several threads. Dropping it calls off what it was reading ahead.
pub struct Handle {
    blob: Arc<Blob>,
    content: OnceLock<Arc<Content>>,
    pinned: Mutex<Option<Bytes>>,
    /// Whether it was served of a small blob, and is counted for that.
    served: AtomicBool,
    position: Mutex<Position>,
}

#[derive(Default)]
struct Position {
    ahead: Ahead,
    /// What was asked for ahead and may still be under way.
    jobs: Vec<Arc<Job>>,
}

impl Handle {
    pub(super) fn new(blob: Arc<Blob>) -> Handle {
        Handle {
            blob,
            content: OnceLock::new(),
            pinned: Mutex::default(),
            served: AtomicBool::new(false),
            position: Mutex::default(),
        }
    }

    /// Whether this read would be answered from memory, without disk, remote or waiting.
    pub fn is_ready(&self, offset: u64, len: usize) -> bool {
        let span = Span::new(offset, offset.saturating_add(len as u64).min(self.blob.size));
        if span.is_empty() {
            return true;
        }
        if self.blob.is_small() {
            let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            return pinned || self.blob.store.memory.has(&Key::whole(&self.blob.digest));
        }
        self.content
            .get()
            .is_some_and(|content| content.check_poison().is_ok() && content.serves() && content.is_ready(span))
    }

    /// How far the blob is here and verified.
    pub fn state(&self) -> State {
        self.blob.state()
    }

    fn content(&self) -> Result<&Arc<Content>> {
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        let Blob { store, digest, size, remote, .. } = &*self.blob;
        let content = store.content(digest, *size, remote)?;
        if content.probation.is_some() {
            // Only one that passes is kept: after one that does not, another try may be made.
            content.enter();
            let passed = content.complete(remote);
            content.leave();
            passed?;
        }
        Ok(self.content.get_or_init(|| {
            content.enter();
            content
        }))
    }

    fn read_large(&self, buf: &mut [u8], span: Span) -> Result<()> {
        let content = self.content()?;
        content.load()?;
        if content.is_strict() {
            content.complete(&self.blob.remote)?;
        }
        let sequential = self.look_ahead(content, span);
        content.fill(buf, span, &self.blob.remote, sequential)?;
        // Not only at the end: a kernel that reads ahead asks out of order, and whichever read is the last to be
        // answered tells of a mismatch.
        content.await_verdict()
    }

    fn small(&self) -> Result<Bytes> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = &*pinned {
            return Ok(bytes.clone());
        }
        drop(pinned);
        let store = &self.blob.store;
        let bytes = store.small(&self.blob.digest, self.blob.size, &self.blob.remote)?;
        pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let len = bytes.len() as u64;
        if !self.served.swap(true, Ordering::AcqRel) {
            self.blob.served.fetch_add(1, Ordering::AcqRel);
        }
        if pinned.is_none() {
            if store.pinned.fetch_add(len, Ordering::Relaxed) + len <= MAX_PINNED {
                *pinned = Some(bytes.clone());
            } else {
                store.pinned.fetch_sub(len, Ordering::Relaxed);
            }
        }
        Ok(bytes)
    }

    /// Takes note of a read, and has on its way what is likely to be read next. Whether reads are sequential.
    fn look_ahead(&self, content: &Arc<Content>, span: Span) -> bool {
        let limit = self.blob.store.window();
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = position.ahead.read(span, self.blob.size, limit);
        if plan.seek {
            position.jobs.drain(..).for_each(|job| job.abandon());
        }
        if !plan.ahead.is_empty() {
            let (asked, jobs) = content.prefetch(plan.ahead, position.ahead.chunk(), &self.blob.remote);
            content.advise(Span::new(plan.ahead.start, asked.min(plan.ahead.start + ADVICE)));
            position.ahead.asked(asked);
            position.jobs.retain(|job| !job.is_over());
            for job in jobs {
                match position.jobs.iter().any(|known| Arc::ptr_eq(known, &job)) {
                    true => job.abandon(),
                    false => position.jobs.push(job),
                }
            }
        }
        position.ahead.is_sequential()
    }
}

impl ReadAt for Handle {
    fn len(&self) -> Result<u64> {
        Ok(self.blob.size)
    }

    fn is_at_hand(&self, span: Span) -> bool {
        self.is_ready(span.start.min(self.blob.size), usize::try_from(span.len()).unwrap_or(usize::MAX))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let span = Span::new(offset, offset.saturating_add(buf.len() as u64).min(self.blob.size));
        if span.is_empty() {
            return Ok(0);
        }
        let buf = &mut buf[..span.len() as usize];
        if self.blob.is_small() {
            let bytes = self.small()?;
            buf.copy_from_slice(&bytes[span.start as usize..span.end as usize]);
            count(&self.blob.store.journal.counters.memory_bytes, span.len());
            return Ok(buf.len());
        }
        let read = self.read_large(buf, span);
        if read.is_err() {
            // It may be a mismatch: nobody learns of it before caches further up do.
            self.blob.store.poisons.await_told(&self.blob.digest);
        }
        read.map(|()| buf.len())
    }

    fn backing(&self) -> Option<Arc<File>> {
        let is_untried = self.content.get().is_none() && self.blob.store.poisons.is_known(&self.blob.digest);
        if self.blob.is_small() || is_untried {
            return None;
        }
        let content = self.content().ok()?;
        content.load().ok()?;
        content.backing()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let position = self.position.get_mut().unwrap_or_else(PoisonError::into_inner);
        position.jobs.drain(..).for_each(|job| job.abandon());
        if let Some(content) = self.content.get() {
            content.leave();
        }
        if *self.served.get_mut() {
            self.blob.served.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(bytes) = self.pinned.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            self.blob.store.pinned.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
        }
    }
}
