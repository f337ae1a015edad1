//! The bytes of a layer's tables while they grow: records, and what they refer to.
//!
//! Promises: nothing grows over its [`Limits`], and extents that are kept make a file. Knows nothing of who is in which
//! directory.

use super::heap::Heap;
use super::limits::{self, Limits};
use super::path::MAX_NAME;
use super::record::{EXTENT, Record, SIZE, pair};
use super::tables::{Tables, encode_extent, encode_set};
use crate::error::{Error, Kind as Fault, Result};
use crate::layer::entry::{Entry, Extent};
use crate::layer::toc::Node;

/// The tables' bytes.
pub(super) struct Body {
    nodes: Vec<u8>,
    /// Names of directories, once they are sorted.
    pub(super) dirents: Vec<u8>,
    /// Each with its length before it.
    pub(super) names: Heap,
    targets: Heap,
    xattrs: Heap,
    extents: Vec<u8>,
    limits: Limits,
}

impl Body {
    /// Nothing but a root.
    pub(super) fn new(root: &Record, limits: Limits) -> Body {
        Body {
            nodes: root.encode().to_vec(),
            dirents: Vec::new(),
            names: Heap::new("names", limits.name_bytes),
            targets: Heap::new("link targets", limits.target_bytes),
            xattrs: Heap::new("extended attributes", limits.xattr_bytes),
            extents: Vec::new(),
            limits,
        }
    }

    /// The tables as they are; a directory's names are in them once it is complete.
    pub(super) fn tables(&self) -> Tables<'_> {
        Tables {
            nodes: &self.nodes,
            dirents: &self.dirents,
            names: self.names.bytes(),
            targets: self.targets.bytes(),
            xattrs: self.xattrs.bytes(),
            extents: &self.extents,
        }
    }

    /// `TooBig` if there are more than so many entries.
    pub(super) fn room(&self, entries: u64) -> Result<()> {
        let limit = self.limits.entries;
        if entries > limit {
            return Err(Error::new(Fault::TooBig, format!("files of the layer are over the limit of {limit}")));
        }
        Ok(())
    }

    /// A new node.
    pub(super) fn create(&mut self, record: &Record) -> Result<u32> {
        let node = self.count();
        self.room(u64::from(node))?;
        self.nodes.extend_from_slice(&record.encode());
        Ok(node)
    }

    /// How many nodes there are.
    pub(super) fn count(&self) -> u32 {
        // At most one more than the limit of entries.
        (self.nodes.len() / SIZE) as u32
    }

    /// The record of a node.
    pub(super) fn record(&self, node: u32) -> Result<Record> {
        self.tables().record(Node(node))
    }

    /// Changes the record of a node that is there.
    pub(super) fn set(&mut self, node: u32, record: &Record) {
        if let Some(bytes) = self.nodes.get_mut(node as usize * SIZE..).and_then(<[u8]>::first_chunk_mut) {
            *bytes = record.encode();
        }
    }

    /// Keeps the target of a link; what its record says of it.
    pub(super) fn target(&mut self, target: &[u8]) -> Result<u64> {
        Ok(pair(target.len() as u32, self.targets.add(target)?))
    }

    /// Keeps the extents of a file; whether there is only one that covers it, and what its record says of them.
    pub(super) fn extents(&mut self, entry: &Entry) -> Result<(bool, u64)> {
        let mut end = (0, 0);
        let mut stored: u64 = 0;
        for extent in &entry.extents {
            let ends = extent.at.checked_add(extent.len).zip(extent.offset.checked_add(extent.len));
            match ends {
                Some(next)
                    if extent.at >= end.0 && extent.offset >= end.1 && extent.len > 0 && next.0 <= entry.size =>
                {
                    end = next;
                }
                _ => {
                    let name = entry.path.escape_ascii();
                    return Err(Error::new(Fault::Corrupt, format!("extents of \"{name}\" overlap or pass its end")));
                }
            }
            // No more than the size: they do not overlap.
            stored += extent.len;
        }
        match entry.extents.as_slice() {
            [] => Ok((false, 0)),
            [only] if only.len == entry.size => Ok((true, only.offset)),
            many => {
                let first = self.extents.len() / EXTENT;
                if first + 1 + many.len() > self.limits.extents {
                    let what = format!("extents of the layer are over the limit of {}", self.limits.extents);
                    return Err(Error::new(Fault::TooBig, what));
                }
                let head = Extent { at: stored, offset: 0, len: 0 };
                self.extents.extend_from_slice(&encode_extent(head));
                self.extents.extend(many.iter().flat_map(|extent| encode_extent(*extent)));
                Ok((false, pair(many.len() as u32, first as u32)))
            }
        }
    }

    /// Keeps the extended attributes of a member; what its record says of them.
    pub(super) fn xattrs(&mut self, entry: &Entry) -> Result<u32> {
        let mut set: Vec<(&[u8], &[u8])> = Vec::new();
        for (name, value) in &entry.xattrs {
            if !kept(name) || value.len() > limits::XATTR {
                continue;
            }
            set.retain(|(other, _)| other != name);
            set.push((name, value));
            if set.len() > limits::XATTRS {
                let what = format!("extended attributes of a file are over the limit of {}", limits::XATTRS);
                return Err(Error::new(Fault::TooBig, what));
            }
        }
        if set.is_empty() { Ok(0) } else { Ok(self.xattrs.add(&encode_set(&set))? + 1) }
    }

    /// Gives back what only adding needs; it is over after this.
    pub(super) fn freeze(&mut self) {
        self.names.freeze();
        self.targets.freeze();
        self.xattrs.freeze();
    }
}

/// Whether an extended attribute is served: a name that Linux takes, and not one that an overlay would obey.
fn kept(name: &[u8]) -> bool {
    let hidden = [&b"trusted.overlay."[..], b"user.overlay."].iter().any(|prefix| name.starts_with(prefix));
    !hidden && !name.is_empty() && name.len() <= MAX_NAME && !name.contains(&0)
}
