//! An image directory: one manifest shown as files, which together are an OCI image layout (image-spec, image-layout.md).
//!
//! Promises: names are answered by the least that tells: fixed names and directories by nothing at all, `digest` by
//! the tag, the rest by the manifest. Files are what the tag named when they were looked up, whatever it names later;
//! directories below a tag follow it. A manifest in Docker's first format has no place in a layout: it is shown
//! without `index.json`; one that cannot be read at all is `manifest.json`, `digest` and `blobs/` of itself.

mod blobs;
mod layers;
mod platforms;
mod referrers;

use super::content::{BlobFile, Fixed, Xattrs, dir_attr, identity, oci_xattrs};
use super::index::is_its_own;
use super::metadata::Metadata;
use super::rootfs::{View, rootfs};
use super::snapshot::{Piece, Snapshot};
use super::{Attr, Dir, Entry, FOREVER, Node, not_found};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Document, media};
use crate::name::{Repository, Tag};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The file that marks a layout.
const OCI_LAYOUT: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";
/// The annotation of an `index.json` that names the image.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image directory, by tag or by digest. Cheap to clone: it holds names alone.
#[derive(Clone)]
pub(super) struct Image {
    metadata: Arc<Metadata>,
    repository: Repository,
    name: Name,
    /// The tag that `index.json` tells.
    reference: Option<Tag>,
    /// How long its own name may be relied on, if it is named by a digest; a tag knows itself.
    ttl: Duration,
}

#[derive(Clone)]
enum Name {
    Tag(Tag),
    /// A digest that the repository is known to have, and its type, if that is known.
    Digest(Digest, Arc<str>),
}

/// What an image directory shows now.
struct Loaded {
    image: Arc<Snapshot>,
    /// How much longer.
    left: Duration,
    /// What it showed before.
    before: Option<Digest>,
}

impl Image {
    /// What a tag names.
    pub(super) fn tagged(metadata: &Arc<Metadata>, repository: &Repository, tag: Tag) -> Image {
        let (metadata, repository, reference) = (metadata.clone(), repository.clone(), Some(tag.clone()));
        Image { metadata, repository, name: Name::Tag(tag), reference, ttl: Duration::ZERO }
    }

    /// What a digest names, which the repository has; its directory stands for it at least `ttl`.
    pub(super) fn by_digest(
        metadata: &Arc<Metadata>,
        repository: &Repository,
        digest: Digest,
        media_type: &str,
        reference: Option<Tag>,
        ttl: Duration,
    ) -> Image {
        let (metadata, repository) = (metadata.clone(), repository.clone());
        Image { metadata, repository, name: Name::Digest(digest, media_type.into()), reference, ttl }
    }

    fn load(&self) -> Result<Loaded> {
        match &self.name {
            Name::Tag(tag) => {
                let (image, now) = self.metadata.tagged(&self.repository, tag)?;
                Ok(Loaded { image, left: now.left, before: now.value.before })
            }
            Name::Digest(digest, media_type) => {
                let image = self.metadata.image(&self.repository, digest, media_type)?;
                Ok(Loaded { image, left: FOREVER, before: None })
            }
        }
    }

    /// The digest, and how much longer it is that one.
    fn digest(&self) -> Result<(Digest, Duration)> {
        match &self.name {
            Name::Tag(tag) => {
                let now = self.metadata.resolve(&self.repository, tag)?;
                Ok((now.value.named.digest.clone(), now.left))
            }
            Name::Digest(digest, _) => Ok((digest.clone(), FOREVER)),
        }
    }

    /// What it shows, as far as that is in memory: digest, type, manifest.
    fn at_hand(&self) -> Option<(Digest, String, Option<Arc<Snapshot>>)> {
        let (digest, media_type) = match &self.name {
            Name::Tag(tag) => {
                let named = self.metadata.tag_now(&self.repository, tag)?;
                (named.digest.clone(), named.media_type.clone())
            }
            Name::Digest(digest, media_type) => (digest.clone(), media_type.to_string()),
        };
        let image = self.metadata.image_at_hand(&self.repository, &digest);
        let media_type = image.as_ref().map_or(media_type, |image| image.media_type.clone());
        Some((digest, media_type, image))
    }

