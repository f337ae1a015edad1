//! The table of a layer that is being read: one adds, others look, until it is complete.

use super::build::Builder;
use super::facts::{Facts, Point};
use super::limits::Limits;
use super::write;
use crate::error::{Error, Kind, Result};
use crate::layer::entry::{Entry, Extent};
use crate::layer::toc::{Attr, Node, Toc};
use std::fs::File;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A layer's table in memory, shared between the thread that reads the layer and those that ask. About 110 bytes an
/// entry while it grows.
///
/// What it tells of a name stays true while it grows, but for what a later member of the same name, or a later hard
/// link to it, changes. A node keeps its number; one whose name was given to another still answers.
pub struct Growing(RwLock<Builder>);

impl Default for Growing {
    fn default() -> Growing {
        Growing::new()
    }
}

impl Growing {
    /// An empty layer: a root, and nothing in it yet.
    pub fn new() -> Growing {
        Growing::within(Limits::default())
    }

    /// The same with limits of its own, none above the default.
    pub fn within(limits: Limits) -> Growing {
        let most = Limits::default();
        Growing(RwLock::new(Builder::new(Limits {
            entries: limits.entries.min(most.entries),
            name_bytes: limits.name_bytes.min(most.name_bytes),
            target_bytes: limits.target_bytes.min(most.target_bytes),
            xattr_bytes: limits.xattr_bytes.min(most.xattr_bytes),
            extents: limits.extents.min(most.extents),
        })))
    }

    /// Takes the next member. What no extraction makes (hostile names, parents that are files) is dropped, counted and
    /// logged. `TooBig` over one of the [`Limits`], `Corrupt` for extents that make no file, `Invalid` after
    /// [`Growing::complete`]; after an error the table is as it was but for directories that the member implies.
    pub fn add(&self, entry: Entry) -> Result<()> {
        self.write_lock().add(&entry)
    }

    /// The whole layer was read.
    pub fn complete(&self) -> Result<()> {
        self.write_lock().complete()
    }

    /// Members that were dropped.
    pub fn dropped(&self) -> u64 {
        self.read_lock().dropped()
    }

    /// Writes the table as an index file, from the beginning of `file`, which is empty; nodes keep their numbers.
    /// Making it durable and naming it is the caller's. `Invalid` if it is not complete, if points do not ascend, or
    /// if the file is not empty.
    pub fn write(&self, facts: &Facts, points: &[Point<'_>], file: &mut File) -> Result<()> {
        let builder = self.read_lock();
        if !builder.is_complete() {
            return Err(Error::new(Kind::Invalid, "the layer's table is not complete"));
        }
        write::write(&builder.tables(), builder.dropped(), facts, points, file)
    }

    // A panic elsewhere while the lock was held leaves whole records at worst one step apart: answers stay in bounds.
    fn read_lock(&self) -> RwLockReadGuard<'_, Builder> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Builder> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Toc for Growing {
    fn is_complete(&self) -> bool {
        self.read_lock().is_complete()
    }

    fn attr(&self, node: Node) -> Result<Attr> {
        self.read_lock().tables().attr(node)
    }

    fn lookup(&self, dir: Node, name: &[u8]) -> Result<Option<Node>> {
        self.read_lock().lookup(dir, name)
    }

    fn list(&self, dir: Node, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Node)>> {
        self.read_lock().list(dir, after, limit)
    }

    fn target(&self, node: Node) -> Result<Vec<u8>> {
        self.read_lock().tables().target(node)
    }

    fn extents(&self, node: Node) -> Result<Vec<Extent>> {
        self.read_lock().tables().extents(node)
    }

    fn xattrs(&self, node: Node) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.read_lock().tables().xattrs(node)
    }
}
