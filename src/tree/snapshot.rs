//! One manifest, read and parsed: what an image directory is made from. Pure; it never changes, as its digest does not.

use super::known::Named;
use crate::digest::Digest;
use crate::error::{Kind, Result};
use crate::manifest::{self, Descriptor, Document, Manifest, Platform, media};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// Marks the manifests of an index that describe another one, and run nowhere.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// The types of the config of an image that can be run.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// A manifest and what it says.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The digest it is asked by.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// Its bytes, exactly.
    pub bytes: Bytes,
    /// What it says.
    pub document: Document,
}

/// A blob that a manifest names.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// What names it.
    pub descriptor: Descriptor,
    /// Whether the manifest tells its size; schema1 does not.
    pub sized: bool,
}

impl Piece {
    /// A blob of which nothing but the digest is known.
    pub(super) fn bare(digest: &Digest) -> Piece {
        let named = Named { digest: digest.clone(), size: 0, media_type: String::new(), created: None };
        Piece { descriptor: named.descriptor(), sized: false }
    }

    /// A blob of which digest and size are known.
    pub(super) fn of_size(digest: &Digest, size: u64) -> Piece {
        let mut piece = Piece { sized: true, ..Piece::bare(digest) };
        piece.descriptor.size = size;
        piece
    }
}

impl Snapshot {
    /// Reads a manifest as a remote gives it. One that cannot be read is still its bytes.
    pub(super) fn of(manifest: Manifest) -> Result<Snapshot> {
        let (media_type, document) = match manifest::parse(&manifest.media_type, &manifest.bytes) {
            Err(error) if error.kind() == Kind::Protocol => {
                log::debug!("manifest {}: {error}", manifest.digest);
                (manifest.media_type, Document::Unreadable)
            }
            other => other?,
        };
        Ok(Snapshot { digest: manifest.digest, media_type, bytes: manifest.bytes, document })
    }

    /// Reads a manifest whose bytes were kept; `hint` is the type that it had, if the document does not say.
    pub(super) fn kept(digest: &Digest, hint: &str, bytes: Bytes) -> Result<Snapshot> {
        let (media_type, document) = manifest::parse(hint, &bytes).or_else(|_| manifest::parse("", &bytes))?;
        Ok(Snapshot { digest: digest.clone(), media_type, bytes, document })
    }

    /// Whether anything but its bytes can be shown.
    pub(super) fn is_readable(&self) -> bool {
        self.document != Document::Unreadable
    }

    /// Its length in bytes.
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Roughly what it takes in memory: the bytes, and what was parsed out of them.
    pub(super) fn weight(&self) -> u64 {
        2 * self.size() + 1024
    }

    /// Whether its bytes hash to its digest, so that it can stand in an image layout: all but schema1's do.
    pub(super) fn is_plain(&self) -> bool {
        !matches!(self.document, Document::Schema1 { .. })
            && !matches!(self.media_type.as_str(), media::SCHEMA1 | media::SCHEMA1_SIGNED)
    }

    /// The config blob, if it names one.
    pub(super) fn config(&self) -> Option<&Descriptor> {
        match &self.document {
            Document::Image(image) => image.config.as_ref(),
            _ => None,
        }
    }

    /// The annotations.
    pub(super) fn annotations(&self) -> Option<&BTreeMap<String, String>> {
        match &self.document {
            Document::Image(image) => Some(&image.annotations),
            Document::Index(index) => Some(&index.annotations),
            Document::Schema1 { .. } | Document::Other | Document::Unreadable => None,
        }
    }

    /// The manifests that it lists.
    pub(super) fn children(&self) -> &[Descriptor] {
        match &self.document {
            Document::Index(index) => &index.manifests,
            _ => &[],
        }
    }

    /// The layers, bottom first.
    pub(super) fn layers(&self) -> Vec<Piece> {
        match &self.document {
            Document::Image(image) => image.layers.iter().map(sized).collect(),
            Document::Schema1 { layers } => layers.iter().map(Piece::bare).collect(),
            Document::Index(_) | Document::Other | Document::Unreadable => Vec::new(),
        }
    }

