//! The tables of a layer as bytes, and the answers read from them: the same for a table in memory and for a file.
//!
//! Promises: any bytes at all give an answer or `Corrupt`, in bounded time. A directory's child directories have
//! higher numbers than itself, which is checked, so that descending ends.

use super::record::{self, DIRENT, EXTENT, Record, SIZE, slice, u16_at, u32_at, u64_at, unpair};
use crate::error::{Error, Kind as Fault, Result};
use crate::layer::entry::{Extent, Kind};
use crate::layer::toc::{Attr, Node};
use std::cmp::Ordering;

/// The bytes of all tables.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    /// A [`Record`] for each node, in the order of their numbers.
    pub(super) nodes: &'a [u8],
    /// Where the name is, and its node, ascending by name within a directory.
    pub(super) dirents: &'a [u8],
    /// Each with its length in a byte before it.
    pub(super) names: &'a [u8],
    /// Bytes of link targets.
    pub(super) targets: &'a [u8],
    /// Sets: length of the set (u32), then for each attribute lengths of name (u16) and value (u32), name, value.
    pub(super) xattrs: &'a [u8],
    /// Extents; a run of them has a head before it whose first number is the bytes they cover.
    pub(super) extents: &'a [u8],
}

fn damaged(what: &str, node: Node) -> Error {
    Error::new(Fault::Corrupt, format!("index is damaged: {what} of file number {}", node.0))
}

impl<'a> Tables<'a> {
    /// The record of a node.
    pub(super) fn record(&self, node: Node) -> Result<Record> {
        (node.0 as usize)
            .checked_mul(SIZE)
            .and_then(|at| self.nodes.get(at..)?.first_chunk())
            .and_then(Record::decode)
            .ok_or_else(|| damaged("record", node))
    }

    /// The attributes of a node.
    pub(super) fn attr(&self, node: Node) -> Result<Attr> {
        let record = self.record(node)?;
        let stored = match record.kind {
            Kind::File if record.single => record.size,
            Kind::File if record.data != 0 => {
                let (_, first) = unpair(record.data);
                self.extent(first, 0).ok_or_else(|| damaged("extents", node))?.at
            }
            _ => 0,
        };
        let device = match record.kind {
            Kind::Char | Kind::Block => unpair(record.data),
            _ => (0, 0),
        };
        Ok(Attr {
            kind: record.kind,
            mode: record.mode.into(),
            uid: record.uid,
            gid: record.gid,
            mtime: record.mtime,
            size: record.size,
            stored,
            nlink: record.nlink,
            device,
            explicit: record.explicit,
        })
    }

    /// The node of a name in a directory.
    pub(super) fn lookup(&self, dir: Node, name: &[u8]) -> Result<Option<Node>> {
        let dirents = self.dirents(dir)?;
        let at = self.position(dir, dirents, name)?;
        match self.dirent(dir, dirents, at)? {
            Some((found, node)) if found == name => Ok(Some(node)),
            _ => Ok(None),
        }
    }

    /// Names after `after`, at most `limit`.
    pub(super) fn list(&self, dir: Node, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Node)>> {
        let dirents = self.dirents(dir)?;
        let mut at = match after {
            Some(name) => self.position(dir, dirents, name)?,
            None => 0,
        };
        let left = (dirents.len() / DIRENT).saturating_sub(at);
        let mut names = Vec::with_capacity(left.min(limit));
        while names.len() < limit {
            let Some((name, node)) = self.dirent(dir, dirents, at)? else { break };
            at += 1;
            if after != Some(name) {
                names.push((name.to_vec(), node));
            }
        }
        Ok(names)
    }

    /// The target of a link.
    pub(super) fn target(&self, node: Node) -> Result<Vec<u8>> {
        let record = self.record(node)?;
        if !matches!(record.kind, Kind::Symlink | Kind::Hardlink) {
            return Err(Error::new(Fault::Invalid, "is not a link"));
        }
        let (len, at) = unpair(record.data);
        slice(self.targets, at as usize, len as usize).map(<[u8]>::to_vec).ok_or_else(|| damaged("target", node))
    }

