//! `layers/` of an image directory, the bottom one first: of each layer its blob, a link named by its place and what it
//! is packed as, and the files in it, a directory named by its place.

use super::{Image, nothing};
use crate::error::Result;
use crate::tree::content::{file_attr, identity};
use crate::tree::rootfs::own;
use crate::tree::{Attr, Dir, Entry, Link, Node, Xattrs, not_found};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// The directory.
pub(super) struct Layers(pub Image);

impl Layers {
    fn nodes(&self, is_listing: bool) -> Result<Vec<(String, Node)>> {
        let loaded = self.0.load()?;
        let chosen = match is_listing {
            true => self.0.chosen_or_none(&loaded.image)?,
            false => self.0.chosen(&loaded.image)?,
        };
        let layers = chosen.as_ref().map_or_else(Vec::new, |image| image.layers());
        let view = self.0.view(chosen);
        let width = layers.len().saturating_sub(1).to_string().len().max(2);
        let mtime = self.0.metadata.created_of(&self.0.repository, &loaded.image);
        let mut nodes = Vec::with_capacity(2 * layers.len());
        for (place, layer) in layers.iter().enumerate() {
            let name = format!("{place:0width$}");
            nodes.extend(view.iter().map(|view| (name.clone(), own(view, place, loaded.left))));
            let digest = &layer.descriptor.digest;
            let target: OsString = format!("../blobs/{}/{}", digest.algorithm(), digest.encoded()).into();
            let attr = Attr { mode: 0o777, ..file_attr(target.len() as u64, mtime, loaded.left, identity(digest)) };
            let link = Link { target, attr, xattrs: Xattrs::default() };
            nodes.push((format!("{name}{}", extension(&layer.descriptor.media_type)), link.into()));
        }
        Ok(nodes)
    }
}

impl Dir for Layers {
    fn attr(&self) -> Attr {
        self.0.inner_attr()
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let nodes = self.nodes(true)?.into_iter();
        Ok(nodes.map(|(name, node)| Entry { name: name.into(), node }).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        if !name.to_str().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit())) {
            return nothing(name);
        }
        let found = self.nodes(false)?.into_iter().find(|(own, _)| OsStr::new(own) == name);
        found.map(|(_, node)| node).ok_or_else(|| not_found(name))
    }

    fn negative_ttl(&self) -> Duration {
        self.0.negative_ttl()
    }

    fn lane(&self) -> &str {
        self.0.lane()
    }
}

/// The extension for a layer's media type; schema1 has none, and knows only gzip.
fn extension(media_type: &str) -> &'static str {
    match media_type.rsplit(['+', '.']).next().unwrap_or_default() {
        "" if media_type.is_empty() => ".tar.gz",
        "gzip" => ".tar.gz",
        "zstd" => ".tar.zst",
        "tar" => ".tar",
        // In-toto statements, SBOMs and other artifacts' contents.
        "json" => ".json",
        _ => ".blob",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        for (media_type, expected) in [
            ("application/vnd.oci.image.layer.v1.tar+gzip", ".tar.gz"),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", ".tar.gz"),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", ".tar.gz"),
            ("application/vnd.oci.image.layer.v1.tar+zstd", ".tar.zst"),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", ".tar.zst"),
            ("application/vnd.oci.image.layer.v1.tar", ".tar"),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", ".blob"),
            ("application/vnd.in-toto+json", ".json"),
            ("application/x", ".blob"),
            ("", ".tar.gz"),
        ] {
            assert_eq!(extension(media_type), expected, "{media_type}");
        }
    }
}
