//! From a header and the records before it to an [`Entry`]: whose word counts, and what a kind of member can have.
//!
//! Promises: Go's `archive/tar` decides which size, name and type count; containerd's extraction decides which types
//! there are. Knows nothing of blocks after the header: [`Member::entry`] is told where the data is.

use super::header::{Format, Header};
use super::number::time;
use super::pax::Records;
use super::sparse::{self, Part, Pax};
use crate::error::{Error, Kind, Result};
use crate::layer::entry::{Entry, Extent, Kind as Type, Time};

/// The owner that ids which no kernel can have are shown as: the kernel's own word for them.
const NOBODY: u32 = 65534;

/// What stands before a header and tells of its member.
#[derive(Default)]
pub(super) struct Before {
    /// The records of an `x` header.
    pub(super) records: Records,
    /// GNU's long name.
    pub(super) name: Vec<u8>,
    /// GNU's long link target.
    pub(super) link: Vec<u8>,
}

/// How the data of a member is stored.
pub(super) enum Layout {
    /// As it is.
    Dense,
    /// The parts of a sparse file, known.
    Sparse(Vec<Part>),
    /// The parts are in the header block, and perhaps in blocks after it.
    OldGnu,
    /// The parts are in a text before the data.
    TextMap,
}

/// A member whose headers are read, but for blocks with its sparse map.
pub(super) struct Member {
    entry: Entry,
    /// Length of the data section, which for a sparse file is not its size.
    pub(super) data: u64,
}

impl Member {
    /// Puts together what is said of a member. `real_size` reads the size of an old GNU sparse file out of its header.
    ///
    /// `Corrupt` if a record of it is malformed, `Unsupported` if nobody knows its type.
    pub(super) fn new(
        header: Header,
        before: Before,
        real_size: impl FnOnce() -> Result<i64>,
    ) -> Result<(Member, Layout)> {
        // Checked in the header too, though a record may overrule it.
        data_of(header.flag, header.size)?;
        let records = &before.records;
        let mut path = records.get("path").map_or(header.name, <[u8]>::to_vec);
        let mut target = records.get("linkpath").map_or(header.link, <[u8]>::to_vec);
        if !before.name.is_empty() {
            path = before.name;
        }
        if !before.link.is_empty() {
            target = before.link;
        }
        let flag = match header.flag {
            // Before directories had a type, they had a slash.
            0 if path.ends_with(b"/") => b'5',
            0 => b'0',
            flag => flag,
        };
        let mut size = records.number("size")?.unwrap_or(header.size);
        let data = data_of(flag, size)?;
        let layout = if flag == b'S' {
            if header.format != Format::Gnu {
                return Err(corrupt("a sparse file in a format that has none"));
            }
            size = real_size()?;
            Layout::OldGnu
        } else {
            match sparse::pax(records)? {
                Pax::Dense => Layout::Dense,
                Pax::Listed(parts) => Layout::Sparse(parts),
                Pax::InData => Layout::TextMap,
            }
        };
        if matches!(layout, Layout::Sparse(_) | Layout::TextMap) {
            if is_header_only(flag) {
                return Err(corrupt("a sparse map of what is not a file"));
            }
            if let Some(name) = records.get("GNU.sparse.name") {
                path = name.to_vec();
            }
            let real = records.get("GNU.sparse.size").map_or("GNU.sparse.realsize", |_| "GNU.sparse.size");
            size = records.number(real)?.unwrap_or(size);
        }
        for key in ["atime", "ctime"] {
            time_of(records, key)?;
        }
        let kind = kind_of(flag)?;
        let entry = Entry {
            path,
            kind,
            mode: (header.mode & 0o7777) as u32,
            uid: id(records.number("uid")?.unwrap_or(header.uid)),
            gid: id(records.number("gid")?.unwrap_or(header.gid)),
            mtime: time_of(records, "mtime")?.unwrap_or(Time { secs: header.mtime, nanos: 0 }),
            size: match kind {
                Type::File => u64::try_from(size).map_err(|_| corrupt("the size is negative"))?,
                _ => 0,
            },
            extents: Vec::new(),
            target: if matches!(kind, Type::Symlink | Type::Hardlink) { target } else { Vec::new() },
            // Cut to 32 bits, as extraction does.
            device: match kind {
                Type::Char | Type::Block => (header.device.0 as u32, header.device.1 as u32),
                _ => (0, 0),
            },
            xattrs: records.xattrs(),
        };
        Ok((Member { entry, data }, layout))
    }

    /// The entry of a member whose data is stored as it is at `offset`.
    pub(super) fn dense(mut self, offset: u64) -> Entry {
        if self.data > 0 {
            self.entry.extents = vec![Extent { at: 0, offset, len: self.data }];
        }
        self.entry
    }

    /// The entry of a sparse file whose data, but for `skipped` bytes of map before it, starts at `offset`.
    pub(super) fn sparse(mut self, parts: &[Part], offset: u64, skipped: u64) -> Result<Entry> {
        let stored = self.data.checked_sub(skipped).ok_or_else(|| corrupt("the sparse map is longer than the data"))?;
        self.entry.extents = sparse::extents(parts, self.entry.size, offset, stored)?;
        Ok(self.entry)
    }
}

/// The length of the data section: none behind the types that have no data, whatever their size says.
pub(super) fn data_of(flag: u8, size: i64) -> Result<u64> {
    if is_header_only(flag) {
        return Ok(0);
    }
    u64::try_from(size).map_err(|_| corrupt("the size is negative"))
}

fn is_header_only(flag: u8) -> bool {
    matches!(flag, b'1'..=b'6')
}

/// The kind of a type flag. Others than these make docker and containerd refuse the layer, rather than leave out a
/// file of it.
fn kind_of(flag: u8) -> Result<Type> {
    Ok(match flag {
        b'0' | b'7' | b'S' => Type::File,
        b'1' => Type::Hardlink,
        b'2' => Type::Symlink,
        b'3' => Type::Char,
        b'4' => Type::Block,
        b'5' => Type::Dir,
        b'6' => Type::Fifo,
        flag => {
            let what = format!("members of type '{}' are not handled", flag.escape_ascii());
            return Err(Error::new(Kind::Unsupported, what));
        }
    })
}

/// An id as a kernel can have it. All others are nobody's: cut to 32 bits they might be root's.
fn id(value: i64) -> u32 {
    u32::try_from(value).ok().filter(|id| *id != u32::MAX).unwrap_or(NOBODY)
}

fn time_of(records: &Records, key: &str) -> Result<Option<Time>> {
    let Some(value) = records.get(key) else { return Ok(None) };
    time(value).map(Some).ok_or_else(|| corrupt(&format!("the record {key} is not a time")))
}

fn corrupt(what: &str) -> Error {
    Error::new(Kind::Corrupt, what)
}
