//! Tar archives, read as they stream by: bytes go in, in any pieces, and members come out, with the place of their
//! content.
//!
//! Promises: an archive reads as Go's `archive/tar` reads it, which is what docker and containerd extract with, and
//! what Go refuses is refused: never a wrong member, never one passed over. [`MAX_SPECIAL`] bounds memory, whatever the
//! archive claims. In which pieces the archive comes makes no difference. Where formats leave a choice:
//!
//! - Types 1 to 6 have no content, whatever size their header gives.
//! - A record beats the header, GNU's long name beats the record, the name of a sparse file beats both. Of several
//!   extended headers in a row the last counts.
//! - Global records are checked for their form and count for nothing, and what is pending before them is dropped.
//! - Two zero blocks end the archive, and so does its end where a header may stand or padding is due; one zero block
//!   before anything else is an error. What comes after the end is ignored.
//! - A type that nobody extracts is `Unsupported`. An owner that no kernel can have is shown as nobody (65534).
//!
//! Beyond Go: type 7 is a file, and attributes are also read as libarchive writes them. Paths are handed on as they
//! are; what they mean together is not known here.

#[cfg(test)]
mod check;
#[cfg(test)]
mod craft;
mod header;
mod member;
mod number;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

use crate::error::{Error, Kind, Result};
use crate::layer::entry::Entry;
use header::{BLOCK, Block, Header};
use member::{Before, Layout, Member};
use pax::Records;
use sparse::{Part, TextMap};

/// Bytes that one extended header, one long name or one sparse map may have, as in Go. It bounds names, the attributes
/// of a member and the parts of a sparse file too.
pub const MAX_SPECIAL: usize = 1 << 20;

/// Reads one archive, from its first byte on. Does no I/O; an error is for good.
pub struct Reader {
    position: u64,
    /// The block being gathered, where blocks are expected.
    block: Block,
    filled: usize,
    state: State,
    before: Before,
    failed: Option<Error>,
}

/// What comes next.
enum State {
    /// A header.
    Header,
    /// The second of two zero blocks.
    Zero,
    /// The content of a header that tells of the next one, or of none.
    Special { flag: u8, at: u64, text: Vec<u8>, left: usize },
    /// A block with more of an old GNU sparse map.
    GnuMap { at: u64, member: Member, parts: Vec<Part> },
    /// A block of a sparse map before the data.
    TextMap { at: u64, member: Member, map: TextMap },
    /// Content and what pads it to blocks: both pass by.
    Content { data: u64, padding: u64 },
    /// Nothing that matters.
    End,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader::new()
    }
}

impl Reader {
    /// A reader that expects the first byte of an archive.
    pub fn new() -> Reader {
        Reader {
            position: 0,
            block: [0; BLOCK],
            filled: 0,
            state: State::Header,
            before: Before::default(),
            failed: None,
        }
    }

    /// Takes the next bytes of the archive, in any pieces, and calls `found` with each member once its headers and
    /// sparse map are whole: before its content. Offsets of extents are in the archive.
    ///
    /// `Corrupt` if the archive is malformed, `TooBig` over [`MAX_SPECIAL`], `Unsupported` for a type that is not
    /// handled, or what `found` fails with. Any of them is the answer from then on.
    pub fn feed(&mut self, bytes: &[u8], found: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.take(bytes, found).inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// The archive ends here. `Corrupt` if that is within a header or content; a missing trailer, or missing padding,
    /// is fine.
    pub fn finish(&mut self) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let whole = match self.state {
            State::Header | State::Zero => self.filled == 0,
            State::Content { data, .. } => data == 0,
            State::Special { .. } | State::GnuMap { .. } | State::TextMap { .. } => false,
            State::End => true,
        };
        match whole {
            true => Ok(()),
            false => {
                let what = format!("the tar archive ends at byte {}, in the middle of a member", self.position);
                Err(Error::new(Kind::Corrupt, what))
            }
        }
    }

    /// How many of the next bytes need not be fed, but may be passed over with [`Reader::skip`]: content and padding.
    ///
    /// The last byte of content is not among them: it must be fed, as a proof that the content is there.
    pub fn skippable(&self) -> u64 {
        match self.state {
            State::Content { data: 0, padding } => padding,
            State::Content { data, .. } => data - 1,
            _ => 0,
        }
    }

    /// Passes over the next `n` bytes, but no more than are [`Reader::skippable`].
    pub fn skip(&mut self, n: u64) {
        let n = n.min(self.skippable());
        self.pass(n);
    }

    /// The offset in the archive of the next byte to feed.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether the archive is at its end, so that what follows is ignored and need not be fed.
    pub fn ended(&self) -> bool {
        matches!(self.state, State::End)
    }

