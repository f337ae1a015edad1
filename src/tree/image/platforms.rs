//! `platforms/` of an image directory: an image directory for each image of an index. Empty of anything else.

use super::{Image, Loaded, nothing};
use crate::error::Result;
use crate::manifest::Descriptor;
use crate::tree::{Attr, Dir, Entry, Node};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

/// The images.
pub(super) struct Platforms(pub Image);

impl Platforms {
    fn node(&self, image: &Descriptor, left: Duration) -> Node {
        let Image { metadata, repository, reference, .. } = &self.0;
        let (digest, reference) = (image.digest.clone(), reference.clone());
        Node::Dir(Arc::new(Image::by_digest(metadata, repository, digest, &image.media_type, reference, left)))
    }
}

impl Dir for Platforms {
    fn attr(&self) -> Attr {
        self.0.inner_attr()
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let Loaded { image, left, .. } = self.0.load()?;
        let mut entries: Vec<Entry> = image
            .platforms()
            .into_iter()
            .map(|(name, image)| Entry { name: name.into(), node: self.node(image, left) })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let Loaded { image, left, .. } = self.0.load()?;
        let found = image.platforms().into_iter().find(|(own, _)| OsStr::new(own) == name);
        found.map_or_else(|| nothing(name), |(_, image)| Ok(self.node(image, left)))
    }

    fn negative_ttl(&self) -> Duration {
        self.0.negative_ttl()
    }

    fn lane(&self) -> &str {
        self.0.lane()
    }
}