    /// The extents of a file; of anything else, none.
    pub(super) fn extents(&self, node: Node) -> Result<Vec<Extent>> {
        let record = self.record(node)?;
        if record.kind != Kind::File {
            return Ok(Vec::new());
        }
        if record.single {
            return Ok(vec![Extent { at: 0, offset: record.data, len: record.size }]);
        }
        let (count, first) = unpair(record.data);
        // Bounded by the bytes that are there before anything is allocated.
        if count as usize > self.extents.len() / EXTENT {
            return Err(damaged("extents", node));
        }
        (1..=u64::from(count)).map(|n| self.extent(first, n).ok_or_else(|| damaged("extents", node))).collect()
    }

    /// The extended attributes of a node.
    pub(super) fn xattrs(&self, node: Node) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let record = self.record(node)?;
        let Some(at) = record.xattrs.checked_sub(1) else { return Ok(Vec::new()) };
        self.set(at as usize).ok_or_else(|| damaged("extended attributes", node))
    }

    fn set(&self, at: usize) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let len = u32_at(self.xattrs, at)? as usize;
        let mut rest = slice(self.xattrs, at.checked_add(4)?, len)?;
        let mut set = Vec::new();
        while !rest.is_empty() {
            let name = u16_at(rest, 0)? as usize;
            let value = u32_at(rest, 2)? as usize;
            rest = &rest[6..];
            let (name, after) = rest.split_at_checked(name)?;
            let (value, after) = after.split_at_checked(value)?;
            set.push((name.to_vec(), value.to_vec()));
            rest = after;
        }
        Some(set)
    }

    fn extent(&self, first: u32, n: u64) -> Option<Extent> {
        let at = usize::try_from((u64::from(first) + n).checked_mul(EXTENT as u64)?).ok()?;
        let bytes = slice(self.extents, at, EXTENT)?;
        Some(Extent { at: u64_at(bytes, 0)?, offset: u64_at(bytes, 8)?, len: u64_at(bytes, 16)? })
    }

    /// The names of a directory; of anything else, none.
    fn dirents(&self, dir: Node) -> Result<&'a [u8]> {
        let record = self.record(dir)?;
        if record.kind != Kind::Dir {
            return Ok(&[]);
        }
        let (count, first) = unpair(record.data);
        (first as usize)
            .checked_mul(DIRENT)
            .zip((count as usize).checked_mul(DIRENT))
            .and_then(|(at, len)| slice(self.dirents, at, len))
            .ok_or_else(|| damaged("names", dir))
    }

    /// The name and node at a position; `None` at the end.
    fn dirent(&self, dir: Node, dirents: &'a [u8], at: usize) -> Result<Option<(&'a [u8], Node)>> {
        let Some(bytes) = at.checked_mul(DIRENT).and_then(|at| slice(dirents, at, DIRENT)) else { return Ok(None) };
        let (Some(name), Some(node)) = (u32_at(bytes, 0), u32_at(bytes, 4)) else { return Ok(None) };
        let name = self.name(name).ok_or_else(|| damaged("names", dir))?;
        let node = Node(node);
        if node <= dir && self.record(node)?.kind == Kind::Dir {
            return Err(damaged("a directory within itself, found in names", dir));
        }
        Ok(Some((name, node)))
    }

    /// The position of the first name that is not before `name`.
    fn position(&self, dir: Node, dirents: &[u8], name: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, dirents.len() / DIRENT);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = u32_at(dirents, middle * DIRENT).and_then(|at| self.name(at));
            match found.ok_or_else(|| damaged("names", dir))?.cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal | Ordering::Greater => high = middle,
            }
        }
        Ok(low)
    }

    /// The name at an offset of the names.
    pub(super) fn name(&self, at: u32) -> Option<&'a [u8]> {
        let rest = self.names.get(at as usize..)?;
        let (len, rest) = rest.split_first()?;
        rest.get(..usize::from(*len))
    }
}

/// The bytes of a set of extended attributes, as [`Tables::xattrs`] has them; each name at most 255 bytes.
pub(super) fn encode_set(set: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (name, value) in set {
        bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
    }
    let len = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// The bytes of an extent.
pub(super) fn encode_extent(extent: Extent) -> [u8; EXTENT] {
    let mut bytes = [0; EXTENT];
    bytes[0..8].copy_from_slice(&extent.at.to_le_bytes());
    bytes[8..16].copy_from_slice(&extent.offset.to_le_bytes());
    bytes[16..24].copy_from_slice(&extent.len.to_le_bytes());
    bytes
}

/// The bytes of a name in a directory.
pub(super) fn encode_dirent(name: u32, node: u32) -> [u8; DIRENT] {
    record::pair(node, name).to_le_bytes()
}
