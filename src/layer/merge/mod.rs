//! Layers as one tree, one directory at a time (OCI image-spec, layer.md; the kernel's overlayfs).
//!
//! A merged directory is the list of the layers' directories it is made of, topmost first; nothing else is kept, and
//! nothing is merged before it is asked for. Layers are in the order of the manifest, number 0 the base. The rules:
//! - `.wh.NAME` hides what lower layers have of NAME, whatever kind of member it is; `.wh..wh..opq` hides all that
//!   lower layers have in its directory. Neither hides anything of its own layer, in whatever order they were written.
//!   A name beside its own whiteout hides what is below it: a directory like that is opaque.
//! - Names that begin with `.wh.` are never seen; `.wh.`, `.wh..`, `.wh...` and other `.wh..wh.*` hide nothing.
//! - A directory over a directory is both; attributes are those of the topmost member ([`face`]). Anything else over
//!   or below it, and anything but a directory over anything, hides what is below, a link to a directory included: no
//!   link is followed from one layer into another.
//! - A hard link to a file that its own layer does not have is that file of the merged layers below, with that file's
//!   attributes. If there is none, the link is not there, and hides what is below it as extraction, which takes the old
//!   file away first, would.
//!
//! Where tools differ, overlayfs is followed, as containers see it, not extraction of all layers into one directory
//! (umoci): that would follow a link of a lower layer, and leaves its own time on directories that it takes names out of.
//! Of everything else the two agree (tests/mount/rootfs_same.rs). Which names a file has is told of its own layer alone:
//! a link out of a layer and the file that it leads to do not count each other, nor does a name go that is hidden.
//!
//! Answers may be asked for while layers are still read. One that is given stays true, unless a layer has two members
//! of one name, which image-spec forbids; where it could change, it is `Unknown`, with the layer to wait for.
//!
//! Pure: asks tables and keeps nothing. Shows devices as they are: a character device 0:0 is a file here, though to an
//! overlay mounted above it is a whiteout.

mod list;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use list::{Item, list};

use super::entry::Kind;
use super::index::path::components;
use super::toc::{Node, Toc};
use crate::error::Result;

/// Begins the name of a whiteout.
const WHITEOUT: &[u8] = b".wh.";
/// Makes its directory opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A file of a layer of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct At {
    /// The number of the layer, 0 the base.
    pub layer: usize,
    /// The file in it.
    pub node: Node,
}

/// A merged directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dir {
    /// What it is made of, topmost first; not empty. A part that is opaque hides what is in those after it.
    pub parts: Vec<At>,
    /// The layer that has yet to tell whether more parts follow, those of layers below it. Such a directory answers
    /// for what its parts decide. When the layer is complete, it is to be looked up again from its parent.
    pub rest: Option<usize>,
}

/// What a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// Anything but a directory; never a hard link.
    Leaf(At),
    /// A directory.
    Dir(Dir),
    /// That depends on a layer that is not complete.
    Unknown {
        /// The layer to wait for. If it is complete by now, the directory asked is to be looked up again.
        layer: usize,
    },
}

/// What may depend on a layer that is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// So it is, and stays.
    Is(T),
    /// That depends on a layer that is not complete.
    Unknown {
        /// The layer to wait for, as in [`Found::Unknown`].
        layer: usize,
    },
}

/// The root of all layers.
pub fn root(layers: &[&dyn Toc]) -> Dir {
    Dir { parts: (0..layers.len()).rev().map(|layer| At { layer, node: Node::ROOT }).collect(), rest: None }
}

/// What a name in a merged directory is. Takes a few searches in each of its parts.
pub fn lookup(layers: &[&dyn Toc], dir: &Dir, name: &[u8]) -> Result<Found> {
    if name.is_empty() || name.starts_with(WHITEOUT) || matches!(name, b"." | b"..") || name.contains(&b'/') {
        return Ok(Found::Absent);
    }
    let whiteout = [WHITEOUT, name].concat();
    let mut gather = Gather::new(layers);
    for part in &dir.parts {
        let Some(toc) = layers.get(part.layer) else { continue };
        // Before its names: what is absent from a table that is complete afterwards may have come in between.
        let complete = toc.is_complete();
        let node = toc.lookup(part.node, name)?;
        let hides = || Ok(toc.lookup(part.node, &whiteout)?.is_some() || is_opaque(*toc, part.node)?);
        if let Some(found) = gather.take(part.layer, complete, node, hides)? {
            return Ok(found);
        }
    }
    Ok(gather.end(dir.rest))
}

