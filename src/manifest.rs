//! Manifests as documents: descriptors, image manifests, indexes, schema1. Pure parsing of bytes already at hand.
//!
//! Promises: anything JSON gives a [`Document`] or a clear error, within [`MAX_MANIFEST`] and [`MAX_DESCRIPTORS`];
//! a document that could be read as two kinds is refused (CVE-2021-41190). Tolerates what registries really hold:
//! absent media types, null lists, unknown fields and kinds. Obeys OCI image-spec 1.1 and Docker's v2 schemas.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// The largest manifest read, in bytes: twice what registries must accept (distribution-spec, 4 MiB).
pub const MAX_MANIFEST: u64 = 8 << 20;
/// The most layers, or entries of an index, that are shown.
pub const MAX_DESCRIPTORS: usize = 10_000;

/// Media types by their names in the specifications.
pub mod media {
    #![allow(missing_docs)]
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    pub const SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
}

/// What names a piece of content: digest, size, type (image-spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content hashes to.
    pub digest: Digest,
    /// Its length in bytes, as claimed.
    pub size: u64,
    /// Its type; empty where none is given.
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// The type of an artifact that it names.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Where an image of an index runs.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Other places that hold the content (foreign layers).
    #[serde(default, deserialize_with = "or_default")]
    pub urls: Vec<String>,
    /// The content itself, base64, where it is inlined.
    #[serde(default)]
    pub data: Option<String>,
}

/// Operating system and architecture (image-spec, image-index.md).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
pub struct Platform {
    /// GOOS: `linux`.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// GOARCH: `amd64`.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// `v7` of arm.
    #[serde(default)]
    pub variant: Option<String>,
    /// The build of Windows.
    #[serde(default, rename = "os.version")]
    pub os_version: Option<String>,
}

impl Platform {
    /// `linux-arm-v7`, or with `/` between the parts: whatever is neither letter, digit, `.` nor `_` becomes `_`.
    pub fn show(&self, separator: &str) -> String {
        let parts = [Some(&self.os), Some(&self.architecture), self.variant.as_ref()];
        let parts: Vec<String> = parts
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .map(|part| {
                part.chars()
                    .take(64)
                    .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '_' })
                    .collect()
            })
            .collect();
        let shown = parts.join(separator);
        if shown.trim_matches('.').is_empty() { "unknown".to_owned() } else { shown }
    }

    /// Reads `os/arch[/variant]`, as `--platform` takes it.
    pub fn parse(text: &str) -> Result<Platform> {
        let mut parts = text.split('/');
        let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
        match (os, architecture, parts.next()) {
            (Some(os), Some(architecture), None) if !os.is_empty() && !architecture.is_empty() => Ok(Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant: variant.map(str::to_owned),
                os_version: None,
            }),
            _ => Err(Error::new(
                Kind::Invalid,
                format!("platform \"{}\" is not os/arch or os/arch/variant", crate::name::escape(text.as_bytes())),
            )),
        }
    }

    /// The platform of this machine.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Platform {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
        }
    }

    /// Whether an image for `self` is what somebody on `wanted` asks for: a variant only counts where both name one.
    pub fn serves(&self, wanted: &Platform) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && match (&self.variant, &wanted.variant) {
                (Some(have), Some(want)) => have == want,
                _ => true,
            }
    }
}

/// A manifest's bytes exactly as the registry keeps them, with what names them.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The digest: of the bytes, for schema1 of their signed payload.
    pub digest: Digest,
    /// The type that the registry gave, or the document itself.
    pub media_type: String,
    /// The bytes.
    pub bytes: bytes::Bytes,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// One image, or an artifact of the same shape.
    Image(Box<Image>),
    /// A list of manifests.
    Index(Index),
    /// Docker's first format (layers newest first there, bottom first here); it has no config blob.
    Schema1 {
        /// Digests of the layers, bottom first, each once.
        layers: Vec<Digest>,
    },
    /// Something else: shown raw.
    Other,
    /// Nothing that can be read, or that can be read in two ways: only its bytes are shown. [`parse`] gives an error.
    Unreadable,
}

/// An image manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The config blob.
    pub config: Option<Descriptor>,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// The type of an artifact.
    pub artifact_type: Option<String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An image index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// What it lists, in its order.
    pub manifests: Vec<Descriptor>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    blobs: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    fs_layers: Option<Vec<RawLayer>>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLayer {
    blob_sum: Digest,
}

