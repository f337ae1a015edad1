//! Reading a layer, on a thread of its own: its index if there is one, its own table of contents, or all of it once.
//!
//! Promises: the layer is told how it ended, whatever happens; nothing is kept as an index that was not checked
//! against the layer's digest. Members are told as they come, content as soon as it can be read.

use super::content::Unchecked;
use super::layer::{Early, Layer, Reach, Ready};
use crate::digest::{self, Digest};
use crate::error::{Error, Kind, Result};
use crate::layer::chunked::{self, Source, TocLayer};
use crate::layer::entry::Extent;
use crate::layer::estargz;
use crate::layer::format::Format;
use crate::layer::gzip::{self, Inflated};
use crate::layer::index::{self, Facts, Growing, Index};
use crate::layer::pass::{Keep, MakeCopy, Pass, Passed, wants_copy};
use crate::read_at::ReadAt;
use crate::span::Span;
use crate::store::{Blob, Derived, Draft, State};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Begins to read `layer`.
pub(super) fn start(layer: &Arc<Layer>) -> Result<()> {
    let layer = layer.clone();
    let run = move || {
        let died = Error::new(Kind::Io, "the thread that reads it has ended");
        let mut ending = Ending { layer: &layer, outcome: Some(Err(died)) };
        ending.outcome = Some(read(&layer));
    };
    let spawned = std::thread::Builder::new().name("regfs-layer".to_owned()).spawn(run);
    spawned.map(|_| ()).map_err(|error| Error::io("start a thread", error))
}

/// Tells the layer when dropped.
struct Ending<'a> {
    layer: &'a Layer,
    outcome: Option<Result<Ready>>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            let store = &self.layer.shared.store;
            store.journal().indexing(self.layer.digest().as_str(), None);
            // What was checked, and is no layer, will not be one.
            let is_layers_own = |error: &Error| is_own(error) && store.state(self.layer.digest()) == State::Verified;
            let lasting = outcome.as_ref().is_err_and(is_layers_own);
            self.layer.ended(outcome, lasting);
        }
    }
}

fn read(layer: &Arc<Layer>) -> Result<Ready> {
    let blob = layer.shared.store.blob(layer.digest(), layer.descriptor.size, layer.remote.clone())?;
    if let Some(ready) = kept(layer, &blob)? {
        return Ok(ready);
    }
    match own_table(layer, &blob) {
        Ok(Some(ready)) => return Ok(ready),
        Ok(None) => {}
        // The layer can still be read as what it also is.
        Err(error) if is_own(&error) => {
            log::warn!("the table of layer {} is not used: {error}", layer.digest());
        }
        Err(error) => return Err(error),
    }
    layer.shared.journal.indexing(layer.digest().as_str(), Some((0, layer.descriptor.size)));
    let _turn = layer.shared.turns.take();
    match pass(layer, &blob, Keep::Places) {
        Err(error) if wants_copy(&error) => pass(layer, &blob, Keep::Copy),
        outcome => outcome,
    }
}

/// Whether a failure may be the layer's own: of what its bytes say, not of how they came.
fn is_own(error: &Error) -> bool {
    matches!(error.kind(), Kind::Corrupt | Kind::Unsupported | Kind::TooBig)
}

/// The layer as an earlier pass left it. An error if what that found is not what the image says: a damaged index is
/// none, but one image that lies does not cost others theirs.
fn kept(layer: &Arc<Layer>, blob: &Arc<Blob>) -> Result<Option<Ready>> {
    let store = &layer.shared.store;
    let Some(file) = store.derived(Derived::Index, layer.digest()) else { return Ok(None) };
    let opened = Index::open(file, layer.digest()).and_then(|index| match index.facts().verified {
        true => Ok(index),
        false => Err(Error::new(Kind::Corrupt, "it was made from bytes that nobody checked")),
    });
    let opened = match opened {
        Ok(index) => {
            let (diff_id, size) = (index.facts().diff_id.clone(), index.facts().compressed);
            agrees(layer, diff_id.as_ref(), size)?;
            Ready::open(layer, index, store.derived(Derived::Chunks, layer.digest()), blob.open())
        }
        Err(error) => Err(error),
    };
    Ok(match opened {
        Ok(ready) => Some(ready),
        Err(error) => {
            log::warn!("the index of layer {} is made anew: {error}", layer.digest());
            store.discard(Derived::Index, layer.digest());
            None
        }
    })
}

