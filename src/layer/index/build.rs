//! A layer's table while it is read: members in, names and nodes out.
//!
//! Members have the effect that extracting them one after another into an empty directory has (what Docker, containerd
//! and umoci do), with links resolved below that directory:
//! - The last member of a name counts. A directory over a directory replaces its attributes and keeps its names; any
//!   other pair replaces all there was.
//! - Missing parents are there as directories (0755, root, time 0, not explicit). A parent that is a symbolic link of
//!   this layer is followed, the root as its limit, and what it names is made if it is missing. A member below
//!   anything else than a directory is dropped; extraction fails there.
//! - A hard link to a file before it is another name of it, and its owner, group, mode and time become the file's.
//!   To anything that is not there yet it stays a link, for the layers below to resolve. Whiteouts are no targets.
//! - `trusted.overlay.*` and `user.overlay.*` are not kept: they would speak to an overlay above this one.
//!
//! Members that no extraction makes (`..` out of the root, hostile names, links to nowhere) are dropped and counted.

use super::body::Body;
use super::edges::Edges;
use super::limits::{self, Limits};
use super::path::{self, MAX_NAME};
use super::record::{DIRENT, Record, pair};
use super::tables::{Tables, encode_dirent};
use crate::error::{Error, Kind as Fault, Result};
use crate::layer::entry::{Entry, Kind, Time};
use crate::layer::toc::Node;

/// Begins the name of a whiteout.
const WHITEOUT: &[u8] = b".wh.";

/// The tables, and what adding to them needs.
pub(super) struct Builder {
    body: Body,
    edges: Edges,
    added: u64,
    dropped: u64,
    complete: bool,
}

impl Builder {
    /// A table with a root that no member told of.
    pub(super) fn new(limits: Limits) -> Builder {
        Builder { body: Body::new(&implied(), limits), edges: Edges::new(), added: 0, dropped: 0, complete: false }
    }

