//! What every repository has: `tags/`, `manifests/` and `blobs/`.
//!
//! Promises: a listing costs the listing's own requests, whatever is in it; a name that is not listed is asked for
//! once. Knows nothing of what an image directory holds.

use super::content::{BlobFile, dir_attr};
use super::image::Image;
use super::index::MAX_DEPTH;
use super::metadata::Metadata;
use super::snapshot::{Piece, Snapshot};
use super::{Attr, Dir, Entry, FOREVER, Node, not_found};
use crate::digest::Digest;
use crate::error::Result;
use crate::name::{self, Repository, Tag};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

/// The most images whose blobs `blobs/` lists; those learnt last.
const MAX_LISTED_IMAGES: usize = 256;

/// The directories of a repository, as they are named.
pub(super) const PARTS: [&str; 3] = ["blobs", "manifests", "tags"];

/// One of [`PARTS`].
pub(super) fn part(metadata: &Arc<Metadata>, repository: &Repository, name: &str) -> Option<Node> {
    let (metadata, repository) = (metadata.clone(), repository.clone());
    Some(Node::Dir(match name {
        "tags" => Arc::new(Tags { metadata, repository }),
        "manifests" => Arc::new(Manifests { metadata, repository }),
        "blobs" => Arc::new(Blobs { metadata, repository }),
        _ => return None,
    }))
}

/// What the directories here have in common.
macro_rules! common {
    () => {
        fn attr(&self) -> Attr {
            dir_attr(None, self.metadata.ttl(), 0)
        }

        fn negative_ttl(&self) -> Duration {
            self.metadata.lives.negative
        }

        fn refresh(&self) {
            self.metadata.refresh();
        }

        fn lane(&self) -> &str {
            self.metadata.name()
        }
    };
}

/// `tags/`: an image directory for each tag.
struct Tags {
    metadata: Arc<Metadata>,
    repository: Repository,
}

impl Tags {
    fn node(&self, tag: Tag) -> Node {
        Node::Dir(Arc::new(Image::tagged(&self.metadata, &self.repository, tag)))
    }
}

impl Dir for Tags {
    common!();

    fn list(&self) -> Result<Vec<Entry>> {
        let tags = self.metadata.tags(&self.repository)?.value;
        Ok(tags.names.iter().map(|tag| Entry { name: tag.as_str().into(), node: self.node(tag.clone()) }).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let Some(tag) = parse_tag(name) else { return Err(not_found(name)) };
        if self.metadata.tag_left(&self.repository, &tag).is_none() {
            self.metadata.tagged(&self.repository, &tag)?;
        }
        Ok(self.node(tag))
    }

    fn is_ready(&self, name: &OsStr) -> bool {
        parse_tag(name).is_none_or(|tag| self.metadata.is_tag_settled(&self.repository, &tag))
    }
}

fn parse_tag(name: &OsStr) -> Option<Tag> {
    name.to_str()?.parse().ok()
}

/// `manifests/`: an image directory for each digest; those that tags are known to name are listed.
struct Manifests {
    metadata: Arc<Metadata>,
    repository: Repository,
}

impl Manifests {
    fn node(&self, digest: Digest, media_type: &str) -> Node {
        Node::Dir(Arc::new(Image::by_digest(&self.metadata, &self.repository, digest, media_type, None, FOREVER)))
    }
}

impl Dir for Manifests {
    common!();

    fn list(&self) -> Result<Vec<Entry>> {
        let separator = self.metadata.options.digest_separator;
        let known = self.metadata.known.tags(&self.repository).into_iter();
        let named: BTreeMap<String, Node> = known
            .map(|(_, named)| {
                (name::show_digest(&named.digest, separator), self.node(named.digest.clone(), &named.media_type))
            })
            .collect();
        Ok(named.into_iter().map(|(name, node)| Entry { name: name.into(), node }).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let Some(digest) = name::parse_digest(name) else { return Err(not_found(name)) };
        let image = self.metadata.probe(&self.repository, &digest)?;
        Ok(self.node(digest, &image.media_type))
    }

    fn is_ready(&self, name: &OsStr) -> bool {
        let at_hand = |digest| self.metadata.image_at_hand(&self.repository, &digest).is_some();
        name::parse_digest(name).is_none_or(at_hand)
    }
}

/// `blobs/`: the blobs; those that manifests at hand name are listed.
struct Blobs {
    metadata: Arc<Metadata>,
    repository: Repository,
}

impl Blobs {
    fn node(&self, piece: Piece) -> Node {
        BlobFile::node(&self.metadata, &self.repository, piece, None, FOREVER)
    }

    fn gather(&self, image: &Arc<Snapshot>, depth: usize, into: &mut BTreeMap<String, Piece>) {
        let separator = self.metadata.options.digest_separator;
        for piece in image.pieces() {
            into.insert(name::show_digest(&piece.descriptor.digest, separator), piece);
        }
        for child in image.children().iter().filter(|_| depth > 0) {
            if let Some(child) = self.metadata.image_at_hand(&self.repository, &child.digest) {
                self.gather(&child, depth - 1, into);
            }
        }
    }
}

impl Dir for Blobs {
    common!();

    fn list(&self) -> Result<Vec<Entry>> {
        let mut pieces = BTreeMap::new();
        for (_, named) in self.metadata.known.tags(&self.repository).into_iter().take(MAX_LISTED_IMAGES) {
            if let Some(image) = self.metadata.image_cached(&self.repository, &named.digest, &named.media_type) {
                self.gather(&image, MAX_DEPTH, &mut pieces);
            }
        }
        Ok(pieces.into_iter().map(|(name, piece)| Entry { name: name.into(), node: self.node(piece) }).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let Some(digest) = name::parse_digest(name) else { return Err(not_found(name)) };
        let size = self.metadata.blob_size(&self.repository, &digest)?;
        Ok(self.node(Piece::of_size(&digest, size)))
    }

    fn is_ready(&self, name: &OsStr) -> bool {
        name::parse_digest(name).is_none_or(|digest| self.metadata.known_size(&self.repository, &digest).is_some())
    }
}
