//! Listing a merged directory: the sorted names of its parts side by side, a page at a time.

use super::{At, Dir, Found, Gather, Known, WHITEOUT, is_opaque};
use crate::error::Result;
use crate::layer::toc::{Node, Toc};

/// Names asked of a part at once.
const BATCH: usize = 512;

/// A name in a merged directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The name, one component.
    pub name: Vec<u8>,
    /// What it is: a leaf or a directory, all of whose parts are known.
    pub found: Found,
}

/// The names of a merged directory from `after` (not included) on, in ascending order of bytes, at most `limit` of
/// them; fewer only at the end. A page costs its own names in each part, not those before it. `Unknown` while a part's
/// layer, or one that a hard link in it is resolved in, is not complete.
pub fn list(layers: &[&dyn Toc], dir: &Dir, after: Option<&[u8]>, limit: usize) -> Result<Known<Vec<Item>>> {
    let mut cursors = Vec::with_capacity(dir.parts.len());
    let mut opaque = false;
    for part in &dir.parts {
        let Some(toc) = layers.get(part.layer) else { continue };
        if !toc.is_complete() {
            return Ok(Known::Unknown { layer: part.layer });
        }
        cursors.push(Cursor::new(*toc, *part, after, limit.min(BATCH))?);
        opaque = is_opaque(*toc, part.node)?;
        if opaque {
            break;
        }
    }
    if let (Some(layer), false) = (dir.rest, opaque) {
        return Ok(Known::Unknown { layer });
    }
    let mut items = Vec::new();
    while items.len() < limit {
        let Some(name) = next(&mut cursors)? else { break };
        let whiteout = [WHITEOUT, &name].concat();
        let mut gather = Gather::new(layers);
        let mut answer = None;
        for cursor in &mut cursors {
            // All of them, so that each leaves the name behind.
            let node = cursor.take(&name);
            if answer.is_none() {
                let hides = || Ok(cursor.hides && cursor.toc.lookup(cursor.part.node, &whiteout)?.is_some());
                answer = gather.take(cursor.part.layer, true, node, hides)?;
            }
        }
        match answer.unwrap_or_else(|| gather.end(None)) {
            Found::Absent => {}
            Found::Unknown { layer } => return Ok(Known::Unknown { layer }),
            found => items.push(Item { name, found }),
        }
    }
    Ok(Known::Is(items))
}

/// The least of the names that come next, those that are never seen left out.
fn next(cursors: &mut [Cursor<'_>]) -> Result<Option<Vec<u8>>> {
    for cursor in &mut *cursors {
        cursor.fill()?;
    }
    Ok(cursors.iter().filter_map(Cursor::head).min().map(<[u8]>::to_vec))
}

/// A part of the directory, and how far its names were taken.
struct Cursor<'a> {
    toc: &'a dyn Toc,
    part: At,
    /// Whether any name in it is a whiteout.
    hides: bool,
    /// The next names, last first.
    ahead: Vec<(Vec<u8>, Node)>,
    last: Option<Vec<u8>>,
    batch: usize,
    ended: bool,
}

impl<'a> Cursor<'a> {
    fn new(toc: &'a dyn Toc, part: At, after: Option<&[u8]>, batch: usize) -> Result<Cursor<'a>> {
        let hides = toc.list(part.node, Some(WHITEOUT), 1)?.iter().any(|(name, _)| name.starts_with(WHITEOUT));
        let last = after.map(<[u8]>::to_vec);
        Ok(Cursor { toc, part, hides, ahead: Vec::new(), last, batch, ended: false })
    }

    /// Sees to it that there is a next name, unless there is none any more.
    fn fill(&mut self) -> Result<()> {
        while self.ahead.is_empty() && !self.ended {
            let names = self.toc.list(self.part.node, self.last.as_deref(), self.batch)?;
            let Some((last, _)) = names.last() else {
                self.ended = true;
                break;
            };
            self.last = Some(last.clone());
            self.ahead.extend(names.into_iter().rev().filter(|(name, _)| !name.starts_with(WHITEOUT)));
        }
        Ok(())
    }

    fn head(&self) -> Option<&[u8]> {
        self.ahead.last().map(|(name, _)| name.as_slice())
    }

    /// Its node of a name, if that comes next.
    fn take(&mut self, name: &[u8]) -> Option<Node> {
        if self.head() != Some(name) {
            return None;
        }
        self.ahead.pop().map(|(_, node)| node)
    }
}
