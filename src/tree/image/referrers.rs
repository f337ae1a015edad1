//! `referrers/` of an image directory: `<type>/<digest>/`, an image directory for each artifact that refers to the image.

use super::{Image, nothing};
use crate::error::Result;
use crate::manifest::Descriptor;
use crate::name;
use crate::tree::cached::Fresh;
use crate::tree::content::dir_attr;
use crate::tree::{Attr, Dir, Entry, Node, not_found};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

/// The longest name of a type, in bytes.
const MAX_TYPE: usize = 200;

impl Image {
    fn referrers(&self) -> Result<Fresh<Arc<Vec<Descriptor>>>> {
        let (digest, left) = self.digest()?;
        let referrers = self.metadata.referrers(&self.repository, &digest)?;
        Ok(Fresh { left: referrers.left.min(left), ..referrers })
    }

    fn referrer(&self, artifact: &Descriptor, left: Duration) -> Node {
        let Image { metadata, repository, .. } = self;
        let digest = artifact.digest.clone();
        Node::Dir(Arc::new(Image::by_digest(metadata, repository, digest, &artifact.media_type, None, left)))
    }
}

/// The types.
pub(super) struct Types(pub Image);

impl Types {
    fn dir(&self, name: String, left: Duration) -> Node {
        Node::Dir(Arc::new(Artifacts { image: self.0.clone(), name, left }))
    }
}

impl Dir for Types {
    fn attr(&self) -> Attr {
        self.0.inner_attr()
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let Fresh { value, left } = self.0.referrers()?;
        let names: BTreeMap<String, ()> = value.iter().map(|artifact| (show(artifact), ())).collect();
        let entry = |(name, ()): (String, ())| Entry { name: name.clone().into(), node: self.dir(name, left) };
        Ok(names.into_iter().map(entry).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let Fresh { value, left } = self.0.referrers()?;
        let found = value.iter().map(show).find(|own| OsStr::new(own) == name);
        found.map_or_else(|| nothing(name), |own| Ok(self.dir(own, left)))
    }

    fn negative_ttl(&self) -> Duration {
        self.0.negative_ttl()
    }

    fn lane(&self) -> &str {
        self.0.lane()
    }
}

/// The artifacts of one type.
struct Artifacts {
    image: Image,
    name: String,
    left: Duration,
}

impl Dir for Artifacts {
    fn attr(&self) -> Attr {
        dir_attr(self.image.mtime(), self.left, self.image.identity())
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let separator = self.image.metadata.options.digest_separator;
        let Fresh { value, left } = self.image.referrers()?;
        let own = value.iter().filter(|artifact| show(artifact) == self.name);
        let named: BTreeMap<String, Node> = own
            .map(|artifact| (name::show_digest(&artifact.digest, separator), self.image.referrer(artifact, left)))
            .collect();
        Ok(named.into_iter().map(|(name, node)| Entry { name: name.into(), node }).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let Some(digest) = name::parse_digest(name) else { return nothing(name) };
        let Fresh { value, left } = self.image.referrers()?;
        let found = value.iter().find(|artifact| artifact.digest == digest && show(artifact) == self.name);
        found.map(|artifact| self.image.referrer(artifact, left)).ok_or_else(|| not_found(name))
    }

    fn negative_ttl(&self) -> Duration {
        self.image.negative_ttl()
    }

    fn lane(&self) -> &str {
        self.image.lane()
    }
}

/// The file name of an artifact's type: `application/spdx+json` is `application-spdx+json`.
fn show(artifact: &Descriptor) -> String {
    let own = artifact.artifact_type.as_deref().filter(|own| !own.is_empty()).unwrap_or(&artifact.media_type);
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '_') { c } else { '-' };
    let shown: String = own.chars().take(MAX_TYPE).map(plain).collect();
    if shown.trim_matches('.').is_empty() { "unknown".to_owned() } else { shown }
}
