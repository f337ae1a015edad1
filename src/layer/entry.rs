//! What an archive tells of one file, whatever the archive's format: the words that readers and indexes share.

/// One member of an archive, as its header says; nothing of it is checked against other members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as it is in the archive: any bytes, not normalised.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of its content.
    pub mtime: Time,
    /// Length in bytes as `stat` tells it; 0 for anything but files.
    pub size: u64,
    /// Where the content is, ascending in both senses; what no extent covers reads as zeros.
    pub extents: Vec<Extent>,
    /// What a symbolic link says; the path, as in the archive, that a hard link is another name of.
    pub target: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, names without a prefix of the format.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Another name of a member before it, or of a file of a layer below.
    Hardlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// A piece of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it is in the file.
    pub at: u64,
    /// Where its bytes are in the archive (uncompressed).
    pub offset: u64,
    /// How many bytes it is; not 0.
    pub len: u64,
}

/// A point in time: seconds since the epoch, rounded down, and nanoseconds after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since the epoch, negative before it.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}
