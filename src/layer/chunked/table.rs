//! From records to files and chunks: what a table claims must add up before anything is read by it.

use super::record::{Record, plain};
use super::{Check, Chunk, MAX_CHUNK, Packing, TocLayer};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::layer::entry;
use crate::span::Span;
use std::collections::HashSet;

/// Gathers records in the order of the table.
pub(super) struct Builder {
    layer: TocLayer,
    data_end: u64,
    /// The file whose chunks come now.
    current: Option<Current>,
}

struct Current {
    /// Its number in the layer; `None` for a hidden one, whose chunks are dropped.
    index: Option<usize>,
    size: u64,
    /// Its first chunk.
    first: usize,
    /// The digest of the whole, which is that of the chunk if there is only one.
    digest: Option<[u8; 32]>,
    /// Where its data ends in the blob; 0 if the table does not say.
    end: u64,
    /// Chunks that have no digest of their own.
    unchecked: usize,
}

/// Stands for an end that the table does not tell: the next chunk's start.
const UNKNOWN: u64 = 0;

impl Builder {
    pub(super) fn new(packing: Packing, data_end: u64) -> Builder {
        let layer = TocLayer { entries: Vec::new(), chunks: Vec::new(), packing };
        Builder { layer, data_end, current: None }
    }

    pub(super) fn push(&mut self, record: &Record<'_>) -> Result<()> {
        if record.kind == "chunk" {
            let Some(mut current) = self.current.take() else {
                return Err(record.corrupt("a chunk without a file before it"));
            };
            let named = current.index.and_then(|index| self.layer.entries.get(index)).map(|(entry, _)| &entry.path);
            if named.is_some_and(|path| !record.name.is_empty() && path != record.name.as_bytes()) {
                return Err(record.corrupt("a chunk after another file"));
            }
            self.chunk(&mut current, record)?;
            self.current = Some(current);
            return Ok(());
        }
        self.close()?;
        let Some(entry) = record.entry()? else {
            self.current = Some(Current::new(None, 0, self.layer.chunks.len()));
            return Ok(());
        };
        let (is_file, size) = (entry.kind == entry::Kind::File, entry.size);
        let first = self.layer.chunks.len();
        self.layer.entries.push((entry, number(first)?..number(first)?));
        if !is_file {
            return Ok(());
        }
        let mut current = Current::new(Some(self.layer.entries.len() - 1), size, first);
        if size > 0 {
            current.digest = digest(record, &record.digest)?;
            self.chunk(&mut current, record)?;
        }
        self.current = Some(current);
        Ok(())
    }

    fn chunk(&mut self, current: &mut Current, record: &Record<'_>) -> Result<()> {
        if current.index.is_none() {
            return Ok(());
        }
        let number = |what: &str, number: i64| {
            u64::try_from(number).map_err(|_| record.corrupt(&format!("the {what} {number} is negative")))
        };
        let at = number("chunk's offset", record.chunk_offset)?;
        let made = self.layer.chunks.get(current.first..).and_then(<[Chunk]>::last).map_or(0, |c| c.at + c.len);
        let left = current.size.checked_sub(at).filter(|left| *left > 0 && at == made);
        let Some(left) = left else { return Err(record.corrupt(&format!("a chunk at {at} does not follow {made}"))) };
        let len = match number("chunk's size", record.chunk_size)? {
            0 => left,
            len => len,
        };
        if len > left {
            return Err(record.corrupt(&format!("a chunk of {len} bytes at {at} is longer than the file")));
        }
        let zeros = match &*record.chunk_type {
            "" => false,
            "zeros" => true,
            _ => return Err(Error::new(Kind::Unsupported, "toc: a type of chunk that is not known")),
        };
        let skip = number("inner offset", record.inner_offset)?;
        if !zeros && len.max(skip) > MAX_CHUNK {
            let limit = MAX_CHUNK >> 20;
            return Err(Error::new(
                Kind::TooBig,
                format!("toc: a chunk of {len} bytes is over the limit of {limit} MiB"),
            ));
        }
        let check = if zeros { Some(Check::Zeros) } else { digest(record, &record.chunk_digest)?.map(Check::Sha256) };
        current.unchecked += usize::from(check.is_none());
        current.end = match number("end", record.end_offset)? {
            0 => current.end,
            end => end,
        };
        let start = number("offset", record.offset)?;
        // Not a span yet: ends are known when all starts are.
        let blob = Span { start, end: UNKNOWN };
        self.layer.chunks.push(Chunk { at, len, blob, skip, check: check.unwrap_or(Check::Sha256([0; 32])) });
        Ok(())
    }

