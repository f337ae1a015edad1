//! Inode numbers: which node of the tree each one stands for, for as long as the kernel remembers it.
//!
//! Promises: a number is a hash of parent, name, kind and identity, so that it is the same after a remount; a tag that
//! moved has another one; the table holds exactly what the kernel holds (lookups counted, forgets subtracted).
//! Knows the tree's nodes and nothing of fuser.

use crate::error::Error;
use crate::tree::Node;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::passthrough::Opens;

/// The number of the mount's root; fixed by the kernel.
pub(super) const ROOT: u64 = 1;

/// One inode: where it stands and what it is.
pub(super) struct Inode {
    /// The number; never 0, which says "no such name" in replies.
    pub(super) ino: u64,
    parent: Option<Arc<Inode>>,
    name: OsString,
    kind: Kind,
    identity: u64,
    node: RwLock<Node>,
    /// How it is open at present, if it is a file.
    pub(super) opens: Mutex<Opens>,
}

/// What may not change under one number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    Link,
    Special,
}

impl Kind {
    fn of(node: &Node) -> Kind {
        match node {
            Node::Dir(_) => Kind::Dir,
            Node::File(_) => Kind::File,
            Node::Link(_) => Kind::Link,
            Node::Special(_) => Kind::Special,
        }
    }
}

impl Inode {
    /// The node, as it was last found.
    pub(super) fn node(&self) -> Node {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the directory that holds it; its own for the root.
    pub(super) fn parent_ino(&self) -> u64 {
        self.parent.as_ref().map_or(self.ino, |parent| parent.ino)
    }

    /// The path below the mountpoint, with `name` at its end if there is one: `library/ubuntu/tags`; `.` for the root.
    pub(super) fn path(&self, name: Option<&OsStr>) -> String {
        let mut parts: Vec<_> = name.into_iter().map(OsStr::to_string_lossy).collect();
        let mut at = Some(self);
        while let Some(inode) = at {
            if inode.parent.is_some() {
                parts.push(inode.name.to_string_lossy());
            }
            at = inode.parent.as_deref();
        }
        if parts.is_empty() {
            return ".".to_owned();
        }
        parts.reverse();
        parts.join("/")
    }
}

/// The table of every inode that the kernel may speak of.
pub(super) struct Inodes {
    root: Arc<Inode>,
    known: Mutex<HashMap<u64, Known>>,
}

struct Known {
    inode: Arc<Inode>,
    lookups: u64,
}

impl Inodes {
    /// A table that holds the root alone.
    pub(super) fn new(root: Node) -> Inodes {
        let inode = Arc::new(Inode {
            ino: ROOT,
            parent: None,
            name: OsString::new(),
            kind: Kind::of(&root),
            identity: root.attr().identity,
            node: RwLock::new(root),
            opens: Mutex::default(),
        });
        Inodes { root: inode, known: Mutex::default() }
    }

    /// The inode of a number that the kernel speaks of; `Stale` if it was forgotten, which the kernel does not do.
    pub(super) fn get(&self, ino: u64) -> Result<Arc<Inode>, Error> {
        if ino == ROOT {
            return Ok(self.root.clone());
        }
        let known = self.lock();
        known.get(&ino).map(|known| known.inode.clone()).ok_or_else(|| {
            Error::new(crate::error::Kind::Stale, format!("inode {ino} is not known to this mount any more"))
        })
    }

    /// The inode of `node`, found under `name` in `parent`; counts one lookup, which a forget takes back.
    pub(super) fn intern(&self, parent: &Arc<Inode>, name: &OsStr, node: Node) -> Arc<Inode> {
        let (kind, identity) = (Kind::of(&node), node.attr().identity);
        let mut known = self.lock();
        let ino = number(&known, parent.ino, name, kind, identity);
        if let Some(known) = known.get_mut(&ino) {
            known.lookups += 1;
            // The same thing, perhaps better known by now (a time, a size).
            *known.inode.node.write().unwrap_or_else(PoisonError::into_inner) = node;
            return known.inode.clone();
        }
        let inode = Arc::new(Inode {
            ino,
            parent: Some(parent.clone()),
            name: name.to_owned(),
            kind,
            identity,
            node: RwLock::new(node),
            opens: Mutex::default(),
        });
        known.insert(ino, Known { inode: inode.clone(), lookups: 1 });
        inode
    }

    /// The number that [`Inodes::intern`] would give, without counting anything.
    pub(super) fn peek(&self, parent: &Inode, name: &OsStr, node: &Node) -> u64 {
        number(&self.lock(), parent.ino, name, Kind::of(node), node.attr().identity)
    }