    /// Whether it is an image whose layers are archives of files, as their types tell; what is in an artifact is not.
    pub(super) fn is_layered(&self) -> bool {
        let Document::Image(image) = &self.document else { return false };
        let of_image = image.config.as_ref().is_some_and(|config| IMAGE_CONFIGS.contains(&&*config.media_type));
        match image.layers.is_empty() {
            true => of_image,
            false => image.layers.iter().all(|layer| is_archive(&layer.media_type)),
        }
    }

    /// The blobs that it names itself: config and layers.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = self.config().map(sized).into_iter().collect();
        pieces.extend(self.layers());
        pieces
    }

    /// The blob of that digest, if it names it itself.
    pub(super) fn piece(&self, digest: &Digest) -> Option<Piece> {
        match &self.document {
            Document::Image(image) => {
                image.config.iter().chain(&image.layers).find(|piece| piece.digest == *digest).map(sized)
            }
            Document::Schema1 { layers } => layers.iter().find(|layer| *layer == digest).map(Piece::bare),
            Document::Index(_) | Document::Other | Document::Unreadable => None,
        }
    }

    /// The images of an index by platform, each under a name of its own, in the index's order.
    ///
    /// The first of a platform has the plain name, `linux-amd64`; later ones have their `os.version`, or the short
    /// digest, after it. What only describes other manifests is left out, unless there is nothing else.
    pub(super) fn platforms(&self) -> Vec<(String, &Descriptor)> {
        let images: Vec<&Descriptor> = self.children().iter().filter(|child| runs(child)).collect();
        let images = match (images.is_empty(), self.children()) {
            (true, [only]) => vec![only],
            _ => images,
        };
        let mut named: Vec<(String, &Descriptor)> = Vec::with_capacity(images.len());
        let mut taken: HashMap<String, Digest> = HashMap::new();
        for image in images {
            let plain = image.platform.as_ref().map_or_else(|| "unknown".to_owned(), |platform| platform.show("-"));
            let version = image.platform.as_ref().and_then(|platform| platform.os_version.as_ref()).map(|version| {
                let version = Platform { os: version.clone(), ..Platform::default() };
                format!("{plain}-{}", version.show("-"))
            });
            let short = image.digest.encoded().get(..12).unwrap_or(image.digest.encoded());
            let candidates = [Some(plain.clone()), version, Some(format!("{plain}-{short}"))];
            // The same manifest for the same platform, listed twice, is one directory.
            if taken.get(&plain) == Some(&image.digest) {
                continue;
            }
            if let Some(name) = candidates.into_iter().flatten().find(|name| !taken.contains_key(name)) {
                taken.insert(name.clone(), image.digest.clone());
                named.push((name, image));
            }
        }
        named
    }

    /// The image of an index that somebody on `wanted` gets: the first that names exactly that variant, else the
    /// first that serves it, else the only one if it does not say where it runs.
    pub(super) fn choose(&self, wanted: &Platform) -> Option<&Descriptor> {
        let images: Vec<&Descriptor> = self.children().iter().filter(|child| runs(child)).collect();
        let on = |image: &&&Descriptor| image.platform.as_ref().is_some_and(|platform| platform.serves(wanted));
        let exactly = |image: &&&Descriptor| {
            on(image) && image.platform.as_ref().is_some_and(|platform| platform.variant == wanted.variant)
        };
        let only = match images.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        };
        images.iter().find(exactly).or_else(|| images.iter().find(on)).or(only).copied()
    }
}

/// Whether a type is that of an archive of files, packed or not.
pub(super) fn is_archive(media_type: &str) -> bool {
    matches!(media_type.rsplit(['+', '.']).next(), Some("gzip" | "zstd" | "tar"))
}

