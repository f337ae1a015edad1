//! Inode numbers: which node of the tree each one stands for, for as long as the kernel remembers it.
//!
//! Promises: a number is a hash of parent, name, kind and identity, so that it is the same after a remount; a tag that
//! moved has another one. What has several names (`nlink`) has one number under all of them, a hash of kind and identity
//! alone. The table holds exactly what the kernel holds (lookups counted, forgets subtracted), and little of each: the
//! kernel may hold a million. Knows the tree's nodes and nothing of fuser.

use crate::error::Error;
use crate::tree::Node;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::passthrough::Opens;

/// The number of the mount's root; fixed by the kernel.
pub(super) const ROOT: u64 = 1;

/// One inode: where it stands (of several names, where it was found first) and what it is.
pub(super) struct Inode {
    /// The number; never 0, which says "no such name" in replies.
    pub(super) ino: u64,
    parent: Option<Arc<Inode>>,
    name: Box<OsStr>,
    identity: u64,
    kind: Kind,
    is_shared: bool,
    node: Mutex<Node>,
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

/// What tells one inode from another, and its number from other numbers.
struct Key<'a> {
    /// 0, which is no inode's, for what has several names.
    parent: u64,
    /// Empty, likewise.
    name: &'a OsStr,
    kind: Kind,
    identity: u64,
}

impl Key<'_> {
    fn new<'a>(parent: u64, name: &'a OsStr, node: &Node) -> Key<'a> {
        let (kind, attr) = (Kind::of(node), node.attr());
        let is_shared = attr.nlink > 1 && kind != Kind::Dir;
        let (parent, name) = if is_shared { (0, OsStr::new("")) } else { (parent, name) };
        Key { parent, name, kind, identity: attr.identity }
    }

    fn is_shared(&self) -> bool {
        self.parent == 0
    }

    fn is_of(&self, inode: &Inode) -> bool {
        self.identity == inode.identity
            && self.kind == inode.kind
            && self.is_shared() == inode.is_shared
            && (self.is_shared() || self.parent == inode.parent_ino() && self.name == &*inode.name)
    }
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
        self.node.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
    // Not hashed: that would take twice as much while it grows, and give nothing back.
    known: Mutex<BTreeMap<u64, Known>>,
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
            name: OsStr::new("").into(),
            identity: root.attr().identity,
            kind: Kind::of(&root),
            is_shared: false,
            node: Mutex::new(root),
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
        let key = Key::new(parent.ino, name, &node);
        let mut known = self.lock();
        let ino = number(&known, &key);
        if let Some(entry) = known.get_mut(&ino) {
            entry.lookups += 1;
            let inode = entry.inode.clone();
            // The same thing, perhaps better known by now (a time, a size).
            let old = std::mem::replace(&mut *inode.node.lock().unwrap_or_else(PoisonError::into_inner), node);
            // Dropping nodes of the tree may take long: not under the lock.
            drop(known);
            drop(old);
            return inode;
        }
        let inode = Arc::new(Inode {
            ino,
            parent: Some(parent.clone()),
            name: name.into(),
            identity: key.identity,
            kind: key.kind,
            is_shared: key.is_shared(),
            node: Mutex::new(node),
            opens: Mutex::default(),
        });
        known.insert(ino, Known { inode: inode.clone(), lookups: 1 });
        inode
    }

    /// The number that [`Inodes::intern`] would give, without counting anything.
    pub(super) fn peek(&self, parent: &Inode, name: &OsStr, node: &Node) -> u64 {
        let key = Key::new(parent.ino, name, node);
        number(&self.lock(), &key)
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a node: its hash, or the next number that is free if another node has that one.
fn number(known: &BTreeMap<u64, Known>, key: &Key<'_>) -> u64 {
    let mut ino = hash(key);
    loop {
        match known.get(&ino) {
            _ if ino <= ROOT => ino = ROOT + 1,
            Some(Known { inode, .. }) if !key.is_of(inode) => ino = (ino + 1) & MASK,
            _ => return ino,
        }
    }
}

/// Numbers stay positive for programs that take them for signed.
const MASK: u64 = u64::MAX >> 1;

/// Cryptographic, because names come from remotes: nobody shall make the table probe for ever.
fn hash(key: &Key<'_>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.parent.to_le_bytes());
    hasher.update(&key.identity.to_le_bytes());
    hasher.update(&[key.kind as u8]);
    hasher.update(key.name.as_bytes());
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
    fn hard_links_are_one_inode_and_nothing_else_is() {
        let inodes = Inodes::new(link(0));
        let of = |nlink: u32, identity: u64| {
            let attr = Attr { identity, nlink, ..Attr::link(OsStr::new("x")) };
            Node::from(Link { target: "x".into(), attr, xattrs: Xattrs::default() })
        };
        let dir = inodes.intern(&inodes.root, OsStr::new("dir"), link(3));
        let one = inodes.intern(&inodes.root, OsStr::new("one"), of(2, 9));
        let two = inodes.intern(&dir, OsStr::new("two"), of(2, 9));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(inodes.peek(&dir, OsStr::new("three"), &of(3, 9)), one.ino);
        for (name, node) in [("one", of(1, 9)), ("one", of(2, 8)), ("", of(1, 9))] {
            assert_ne!(inodes.intern(&inodes.root, OsStr::new(name), node).ino, one.ino, "{name}");
        }
        // Forgotten by as many lookups as both names had.
        inodes.forget(one.ino, 1);
        assert!(inodes.get(one.ino).is_ok());
        inodes.forget(one.ino, 1);
        assert!(inodes.get(one.ino).is_err());
    }

    #[test]
    fn an_inode_is_small() {
        assert!(size_of::<Inode>() <= 112, "{}", size_of::<Inode>());
        assert!(size_of::<Node>() <= 24 && size_of::<Known>() <= 16);
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