/// Whether what a pass found is what manifest and config say.
fn agrees(layer: &Layer, diff_id: Option<&Digest>, size: u64) -> Result<()> {
    if size != layer.descriptor.size {
        let why = format!("it has {size} bytes, not the {} that the manifest says", layer.descriptor.size);
        return Err(Error::new(Kind::Corrupt, why));
    }
    if let (Some(expected), Some(computed)) = (&layer.diff_id, diff_id) {
        digest::same(expected, computed.clone()).map_err(|error| error.context("the image's config lies"))?;
    }
    Ok(())
}

/// The layer by the table of contents that it brings along, if its descriptor tells of one.
fn own_table(layer: &Layer, blob: &Arc<Blob>) -> Result<Option<Ready>> {
    let annotations = &layer.descriptor.annotations;
    let handle = blob.open();
    let table = if let Some(position) = chunked::detect(annotations)? {
        chunked::open(&*handle, &position)?
    } else if let Some(digest) = estargz::detect(annotations)? {
        estargz::open(&*handle, &digest)?
    } else {
        return Ok(None);
    };
    let TocLayer { entries, mut chunks, packing } = table;
    let growing = Growing::new();
    // The content of such a layer is its chunks, one file after the other.
    let mut at = 0u64;
    for (mut entry, range) in entries {
        let start = at;
        for chunk in chunks.get_mut(range.start as usize..range.end as usize).unwrap_or_default() {
            chunk.at = at;
            at = at.checked_add(chunk.len).ok_or_else(|| Error::new(Kind::TooBig, "the chunks are too long"))?;
        }
        if at > start {
            entry.extents = vec![Extent { at: 0, offset: start, len: at - start }];
        }
        growing.add(entry)?;
    }
    growing.complete()?;
    let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let source = Source::new(handle, packing, chunks, layer.shared.decoded.clone());
    let content = Arc::new(source.file(0..count, at)?);
    // What its table names is checked by digests of its own, before it is served.
    Ok(Some(Ready { toc: Arc::new(growing), content, verified: true }))
}

/// Reads all of it.
fn pass(layer: &Arc<Layer>, blob: &Arc<Blob>, keep: Keep) -> Result<Ready> {
    let (toc, points) = (Arc::new(Growing::new()), Arc::new(gzip::Table::new()));
    let early = Early { toc: toc.clone(), content: None };
    // What was wrong once, or right once, is not shown before it is checked.
    let strict = layer.shared.store.is_strict() || blob.was_wrong() || layer.is_proved();
    if !strict {
        layer.progressed(Some(early.clone()));
    }
    let copy = Copy::default();
    let is_places = matches!(keep, Keep::Places);
    let mut pass = Pass::new(toc.clone(), points.clone(), keep, copy.make(layer))?;
    let (mut known, mut broken) = (false, None);
    let size = layer.descriptor.size;
    let name = layer.digest().to_string();
    // Held to the end: with it goes what is known of the blob where no disk keeps that.
    let handle = blob.open();
    handle.stream(Span::new(0, size), &mut |at, bytes| {
        match if broken.is_none() { pass.feed(bytes) } else { Ok(()) } {
            Ok(()) => {}
            Err(error) if is_places && wants_copy(&error) && pass.format().is_some() => return Err(error),
            // Whether the layer is like that, or what came is not the layer, its digest tells at the end.
            Err(error) if is_own(&error) => broken = Some(error),
            Err(error) => return Err(error),
        }
        // At once: what comes next may take as long as it likes.
        layer.shared.journal.indexing(&name, Some((at + bytes.len() as u64, size)));
        let now = match pass.format() {
            Some(format) if !known && !strict => {
                known = true;
                let content = content_of(layer, blob, format, &points);
                Some(Early { content, ..early.clone() })
            }
            _ => None,
        };
        layer.progressed(now);
        Ok(())
    })?;
    let passed = match broken {
        Some(error) => return Err(error),
        None => pass.finish()?,
    };
    agrees(layer, Some(&passed.diff_id), size)?;
    // A small one is checked before its first byte is served.
    if !blob.is_small() && blob.state() != State::Verified {
        return Err(Error::new(Kind::Busy, "all of it was read, and is not checked yet"));
    }
    toc.complete()?;
    let copy = match copy.take() {
        Some(copy) if passed.format == index::Format::Copy => Some(layer.shared.store.keep(copy)?),
        _ => None,
    };
    let index = write(layer, &toc, &points, &passed)?;
    Ready::open(layer, index, copy, blob.open())
}

