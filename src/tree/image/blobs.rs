//! `blobs/` of an image directory: `sha256/<hex>`, every manifest and blob that the image is made of, and no other.

use super::{Image, Loaded, nothing, too_many};
use crate::digest::Digest;
use crate::error::Result;
use crate::tree::content::{BlobFile, Fixed, Unloaded};
use crate::tree::index::Found;
use crate::tree::{Attr, Dir, Entry, FOREVER, Node, not_found};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

/// The most blobs of one image that are listed.
const MAX_BLOBS: usize = 100_000;
/// Algorithms whose directories are there without a look at the image.
const USUAL: [&str; 2] = ["sha256", "sha512"];

/// The algorithms.
pub(super) struct Algorithms(pub Image);

impl Algorithms {
    /// The algorithms that the manifest itself uses; those that only images of an index use are found, not listed.
    fn used(&self) -> Result<BTreeSet<String>> {
        let image = self.0.load()?.image;
        let own = image.is_plain().then(|| image.digest.algorithm().to_owned());
        let pieces = image.pieces().into_iter().map(|piece| piece.descriptor.digest.algorithm().to_owned());
        let children = image.children().iter().map(|child| child.digest.algorithm().to_owned());
        Ok(own.into_iter().chain(pieces).chain(children).collect())
    }

    fn dir(&self, algorithm: String) -> Node {
        Node::Dir(Arc::new(Blobs { image: self.0.clone(), algorithm }))
    }
}

impl Dir for Algorithms {
    fn attr(&self) -> Attr {
        self.0.inner_attr()
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let entry = |algorithm: String| Entry { name: algorithm.clone().into(), node: self.dir(algorithm) };
        Ok(self.used()?.into_iter().map(entry).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        match name.to_str() {
            Some(usual) if USUAL.contains(&usual) => Ok(self.dir(usual.to_owned())),
            Some(other) if self.used()?.contains(other) => Ok(self.dir(other.to_owned())),
            _ => nothing(name),
        }
    }

    fn is_ready(&self, name: &OsStr) -> bool {
        name.to_str().is_some_and(|name| USUAL.contains(&name))
    }

    fn lane(&self) -> &str {
        self.0.lane()
    }
}

/// The blobs of one algorithm.
struct Blobs {
    image: Image,
    algorithm: String,
}

impl Blobs {
    fn find(&self, loaded: &Loaded, digest: &Digest) -> Result<Option<Found>> {
        let (metadata, repository) = (&self.image.metadata, &self.image.repository);
        if let Some(found) = metadata.find(repository, &loaded.image, digest)? {
            return Ok(Some(found));
        }
        // A reader of `index.json` may finish with the image that it began, though the tag has moved since.
        match &loaded.before {
            Some(before) => metadata.find(repository, &metadata.image(repository, before, "")?, digest),
            None => Ok(None),
        }
    }

    fn node(&self, found: Found) -> Node {
        match found {
            Found::Manifest(manifest) => Fixed::manifest(&manifest, None, FOREVER),
            Found::Blob(piece) => BlobFile::node(&self.image.metadata, &self.image.repository, *piece, None, FOREVER),
        }
    }
}

impl Dir for Blobs {
    fn attr(&self) -> Attr {
        self.image.inner_attr()
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let (metadata, repository) = (&self.image.metadata, &self.image.repository);
        let image = self.image.load()?.image;
        let children = metadata.children(repository, &image)?;
        let mut nodes: BTreeMap<Digest, Node> = BTreeMap::new();
        if image.is_plain() {
            nodes.insert(image.digest.clone(), self.node(Found::Manifest(image.clone())));
        }
        for child in &children {
            let digest = child.descriptor.digest.clone();
            let node = match &child.manifest {
                Some(manifest) if !manifest.is_plain() => continue,
                Some(manifest) => self.node(Found::Manifest(manifest.clone())),
                None => {
                    let (metadata, repository) = (metadata.clone(), repository.clone());
                    Node::File(Arc::new(Unloaded { metadata, repository, descriptor: child.descriptor.clone() }))
                }
            };
            nodes.insert(digest, node);
        }
        for manifest in std::iter::once(&image).chain(children.iter().filter_map(|child| child.manifest.as_ref())) {
            for piece in manifest.pieces() {
                if nodes.len() > MAX_BLOBS {
                    return Err(too_many("blobs of one image", MAX_BLOBS));
                }
                let digest = piece.descriptor.digest.clone();
                nodes.entry(digest).or_insert_with(|| self.node(Found::Blob(Box::new(piece))));
            }
        }
        let own = nodes.into_iter().filter(|(digest, _)| digest.algorithm() == self.algorithm);
        Ok(own.map(|(digest, node)| Entry { name: digest.encoded().into(), node }).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let digest = name.to_str().and_then(|encoded| format!("{}:{encoded}", self.algorithm).parse::<Digest>().ok());
        let Some(digest) = digest else { return nothing(name) };
        let found = self.find(&self.image.load()?, &digest)?.ok_or_else(|| not_found(name))?;
        let (metadata, repository) = (&self.image.metadata, &self.image.repository);
        match found {
            // Its size has to be right once it was looked up.
            Found::Blob(mut piece) if !piece.sized => {
                piece.descriptor.size = metadata.blob_size(repository, &digest)?;
                piece.sized = true;
                Ok(self.node(Found::Blob(piece)))
            }
            found => Ok(self.node(found)),
        }
    }

    fn negative_ttl(&self) -> Duration {
        self.image.negative_ttl()
    }

    fn lane(&self) -> &str {
        self.image.lane()
    }
}
