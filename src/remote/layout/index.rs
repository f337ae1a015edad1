//! A layout's index.json: which manifests there are, and what names them.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::{self, Descriptor, Document, Manifest};
use crate::name::Tag;
use crate::remote::names;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

/// Where index.json names a manifest (image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What an index.json says. Does not change; a changed file gives another.
pub(super) struct Index {
    manifests: Vec<Descriptor>,
    tags: BTreeMap<Tag, Descriptor>,
    /// Names that stand for several manifests, so for none.
    ambiguous: BTreeSet<Tag>,
    /// What refers to each manifest: known once somebody asked, since every manifest must be read for it.
    subjects: OnceLock<HashMap<Digest, Vec<Descriptor>>>,
}

impl Index {
    /// Parses the bytes of an index.json.
    pub(super) fn parse(bytes: &[u8]) -> Result<Index> {
        let manifests = match manifest::parse("", bytes)?.1 {
            Document::Index(index) => index.manifests,
            // `"manifests": null`, as some writers begin an empty layout.
            Document::Other | Document::Unreadable => Vec::new(),
            Document::Image(_) | Document::Schema1 { .. } => {
                return Err(Error::new(Kind::Protocol, "it is an image manifest, not an index"));
            }
        };
        let mut index =
            Index { manifests, tags: BTreeMap::new(), ambiguous: BTreeSet::new(), subjects: OnceLock::new() };
        // A name that is a tag as it stands goes before those that merely end in one.
        index.take_names(|name| name.parse().ok());
        index.take_names(tag_of_reference);
        Ok(index)
    }

    /// Adds the tags that `read` finds in names, other than those known already.
    fn take_names(&mut self, read: impl Fn(&str) -> Option<Tag>) {
        let mut found: BTreeMap<Tag, Descriptor> = BTreeMap::new();
        let mut ambiguous = BTreeSet::new();
        for descriptor in &self.manifests {
            let Some(tag) = descriptor.annotations.get(REF_NAME).and_then(|name| read(name)) else { continue };
            if self.tags.contains_key(&tag) || self.ambiguous.contains(&tag) {
                continue;
            }
            match found.get(&tag) {
                Some(known) if known.digest != descriptor.digest => {
                    ambiguous.insert(tag);
                }
                Some(_) => {}
                None => {
                    found.insert(tag, descriptor.clone());
                }
            }
        }
        found.retain(|tag, _| !ambiguous.contains(tag));
        self.tags.append(&mut found);
        self.ambiguous.append(&mut ambiguous);
    }

    /// What `tag` names.
    pub(super) fn tagged(&self, tag: &Tag) -> Option<&Descriptor> {
        self.tags.get(tag)
    }

