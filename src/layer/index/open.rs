//! An index file, mapped and read in place.

use super::facts::{Facts, Point};
use super::format::{CHECK, HEAD, Head, POINT, Section, Sections, is_index};
use super::record::{SIZE, slice, u32_at, u64_at};
use super::tables::Tables;
use super::write::start_check;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::layer::entry::Extent;
use crate::layer::toc::{Attr, Node, Toc};
use memmap2::Mmap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes read at once while checking: what the second cache level holds.
const BUFFER: usize = 1 << 18;

/// A layer's finished table in a file, with what else is known of the layer. Only the pages that are asked of are in
/// memory, and the kernel may take them back.
pub struct Index {
    map: Mmap,
    facts: Facts,
    dropped: u64,
    sections: Sections,
}

impl Index {
    /// Opens the index of `layer`, reading all of it once to check it. `Corrupt` if it is damaged or another layer's,
    /// `Unsupported` if another version wrote it: either way it is to be made anew.
    pub fn open(file: File, layer: &Digest) -> Result<Index> {
        let failed = |error| Error::io("open index", error);
        let damaged = |what: &str| Error::new(Kind::Corrupt, format!("index is damaged: {what}"));
        let len = file.metadata().map_err(failed)?.len();
        if len < HEAD as u64 {
            return Err(damaged("it is cut off"));
        }
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).map_err(failed)?;
        if !is_index(&head) {
            return Err(damaged("its head"));
        }
        check(&file, &head, len)?;
        let Head { facts, dropped, sections } = Head::decode(&head, len)?;
        if facts.layer != *layer {
            return Err(damaged(&format!("it is of layer {}", facts.layer)));
        }
        // SAFETY: a map of a file is sound while nobody changes or cuts the file. Index files are private to this user
        // (0600 in a directory that is 0700), are written once, before they have their name, and then only unlinked,
        // which leaves the map as it is. What the bytes say is checked wherever it is used.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        if map.len() as u64 != len {
            return Err(damaged("its length changes"));
        }
        Ok(Index { map, facts, dropped, sections })
    }

    /// What is known of the layer as a whole.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Members of the layer that no extraction makes, and that are not in the table.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many nodes there are, those counted that lost their names while the layer was read.
    pub fn nodes(&self) -> usize {
        self.section(Section::Nodes).len() / SIZE
    }

    /// How many points there are.
    pub fn points(&self) -> usize {
        self.section(Section::Points).len() / POINT
    }

    /// A point, in the order of their outputs. `Invalid` past the last.
    pub fn point(&self, n: usize) -> Result<Point<'_>> {
        let bytes = n
            .checked_mul(POINT)
            .and_then(|at| slice(self.section(Section::Points), at, POINT))
            .ok_or_else(|| Error::new(Kind::Invalid, format!("there is no point {n} in the index")))?;
        self.decode(bytes).ok_or_else(|| Error::new(Kind::Corrupt, format!("index is damaged: point {n}")))
    }

    /// The last point at or before an offset in the archive; `None` if the first is after it.
    pub fn point_at(&self, output: u64) -> Result<Option<usize>> {
        let (mut low, mut high) = (0, self.points());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.point(middle)?.output <= output {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }

    fn decode<'a>(&'a self, bytes: &[u8]) -> Option<Point<'a>> {
        let at = usize::try_from(u64_at(bytes, 16)?).ok()?;
        Some(Point {
            input: u64_at(bytes, 0)?,
            output: u64_at(bytes, 8)?,
            window: slice(self.section(Section::Windows), at, u32_at(bytes, 24)? as usize)?,
            bits: *bytes.get(28)?,
            check: *bytes.get(32..)?.first_chunk()?,
        })
    }

    fn section(&self, section: Section) -> &[u8] {
        let span = &self.sections[section as usize];
        // The head was checked against the length, which fits an address, since the map does.
        self.map.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn tables(&self) -> Tables<'_> {
        Tables {
            nodes: self.section(Section::Nodes),
            dirents: self.section(Section::Dirents),
            names: self.section(Section::Names),
            targets: self.section(Section::Targets),
            xattrs: self.section(Section::Xattrs),
            extents: self.section(Section::Extents),
        }
    }
}

/// Reads the file, not the map: pages of a map that were touched count as this process's memory.
fn check(file: &File, head: &[u8; HEAD], len: u64) -> Result<()> {
    let mut hasher = start_check(head);
    let mut buffer = vec![0; BUFFER];
    let mut at = HEAD as u64;
    while at < len {
        let want = (len - at).min(BUFFER as u64) as usize;
        file.read_exact_at(&mut buffer[..want], at).map_err(|error| Error::io("check index", error))?;
        hasher.update(&buffer[..want]);
        at += want as u64;
    }
    if hasher.finalize().as_bytes()[..] != head[CHECK] {
        return Err(Error::new(Kind::Corrupt, "index is damaged: its check does not hold"));
    }
    Ok(())
}

impl Toc for Index {
    fn is_complete(&self) -> bool {
        true
    }

    fn attr(&self, node: Node) -> Result<Attr> {
        self.tables().attr(node)
    }

    fn lookup(&self, dir: Node, name: &[u8]) -> Result<Option<Node>> {
        self.tables().lookup(dir, name)
    }

    fn list(&self, dir: Node, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Node)>> {
        self.tables().list(dir, after, limit)
    }

    fn target(&self, node: Node) -> Result<Vec<u8>> {
        self.tables().target(node)
    }

    fn extents(&self, node: Node) -> Result<Vec<Extent>> {
        self.tables().extents(node)
    }

    fn xattrs(&self, node: Node) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.tables().xattrs(node)
    }
}
