//! A layer's table of contents, finished or growing: what merging and the tree ask of it.

use super::entry::{Extent, Kind, Time};
use crate::error::Result;

/// A file of one layer: its number in the layer's index. The root is [`Node::ROOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub u32);

impl Node {
    /// The root directory of every layer.
    pub const ROOT: Node = Node(0);
}

/// What `stat` needs of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// What it is. `Kind::Hardlink` is a link whose target is not in this layer.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change.
    pub mtime: Time,
    /// Length in bytes; of a symbolic link that of its target.
    pub size: u64,
    /// Bytes that extents cover: what `st_blocks` is made of.
    pub stored: u64,
    /// Names in this layer.
    pub nlink: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Whether the archive had a member for it, or it is there because it is the parent of one.
    pub explicit: bool,
}

/// The names and nodes of one layer. Names are single components, whiteouts are names like others. Reading a finished
/// table may touch disk and never a remote. `Corrupt` if the table is damaged.
pub trait Toc: Send + Sync {
    /// Whether the whole layer was read: only then absence means anything, and a listing is whole.
    fn is_complete(&self) -> bool;

    /// The attributes of a node.
    fn attr(&self, node: Node) -> Result<Attr>;

    /// The node of a name in a directory; of anything else than a directory, `None`.
    fn lookup(&self, dir: Node, name: &[u8]) -> Result<Option<Node>>;

    /// The names of a directory from `after` (not included) on, in ascending order of bytes, at most `limit` of them.
    fn list(&self, dir: Node, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Node)>>;

    /// The target of a symbolic link, as the archive says it, or of a hard link out of this layer (normalised).
    fn target(&self, node: Node) -> Result<Vec<u8>>;

    /// Where the content of a file is.
    fn extents(&self, node: Node) -> Result<Vec<Extent>>;

    /// The extended attributes of a node.
    fn xattrs(&self, node: Node) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;
}