/// `null` where a list, map or text belongs is as good as absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Parses manifest `bytes`, given with the header `content_type` (empty if none): the type, and what it says.
///
/// The type is the header's without parameters; where that says nothing, the document's own; then its shape.
/// `Invalid` if the two contradict each other, or the document can be read as two kinds, or is not JSON.
pub fn parse(content_type: &str, bytes: &[u8]) -> Result<(String, Document)> {
    let bad = |why: String| Error::new(Kind::Protocol, format!("manifest {why}"));
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(Error::new(
            Kind::TooBig,
            format!("manifest of {} bytes is over the limit of {MAX_MANIFEST}", bytes.len()),
        ));
    }
    let raw: Raw =
        serde_json::from_slice(bytes).map_err(|e| Error::with(Kind::Protocol, "manifest is not valid", e))?;
    let header = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let header = if matches!(header.as_str(), "text/plain" | "application/json" | "application/octet-stream") {
        String::new()
    } else {
        header
    };
    let own = raw.media_type.clone().unwrap_or_default();
    // Signed and unsigned schema1 are one format; the document itself names neither.
    if !header.is_empty() && !own.is_empty() && header != own.to_ascii_lowercase() {
        return Err(bad(format!(
            "says it is {}, its header says {}",
            crate::name::escape(own.as_bytes()),
            crate::name::escape(header.as_bytes())
        )));
    }
    let listed = raw.manifests.is_some();
    let imaged = raw.config.is_some() || raw.layers.is_some();
    let schema1 = raw.schema_version == Some(1) || raw.fs_layers.is_some();
    if usize::from(listed) + usize::from(imaged) + usize::from(schema1) > 1 {
        return Err(bad("can be read as two kinds at once".to_owned()));
    }
    let media_type = if !header.is_empty() { header } else { own };
    let media_type = match media_type.as_str() {
        "" if listed => media::OCI_INDEX.to_owned(),
        "" if imaged => media::OCI_MANIFEST.to_owned(),
        "" if schema1 => media::SCHEMA1_SIGNED.to_owned(),
        _ => media_type,
    };
    let claims = |types: &[&str], shape: bool| {
        if types.contains(&media_type.as_str()) && !shape {
            Err(bad(format!("is not what its type {media_type} says")))
        } else {
            Ok(())
        }
    };
    claims(&[media::OCI_INDEX, media::DOCKER_LIST], !imaged && !schema1)?;
    claims(&[media::OCI_MANIFEST, media::DOCKER_MANIFEST], !listed && !schema1)?;
    let within = |count: usize| {
        if count <= MAX_DESCRIPTORS {
            return Ok(());
        }
        Err(Error::new(Kind::TooBig, format!("manifest lists {count} entries, over the limit of {MAX_DESCRIPTORS}")))
    };
    let document = if let Some(manifests) = raw.manifests {
        within(manifests.len())?;
        Document::Index(Index { manifests, annotations: raw.annotations })
    } else if imaged || raw.blobs.is_some() {
        let layers = raw.layers.or(raw.blobs).unwrap_or_default();
        within(layers.len())?;
        Document::Image(Box::new(Image {
            config: raw.config,
            layers,
            subject: raw.subject,
            artifact_type: raw.artifact_type,
            annotations: raw.annotations,
        }))
    } else if let Some(mut layers) = raw.fs_layers {
        within(layers.len())?;
        layers.reverse();
        let mut once = Vec::with_capacity(layers.len());
        let mut seen = std::collections::HashSet::new();
        // The same empty layer stands for every instruction that changed no file.
        for RawLayer { blob_sum } in layers {
            if seen.insert(blob_sum.clone()) {
                once.push(blob_sum);
            }
        }
        Document::Schema1 { layers: once }
    } else if matches!(media_type.as_str(), media::OCI_INDEX | media::DOCKER_LIST) {
        Document::Index(Index { manifests: Vec::new(), annotations: raw.annotations })
    } else {
        Document::Other
    };
    Ok((media_type, document))
}

