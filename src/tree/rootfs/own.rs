//! A directory of one layer on its own: what its archive holds, whiteouts as they are.

use super::node::{self, Place};
use super::view::View;
use crate::error::Result;
use crate::layer::entry::Kind;
use crate::layer::toc;
use crate::tree::content::{dir_attr, identity};
use crate::tree::layers::{Layer, Look};
use crate::tree::{Attr, Dir, Entry, FOREVER, Node, not_found};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::time::Duration;

/// Names asked for at once.
const PAGE: usize = 4096;

/// The files of layer `number` of an image, which is that image for `ttl`.
pub(in crate::tree) fn own(view: &Arc<View>, number: usize, ttl: Duration) -> Node {
    let attr = Attr { mode: 0o755, owner: Some((0, 0)), ..dir_attr(view.created(), ttl, identity(view.digest())) };
    Node::Dir(Arc::new(Own { view: view.clone(), number, place: Place { node: toc::Node::ROOT, generation: 0 }, attr }))
}

struct Own {
    view: Arc<View>,
    number: usize,
    place: Place,
    attr: Attr,
}

impl Own {
    fn layer(&self) -> Result<&Arc<Layer>> {
        self.view.layers()?.get(self.number).ok_or_else(|| not_found(OsStr::new("layers")))
    }

    fn child(&self, layer: &Arc<Layer>, look: &Look, node: toc::Node) -> Result<Node> {
        let told = look.toc.attr(node)?;
        let place = Place { node, generation: look.generation };
        if told.kind != Kind::Dir {
            return node::leaf(layer, &*look.toc, place, look.settled, layer.digest(), self.view.lane());
        }
        let attr = node::attr(&told, look.settled, identity(layer.digest()));
        Ok(Node::Dir(Arc::new(Own { view: self.view.clone(), number: self.number, place, attr })))
    }
}

impl Dir for Own {
    fn attr(&self) -> Attr {
        self.attr.clone()
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let layer = self.layer()?;
        let look = layer.complete(self.place.dir())?;
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|last| last.name.as_bytes().to_vec());
            let page = look.toc.list(self.place.node, after.as_deref(), PAGE)?;
            if page.is_empty() {
                return Ok(entries);
            }
            for (name, node) in page {
                let node = self.child(layer, &look, node)?;
                entries.push(Entry { name: OsString::from_vec(name), node });
            }
        }
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let layer = self.layer()?;
        let (node, look) = layer.node(name.as_bytes(), self.place.dir())?.ok_or_else(|| not_found(name))?;
        self.child(layer, &look, node)
    }

    fn is_ready(&self, _name: &OsStr) -> bool {
        self.layer().is_ok_and(|layer| layer.is_ready())
    }

    fn negative_ttl(&self) -> Duration {
        if self.layer().is_ok_and(|layer| layer.is_verified()) { FOREVER } else { Duration::ZERO }
    }

    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        if self.place.node == toc::Node::ROOT {
            return Ok(Vec::new());
        }
        let layer = self.layer()?;
        node::xattrs(layer, &*layer.look_again(self.place.generation)?.toc, self.place.node)
    }

    fn is_view(&self) -> bool {
        self.place.node == toc::Node::ROOT
    }

    fn lane(&self) -> &str {
        self.view.lane()
    }
}
