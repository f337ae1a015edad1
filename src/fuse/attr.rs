//! What stat(2) shows of a node: the tree's attributes, with owner and permissions as the mount's options say.

use crate::tree::{Attr, FOREVER, Node, SpecialKind};
use fuser::{FileAttr, FileType, INodeNo};
use std::time::{Duration, SystemTime};

/// How long the kernel keeps what may change, at most: the tree answers it from memory after that, so that a refresh
/// of the tree (SIGHUP) shows at once. It is libfuse's `entry_timeout`, too.
pub(super) const MAX_TTL: Duration = Duration::from_secs(1);

/// What is at least this long-lived is immutable to us.
const IMMUTABLE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Who owns what is shown, and what of its permissions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The mounting user.
    pub(super) user: (u32, u32),
    /// The owner that options ask for, over any that the content has.
    pub(super) uid: Option<u32>,
    /// The group, likewise.
    pub(super) gid: Option<u32>,
    /// Permission bits that are never shown.
    pub(super) umask: u16,
}

/// How long the kernel may keep what holds for `ttl`.
pub(super) fn ttl(ttl: Duration) -> Duration {
    if ttl >= IMMUTABLE_TTL { ttl.min(FOREVER) } else { ttl.min(MAX_TTL) }
}

/// The kind of a node in the kernel's words.
pub(super) fn kind(node: &Node) -> FileType {
    match node {
        Node::Dir(_) => FileType::Directory,
        Node::File(_) => FileType::RegularFile,
        Node::Link(_) => FileType::Symlink,
        Node::Special(special) => match special.kind {
            SpecialKind::Char => FileType::CharDevice,
            SpecialKind::Block => FileType::BlockDevice,
            SpecialKind::Fifo => FileType::NamedPipe,
            SpecialKind::Socket => FileType::Socket,
        },
    }
}

/// Major and minor number as the kernel's protocol has them: 12 and 20 bits, which are all that Linux has.
fn rdev(node: &Node) -> u32 {
    match node {
        Node::Special(special) => {
            let (major, minor) = special.device;
            (major & 0xfff) << 8 | minor & 0xff | (minor & 0xfff00) << 12
        }
        _ => 0,
    }
}

impl Look {
    /// The attributes of `node` under the number `ino`, and how long they hold.
    pub(super) fn show(&self, ino: u64, node: &Node) -> (FileAttr, Duration) {
        let attr = node.attr();
        (FileAttr { rdev: rdev(node), ..self.file_attr(ino, kind(node), &attr) }, ttl(attr.ttl))
    }

    fn file_attr(&self, ino: u64, kind: FileType, attr: &Attr) -> FileAttr {
        // A link's target lies in its inode, as on any file system.
        let stored = attr.stored.unwrap_or(if kind == FileType::Symlink { 0 } else { attr.size });
        let time = attr.mtime.unwrap_or(SystemTime::UNIX_EPOCH);
        let (uid, gid) = attr.owner.unwrap_or(self.user);
        FileAttr {
            ino: INodeNo(ino),
            size: attr.size,
            blocks: stored.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            // The permissions of a symbolic link mean nothing; everybody shows them as 0777.
            perm: if kind == FileType::Symlink { 0o777 } else { attr.mode & 0o7777 & !self.umask },
            // Directories do not count their children, which would cost a listing: 1 tells find(1) so.
            nlink: if kind == FileType::Directory { 1 } else { attr.nlink.max(1) },
            uid: self.uid.unwrap_or(uid),
            gid: self.gid.unwrap_or(gid),
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }
}

/// The unit in which programs should read (`st_blksize`): one request of a readahead of the usual size.
const BLOCK_SIZE: u32 = 128 << 10;

/// What a lookup answers to say "not there" in a way that the kernel keeps: number 0, nothing else matters.
pub(super) fn nothing() -> FileAttr {
    let epoch = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        crtime: epoch,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Special;

    fn attr(size: u64, owner: Option<(u32, u32)>) -> Attr {
        Attr { owner, ttl: FOREVER, ..Attr::file(size) }
    }

    #[test]
    fn options_decide_owner_and_permissions() {
        let mut look = Look { user: (1000, 100), uid: None, gid: None, umask: 0o077 };
        let shown = look.file_attr(5, FileType::RegularFile, &attr(513, None));
        assert_eq!((shown.uid, shown.gid, shown.perm, shown.blocks), (1000, 100, 0o400, 2));
        let shown = look.file_attr(5, FileType::RegularFile, &attr(0, Some((1, 2))));
        assert_eq!((shown.uid, shown.gid, shown.blocks), (1, 2, 0));
        look.uid = Some(7);
        let shown = look.file_attr(5, FileType::RegularFile, &attr(0, Some((1, 2))));
        assert_eq!((shown.uid, shown.gid), (7, 2));
    }

    #[test]
    fn devices_are_numbered_as_the_kernel_does() {
        for (major, minor) in [(1, 3), (0xabc, 0x12345), (0, 0), (0xfff, 0xfffff)] {
            let attr = Attr::file(0);
            let special =
                Special { kind: SpecialKind::Block, device: (major, minor), attr, xattrs: Default::default() };
            let node = Node::from(special);
            assert_eq!(u64::from(rdev(&node)), libc::makedev(major, minor) & 0xffff_ffff);
            let look = Look { user: (0, 0), uid: None, gid: None, umask: 0 };
            assert_eq!(look.show(7, &node).0.rdev, rdev(&node));
        }
    }

    #[test]
    fn what_may_change_is_kept_briefly() {
        assert_eq!(ttl(FOREVER), FOREVER);
        assert_eq!(ttl(Duration::from_secs(60)), MAX_TTL);
        assert_eq!(ttl(Duration::ZERO), Duration::ZERO);
    }
}