    /// Takes the next member.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<()> {
        if self.complete {
            return Err(Error::new(Fault::Invalid, "the layer's table is complete"));
        }
        self.added += 1;
        self.body.room(self.added)?;
        if let Some(why) = self.take(entry)? {
            self.dropped += 1;
            log::debug!("member \"{}\" of a layer is dropped: {why}", entry.path.escape_ascii());
        }
        Ok(())
    }

    /// Members that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether nothing is added any more.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Sorts the names of all directories; what adding needed is given back.
    pub(super) fn complete(&mut self) -> Result<()> {
        if self.complete {
            return Ok(());
        }
        let mut dirents = Vec::with_capacity(self.edges.len() * DIRENT);
        for node in 0..self.body.count() {
            let mut record = self.body.record(node)?;
            if record.kind != Kind::Dir {
                continue;
            }
            let tables = self.body.tables();
            let mut children: Vec<(&[u8], u32, u32)> = self
                .edges
                .of(record.data)
                .map(|edge| (tables.name(edge.name).unwrap_or_default(), edge.name, edge.node))
                .collect();
            children.sort_unstable();
            let first = (dirents.len() / DIRENT) as u32;
            record.data = pair(children.len() as u32, first);
            for (_, name, node) in children {
                dirents.extend_from_slice(&encode_dirent(name, node));
            }
            self.body.set(node, &record);
        }
        self.body.dirents = dirents;
        self.edges = Edges::new();
        self.body.freeze();
        self.complete = true;
        Ok(())
    }

    /// The tables as they are; a directory's names are in them once it is complete.
    pub(super) fn tables(&self) -> Tables<'_> {
        self.body.tables()
    }

    /// The node of a name in a directory.
    pub(super) fn lookup(&self, dir: Node, name: &[u8]) -> Result<Option<Node>> {
        if self.complete {
            return self.body.tables().lookup(dir, name);
        }
        Ok(self.child(dir.0, name).map(Node))
    }

    /// Names after `after`, at most `limit`. While it is not complete, each call looks at all names of the directory.
    pub(super) fn list(&self, dir: Node, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Node)>> {
        let tables = self.body.tables();
        if self.complete {
            return tables.list(dir, after, limit);
        }
        let record = tables.record(dir)?;
        let chain = if record.kind == Kind::Dir { record.data } else { 0 };
        let mut names: Vec<(&[u8], u32)> = self
            .edges
            .of(chain)
            .map(|edge| (tables.name(edge.name).unwrap_or_default(), edge.node))
            .filter(|(name, _)| after.is_none_or(|after| *name > after))
            .collect();
        if limit < names.len() {
            names.select_nth_unstable(limit);
            names.truncate(limit);
        }
        names.sort_unstable();
        Ok(names.into_iter().map(|(name, node)| (name.to_vec(), Node(node))).collect())
    }

    /// Takes a member in; says why if it is dropped.
    fn take(&mut self, entry: &Entry) -> Result<Option<&'static str>> {
        let parts = match path::clean(&entry.path) {
            Ok(parts) => parts,
            Err(why) => return Ok(Some(why)),
        };
        let Some((name, parents)) = parts.split_last() else {
            if entry.kind != Kind::Dir {
                return Ok(Some("the root is a directory"));
            }
            self.refresh(0, entry)?;
            return Ok(None);
        };
        let link = match entry.kind {
            Kind::Symlink if entry.target.is_empty() || entry.target.contains(&0) => {
                return Ok(Some("the target is empty or holds a NUL"));
            }
            Kind::Symlink if entry.target.len() > limits::TARGET => return Ok(Some("the target is over 4095 bytes")),
            Kind::Hardlink => match path::clean(&entry.target) {
                Ok(target) if !target.is_empty() => Some(target),
                _ => return Ok(Some("the target is no file below the root")),
            },
            _ => None,
        };
        let Some(dir) = self.descend(parents, true)? else {
            return Ok(Some("a parent of it is not a directory"));
        };
        match link {
            Some(target) => self.link(dir, name, entry, &target),
            None => self.put(dir, name, entry),
        }
    }

    /// A member that is no hard link.
    fn put(&mut self, dir: u32, name: &[u8], entry: &Entry) -> Result<Option<&'static str>> {
        if entry.kind == Kind::Dir
            && let Some(node) = self.child(dir, name)
            && self.body.record(node)?.kind == Kind::Dir
        {
            self.refresh(node, entry)?;
            return Ok(None);
        }
        let mut record = told(entry);
        record.xattrs = self.body.xattrs(entry)?;
        match entry.kind {
            Kind::File => {
                record.size = entry.size;
                (record.single, record.data) = self.body.extents(entry)?;
            }
            Kind::Symlink => {
                record.size = entry.target.len() as u64;
                record.data = self.body.target(&entry.target)?;
            }
            Kind::Char | Kind::Block => record.data = pair(entry.device.0, entry.device.1),
            Kind::Dir | Kind::Hardlink | Kind::Fifo => {}
        }
        let node = self.body.create(&record)?;
        self.name(dir, name, node)?;
        Ok(None)
    }

    /// A hard link to a path below the root.
    fn link(&mut self, dir: u32, name: &[u8], entry: &Entry, target: &[&[u8]]) -> Result<Option<&'static str>> {
        let Some(node) = self.resolve(target)? else {
            let path = path::join(target);
            let mut record = told(entry);
            record.xattrs = self.body.xattrs(entry)?;
            record.data = self.body.target(&path)?;
            let node = self.body.create(&record)?;
            self.name(dir, name, node)?;
            return Ok(None);
        };
        let mut record = self.body.record(node)?;
        if record.kind == Kind::Dir {
            return Ok(Some("the target is a directory"));
        }
        let fresh = told(entry);
        (record.mode, record.uid, record.gid, record.mtime) = (fresh.mode, fresh.uid, fresh.gid, fresh.mtime);
        if !entry.xattrs.is_empty() {
            record.xattrs = self.body.xattrs(entry)?;
        }
        if self.child(dir, name) != Some(node) {
            record.nlink = record.nlink.saturating_add(1);
            self.body.set(node, &record);
            self.name(dir, name, node)?;
        } else {
            self.body.set(node, &record);
        }
        Ok(None)
    }

    /// The node that the path of a hard link names.
    fn resolve(&mut self, target: &[&[u8]]) -> Result<Option<u32>> {
        let Some((name, parents)) = target.split_last() else { return Ok(None) };
        if target.iter().any(|part| part.starts_with(WHITEOUT)) {
            return Ok(None);
        }
        Ok(self.descend(parents, false)?.and_then(|dir| self.child(dir, name)))
    }

    /// The directory that components lead to from the root, links followed, missing ones made if `make`.
    fn descend(&mut self, parts: &[&[u8]], make: bool) -> Result<Option<u32>> {
        let mut trail = vec![0];
        for (n, part) in parts.iter().enumerate() {
            let dir = trail.last().copied().unwrap_or_default();
            let Some(node) = self.step(dir, part, make)? else { return Ok(None) };
            match self.body.record(node)?.kind {
                Kind::Dir => trail.push(node),
                Kind::Symlink => return self.follow(trail, &parts[n..], make),
                _ => return Ok(None),
            }
        }
        Ok(trail.last().copied())
    }

    /// [`Builder::descend`] from the end of `trail` on, where the first component is a symbolic link.
    fn follow(&mut self, mut trail: Vec<u32>, parts: &[&[u8]], make: bool) -> Result<Option<u32>> {
        let mut todo: Vec<Vec<u8>> = parts.iter().rev().map(|part| part.to_vec()).collect();
        let (mut links, mut steps) = (0, 0);
        while let Some(part) = todo.pop() {
            steps += 1;
            if part.len() > MAX_NAME || steps > limits::STEPS {
                return Ok(None);
            }
            if part == b".." {
                // The root is its own parent.
                trail.truncate(trail.len().saturating_sub(1).max(1));
                continue;
            }
            let dir = trail.last().copied().unwrap_or_default();
            let Some(node) = self.step(dir, &part, make)? else { return Ok(None) };
            match self.body.record(node)?.kind {
                Kind::Dir => trail.push(node),
                Kind::Symlink => {
                    links += 1;
                    let target = self.body.tables().target(Node(node))?;
                    if links > limits::LINKS || todo.len() > limits::STEPS {
                        return Ok(None);
                    }
                    if target.first() == Some(&b'/') {
                        trail.truncate(1);
                    }
                    todo.extend(path::components(&target).rev().map(<[u8]>::to_vec));
                }
                _ => return Ok(None),
            }
        }
        Ok(trail.last().copied())
    }

    /// The node of one component, made as a directory if it is missing and `make`.
    fn step(&mut self, dir: u32, part: &[u8], make: bool) -> Result<Option<u32>> {
        if let Some(node) = self.child(dir, part) {
            return Ok(Some(node));
        }
        if !make {
            return Ok(None);
        }
        let node = self.body.create(&implied())?;
        self.name(dir, part, node)?;
        Ok(Some(node))
    }

    fn child(&self, dir: u32, name: &[u8]) -> Option<u32> {
        let at = self.body.names.find(prefixed(name, &mut [0; 1 + MAX_NAME])?)?;
        self.edges.find(dir, at)
    }

    /// Gives a node a name, in place of what had it.
    fn name(&mut self, dir: u32, name: &[u8], node: u32) -> Result<()> {
        let mut buffer = [0; 1 + MAX_NAME];
        let Some(string) = prefixed(name, &mut buffer) else {
            return Err(Error::new(Fault::NameTooLong, "a name is over 255 bytes"));
        };
        let at = self.body.names.add(string)?;
        if let Some(old) = self.edges.replace(dir, at, node) {
            return self.forget(old);
        }
        let mut parent = self.body.record(dir)?;
        parent.data = self.edges.add(dir, at, node, parent.data);
        self.body.set(dir, &parent);
        Ok(())
    }

    /// A node lost a name; if it is a directory, all below it did.
    fn forget(&mut self, node: u32) -> Result<()> {
        let mut gone = vec![node];
        while let Some(node) = gone.pop() {
            let mut record = self.body.record(node)?;
            record.nlink = record.nlink.saturating_sub(1);
            self.body.set(node, &record);
            if record.kind == Kind::Dir {
                gone.extend(self.edges.of(record.data).map(|edge| edge.node));
            }
        }
        Ok(())
    }

    /// A directory is told of again.
    fn refresh(&mut self, node: u32, entry: &Entry) -> Result<()> {
        let old = self.body.record(node)?;
        let xattrs = self.body.xattrs(entry)?;
        self.body.set(node, &Record { data: old.data, nlink: old.nlink, xattrs, ..told(entry) });
        Ok(())
    }
}

/// A name with its length before it.
fn prefixed<'b>(name: &[u8], buffer: &'b mut [u8; 1 + MAX_NAME]) -> Option<&'b [u8]> {
    let string = buffer.get_mut(..=name.len())?;
    string[0] = name.len() as u8;
    string[1..].copy_from_slice(name);
    Some(string)
}

/// A directory that is there because something is in it.
fn implied() -> Record {
    Record {
        kind: Kind::Dir,
        explicit: false,
        single: false,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        size: 0,
        nlink: 1,
        xattrs: 0,
        data: 0,
    }
}

/// What a member says of itself.
fn told(entry: &Entry) -> Record {
    Record {
        kind: entry.kind,
        explicit: true,
        mode: (entry.mode & 0o7777) as u16,
        uid: entry.uid,
        gid: entry.gid,
        mtime: Time { secs: entry.mtime.secs, nanos: entry.mtime.nanos.min(999_999_999) },
        ..implied()
    }
}
