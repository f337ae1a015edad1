//! A small tree with everything that a mount has to cope with: what is quick, slow, wrong, huge, moving, and what
//! never answers. It counts what is asked of it, and tells in `.regfs/calls`.

use crate::trees;
use regfs::error::{Error, Kind, Result};
use regfs::read_at::ReadAt;
use regfs::tree::{Attr, Dir, Entry, FOREVER, File, Handle, Link, Node, Xattrs, not_found};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// The remote that never answers.
pub const DEAD: &str = "dead.example.com";
/// The length of `big`: not a multiple of anything.
pub const BIG: usize = (5 << 20) + 123;
/// The entries of `many`.
pub const MANY: usize = 10_000;
/// When `dated` was last changed, in seconds.
pub const DATE: u64 = 1_700_000_000;

/// A byte of `big` and `backed` at this offset.
pub fn byte(offset: usize) -> u8 {
    (offset.wrapping_mul(2_654_435_761) >> 13) as u8
}

/// The bytes of `big` and `backed`.
pub fn big() -> Vec<u8> {
    (0..BIG).map(byte).collect()
}

/// What all nodes share.
#[derive(Default)]
pub struct Shared {
    calls: Mutex<BTreeMap<String, u64>>,
    generation: AtomicU64,
}

impl Shared {
    fn count(&self, call: &str) {
        *self.calls.lock().expect("lock").entry(call.to_owned()).or_default() += 1;
    }
}

/// How a file behaves.
#[derive(Clone)]
pub enum Manner {
    /// Its bytes are in memory.
    Ready,
    /// Its bytes take the way through the pool.
    Waits,
    /// Opening fails.
    RefusesOpen(Kind),
    /// Reading fails.
    RefusesRead(Kind),
    /// Says that it is a byte longer than it is.
    Short,
    /// Opening never ends.
    HangsAtOpen,
    /// Reading never ends.
    HangsAtRead,
    /// Its bytes lie in a plain file, too.
    Backed(Arc<std::fs::File>),
    /// Changes with every open; the length is not known before.
    Live,
}

struct Leaf {
    name: String,
    bytes: Arc<Vec<u8>>,
    manner: Manner,
    lane: &'static str,
    identity: u64,
    ttl: Duration,
    mtime: Option<SystemTime>,
    owner: Option<(u32, u32)>,
    mode: u16,
    shared: Arc<Shared>,
}

impl Leaf {
    fn new(shared: &Arc<Shared>, name: &str, bytes: impl Into<Vec<u8>>, manner: Manner) -> Leaf {
        Leaf {
            name: name.to_owned(),
            bytes: Arc::new(bytes.into()),
            manner,
            lane: "quick.example.com",
            identity: 1,
            ttl: FOREVER,
            mtime: None,
            owner: None,
            mode: 0o444,
            shared: shared.clone(),
        }
    }

    fn node(self) -> Node {
        Node::File(Arc::new(self))
    }
}

fn hang<T>() -> Result<T> {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn failure(kind: Kind, name: &str) -> Error {
    Error::new(kind, format!("{name} is made to fail"))
}

impl File for Leaf {
    fn attr(&self) -> Attr {
        let size = match self.manner {
            Manner::Live => 0,
            Manner::Short => self.bytes.len() as u64 + 1,
            _ => self.bytes.len() as u64,
        };
        let Leaf { mode, mtime, owner, ttl, identity, .. } = *self;
        Attr { mode, mtime, owner, ttl, identity, ..Attr::file(size) }
    }

    fn open(&self) -> Result<Arc<dyn Handle>> {
        self.shared.count(&format!("open {}", self.name));
        let mut bytes = self.bytes.clone();
        match self.manner {
            Manner::RefusesOpen(kind) => return Err(failure(kind, &self.name)),
            Manner::HangsAtOpen => return hang(),
            Manner::Live => {
                let calls = self.shared.calls.lock().expect("lock");
                let text: String = calls.iter().map(|(call, count)| format!("{call}: {count}\n")).collect();
                bytes = Arc::new(text.into_bytes());
            }
            _ => (),
        }
        Ok(Arc::new(OpenLeaf {
            name: self.name.clone(),
            bytes,
            manner: self.manner.clone(),
            shared: self.shared.clone(),
        }))
    }

    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        Ok(vec![("user.oci.digest".into(), b"sha256:00".to_vec()), ("user.long".into(), vec![b'x'; 3000])])
    }

    fn lane(&self) -> &str {
        self.lane
    }

    fn is_ready(&self) -> bool {
        matches!(self.manner, Manner::Ready | Manner::Live)
    }
}

struct OpenLeaf {
    name: String,
    bytes: Arc<Vec<u8>>,
    manner: Manner,
    shared: Arc<Shared>,
}

impl ReadAt for OpenLeaf {
    fn len(&self) -> Result<u64> {
        Ok(self.bytes.as_slice().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.shared.count(&format!("read {}", self.name));
        match self.manner {
            Manner::HangsAtRead => return hang(),
            Manner::RefusesRead(kind) => return Err(failure(kind, &self.name)),
            _ => (),
        }
        // In small pieces, as the contract does not forbid.
        let some = buf.len().min(100_000);
        self.bytes.read_at(&mut buf[..some], offset)
    }

    fn backing(&self) -> Option<Arc<std::fs::File>> {
        match &self.manner {
            Manner::Backed(file) => Some(file.clone()),
            _ => None,
        }
    }
}

impl Handle for OpenLeaf {
    fn is_immutable(&self) -> bool {
        !matches!(self.manner, Manner::Live)
    }