    fn take(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::End => {
                    self.position = self.position.saturating_add(bytes.len() as u64);
                    return Ok(());
                }
                State::Content { data, padding } => {
                    // The sum is in range: the end of content is checked where it begins.
                    let n = (*data + *padding).min(bytes.len() as u64);
                    self.pass(n);
                    bytes = &bytes[n as usize..];
                }
                State::Special { text, left, .. } => {
                    let (now, later) = bytes.split_at((*left).min(bytes.len()));
                    text.extend_from_slice(now);
                    *left -= now.len();
                    self.position += now.len() as u64;
                    bytes = later;
                    if *left == 0 {
                        self.special()?;
                    }
                }
                State::Header | State::Zero | State::GnuMap { .. } | State::TextMap { .. } => {
                    let (now, later) = bytes.split_at((BLOCK - self.filled).min(bytes.len()));
                    self.block[self.filled..self.filled + now.len()].copy_from_slice(now);
                    self.filled += now.len();
                    self.position += now.len() as u64;
                    bytes = later;
                    if self.filled == BLOCK {
                        self.filled = 0;
                        self.whole_block(found)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Passes over content, at most as much as there is.
    fn pass(&mut self, n: u64) {
        if let State::Content { data, padding } = &mut self.state {
            let of_data = n.min(*data);
            *data -= of_data;
            *padding -= (n - of_data).min(*padding);
            self.position += n;
            if *data == 0 && *padding == 0 {
                self.state = State::Header;
            }
        }
    }

    /// A block is whole; the position is after it.
    fn whole_block(&mut self, found: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        let start = self.position - BLOCK as u64;
        match std::mem::replace(&mut self.state, State::Header) {
            State::Zero if header::is_zero(&self.block) => self.state = State::End,
            State::Zero => {
                return Err(told(start, Error::new(Kind::Corrupt, "it follows a single zero block")));
            }
            State::GnuMap { at, member, parts } => self.gnu_map(at, member, parts, sparse::gnu_block, found)?,
            State::TextMap { at, member, map } => self.text_map(at, member, map, found)?,
            _ if header::is_zero(&self.block) => self.state = State::Zero,
            _ => {
                let header = Header::parse(&self.block).map_err(|error| told(start, error))?;
                self.header(start, header, found)?;
            }
        }
        Ok(())
    }

    /// A header at `at` is read.
    fn header(&mut self, at: u64, header: Header, found: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        if let b'x' | b'g' | b'L' | b'K' = header.flag {
            let size = member::data_of(header.flag, header.size).map_err(|error| told(at, error))?;
            let left = usize::try_from(size).ok().filter(|size| *size <= MAX_SPECIAL).ok_or_else(|| {
                let what = format!("{size} bytes of records or name are over the limit of {MAX_SPECIAL}");
                told(at, Error::new(Kind::TooBig, what))
            })?;
            // The text grows as it comes: what is claimed is no reason to allocate.
            self.state = State::Special { flag: header.flag, at, text: Vec::new(), left };
            return if left == 0 { self.special() } else { Ok(()) };
        }
        let before = std::mem::take(&mut self.before);
        let block = &self.block;
        let (member, layout) =
            Member::new(header, before, || header::gnu_real_size(block)).map_err(|error| told(at, error))?;
        match layout {
            Layout::Dense => {
                let data = member.data;
                self.content(at, data, data)?;
                found(member.dense(self.position))
            }
            Layout::Sparse(parts) => self.sparse(at, member, &parts, 0, found),
            Layout::OldGnu => self.gnu_map(at, member, Vec::new(), sparse::gnu_header, found),
            Layout::TextMap => self.text_map_from(at, member, TextMap::default()),
        }
    }

    /// The content of a header that tells of the next one is whole.
    fn special(&mut self) -> Result<()> {
        let State::Special { flag, at, text, .. } = std::mem::replace(&mut self.state, State::Header) else {
            return Ok(());
        };
        match flag {
            b'L' => self.before.name = header::text(&text).to_vec(),
            b'K' => self.before.link = header::text(&text).to_vec(),
            _ => {
                let records = Records::parse(&text).map_err(|error| told(at, error))?;
                match flag {
                    b'x' => self.before.records = records,
                    _ => self.before = Before::default(),
                }
            }
        }
        self.content(at, text.len() as u64, 0)
    }

    /// Reads parts out of the block with `read`; the member is found unless another block follows.
    fn gnu_map(
        &mut self,
        at: u64,
        member: Member,
        mut parts: Vec<Part>,
        read: fn(&Block, &mut Vec<Part>) -> Result<bool>,
        found: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        if read(&self.block, &mut parts).map_err(|error| told(at, error))? {
            self.state = State::GnuMap { at, member, parts };
            return Ok(());
        }
        self.sparse(at, member, &parts, 0, found)
    }

    fn text_map(
        &mut self,
        at: u64,
        member: Member,
        mut map: TextMap,
        found: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        match map.block(&self.block).map_err(|error| told(at, error))? {
            Some(parts) => self.sparse(at, member, &parts, map.len() as u64, found),
            None => self.text_map_from(at, member, map),
        }
    }

    /// Expects another block of a map, if the data has one.
    fn text_map_from(&mut self, at: u64, member: Member, map: TextMap) -> Result<()> {
        if member.data < (map.len() + BLOCK) as u64 {
            return Err(told(at, Error::new(Kind::Corrupt, "the sparse map is longer than the data")));
        }
        self.state = State::TextMap { at, member, map };
        Ok(())
    }

    /// A sparse file's map is whole, `skipped` bytes of its data with it.
    fn sparse(
        &mut self,
        at: u64,
        member: Member,
        parts: &[Part],
        skipped: u64,
        found: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        let data = member.data;
        let entry = member.sparse(parts, self.position, skipped).map_err(|error| told(at, error))?;
        self.content(at, data, data - skipped)?;
        found(entry)
    }

    /// Of a data section of `data` bytes, `left` are to come, and its padding.
    fn content(&mut self, at: u64, data: u64, left: u64) -> Result<()> {
        let padding = data.wrapping_neg() % BLOCK as u64;
        let end = self.position.checked_add(left).and_then(|end| end.checked_add(padding));
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(told(at, Error::new(Kind::Corrupt, "the size is past what an archive can have")));
        }
        self.state = match (left, padding) {
            (0, 0) => State::Header,
            _ => State::Content { data: left, padding },
        };
        Ok(())
    }
}

/// An error of the header at `at`.
fn told(at: u64, error: Error) -> Error {
    error.context(format!("tar header at byte {at}"))
}
