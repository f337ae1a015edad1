//! Names and what stands behind them: the tree that every frontend shows.
//!
//! A frontend walks [`Node`]s and replies; it knows nothing of registries. Everything here may block on a remote
//! unless it says otherwise.
//!
//! A lookup goes from `registry` (namespaces) to `repository` (tags, manifests, blobs) to `image` (one manifest as an
//! image layout) to `content` (files over the store). What they ask for goes through `metadata`, which keeps each fact
//! in `cached` for its time, manifests as a `snapshot`, and in `known` what outlives the mount. Directories below a tag
//! follow it; files are what it named when they were looked up, and have an identity of their own for each digest.

mod cached;
mod content;
pub mod control;
pub mod hosts;
mod image;
mod index;
mod known;
mod layers;
mod metadata;
mod pulse;
pub mod registry;
mod repository;
mod rootfs;
mod snapshot;
mod times;
pub mod walk;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::Platform;
use crate::read_at::ReadAt;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How a tree behaves; the same for every registry of a mount.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long tags and listings are relied on (`--metadata-ttl`).
    pub metadata_ttl: Duration,
    /// Whose image `config.json` and `layers/` of an index are (`--platform`).
    pub platform: Platform,
    /// What stands between algorithm and value of a digest in listings; both are accepted.
    pub digest_separator: char,
    /// No remote is asked for anything that is not content: what is remembered is all there is.
    pub offline: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            metadata_ttl: Duration::from_secs(60),
            platform: Platform::host(),
            digest_separator: ':',
            offline: false,
        }
    }
}

/// What a name stands for.
#[derive(Clone)]
pub enum Node {
    /// A directory.
    Dir(Arc<dyn Dir>),
    /// A regular file.
    File(Arc<dyn File>),
    /// A symbolic link.
    Link(Arc<Link>),
    /// A device, a pipe or a socket: shown, never opened.
    Special(Arc<Special>),
}

/// Extended attributes: names in full (`user.oci.digest`), values.
pub type Xattrs = Arc<[(OsString, Vec<u8>)]>;

/// A symbolic link: where it points, and its attributes.
#[derive(Clone, Debug)]
pub struct Link {
    /// The target, relative to the directory that holds the link.
    pub target: OsString,
    /// The attributes; `size` is the target's length.
    pub attr: Attr,
    /// The extended attributes.
    pub xattrs: Xattrs,
}

/// What is neither directory, file nor link.
#[derive(Clone, Debug)]
pub struct Special {
    /// What it is.
    pub kind: SpecialKind,
    /// Major and minor number, of devices.
    pub device: (u32, u32),
    /// The attributes.
    pub attr: Attr,
    /// The extended attributes.
    pub xattrs: Xattrs,
}

/// The kinds of [`Special`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// What stat(2) tells. Owner and write bits are the frontend's to decide where `owner` is `None`.
///
/// Begun from [`Attr::dir`], [`Attr::file`] or [`Attr::link`]: `Attr { mtime, ..Attr::file(size) }`.
#[derive(Clone, Debug)]
pub struct Attr {
    /// Permission bits, at most 0o7777: 0o555 of directories and 0o444 of files that have none of their own.
    pub mode: u16,
    /// The length in bytes.
    pub size: u64,
    /// The bytes of it that take room, where that is not `size`: a sparse file's data.
    pub stored: Option<u64>,
    /// How many names it has; 1 for directories, whatever is in them. All names of what has several must be nodes of
    /// one kind and `identity`, and they are one inode wherever in the mount they are found.
    pub nlink: u32,
    /// The modification time, once known; the epoch is shown before.
    pub mtime: Option<SystemTime>,
    /// Owner and group, where the content itself has them.
    pub owner: Option<(u32, u32)>,
    /// How long a frontend may rely on the name still standing for this node, and on these attributes.
    pub ttl: Duration,
    /// Two nodes of one path with different identities are different inodes: a moved tag's files are not the old ones.
    /// Where `nlink` is above 1, it alone tells one inode from any other of the whole mount: a hash of all that does.
    pub identity: u64,
}

impl Attr {
    /// Those of a directory without a time or an owner, not to be relied on for any time.
    pub fn dir() -> Attr {
        Attr::new(0o555, 0)
    }

    /// Likewise, of a file of `size` bytes.
    pub fn file(size: u64) -> Attr {
        Attr::new(0o444, size)
    }

    /// Likewise, of a symbolic link to `target`.
    pub fn link(target: &OsStr) -> Attr {
        Attr::new(0o777, target.len() as u64)
    }

    fn new(mode: u16, size: u64) -> Attr {
        Attr { mode, size, stored: None, nlink: 1, mtime: None, owner: None, ttl: Duration::ZERO, identity: 0 }
    }
}

/// For what a digest names: it cannot change.
pub const FOREVER: Duration = Duration::from_secs(1 << 31);

/// One name of a directory.
#[derive(Clone)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// What it stands for. Its attributes are at hand: making them costs no request.
    pub node: Node,
}