    fn mtime(&self) -> Option<SystemTime> {
        match &self.name {
            Name::Tag(tag) => self.metadata.tag_created(&self.repository, tag),
            Name::Digest(digest, _) => self.metadata.created(&self.repository, digest),
        }
    }

    fn identity(&self) -> u64 {
        match &self.name {
            Name::Tag(_) => 0,
            Name::Digest(digest, _) => identity(digest),
        }
    }

    /// The attributes of a directory in here, which is there as long as the image is.
    fn inner_attr(&self) -> Attr {
        let ttl = match &self.name {
            Name::Tag(_) => self.metadata.ttl(),
            Name::Digest(..) => FOREVER,
        };
        dir_attr(self.mtime(), ttl, self.identity())
    }

    /// The image itself, or the one of an index for this platform.
    fn chosen(&self, image: &Arc<Snapshot>) -> Result<Option<Arc<Snapshot>>> {
        self.metadata.chosen(&self.repository, image)
    }

    /// The same for a listing, which a child of an index does not spoil.
    fn chosen_or_none(&self, image: &Arc<Snapshot>) -> Result<Option<Arc<Snapshot>>> {
        match self.chosen(image) {
            Err(error) if is_its_own(error.kind()) => Ok(None),
            other => other,
        }
    }

    fn config(&self, loaded: &Loaded, chosen: Option<&Snapshot>) -> Option<Node> {
        let descriptor = chosen?.config()?.clone();
        let piece = Piece { descriptor, sized: true };
        let mtime = self.metadata.created_of(&self.repository, &loaded.image);
        Some(BlobFile::node(&self.metadata, &self.repository, piece, mtime, loaded.left))
    }

    /// The `index.json` of a layout that holds this image alone.
    fn index_json(&self, loaded: &Loaded) -> Option<Node> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Index<'a> {
            schema_version: u32,
            media_type: &'a str,
            manifests: [Entry<'a>; 1],
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry<'a> {
            media_type: &'a str,
            digest: &'a Digest,
            size: u64,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            annotations: BTreeMap<&'a str, &'a str>,
        }
        let image = &loaded.image;
        if !image.is_plain() || !image.is_readable() {
            return None;
        }
        let annotations = self.reference.iter().map(|tag| (REF_NAME, tag.as_str())).collect();
        let entry = Entry { media_type: &image.media_type, digest: &image.digest, size: image.size(), annotations };
        let index = Index { schema_version: 2, media_type: media::OCI_INDEX, manifests: [entry] };
        let bytes = serde_json::to_vec(&index).ok()?;
        let mtime = self.metadata.created_of(&self.repository, image);
        Some(Fixed::node(bytes.into(), mtime, loaded.left, identity(&image.digest)))
    }

    fn digest_file(&self, digest: &Digest, left: Duration) -> Node {
        Fixed::node(Bytes::from(format!("{digest}\n")), self.mtime(), left, identity(digest))
    }

    /// The layers of the image, to be looked into, if they are archives.
    fn view(&self, chosen: Option<Arc<Snapshot>>) -> Option<Arc<View>> {
        Some(View::new(&self.metadata, &self.repository, chosen.filter(|image| image.is_layered())?))
    }

    fn rootfs(&self, chosen: Option<Arc<Snapshot>>, left: Duration) -> Option<Node> {
        Some(rootfs(self.view(chosen)?, left))
    }

    fn oci_layout(&self) -> Node {
        Fixed::node(Bytes::from_static(OCI_LAYOUT), None, FOREVER, 0)
    }

    fn dir(&self, name: &str) -> Option<Node> {
        let image = self.clone();
        Some(Node::Dir(match name {
            "blobs" => Arc::new(blobs::Algorithms(image)),
            "layers" => Arc::new(layers::Layers(image)),
            "platforms" => Arc::new(platforms::Platforms(image)),
            "referrers" => Arc::new(referrers::Types(image)),
            _ => return None,
        }))
    }
}

