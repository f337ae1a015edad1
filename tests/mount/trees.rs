//! Two trees of the scene: one with everything that a root filesystem may hold, and one of very many files.

use regfs::error::{Error, Kind, Result};
use regfs::read_at::ReadAt;
use regfs::tree::{Attr, Dir, Entry, FOREVER, File, Handle, Link, Node, Special, SpecialKind, Xattrs, not_found};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// When everything in the image was last changed, in seconds.
pub const IMAGE_DATE: u64 = 1_600_000_000;
/// The owner and the group of most of the image.
pub const OWNER: (u32, u32) = (1234, 4321);
/// The length of the sparse file: two pages at its ends are data.
pub const SPARSE: usize = 1 << 20;
/// The capabilities of `ping`, as they are stored (cap_net_raw=ep).
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The directories of the crowd, and the files in each of them.
pub const CROWD: usize = 1000;
/// The names of its directory `wide`.
pub const WIDE: usize = 200_000;

/// The bytes of the sparse file.
pub fn sparse() -> Vec<u8> {
    let mut bytes = vec![0; SPARSE];
    bytes[..4096].fill(b'a');
    bytes[SPARSE - 4096..].fill(b'z');
    bytes
}

/// A file or a directory of the image.
struct Member {
    attr: Attr,
    xattrs: Xattrs,
    bytes: Arc<Vec<u8>>,
    entries: BTreeMap<OsString, Node>,
}

struct Opened(Arc<Vec<u8>>);

impl ReadAt for Opened {
    fn len(&self) -> Result<u64> {
        Ok(self.0.as_slice().len() as u64)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(buf, offset)
    }
}

impl Handle for Opened {
    fn is_ready(&self, _: u64, _: usize) -> bool {
        true
    }
}

impl File for Member {
    fn attr(&self) -> Attr {
        self.attr.clone()
    }
    fn open(&self) -> Result<Arc<dyn Handle>> {
        Ok(Arc::new(Opened(self.bytes.clone())))
    }
    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        Ok(self.xattrs.to_vec())
    }
}

impl Dir for Member {
    fn attr(&self) -> Attr {
        self.attr.clone()
    }
    fn list(&self) -> Result<Vec<Entry>> {
        let entry = |(name, node): (&OsString, &Node)| Entry { name: name.clone(), node: node.clone() };
        Ok(self.entries.iter().map(entry).collect())
    }
    fn lookup(&self, name: &OsStr) -> Result<Node> {
        self.entries.get(name).cloned().ok_or_else(|| not_found(name))
    }
    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        Ok(self.xattrs.to_vec())
    }
}

/// What every member has, with an identity of its own.
fn dressed(mode: u16, plain: Attr) -> Attr {
    static LAST: AtomicU64 = AtomicU64::new(1);
    let mtime = Some(SystemTime::UNIX_EPOCH + Duration::new(IMAGE_DATE, 5));
    let identity = LAST.fetch_add(1, Ordering::Relaxed);
    Attr { mode, mtime, owner: Some(OWNER), ttl: FOREVER, identity, ..plain }
}

fn file(mode: u16, bytes: &[u8], change: impl FnOnce(&mut Attr, &mut Xattrs)) -> Node {
    let mut attr = dressed(mode, Attr::file(bytes.len() as u64));
    let mut xattrs = Xattrs::default();
    change(&mut attr, &mut xattrs);
    Node::File(Arc::new(Member { attr, xattrs, bytes: Arc::new(bytes.to_vec()), entries: BTreeMap::new() }))
}

fn dir(mode: u16, entries: Vec<(&str, Node)>) -> Node {
    let entries = entries.into_iter().map(|(name, node)| (name.into(), node)).collect();
    let xattrs: Xattrs = [("user.kind".into(), b"directory".to_vec())].into();
    Node::Dir(Arc::new(Member { attr: dressed(mode, Attr::dir()), xattrs, bytes: Arc::default(), entries }))
}

fn special(kind: SpecialKind, device: (u32, u32)) -> Node {
    Special { kind, device, attr: dressed(0o640, Attr::file(0)), xattrs: Xattrs::default() }.into()
}