/// A directory.
pub trait Dir: Send + Sync {
    /// The attributes, from what is known: asks no remote.
    fn attr(&self) -> Attr;

    /// Every entry, without `.` and `..`, sorted. A name that is not listed may still be found by [`Dir::lookup`].
    fn list(&self) -> Result<Vec<Entry>>;

    /// What `name` stands for; `NotFound` if nothing does.
    fn lookup(&self, name: &OsStr) -> Result<Node>;

    /// Whether [`Dir::lookup`] of `name` would be answered from memory, without waiting for disk or remote.
    fn is_ready(&self, _name: &OsStr) -> bool {
        false
    }

    /// How long a frontend may rely on a name not being there after a lookup that failed with `NotFound`.
    fn negative_ttl(&self) -> Duration {
        Duration::ZERO
    }

    /// The extended attributes that are known: names in full (`user.oci.digest`), values. Asks no remote.
    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        Ok(Vec::new())
    }

    /// The value of one extended attribute. May ask the remote for a name of its own (`user.oci.…`), for no other.
    fn xattr(&self, name: &OsStr) -> Result<Option<Vec<u8>>> {
        Ok(pick(self.xattrs()?, name))
    }

    /// Forgets everything that is not named by a digest, so that the remote is asked anew.
    fn refresh(&self) {}

    /// Whether it shows in another form what other names beside it hold: commands that go through a directory above it
    /// (`cp -r`, `tree`) name it and leave it out.
    fn is_view(&self) -> bool {
        false
    }

    /// Which remote a call here may wait for; frontends bound what waits per lane. Empty: none.
    fn lane(&self) -> &str {
        ""
    }
}

/// A regular file.
pub trait File: Send + Sync {
    /// The attributes, from what is known: asks no remote.
    fn attr(&self) -> Attr;

    /// Opens it for reading. What is opened stays what it is, whatever its name comes to stand for.
    fn open(&self) -> Result<Arc<dyn Handle>>;

    /// Whether [`File::open`] would be answered from memory, without waiting for disk or remote.
    fn is_ready(&self) -> bool {
        false
    }

    /// The digest of its content, if it has one.
    fn digest(&self) -> Option<Digest> {
        None
    }

    /// The digest of the blob that its bytes are taken from: what frontends drop if that turns out wrong.
    fn blob(&self) -> Option<Digest> {
        self.digest()
    }

    /// The extended attributes. Asks no remote.
    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        Ok(Vec::new())
    }

    /// Which remote a call here may wait for. Empty: none.
    fn lane(&self) -> &str {
        ""
    }
}

/// An open file.
pub trait Handle: ReadAt {
    /// Whether the bytes never change while the identity stays, so that the kernel may keep them.
    fn is_immutable(&self) -> bool {
        true
    }

    /// Whether reading `len` bytes at `offset` would be answered without waiting for disk or remote.
    fn is_ready(&self, _offset: u64, _len: usize) -> bool {
        false
    }
}

impl Node {
    /// The attributes, at no cost.
    pub fn attr(&self) -> Attr {
        match self {
            Node::Dir(dir) => dir.attr(),
            Node::File(file) => file.attr(),
            Node::Link(link) => link.attr.clone(),
            Node::Special(special) => special.attr.clone(),
        }
    }

    /// The extended attributes that are known. Asks no remote.
    pub fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        match self {
            Node::Dir(dir) => dir.xattrs(),
            Node::File(file) => file.xattrs(),
            Node::Link(link) => Ok(link.xattrs.to_vec()),
            Node::Special(special) => Ok(special.xattrs.to_vec()),
        }
    }

    /// The value of one extended attribute; of a directory it may have to be asked for.
    pub fn xattr(&self, name: &OsStr) -> Result<Option<Vec<u8>>> {
        match self {
            Node::Dir(dir) => dir.xattr(name),
            Node::File(file) => Ok(pick(file.xattrs()?, name)),
            Node::Link(_) | Node::Special(_) => Ok(pick(self.xattrs()?, name)),
        }
    }

    /// Which remote a call on it may wait for.
    pub fn lane(&self) -> &str {
        match self {
            Node::Dir(dir) => dir.lane(),
            Node::File(file) => file.lane(),
            Node::Link(_) | Node::Special(_) => "",
        }
    }
}

impl From<Link> for Node {
    fn from(link: Link) -> Node {
        Node::Link(Arc::new(link))
    }
}

impl From<Special> for Node {
    fn from(special: Special) -> Node {
        Node::Special(Arc::new(special))
    }
}

fn pick(xattrs: Vec<(OsString, Vec<u8>)>, name: &OsStr) -> Option<Vec<u8>> {
    xattrs.into_iter().find_map(|(own, value)| (own == name).then_some(value))
}

/// The failure of a lookup that found nothing.
pub fn not_found(name: &OsStr) -> Error {
    Error::new(Kind::NotFound, format!("no such name: \"{}\"", crate::name::terminal(name)))
}
