//! A directory of the merged tree.

use super::node::{self, Place};
use super::view::{Now, View};
use crate::error::{Kind, Result};
use crate::layer::merge::{self, At, Dir as Parts, Found, Item, Known};
use crate::layer::toc::Toc;
use crate::tree::content::{dir_attr, identity};
use crate::tree::layers::Layer;
use crate::tree::{Attr, Dir, Entry, Node, not_found};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Names asked for at once.
const PAGE: usize = 4096;

/// A merged directory.
pub(super) struct Merged {
    view: Arc<View>,
    /// From the root, without a slash at either end.
    path: Vec<u8>,
    /// The parts that it has, if any was found yet, and in which tables. Behind a lock because more may follow as layers are read.
    parts: Mutex<Option<(Parts, Arc<[u64]>)>>,
    /// What it was seen to be; of the root, what the image tells.
    attr: Attr,
    /// The layer that its attributes are of.
    face: Option<(At, u64)>,
}

impl Merged {
    /// The root, which is that of the image for `ttl`.
    pub(super) fn root(view: Arc<View>, ttl: Duration) -> Merged {
        let attr = Attr { mode: 0o755, owner: Some((0, 0)), ..dir_attr(view.created(), ttl, identity(view.digest())) };
        Merged { view, path: Vec::new(), parts: Mutex::default(), attr, face: None }
    }

    /// Its parts, as far as they are known now.
    fn parts(&self, now: &Now, tocs: &[&dyn Toc]) -> Result<Parts> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |layer: usize| tocs.get(layer).is_none_or(|toc| toc.is_complete());
        match &*parts {
            Some((known, of)) if *of == now.generations && !known.rest.is_some_and(is_over) => Ok(known.clone()),
            _ => {
                let found = match merge::walk(tocs, &self.path)? {
                    Found::Dir(found) => found,
                    // It was a directory when it was found.
                    Found::Absent | Found::Leaf(_) => return Err(not_found(OsStr::from_bytes(&self.path))),
                    Found::Unknown { layer } => Parts { parts: Vec::new(), rest: Some(layer) },
                };
                *parts = Some((found.clone(), now.generations.clone()));
                Ok(found)
            }
        }
    }

    fn below(&self, name: &[u8]) -> Vec<u8> {
        match self.path.is_empty() {
            true => name.to_vec(),
            false => [&self.path[..], b"/", name].concat(),
        }
    }

    /// The node of what a name was found to be; `Unknown` where its attributes are.
    fn node(&self, now: &Now, tocs: &[&dyn Toc], name: &[u8], found: Found) -> Result<Known<Option<Node>>> {
        let settled = self.view.is_settled();
        let layer = |at: At| -> Result<&Arc<Layer>> {
            self.view.layers()?.get(at.layer).ok_or_else(|| not_found(OsStr::from_bytes(name)))
        };
        Ok(Known::Is(match found {
            Found::Unknown { layer } => return Ok(Known::Unknown { layer }),
            Found::Absent => None,
            Found::Leaf(at) => {
                let layer = layer(at)?;
                let Some(toc) = tocs.get(at.layer) else { return Ok(Known::Is(None)) };
                let place = Place { node: at.node, generation: now.generation(at.layer) };
                Some(node::leaf(layer, *toc, place, settled, self.view.digest(), self.view.lane())?)
            }
            Found::Dir(parts) => {
                let face = match merge::face(tocs, &parts)? {
                    Known::Is(face) => face,
                    Known::Unknown { layer } => return Ok(Known::Unknown { layer }),
                };
                let Some(toc) = tocs.get(face.layer) else { return Ok(Known::Is(None)) };
                let attr = node::attr(&toc.attr(face.node)?, settled, identity(self.view.digest()));
                let (view, path) = (self.view.clone(), self.below(name));
                let parts = Mutex::new(Some((parts, now.generations.clone())));
                Some(Node::Dir(Arc::new(Merged {
                    view,
                    path,
                    parts,
                    attr,
                    face: Some((face, now.generation(face.layer))),
                })))
            }
        }))
    }

    /// A page of names from `after` on.
    fn page(&self, after: Option<&[u8]>) -> Result<Vec<(Item, Node)>> {
        self.view.ask(|now| {
            let tocs = &now.tocs()[..];
            let parts = self.parts(now, tocs)?;
            let items = match merge::list(tocs, &parts, after, PAGE)? {
                Known::Is(items) => items,
                Known::Unknown { layer } => return Ok(Known::Unknown { layer }),
            };
            let mut nodes = Vec::with_capacity(items.len());
            for item in items {
                match self.node(now, tocs, &item.name, item.found.clone())? {
                    Known::Is(Some(node)) => nodes.push((item, node)),
                    Known::Is(None) => {}
                    Known::Unknown { layer } => return Ok(Known::Unknown { layer }),
                }
            }
            Ok(Known::Is(nodes))
        })
    }
}

impl Dir for Merged {
    fn attr(&self) -> Attr {
        self.attr.clone()
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|last| last.name.as_bytes().to_vec());
            let page = self.page(after.as_deref())?;
            let more = page.len();
            entries.extend(page.into_iter().map(|(item, node)| Entry { name: OsString::from_vec(item.name), node }));
            if more == 0 {
                return Ok(entries);
            }
        }
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let found = self.view.ask(|now| {
            let tocs = &now.tocs()[..];
            let parts = self.parts(now, tocs)?;
            let found = merge::lookup(tocs, &parts, name.as_bytes())?;
            self.node(now, tocs, name.as_bytes(), found)
        })?;
        found.ok_or_else(|| not_found(name))
    }

    fn is_ready(&self, _name: &OsStr) -> bool {
        self.view.is_settled()
    }

    fn negative_ttl(&self) -> Duration {
        self.view.negative_ttl()
    }

    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        let Some((face, generation)) = self.face else { return Ok(Vec::new()) };
        let layers = self.view.layers()?;
        let Some(layer) = layers.get(face.layer) else { return Ok(Vec::new()) };
        match layer.look_again(generation) {
            Ok(look) => node::xattrs(layer, &*look.toc, face.node),
            Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn is_view(&self) -> bool {
        self.path.is_empty()
    }

    fn lane(&self) -> &str {
        self.view.lane()
    }
}
