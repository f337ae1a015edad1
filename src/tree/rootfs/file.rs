//! A regular file inside a layer.

use super::node::Place;
use crate::digest::Digest;
use crate::error::Result;
use crate::layer::file::LayerFile;
use crate::read_at::{ReadAt, Sink};
use crate::span::Span;
use crate::tree::layers::Layer;
use crate::tree::{Attr, File, Handle};
use std::ffi::OsString;
use std::sync::Arc;

/// A file of a layer.
pub(super) struct LayerNode {
    pub(super) layer: Arc<Layer>,
    pub(super) place: Place,
    pub(super) attr: Attr,
    pub(super) lane: Arc<str>,
}

impl File for LayerNode {
    fn attr(&self) -> Attr {
        self.attr.clone()
    }

    fn open(&self) -> Result<Arc<dyn Handle>> {
        let extents = match self.attr.size {
            0 => Vec::new(),
            _ => self.layer.look_again(self.place.generation)?.toc.extents(self.place.node)?,
        };
        let end = extents.last().map_or(0, |last| last.offset.saturating_add(last.len));
        let content: Arc<dyn ReadAt> = match end {
            0 => Arc::new(Vec::new()),
            _ => self.layer.content(end, self.place.generation)?,
        };
        Ok(Arc::new(Open(LayerFile::new(content, extents, self.attr.size))))
    }

    fn is_ready(&self) -> bool {
        self.attr.size == 0 || self.layer.is_ready()
    }

    fn blob(&self) -> Option<Digest> {
        Some(self.layer.digest().clone())
    }

    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        let look = self.layer.look_again(self.place.generation)?;
        super::node::xattrs(&self.layer, &*look.toc, self.place.node)
    }

    fn lane(&self) -> &str {
        &self.lane
    }
}

/// An open file of a layer.
struct Open(LayerFile);

impl ReadAt for Open {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn stream(&self, span: Span, sink: Sink<'_>) -> Result<()> {
        self.0.stream(span, sink)
    }
}

impl Handle for Open {
    fn is_ready(&self, offset: u64, len: usize) -> bool {
        self.0.is_at_hand(Span::new(offset, offset.saturating_add(len as u64)))
    }
}