    fn is_ready(&self, _: u64, _: usize) -> bool {
        matches!(self.manner, Manner::Ready | Manner::Live)
    }
}

/// A directory; some names it answers in ways of their own.
struct Branch {
    name: String,
    entries: BTreeMap<OsString, Node>,
    hidden: BTreeMap<OsString, Node>,
    lane: &'static str,
    negative: Duration,
    shared: Arc<Shared>,
}

impl Branch {
    fn new(shared: &Arc<Shared>, name: &str, entries: Vec<(&str, Node)>) -> Branch {
        Branch {
            name: name.to_owned(),
            entries: entries.into_iter().map(|(name, node)| (name.into(), node)).collect(),
            hidden: BTreeMap::new(),
            lane: "quick.example.com",
            negative: Duration::ZERO,
            shared: shared.clone(),
        }
    }

    fn node(self) -> Node {
        Node::Dir(Arc::new(self))
    }
}

impl Dir for Branch {
    fn attr(&self) -> Attr {
        Attr { ttl: FOREVER, identity: 1, ..Attr::dir() }
    }

    fn list(&self) -> Result<Vec<Entry>> {
        self.shared.count(&format!("list {}", self.name));
        let entry = |(name, node): (&OsString, &Node)| Entry { name: name.clone(), node: node.clone() };
        Ok(self.entries.iter().map(entry).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let text = name.to_string_lossy();
        self.shared.count(&format!("lookup {text}"));
        match &*text {
            "never" => return hang(),
            "denied" => return Err(failure(Kind::Denied, "denied")),
            // Looking it up moves the tag.
            "move" => {
                self.shared.generation.fetch_add(1, Ordering::SeqCst);
            }
            "tag" => {
                let generation = self.shared.generation.load(Ordering::SeqCst);
                let mut leaf = Leaf::new(&self.shared, "tag", format!("generation {generation}\n"), Manner::Waits);
                leaf.identity = generation;
                leaf.ttl = Duration::ZERO;
                return Ok(leaf.node());
            }
            _ => (),
        }
        self.entries.get(name).or(self.hidden.get(name)).cloned().ok_or_else(|| not_found(name))
    }

    fn negative_ttl(&self) -> Duration {
        self.negative
    }

    fn is_ready(&self, name: &OsStr) -> bool {
        self.hidden.contains_key(name) || name == "cached"
    }

    fn lane(&self) -> &str {
        self.lane
    }
}

/// The whole tree; `backing` is a plain file that holds [`big`].
pub fn root(backing: std::fs::File) -> Arc<dyn Dir> {
    let shared = Arc::new(Shared::default());
    let leaf = |name: &str, bytes: &[u8], manner: Manner| Leaf::new(&shared, name, bytes, manner);
    let dead = |mut leaf: Leaf| {
        leaf.lane = DEAD;
        leaf.node()
    };

    let many = (0..MANY).map(|n| (format!("f{n:05}"), leaf("many", b"x", Manner::Ready).node()));
    let mut many_branch = Branch::new(&shared, "many", Vec::new());
    many_branch.entries = many.map(|(name, node)| (name.into(), node)).collect();

    let stuck = (0..200).map(|n| (format!("r{n}"), dead(leaf("stuck", &[b'x'; 8192], Manner::HangsAtRead))));
    let mut hanging = Branch::new(&shared, "dead", Vec::new());
    hanging.entries = stuck.map(|(name, node)| (name.into(), node)).collect();
    hanging.entries.insert("cached".into(), dead(leaf("cached", b"at hand\n", Manner::Ready)));
    hanging.entries.insert("open".into(), dead(leaf("open", b"x", Manner::HangsAtOpen)));
    hanging.lane = DEAD;

    let faulty = vec![
        ("corrupt", leaf("corrupt", b"x", Manner::RefusesRead(Kind::Corrupt)).node()),
        ("short", leaf("short", b"0123456789", Manner::Short).node()),
        ("timeout", leaf("timeout", b"x", Manner::RefusesOpen(Kind::Timeout)).node()),
    ];
    let mut dated = leaf("dated", b"", Manner::Ready);
    dated.mtime = Some(SystemTime::UNIX_EPOCH + Duration::new(DATE, 123_456_789));
    let mut owned = leaf("owned", b"x", Manner::Ready);
    owned.owner = Some((12, 34));
    let target = OsString::from("small");
    let attr = Attr { ttl: FOREVER, identity: 1, ..Attr::link(&target) };

    let mut root = Branch::new(
        &shared,
        "root",
        vec![
            ("small", leaf("small", b"hello\n", Manner::Ready).node()),
            ("big", leaf("big", &big(), Manner::Waits).node()),
            ("backed", leaf("backed", &big(), Manner::Backed(Arc::new(backing))).node()),
            ("dated", dated.node()),
            ("owned", owned.node()),
            ("link", Link { target, attr, xattrs: Xattrs::default() }.into()),
            ("many", many_branch.node()),
            ("dead", hanging.node()),
            ("faulty", Branch::new(&shared, "faulty", faulty).node()),
            ("a b\nc", leaf("odd", b"odd", Manner::Ready).node()),
        ],
    );
    root.negative = Duration::from_secs(60);
    let mut calls = leaf("calls", b"", Manner::Live);
    calls.ttl = Duration::ZERO;
    calls.lane = "";
    let mut control = Branch::new(&shared, "control", Vec::new());
    control.hidden.insert("calls".into(), calls.node());
    control.lane = "";
    root.hidden.insert(".regfs".into(), control.node());
    root.hidden.insert("image".into(), trees::image());
    root.hidden.insert("crowd".into(), trees::crowd());
    Arc::new(root)
}