    /// Every tag.
    pub(super) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.keys()
    }

    /// Why some manifests have no tag though they have a name; `None` if all have.
    pub(super) fn unnamed(&self) -> Option<String> {
        let first = self.ambiguous.first()?;
        Some(format!(
            "{} names stand for several manifests each ({first}): they are found by digest",
            self.ambiguous.len()
        ))
    }

    /// The type that the index gives a manifest; empty if it does not list it.
    pub(super) fn media_type(&self, digest: &Digest) -> &str {
        self.manifests.iter().find(|known| known.digest == *digest).map_or("", |known| &known.media_type)
    }

    /// What refers to `digest`: listed manifests with it as their subject, and what its fallback tag lists.
    ///
    /// `read` gives manifests by digest and type; one that cannot be read refers to nothing.
    pub(super) fn referrers(
        &self,
        digest: &Digest,
        read: impl Fn(&Digest, &str) -> Result<Manifest>,
    ) -> Result<Vec<Descriptor>> {
        let mut found = self.subjects.get_or_init(|| self.subjects(&read)).get(digest).cloned().unwrap_or_default();
        if let Some(listed) = names::referrers_tag(digest).and_then(|tag| self.tags.get(&tag)) {
            let manifest = read(&listed.digest, &listed.media_type)?;
            if let Document::Index(index) = manifest::parse(&manifest.media_type, &manifest.bytes)?.1 {
                let known: BTreeSet<Digest> = found.iter().map(|known| known.digest.clone()).collect();
                found.extend(index.manifests.into_iter().filter(|more| !known.contains(&more.digest)));
            }
        }
        Ok(found)
    }

    fn subjects(&self, read: impl Fn(&Digest, &str) -> Result<Manifest>) -> HashMap<Digest, Vec<Descriptor>> {
        let mut subjects: HashMap<Digest, Vec<Descriptor>> = HashMap::new();
        let mut seen = BTreeSet::new();
        for descriptor in self.manifests.iter().filter(|descriptor| seen.insert(descriptor.digest.clone())) {
            let Ok(manifest) = read(&descriptor.digest, &descriptor.media_type) else { continue };
            let Ok((media_type, Document::Image(image))) = manifest::parse(&manifest.media_type, &manifest.bytes)
            else {
                continue;
            };
            let image = *image;
            let Some(subject) = image.subject else { continue };
            // As a registry describes a referrer: the artifact's type and annotations, not the index's.
            let artifact_type = image.artifact_type.or_else(|| image.config.map(|config| config.media_type));
            let referrer =
                Descriptor { media_type, artifact_type, annotations: image.annotations, ..descriptor.clone() };
            subjects.entry(subject.digest).or_default().push(referrer);
        }
        subjects
    }
}

/// The tag of `docker.io/library/x:tag` or `x:tag`; `None` if there is none, or a digest follows.
fn tag_of_reference(name: &str) -> Option<Tag> {
    let (before, tag) = name.rsplit_once(':')?;
    // The colon of a port has a path after it, which no tag can hold.
    if before.is_empty() || before.contains('@') { None } else { tag.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(names: &[(&str, u8)]) -> Index {
        let entries: Vec<String> = names
            .iter()
            .map(|(name, content)| {
                let digest = Digest::of(&[*content]);
                format!(r#"{{"mediaType":"m","digest":"{digest}","size":1,"annotations":{{"{REF_NAME}":"{name}"}}}}"#)
            })
            .collect();
        Index::parse(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")).as_bytes()).expect("index")
    }

    fn tags(index: &Index) -> Vec<&str> {
        index.tags().map(Tag::as_str).collect()
    }

    #[test]
    fn names_that_are_tags_and_names_that_end_in_one() {
        let index =
            index(&[("v1", 1), ("docker.io/library/x:v2", 2), ("host:5000/x", 3), ("x@sha256:00", 4), ("a b", 5)]);
        assert_eq!(tags(&index), ["v1", "v2"]);
        assert_eq!(index.unnamed(), None);
        assert_eq!(index.media_type(&Digest::of(&[5])), "m");
    }

    #[test]
    fn a_plain_tag_goes_before_a_reference() {
        let index = index(&[("docker.io/library/x:v1", 1), ("v1", 2), ("other/y:v1", 3)]);
        assert_eq!(index.tagged(&"v1".parse().expect("tag")).expect("v1").digest, Digest::of(&[2]));
    }

    #[test]
    fn a_name_for_two_manifests_stands_for_none() {
        let index = index(&[("v1", 1), ("v1", 2), ("x:v1", 1), ("a:v2", 3), ("b:v2", 4), ("c:v3", 5), ("d:v3", 5)]);
        assert_eq!(tags(&index), ["v3"]);
        assert!(index.unnamed().expect("some").contains("v1"));
    }

    #[test]
    fn an_empty_index_in_any_spelling() {
        for text in [r#"{"schemaVersion":2}"#, r#"{"schemaVersion":2,"manifests":null}"#, r#"{"manifests":[]}"#] {
            assert_eq!(tags(&Index::parse(text.as_bytes()).expect(text)).len(), 0);
        }
        assert!(Index::parse(br#"{"schemaVersion":2,"layers":[]}"#).is_err());
        assert!(Index::parse(b"").is_err());
    }
}