/// Whether an entry of an index is an image, or an index of images; not an artifact or an attestation.
fn runs(entry: &Descriptor) -> bool {
    let nowhere = |platform: &Platform| platform.os == "unknown" && platform.architecture == "unknown";
    entry.artifact_type.as_ref().is_none_or(String::is_empty)
        && !entry.annotations.contains_key(ATTESTATION)
        && !entry.platform.as_ref().is_some_and(nowhere)
}

fn sized(descriptor: &Descriptor) -> Piece {
    Piece { descriptor: descriptor.clone(), sized: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn entry(n: u8, platform: Value) -> Value {
        json!({"mediaType": media::OCI_MANIFEST, "digest": Digest::of(&[n]), "size": 1, "platform": platform})
    }

    fn index(entries: &[Value]) -> Snapshot {
        let bytes = Bytes::from(json!({"schemaVersion": 2, "manifests": entries}).to_string());
        Snapshot::kept(&Digest::of(&bytes), "", bytes).expect("index")
    }

    fn names(index: &Snapshot) -> Vec<String> {
        index.platforms().into_iter().map(|(name, _)| name).collect()
    }

    fn chosen(index: &Snapshot, platform: &str) -> Option<Digest> {
        index.choose(&Platform::parse(platform).expect("platform")).map(|image| image.digest.clone())
    }

    #[test]
    fn each_platform_has_a_name_of_its_own() {
        let windows = |version: &str| json!({"os": "windows", "architecture": "amd64", "os.version": version});
        let linux = json!({"os": "linux", "architecture": "amd64"});
        let index = index(&[
            entry(1, linux.clone()),
            entry(2, json!({"os": "linux", "architecture": "arm", "variant": "v7"})),
            entry(3, linux.clone()),
            entry(3, linux.clone()),
            entry(4, windows("10.0.1")),
            entry(5, windows("10.0.2")),
            entry(6, json!({"os": "unknown", "architecture": "unknown"})),
            entry(7, json!({"os": "../..", "architecture": "x/y"})),
            entry(1, linux),
        ]);
        let third = Digest::of(&[3]);
        let short = &third.encoded()[..12];
        assert_eq!(
            names(&index),
            [
                "linux-amd64",
                "linux-arm-v7",
                &format!("linux-amd64-{short}"),
                "windows-amd64",
                "windows-amd64-10.0.2",
                ".._..-x_y",
            ]
        );
    }

    #[test]
    fn an_attestation_is_shown_only_if_there_is_nothing_else() {
        let nowhere = entry(1, json!({"os": "unknown", "architecture": "unknown"}));
        assert_eq!(names(&index(std::slice::from_ref(&nowhere))), ["unknown-unknown"]);
        assert!(names(&index(&[nowhere.clone(), nowhere])).is_empty());
    }

    #[test]
    fn the_platform_asked_for_is_chosen() {
        let arm = |variant: &str| json!({"os": "linux", "architecture": "arm", "variant": variant});
        let many = index(&[
            entry(1, json!({"os": "unknown", "architecture": "unknown"})),
            entry(2, arm("v6")),
            entry(3, arm("v7")),
            entry(4, json!({"os": "linux", "architecture": "amd64"})),
        ]);
        assert_eq!(chosen(&many, "linux/arm/v7"), Some(Digest::of(&[3])));
        assert_eq!(chosen(&many, "linux/arm"), Some(Digest::of(&[2])));
        assert_eq!(chosen(&many, "linux/amd64/v2"), Some(Digest::of(&[4])));
        assert_eq!(chosen(&many, "linux/s390x"), None);
        assert_eq!(chosen(&index(&[entry(9, Value::Null)]), "linux/s390x"), Some(Digest::of(&[9])));
        assert_eq!(chosen(&index(&[entry(8, Value::Null), entry(9, Value::Null)]), "linux/s390x"), None);
        let mut artifact = entry(1, json!({"os": "linux", "architecture": "s390x"}));
        artifact["artifactType"] = json!("application/x");
        assert_eq!(chosen(&index(&[artifact]), "linux/s390x"), None);
    }
}