    /// Ends the file whose chunks came.
    fn close(&mut self) -> Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let Some((entry, range)) = current.index.and_then(|index| self.layer.entries.get_mut(index)) else {
            return Ok(());
        };
        let end = self.layer.chunks.len();
        let chunks = self.layer.chunks.get_mut(current.first..).unwrap_or_default();
        let corrupt = |why: &str| {
            let name: String = crate::name::escape(&entry.path).chars().take(200).collect();
            Error::new(Kind::Corrupt, format!("toc: file \"{name}\": {why}"))
        };
        let made = chunks.last().map_or(0, |chunk| chunk.at + chunk.len);
        if made != current.size {
            return Err(corrupt(&format!("its chunks are {made} bytes, not {}", current.size)));
        }
        if current.unchecked > 0 {
            match (&mut *chunks, current.digest) {
                ([chunk], Some(digest)) => chunk.check = Check::Sha256(digest),
                _ => return Err(corrupt("a chunk has no digest")),
            }
        }
        if let Some(last) = chunks.last_mut() {
            last.blob.end = current.end;
        }
        // Within a file a chunk ends where the next one starts.
        for at in 1..chunks.len() {
            if let Some([before, after]) = chunks.get_mut(at - 1..=at) {
                before.blob.end = after.blob.start;
            }
        }
        *range = number(current.first)?..number(end)?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<TocLayer> {
        self.close()?;
        self.names()?;
        self.ends();
        self.ranges()?;
        self.layer.entries.shrink_to_fit();
        self.layer.chunks.shrink_to_fit();
        Ok(self.layer)
    }

    /// No name comes twice: which of them counts would be a guess.
    fn names(&self) -> Result<()> {
        let mut seen = HashSet::with_capacity(self.layer.entries.len());
        for (entry, _) in &self.layer.entries {
            let name = std::str::from_utf8(&entry.path).map_or("", plain);
            if !seen.insert(name) {
                let shown: String = crate::name::escape(name.as_bytes()).chars().take(200).collect();
                return Err(Error::new(Kind::Corrupt, format!("toc: two entries are called \"{shown}\"")));
            }
        }
        Ok(())
    }

    /// Gives the chunks whose end was not told the next start of any chunk, or the end of all data. Inner chunks share
    /// a start, and so an end.
    fn ends(&mut self) {
        let mut starts: Vec<u64> = self.layer.chunks.iter().map(|chunk| chunk.blob.start).collect();
        starts.sort_unstable();
        starts.dedup();
        let end_of = |start: u64| {
            let next = starts.partition_point(|s| *s <= start);
            starts.get(next).copied().unwrap_or(self.data_end)
        };
        for chunk in &mut self.layer.chunks {
            if chunk.blob.end == UNKNOWN || chunk.blob.end == chunk.blob.start {
                chunk.blob.end = end_of(chunk.blob.start);
            }
            if chunk.check == Check::Zeros {
                chunk.blob = Span::default();
                chunk.skip = 0;
            }
        }
    }

    /// Each chunk has its own place in the data.
    fn ranges(&self) -> Result<()> {
        let mut places: Vec<(u64, u64, u64, u64)> = (self.layer.chunks.iter())
            .filter(|chunk| chunk.check != Check::Zeros)
            .map(|chunk| (chunk.blob.start, chunk.skip, chunk.skip + chunk.len, chunk.blob.end))
            .collect();
        let corrupt = |why: String| Err(Error::new(Kind::Corrupt, format!("toc: {why}")));
        if let Some((start, .., end)) = places.iter().find(|(start, .., end)| start >= end || *end > self.data_end) {
            return corrupt(format!("a chunk at bytes {start}..{end} is not within the {} of data", self.data_end));
        }
        places.sort_unstable();
        for pair in places.windows(2) {
            let [(start, _, inner_end, end), (next, inner, _, next_end)] = pair else { continue };
            let shared = start == next && inner_end <= inner && end == next_end;
            if !shared && end > next {
                return corrupt(format!("two chunks overlap at byte {next}"));
            }
        }
        Ok(())
    }
}

impl Current {
    fn new(index: Option<usize>, size: u64, first: usize) -> Current {
        Current { index, size, first, digest: None, end: UNKNOWN, unchecked: 0 }
    }
}

/// A sha256 digest; `None` if there is none.
fn digest(record: &Record<'_>, text: &str) -> Result<Option<[u8; 32]>> {
    if text.is_empty() {
        return Ok(None);
    }
    let digest: Digest = text.parse().map_err(|error: Error| error.as_kind(Kind::Corrupt).context("toc"))?;
    if digest.algorithm() != "sha256" {
        return Err(Error::new(Kind::Unsupported, format!("toc: digests of {} are not known", digest.algorithm())));
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest.encoded(), &mut bytes).map_err(|_| record.corrupt("its digest is malformed"))?;
    Ok(Some(bytes))
}

/// The number of a chunk.
fn number(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| Error::new(Kind::TooBig, "toc: too many chunks"))
}