/// A directory with everything that an image may hold.
pub fn image() -> Node {
    let linked = file(0o644, b"under three names\n", |attr, _| attr.nlink = 3);
    let target = OsString::from("../bin/su");
    let link = Link {
        attr: dressed(0o777, Attr::link(&target)),
        target,
        xattrs: [("security.note".into(), b"of a link".to_vec()), ("trusted.note".into(), b"t".to_vec())].into(),
    };
    let ping = file(0o755, b"#!/bin/sh\n", |_, xattrs| {
        *xattrs = [
            ("security.capability".into(), CAPABILITY.to_vec()),
            ("user.note".into(), b"hello".to_vec()),
            ("trusted.overlay".into(), b"y".to_vec()),
            ("system.odd".into(), b"y".to_vec()),
        ]
        .into();
    });
    let mut su = dressed(0o4755, Attr::file(3));
    su.owner = Some((0, 0));
    let su =
        Member { attr: su, xattrs: Xattrs::default(), bytes: Arc::new(b"su\n".to_vec()), entries: BTreeMap::new() };
    dir(
        0o755,
        vec![
            ("bin", dir(0o755, vec![("su", Node::File(Arc::new(su))), ("ping", ping), ("linked", linked.clone())])),
            (
                "dev",
                dir(
                    0o755,
                    vec![
                        ("null", special(SpecialKind::Char, (1, 3))),
                        ("disk", special(SpecialKind::Block, (0xabc, 0x12345))),
                        ("pipe", special(SpecialKind::Fifo, (0, 0))),
                        ("socket", special(SpecialKind::Socket, (0, 0))),
                    ],
                ),
            ),
            ("etc", dir(0o750, vec![("one", linked.clone()), ("two", linked), ("link", link.into())])),
            ("sparse", file(0o600, &sparse(), |attr, _| attr.stored = Some(8192))),
            ("tmp", dir(0o1777, Vec::new())),
            ("mail", dir(0o2775, Vec::new())),
        ],
    )
}

/// Very many files: `CROWD` directories, and one of `WIDE` names.
pub fn crowd() -> Node {
    Node::Dir(Arc::new(Crowd { level: 0, lists: Arc::default() }))
}

struct Crowd {
    /// 0: the top; 1: a directory of `CROWD` files; 2: `wide`.
    level: u8,
    lists: Arc<AtomicU64>,
}

/// A file of the crowd; as small as one that knows its place in an index can be.
struct One(u32);

impl File for One {
    fn attr(&self) -> Attr {
        Attr { ttl: FOREVER, identity: u64::from(self.0), owner: Some(OWNER), ..Attr::file(1) }
    }
    fn open(&self) -> Result<Arc<dyn Handle>> {
        Err(Error::new(Kind::Unsupported, "nobody reads the crowd"))
    }
}

impl Crowd {
    fn node(&self, n: usize) -> Node {
        match self.level {
            0 => Node::Dir(Arc::new(Crowd { level: 1, lists: self.lists.clone() })),
            _ => Node::File(Arc::new(One(n as u32))),
        }
    }

    fn len(&self) -> usize {
        if self.level == 2 { WIDE } else { CROWD }
    }
}

impl Dir for Crowd {
    fn attr(&self) -> Attr {
        Attr { ttl: FOREVER, ..Attr::dir() }
    }
    fn list(&self) -> Result<Vec<Entry>> {
        if self.level == 2 {
            assert_eq!(self.lists.fetch_add(1, Ordering::Relaxed), 0, "one listing is enough");
        }
        Ok((0..self.len()).map(|n| Entry { name: format!("{n:06}").into(), node: self.node(n) }).collect())
    }
    fn lookup(&self, name: &OsStr) -> Result<Node> {
        if self.level == 0 && name == "wide" {
            return Ok(Node::Dir(Arc::new(Crowd { level: 2, lists: self.lists.clone() })));
        }
        let n: Option<usize> = name.to_str().filter(|name| name.len() == 6).and_then(|name| name.parse().ok());
        n.filter(|n| *n < self.len()).map(|n| self.node(n)).ok_or_else(|| not_found(name))
    }
    fn is_ready(&self, _: &OsStr) -> bool {
        true
    }
}