/// The bytes that the digest of a schema1 manifest is taken of: for a signed one its payload, else all of it.
///
/// The signature's `protected` header says how many bytes the payload shares with the document, and how it ends.
pub fn schema1_payload(bytes: &[u8]) -> Result<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    #[derive(Deserialize)]
    struct Signed {
        #[serde(default)]
        signatures: Vec<Signature>,
    }
    #[derive(Deserialize)]
    struct Signature {
        protected: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Protected {
        format_length: usize,
        format_tail: String,
    }
    let bad = || Error::new(Kind::Protocol, "signed manifest has a malformed signature header");
    let signed: Signed =
        serde_json::from_slice(bytes).map_err(|e| Error::with(Kind::Protocol, "manifest is not valid", e))?;
    let Some(signature) = signed.signatures.first() else {
        return Ok(bytes.to_vec());
    };
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| bad());
    let protected: Protected = serde_json::from_slice(&decode(&signature.protected)?).map_err(|_| bad())?;
    let mut payload = bytes.get(..protected.format_length).ok_or_else(bad)?.to_vec();
    payload.extend(decode(&protected.format_tail)?);
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor() -> String {
        format!(r#"{{"digest":"{D}","size":0,"mediaType":"x"}}"#)
    }

    #[test]
    fn kinds_by_shape_and_type() {
        let image = format!(r#"{{"schemaVersion":2,"config":{0},"layers":[{0},{0}]}}"#, descriptor());
        let (media_type, document) = parse("text/plain; charset=utf-8", image.as_bytes()).expect("image");
        assert_eq!(media_type, media::OCI_MANIFEST);
        assert!(matches!(document, Document::Image(image) if image.layers.len() == 2));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor());
        let (media_type, document) =
            parse("application/vnd.docker.distribution.manifest.list.v2+json;x=1", index.as_bytes()).expect("index");
        assert_eq!(media_type, media::DOCKER_LIST);
        assert!(matches!(document, Document::Index(index) if index.manifests.len() == 1));
        assert!(matches!(parse("application/x", b"{}").expect("other").1, Document::Other));
        assert!(matches!(parse("", br#"{"layers":null,"config":null}"#).expect("nulls").1, Document::Other));
    }

    #[test]
    fn two_kinds_at_once_are_refused() {
        let both = format!(r#"{{"manifests":[],"layers":[{}]}}"#, descriptor());
        assert!(parse("", both.as_bytes()).is_err());
        let claims = format!(r#"{{"mediaType":"{}","manifests":[]}}"#, media::OCI_MANIFEST);
        assert!(parse("", claims.as_bytes()).is_err());
        let differs = format!(r#"{{"mediaType":"{}","layers":[]}}"#, media::OCI_MANIFEST);
        assert!(parse(media::DOCKER_MANIFEST, differs.as_bytes()).is_err());
    }

    #[test]
    fn limits() {
        let many = format!(r#"{{"layers":[{}]}}"#, vec![descriptor(); MAX_DESCRIPTORS + 1].join(","));
        assert_eq!(parse("", many.as_bytes()).expect_err("many").kind(), Kind::TooBig);
        assert_eq!(parse("", &vec![b' '; MAX_MANIFEST as usize + 1]).expect_err("big").kind(), Kind::TooBig);
        let deep = "[".repeat(100_000);
        assert!(parse("", deep.as_bytes()).is_err());
    }

    #[test]
    fn schema1_is_shown_bottom_first_and_hashed_by_its_payload() {
        use base64::Engine as _;
        let other = Digest::of(b"x");
        let payload = format!(
            "{{\"schemaVersion\":1,\"fsLayers\":[{{\"blobSum\":\"{other}\"}},{{\"blobSum\":\"{D}\"}},{{\"blobSum\":\"{D}\"}}]\n}}"
        );
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let cut = payload.len() - 2;
        let protected = encode(&format!(r#"{{"formatLength":{cut},"formatTail":"{}"}}"#, encode("\n}")));
        let signed = format!("{},\"signatures\":[{{\"protected\":\"{protected}\"}}]\n}}", &payload[..cut]);
        let (media_type, document) = parse("", signed.as_bytes()).expect("schema1");
        assert_eq!(media_type, media::SCHEMA1_SIGNED);
        assert_eq!(document, Document::Schema1 { layers: vec![D.parse().expect("digest"), other] });
        assert_eq!(schema1_payload(signed.as_bytes()).expect("payload"), payload.as_bytes());
        assert_eq!(schema1_payload(payload.as_bytes()).expect("unsigned"), payload.as_bytes());
        let lies = format!(
            r#"{{"schemaVersion":1,"signatures":[{{"protected":"{}"}}]}}"#,
            encode(r#"{"formatLength":99999,"formatTail":""}"#)
        );
        assert!(schema1_payload(lies.as_bytes()).is_err());
    }

    #[test]
    fn platforms() {
        let arm = Platform::parse("linux/arm/v7").expect("platform");
        assert_eq!(arm.show("-"), "linux-arm-v7");
        assert!(arm.serves(&Platform::parse("linux/arm").expect("platform")));
        assert!(!arm.serves(&Platform::parse("linux/arm/v6").expect("platform")));
        for bad in ["", "linux", "linux/", "a/b/c/d"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
        let hostile = Platform { os: "../..".into(), architecture: "\x1b/".into(), ..Platform::default() };
        assert!(!hostile.show("-").contains('/'));
        assert_eq!(Platform { os: "..".into(), ..Platform::default() }.show("-"), "unknown");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\",:a-z0-9]{0,80}") {
            let _ = parse("", &bytes);
            let _ = parse("application/x", text.as_bytes());
            let _ = schema1_payload(text.as_bytes());
        }
    }
}