    /// Takes back `lookups` lookups; the last one frees the inode.
    pub(super) fn forget(&self, ino: u64, lookups: u64) {
        let mut known = self.lock();
        if let Some(entry) = known.get_mut(&ino) {
            entry.lookups = entry.lookups.saturating_sub(lookups);
            if entry.lookups == 0 {
                let gone = known.remove(&ino);
                // Dropping an inode may drop nodes of the tree: not under the lock.
                drop(known);
                drop(gone);
            }
        }
    }

    /// The numbers of all inodes whose node `choose` chooses.
    pub(super) fn select(&self, choose: impl Fn(&Node) -> bool) -> Vec<u64> {
        let all: Vec<Arc<Inode>> = self.lock().values().map(|known| known.inode.clone()).collect();
        all.into_iter().filter(|inode| choose(&inode.node())).map(|inode| inode.ino).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a node: its hash, or the next number that is free if another node has that one.
fn number(known: &HashMap<u64, Known>, parent: u64, name: &OsStr, kind: Kind, identity: u64) -> u64 {
    let mut ino = hash(parent, name, kind, identity);
    loop {
        match known.get(&ino) {
            _ if ino <= ROOT => ino = ROOT + 1,
            Some(Known { inode, .. })
                if inode.identity != identity
                    || inode.kind != kind
                    || inode.name != name
                    || inode.parent_ino() != parent =>
            {
                ino = (ino + 1) & MASK;
            }
            _ => return ino,
        }
    }
}

/// Numbers stay positive for programs that take them for signed.
const MASK: u64 = u64::MAX >> 1;

/// Cryptographic, because names come from remotes: nobody shall make the table probe for ever.
fn hash(parent: u64, name: &OsStr, kind: Kind, identity: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&parent.to_le_bytes());
    hasher.update(&identity.to_le_bytes());
    hasher.update(&[kind as u8]);
    hasher.update(name.as_bytes());
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    u64::from_le_bytes(number) & MASK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Attr, Link, Xattrs};

    fn link(identity: u64) -> Node {
        let attr = Attr { identity, ..Attr::link(OsStr::new("x")) };
        Link { target: "x".into(), attr, xattrs: Xattrs::default() }.into()
    }

    #[test]
    fn numbers_are_the_same_in_every_mount_and_follow_identity() {
        let (one, two) = (Inodes::new(link(0)), Inodes::new(link(0)));
        let name = OsStr::new("22.04");
        let first = one.intern(&one.root, name, link(7));
        assert_eq!(first.ino, two.intern(&two.root, name, link(7)).ino);
        assert_eq!(first.ino, one.peek(&one.root, name, &link(7)));
        let moved = one.intern(&one.root, name, link(8));
        assert_ne!(first.ino, moved.ino);
        assert_eq!(one.get(first.ino).expect("still known").ino, first.ino);
    }

    #[test]
    fn forgetting_frees_with_the_last_lookup() {
        let inodes = Inodes::new(link(0));
        let name = OsStr::new("a");
        let ino = inodes.intern(&inodes.root, name, link(1)).ino;
        inodes.intern(&inodes.root, name, link(1));
        inodes.intern(&inodes.root, name, link(1));
        inodes.forget(ino, 2);
        assert!(inodes.get(ino).is_ok());
        inodes.forget(ino, 1);
        assert_eq!(inodes.get(ino).err().map(|error| error.kind()), Some(crate::error::Kind::Stale));
        inodes.forget(ROOT, 5);
        assert!(inodes.get(ROOT).is_ok());
    }

    #[test]
    fn a_taken_number_is_passed_over() {
        let inodes = Inodes::new(link(0));
        let ino = inodes.peek(&inodes.root, OsStr::new("a"), &link(1));
        let squatter = inodes.intern(&inodes.root, OsStr::new("b"), link(2));
        let known = Known { inode: squatter, lookups: 1 };
        inodes.lock().insert(ino, known);
        assert_eq!(inodes.intern(&inodes.root, OsStr::new("a"), link(1)).ino, ino + 1);
    }

    #[test]
    fn paths_are_told_from_the_root() {
        let inodes = Inodes::new(link(0));
        let a = inodes.intern(&inodes.root, OsStr::new("a"), link(1));
        let b = inodes.intern(&a, OsStr::new("b"), link(1));
        assert_eq!(inodes.root.path(None), ".");
        assert_eq!(inodes.root.path(Some(OsStr::new("x"))), "x");
        inodes.forget(a.ino, 1);
        assert_eq!(b.path(Some(OsStr::new("c"))), "a/b/c");
    }
}