/// What a path below the root is; no link is followed. `.`, `//` and slashes at either end say nothing, `..` is no
/// name.
pub fn walk(layers: &[&dyn Toc], path: &[u8]) -> Result<Found> {
    let mut dir = root(layers);
    let mut names = components(path).peekable();
    while let Some(name) = names.next() {
        match lookup(layers, &dir, name)? {
            Found::Dir(next) => dir = next,
            // Nothing is below anything but a directory.
            Found::Leaf(_) if names.peek().is_some() => return Ok(Found::Absent),
            found => return Ok(found),
        }
    }
    Ok(Found::Dir(dir))
}

/// What a hard link out of its layer (`Kind::Hardlink`) is another name of: a file of the merged layers below its own.
/// Never a directory.
pub fn hard_link(layers: &[&dyn Toc], at: At) -> Result<Found> {
    let (Some(toc), Some(below)) = (layers.get(at.layer), layers.get(..at.layer)) else { return Ok(Found::Absent) };
    // Ends: each step has fewer layers, and a link that leads nowhere hides what is below it, so there is one way down.
    match walk(below, &toc.target(at.node)?)? {
        Found::Dir(_) => Ok(Found::Absent),
        found => Ok(found),
    }
}

/// The part of a merged directory whose attributes are the directory's: the topmost that its layer has a member for.
pub fn face(layers: &[&dyn Toc], dir: &Dir) -> Result<Known<At>> {
    for part in &dir.parts {
        let Some(toc) = layers.get(part.layer) else { continue };
        let complete = toc.is_complete();
        if toc.attr(part.node)?.explicit {
            return Ok(Known::Is(*part));
        }
        if !complete {
            return Ok(Known::Unknown { layer: part.layer });
        }
    }
    Ok(match (dir.rest, dir.parts.first()) {
        (Some(layer), _) => Known::Unknown { layer },
        (None, Some(top)) => Known::Is(*top),
        (None, None) => Known::Is(At { layer: 0, node: Node::ROOT }),
    })
}

/// Whether a directory of a layer hides what lower layers have in it, as far as its layer told.
fn is_opaque(toc: &dyn Toc, dir: Node) -> Result<bool> {
    Ok(toc.lookup(dir, OPAQUE)?.is_some())
}

/// What a name is, as layers tell of it one after another, topmost first.
struct Gather<'a> {
    layers: &'a [&'a dyn Toc],
    parts: Vec<At>,
    /// A layer that is not complete, and may yet hide what comes after its own part.
    pending: Option<usize>,
}

impl<'a> Gather<'a> {
    fn new(layers: &'a [&'a dyn Toc]) -> Gather<'a> {
        Gather { layers, parts: Vec::new(), pending: None }
    }

    /// What one layer has by the name; `hides` tells whether it hides what is below. An answer if there is no more to
    /// be asked.
    fn take(
        &mut self,
        layer: usize,
        complete: bool,
        node: Option<Node>,
        hides: impl FnOnce() -> Result<bool>,
    ) -> Result<Option<Found>> {
        let Some(toc) = self.layers.get(layer) else { return Ok(None) };
        let Some(node) = node else {
            if !complete {
                return Ok(Some(self.unknown(layer)));
            }
            return Ok(if hides()? { Some(self.done()) } else { None });
        };
        let at = At { layer, node };
        match toc.attr(node)?.kind {
            Kind::Dir => {
                if self.pending.is_some() {
                    return Ok(Some(self.unknown(layer)));
                }
                self.parts.push(at);
                // What its own mark hides is in it; below it, it may have attributes still.
                if hides()? {
                    return Ok(Some(self.done()));
                }
                if !complete {
                    self.pending = Some(layer);
                }
                Ok(None)
            }
            // A directory above hides it, and it hides what is below, whatever the layers in between say.
            _ if !self.parts.is_empty() => Ok(Some(self.done())),
            Kind::Hardlink => hard_link(self.layers, at).map(Some),
            _ => Ok(Some(Found::Leaf(at))),
        }
    }

    /// The layers told all they had; `rest` of the directory asked may follow.
    fn end(&mut self, rest: Option<usize>) -> Found {
        match rest {
            Some(layer) => self.unknown(layer),
            None => self.done(),
        }
    }

    /// More may follow, once a layer is complete: the one that hides it, or the one that has it.
    fn unknown(&mut self, layer: usize) -> Found {
        let layer = self.pending.unwrap_or(layer);
        match std::mem::take(&mut self.parts) {
            parts if parts.is_empty() => Found::Unknown { layer },
            parts => Found::Dir(Dir { parts, rest: Some(layer) }),
        }
    }

    fn done(&mut self) -> Found {
        match std::mem::take(&mut self.parts) {
            parts if parts.is_empty() => Found::Absent,
            parts => Found::Dir(Dir { parts, rest: None }),
        }
    }
}
