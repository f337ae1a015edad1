//! Reads without us: files whose bytes lie whole and checked in a plain file are handed to the kernel.
//!
//! Promises the kernel's rules: an inode is open either through the page cache or passed through, never both at
//! once, and passed through with one backing file only. So the first open decides, and the others follow until all
//! are closed. Needs CAP_SYS_ADMIN; without it, everything is read through the page cache.

use fuser::{BackingId, ReplyOpen};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How one inode is open.
#[derive(Default)]
pub(super) struct Opens {
    cached: u32,
    through: u32,
    backing: Option<Arc<BackingId>>,
}

/// What one open holds, until it is released.
pub(super) enum Open {
    /// Not counted: bypasses the page cache.
    Direct,
    /// Read through the page cache.
    Cached,
    /// Read from the backing file by the kernel.
    Through(Arc<BackingId>),
}

/// Whether this mount passes anything through.
#[derive(Default)]
pub(super) struct Passthrough {
    is_on: AtomicBool,
}

impl Passthrough {
    /// Allows it, once the kernel said that it can.
    pub(super) fn allow(&self) {
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Whether it is worth asking a handle for its backing file.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Decides how an immutable file is opened, and counts it in `opens`.
    pub(super) fn open(&self, opens: &mut Opens, reply: &ReplyOpen, backing: Option<&File>) -> Open {
        if opens.through == 0 {
            let id = match backing {
                Some(file) if opens.cached == 0 && self.is_on() => self.register(reply, file),
                _ => None,
            };
            opens.backing = id;
        }
        match &opens.backing {
            Some(id) => {
                opens.through += 1;
                Open::Through(id.clone())
            }
            None => {
                opens.cached += 1;
                Open::Cached
            }
        }
    }

    fn register(&self, reply: &ReplyOpen, file: &File) -> Option<Arc<BackingId>> {
        match reply.open_backing(file) {
            Ok(id) => Some(Arc::new(id)),
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    self.is_on.store(false, Ordering::Relaxed);
                }
                log::debug!("the kernel does not take the backing file, reads go through us: {error}");
                None
            }
        }
    }
}

impl Opens {
    /// Takes back one open.
    pub(super) fn close(&mut self, open: &Open) {
        match open {
            Open::Direct => (),
            Open::Cached => self.cached = self.cached.saturating_sub(1),
            Open::Through(_) => {
                self.through = self.through.saturating_sub(1);
                if self.through == 0 {
                    self.backing = None;
                }
            }
        }
    }
}