/// The content of a layer whose pass is under way.
fn content_of(
    layer: &Layer,
    blob: &Arc<Blob>,
    format: Format,
    points: &Arc<gzip::Table>,
) -> Option<(Arc<dyn ReadAt>, Reach)> {
    match format {
        Format::Tar | Format::Empty => Some((blob.open(), Reach::All)),
        Format::Gzip => {
            let (inflated, digest) = (layer.shared.inflated.clone(), layer.digest().clone());
            // Its size is not known yet; extents bound what is read of it.
            let content = Inflated::new(blob.open(), points.clone(), u64::MAX, inflated, digest);
            let content = Unchecked { blob: blob.clone(), content };
            Some((Arc::new(content), Reach::Points(points.clone())))
        }
        Format::Zstd => None,
    }
}

/// The file of a copy that is being written, if the pass writes one.
#[derive(Clone, Default)]
struct Copy(Arc<Mutex<Option<Draft>>>);

impl Copy {
    fn lock(&self) -> MutexGuard<'_, Option<Draft>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the file when it turns out to be needed.
    fn make(&self, layer: &Layer) -> MakeCopy {
        let (store, digest, copy) = (layer.shared.store.clone(), layer.digest().clone(), self.clone());
        Box::new(move || {
            *copy.lock() = Some(store.draft(Derived::Chunks, &digest)?);
            Ok(Box::new(copy.clone()))
        })
    }

    fn take(&self) -> Option<Draft> {
        self.lock().take()
    }
}

impl Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Through the draft: it knows what to do when the disk is full.
        self.lock().as_mut().map_or(Err(io::ErrorKind::BrokenPipe.into()), |draft| draft.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes and keeps the index of a layer whose bytes were checked.
fn write(layer: &Layer, toc: &Growing, points: &gzip::Table, passed: &Passed) -> Result<Index> {
    let facts = Facts {
        layer: layer.digest().clone(),
        diff_id: Some(passed.diff_id.clone()),
        verified: true,
        compressed: layer.descriptor.size,
        uncompressed: passed.uncompressed,
        format: passed.format,
    };
    let mut draft = layer.shared.store.draft(Derived::Index, layer.digest())?;
    let only = [index::Point { input: 0, bits: 0, output: 0, window: &passed.table, check: [0; 32] }];
    match passed.format {
        index::Format::Tar => toc.write(&facts, &[], &mut draft)?,
        index::Format::Gzip => points.with(|points| {
            let points: Vec<index::Point<'_>> = points.iter().map(point).collect();
            toc.write(&facts, &points, &mut draft)
        })?,
        index::Format::Zstd | index::Format::Copy => toc.write(&facts, &only, &mut draft)?,
    }
    Index::open(layer.shared.store.keep(draft)?, layer.digest())
}

fn point(checkpoint: &gzip::Checkpoint) -> index::Point<'_> {
    let gzip::Checkpoint { point, window } = checkpoint;
    let check = point.check.unwrap_or_default();
    index::Point { input: point.input, bits: point.bits, output: point.output, window, check }
}
