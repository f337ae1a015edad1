//! One pass over a layer: the bytes of its blob go in, its table grows, and what reading it at random needs is made.
//!
//! Promises: members are in the table before a byte after them was taken; what was made is only right once
//! [`Pass::finish`] said so. The digest of the archive is computed on a thread of its own, beside inflating, and so are
//! the checks of its spans. Does not know where the bytes come from, nor whether they are those of the layer's digest.

use super::diff::Diff;
use super::format::{self, Format};
use super::gzip;
use super::index::{self, Growing};
use super::tar;
use super::zstd::{self, rechunk};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use std::io::Write;
use std::sync::Arc;

/// How a pass makes the content readable at random.
pub enum Keep {
    /// By the cheapest means of the format: places to begin again in the blob, a copy where it has none.
    Places,
    /// By a copy, whatever the format.
    Copy,
}

/// Makes the file that a copy is written to.
pub type MakeCopy = Box<dyn FnMut() -> Result<Box<dyn Write + Send>> + Send>;

/// A pass under way.
pub struct Pass {
    /// The first bytes, until they tell the format.
    head: Vec<u8>,
    decoder: Option<Decoder>,
    points: Arc<gzip::Table>,
    keep: Keep,
    make_copy: MakeCopy,
    archive: Archive,
}

enum Decoder {
    Plain,
    Gzip(Box<gzip::Scanner>),
    Zstd(Box<zstd::Scanner>),
}

/// What takes the uncompressed bytes.
struct Archive {
    table: Arc<Growing>,
    tar: tar::Reader,
    diff: Diff,
    copy: Option<rechunk::Writer>,
    len: u64,
}

/// What a pass has found.
pub struct Passed {
    /// The digest of the archive.
    pub diff_id: Digest,
    /// Bytes of the archive.
    pub uncompressed: u64,
    /// How the content can be read from now on.
    pub format: index::Format,
    /// The table of frames, or of the copy's chunks; empty for other formats.
    pub table: Vec<u8>,
}

impl Pass {
    /// A pass that adds to `table`, and to `points` if the blob is gzip and read by places.
    pub fn new(table: Arc<Growing>, points: Arc<gzip::Table>, keep: Keep, make_copy: MakeCopy) -> Result<Pass> {
        let archive = Archive { table, tar: tar::Reader::new(), diff: Diff::start()?, copy: None, len: 0 };
        Ok(Pass { head: Vec::new(), decoder: None, points, keep, make_copy, archive })
    }

    /// Takes the next bytes of the blob.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.decoder.is_some() {
            return self.decode(bytes);
        }
        self.head.extend_from_slice(bytes);
        if self.head.len() < format::HEAD {
            return Ok(());
        }
        self.begin()
    }

    /// The blob's format, once it is known. `Empty` for a blob that is over and had no bytes.
    pub fn format(&self) -> Option<Format> {
        Some(match self.decoder.as_ref()? {
            Decoder::Plain => Format::Tar,
            Decoder::Gzip(_) => Format::Gzip,
            Decoder::Zstd(_) => Format::Zstd,
        })
    }

    fn begin(&mut self) -> Result<()> {
        let head = std::mem::take(&mut self.head);
        let copies = matches!(self.keep, Keep::Copy);
        self.decoder = Some(match format::detect(&head)? {
            Format::Tar | Format::Empty => Decoder::Plain,
            Format::Gzip if copies => Decoder::Gzip(Box::new(gzip::Scanner::plain()?)),
            Format::Gzip => Decoder::Gzip(Box::new(gzip::Scanner::new(gzip::SPACING, self.points.clone())?)),
            Format::Zstd => Decoder::Zstd(Box::new(zstd::Scanner::new()?)),
        });
        // Whether zstd's frames are small enough to be read one by one is known at the end alone.
        if copies || matches!(self.decoder, Some(Decoder::Zstd(_))) {
            self.archive.copy = Some(rechunk::Writer::new((self.make_copy)()?)?);
        }
        self.decode(&head)
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<()> {
        let archive = &mut self.archive;
        let mut out = |content: &[u8]| archive.take(content);
        match &mut self.decoder {
            Some(Decoder::Gzip(scanner)) => scanner.feed(bytes, &mut out),
            Some(Decoder::Zstd(scanner)) => scanner.feed(bytes, &mut out),
            Some(Decoder::Plain) | None => out(bytes),
        }
    }

    /// The blob has ended. Does not complete the table: whether it is right is not for a pass to say.
    pub fn finish(mut self) -> Result<Passed> {
        if self.decoder.is_none() {
            self.begin()?;
        }
        let (mut format, mut table) = (index::Format::Tar, Vec::new());
        match self.decoder.take() {
            Some(Decoder::Gzip(mut scanner)) => {
                scanner.finish()?;
                format = index::Format::Gzip;
            }
            Some(Decoder::Zstd(scanner)) => {
                let frames = scanner.finish()?;
                format = index::Format::Zstd;
                if frames.is_seekable() && matches!(self.keep, Keep::Places) {
                    table = frames.to_bytes();
                    self.archive.copy = None;
                }
            }
            Some(Decoder::Plain) | None => {}
        }
        let Archive { mut tar, diff, copy, len, .. } = self.archive;
        tar.finish()?;
        if let Some(copy) = copy {
            format = index::Format::Copy;
            table = copy.finish()?.to_bytes();
        }
        Ok(Passed { diff_id: diff.finish()?, uncompressed: len, format, table })
    }
}

impl Archive {
    fn take(&mut self, content: &[u8]) -> Result<()> {
        self.len += content.len() as u64;
        self.diff.update(content)?;
        if let Some(copy) = &mut self.copy {
            copy.push(content)?;
        }
        let table = &self.table;
        self.tar.feed(content, &mut |entry| table.add(entry))
    }
}

/// Whether a pass that failed so should be made again, with a copy: the blob has no places to begin again at.
pub fn wants_copy(error: &Error) -> bool {
    error.kind() == Kind::Unsupported
}