impl Dir for Image {
    fn attr(&self) -> Attr {
        let ttl = match &self.name {
            Name::Tag(tag) => self.metadata.tag_left(&self.repository, tag).unwrap_or_default(),
            Name::Digest(..) => self.ttl,
        };
        dir_attr(self.mtime(), ttl, self.identity())
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let loaded = self.load()?;
        let chosen = self.chosen_or_none(&loaded.image)?;
        let mtime = self.metadata.created_of(&self.repository, &loaded.image);
        let dir = |name| self.dir(name).map(|node| (name, node));
        let (is_index, is_other) = match &loaded.image.document {
            Document::Index(_) => (true, false),
            Document::Other | Document::Unreadable => (false, true),
            Document::Image(_) | Document::Schema1 { .. } => (false, false),
        };
        let is_readable = loaded.image.is_readable();
        let nodes = [
            dir("blobs"),
            self.config(&loaded, chosen.as_deref()).map(|node| ("config.json", node)),
            Some(("digest", self.digest_file(&loaded.image.digest, loaded.left))),
            self.index_json(&loaded).map(|node| ("index.json", node)),
            dir("layers").filter(|_| !is_other),
            Some(("manifest.json", Fixed::manifest(&loaded.image, mtime, loaded.left))),
            Some(("oci-layout", self.oci_layout())).filter(|_| loaded.image.is_plain() && is_readable),
            dir("platforms").filter(|_| is_index),
            dir("referrers").filter(|_| is_readable),
            self.rootfs(chosen, loaded.left).map(|node| ("rootfs", node)),
        ];
        Ok(nodes.into_iter().flatten().map(|(name, node)| Entry { name: name.into(), node }).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let text = name.to_str().unwrap_or_default();
        if let Some(node) = self.dir(text) {
            return Ok(node);
        }
        match text {
            "oci-layout" => Ok(self.oci_layout()),
            "digest" => self.digest().map(|(digest, left)| self.digest_file(&digest, left)),
            "manifest.json" => {
                let loaded = self.load()?;
                let mtime = self.metadata.created_of(&self.repository, &loaded.image);
                Ok(Fixed::manifest(&loaded.image, mtime, loaded.left))
            }
            "index.json" => self.index_json(&self.load()?).ok_or_else(|| not_found(name)),
            "rootfs" => {
                let loaded = self.load()?;
                let chosen = self.chosen(&loaded.image)?;
                self.rootfs(chosen, loaded.left).ok_or_else(|| not_found(name))
            }
            "config.json" => {
                let loaded = self.load()?;
                let chosen = self.chosen(&loaded.image)?;
                self.config(&loaded, chosen.as_deref()).ok_or_else(|| not_found(name))
            }
            _ => Err(not_found(name)),
        }
    }

    fn is_ready(&self, name: &OsStr) -> bool {
        let image = || self.at_hand().and_then(|(_, _, image)| image);
        match name.to_str() {
            Some("digest") => self.at_hand().is_some(),
            Some("manifest.json" | "index.json") => image().is_some(),
            Some("config.json" | "rootfs") => {
                image().is_some_and(|image| self.metadata.chosen_at_hand(&self.repository, &image).is_some())
            }
            _ => true,
        }
    }

    fn negative_ttl(&self) -> Duration {
        self.metadata.lives.negative
    }

    fn xattrs(&self) -> Result<Xattrs> {
        Ok(self.at_hand().map_or_else(Vec::new, |(digest, media_type, image)| {
            oci_xattrs(&digest, &media_type, image.as_ref().and_then(|image| image.annotations()))
        }))
    }

    fn xattr(&self, name: &OsStr) -> Result<Option<Vec<u8>>> {
        if !name.to_str().is_some_and(|name| name.starts_with("user.oci.")) {
            return Ok(None);
        }
        if name == "user.oci.digest" {
            return self.digest().map(|(digest, _)| Some(digest.as_str().into()));
        }
        let image = self.load()?.image;
        let xattrs = oci_xattrs(&image.digest, &image.media_type, image.annotations());
        Ok(xattrs.into_iter().find_map(|(own, value)| (own == name).then_some(value)))
    }

    fn refresh(&self) {
        self.metadata.refresh();
    }

    fn lane(&self) -> &str {
        self.metadata.name()
    }
}

/// A name that an image directory's own directories do not have, for good.
fn nothing(name: &OsStr) -> Result<Node> {
    Err(not_found(name))
}

/// The failure of a listing over a limit of the tree.
fn too_many(what: &str, limit: usize) -> Error {
    Error::new(Kind::TooBig, format!("{what} over the limit of {limit}"))
}
