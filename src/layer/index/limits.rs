//! What a layer may make its table grow to.

/// Over one of these a layer is `TooBig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members of a layer; and files in it, directories that members imply counted.
    pub entries: u64,
    /// Bytes of names, each counted once, with one more for each.
    pub name_bytes: usize,
    /// Bytes of link targets, each counted once.
    pub target_bytes: usize,
    /// Bytes of extended attributes, equal sets counted once.
    pub xattr_bytes: usize,
    /// Pieces of sparse files, one more for each such file.
    pub extents: usize,
}

/// What real layers stay far below; bytes and extents have to be told in 32 bits.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 10_000_000,
            name_bytes: 1 << 30,
            target_bytes: 1 << 30,
            xattr_bytes: 1 << 28,
            extents: 1 << 24,
        }
    }
}

/// Extended attributes of one file; with more of them a layer is `TooBig`.
pub const XATTRS: usize = 1024;
/// The longest value of an extended attribute, as Linux has it; longer ones are left out.
pub const XATTR: usize = 65_536;
/// The longest target of a symbolic link, as Linux has it; with a longer one the member is dropped.
pub const TARGET: usize = 4095;
/// Symbolic links followed in the parents of one member, as Linux has it; over it the member is dropped.
pub const LINKS: usize = 40;
/// Components walked through links in the parents of one member; over it the member is dropped.
pub const STEPS: usize = 8192;
