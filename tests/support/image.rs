//! Images, indexes and artifacts made for tests: manifests with the blobs they name, ready to be put into a fake,
//! pushed over HTTP, or written down as a layout that skopeo can read.

use super::content::Content;
use regfs::digest::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// When every image says it was made.
pub const CREATED: &str = "2024-05-06T07:08:09Z";

/// Content with its digest and type.
#[derive(Clone, Debug)]
pub struct Blob {
    pub media_type: String,
    pub content: Content,
    pub digest: Digest,
    /// What its descriptor says besides.
    pub annotations: BTreeMap<String, String>,
}

impl Blob {
    /// Takes the content's digest.
    pub fn new(media_type: &str, content: impl Into<Content>) -> Blob {
        let content = content.into();
        Blob { media_type: media_type.to_owned(), digest: content.digest(), content, annotations: BTreeMap::new() }
    }

    /// What a manifest says of it.
    pub fn descriptor(&self) -> Value {
        let mut descriptor =
            json!({"mediaType": self.media_type, "digest": self.digest.as_str(), "size": self.content.len()});
        if !self.annotations.is_empty() {
            descriptor["annotations"] = json!(self.annotations);
        }
        descriptor
    }
}

/// A manifest, what it names, and the manifests that must be there before it.
#[derive(Clone, Debug)]
pub struct Image {
    pub media_type: String,
    /// The manifest's bytes, as they are pushed.
    pub manifest: Vec<u8>,
    pub digest: Digest,
    /// Config first, then layers; empty for an index.
    pub blobs: Vec<Blob>,
    /// The images of an index.
    pub children: Vec<Image>,
    /// `os/architecture[/variant]`, where it is for one.
    pub platform: Option<String>,
}

impl Image {
    /// An OCI image of these layers, bottom first, for `os/architecture[/variant]`.
    pub fn new(layers: impl IntoIterator<Item = Content>, platform: &str) -> Image {
        let layers: Vec<Blob> = layers.into_iter().map(|content| Blob::new(OCI_LAYER, content)).collect();
        Image::of(layers, platform)
    }

    /// The same of layers that have their type already.
    pub fn of(layers: Vec<Blob>, platform: &str) -> Image {
        let diffs = layers.iter().map(|layer| layer.digest.clone()).collect();
        Image::made(OCI_MANIFEST, OCI_CONFIG, layers, diffs, platform)
    }

    /// The same of compressed layers, each with the digest of what it is uncompressed.
    pub fn compressed(layers: Vec<(Blob, Digest)>, platform: &str) -> Image {
        let (layers, diffs) = layers.into_iter().unzip();
        Image::made(OCI_MANIFEST, OCI_CONFIG, layers, diffs, platform)
    }

    /// The same image in Docker's types (v2 schema 2).
    pub fn docker(layers: impl IntoIterator<Item = Content>, platform: &str) -> Image {
        let layers: Vec<Blob> = layers.into_iter().map(|content| Blob::new(DOCKER_LAYER_GZIP, content)).collect();
        let diffs = layers.iter().map(|layer| layer.digest.clone()).collect();
        Image::made(DOCKER_MANIFEST, DOCKER_CONFIG, layers, diffs, platform)
    }

    fn made(media_type: &str, config_type: &str, layers: Vec<Blob>, diffs: Vec<Digest>, platform: &str) -> Image {
        let diffs: Vec<&str> = diffs.iter().map(Digest::as_str).collect();
        // One entry for each layer: docker-registry refuses to convert to schema 1 without.
        let history: Vec<Value> =
            (0..layers.len()).map(|n| json!({"created": CREATED, "created_by": format!("layer {n}")})).collect();
        let mut config = platform_value(platform);
        config["created"] = json!(CREATED);
        config["config"] = json!({"Cmd": ["/bin/true"]});
        config["rootfs"] = json!({"type": "layers", "diff_ids": diffs});
        config["history"] = json!(history);
        let config = Blob::new(config_type, config.to_string());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
            "annotations": {"org.opencontainers.image.title": "a test image"},
        });
        let mut image = Image::raw(media_type, manifest.to_string());
        image.blobs.push(config);
        image.blobs.extend(layers);
        image.platform = Some(platform.to_owned());
        image
    }

    /// An OCI index of these images, each with its platform.
    pub fn index(children: impl IntoIterator<Item = Image>) -> Image {
        let children: Vec<Image> = children.into_iter().collect();
        let entries: Vec<Value> = children.iter().map(Image::descriptor).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        let mut image = Image::raw(OCI_INDEX, manifest.to_string());
        image.children = children;
        image
    }

    /// An artifact that refers to `subject`, with one blob.
    pub fn artifact(subject: &Image, artifact_type: &str, content: impl Into<Content>) -> Image {
        let config = Blob::new(OCI_EMPTY, "{}");
        let blob = Blob::new(artifact_type, content);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": config.descriptor(),
            "layers": [blob.descriptor()],
            "subject": subject.descriptor(),
            "annotations": {"org.example.kind": "test"},
        });
        let mut image = Image::raw(OCI_MANIFEST, manifest.to_string());
        image.blobs = vec![config, blob];
        image
    }

    /// A manifest of any bytes, which names nothing that would have to be there.
    pub fn raw(media_type: &str, manifest: impl Into<Vec<u8>>) -> Image {
        let manifest = manifest.into();
        Image {
            media_type: media_type.to_owned(),
            digest: Digest::of(&manifest),
            manifest,
            blobs: Vec::new(),
            children: Vec::new(),
            platform: None,
        }
    }

    /// What an index or a subject field says of it.
    pub fn descriptor(&self) -> Value {
        let mut descriptor =
            json!({"mediaType": self.media_type, "digest": self.digest.as_str(), "size": self.manifest.len()});
        if let Some(platform) = &self.platform {
            descriptor["platform"] = platform_value(platform);
        }
        descriptor
    }

    /// The config of an image.
    pub fn config(&self) -> &Blob {
        self.blobs.first().expect("an image has a config")
    }

    /// The layers of an image, bottom first.
    pub fn layers(&self) -> &[Blob] {
        self.blobs.get(1..).unwrap_or(&[])
    }

    /// Writes it as an OCI image layout, known by `tag`; adds to a layout that is there.
    pub fn write_layout(&self, directory: &Path, tag: &str) {
        std::fs::create_dir_all(directory.join("blobs/sha256")).expect("create the layout");
        std::fs::write(directory.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").expect("oci-layout");
        self.write_blobs(directory);
        let path = directory.join("index.json");
        let mut index: Value = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).expect("index.json"),
            Err(_) => json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
        };
        let mut descriptor = self.descriptor();
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        index["manifests"].as_array_mut().expect("manifests").push(descriptor);
        std::fs::write(path, index.to_string()).expect("index.json");
    }

    fn write_blobs(&self, directory: &Path) {
        use std::io::Write;
        for child in &self.children {
            child.write_blobs(directory);
        }
        for blob in &self.blobs {
            let path = directory.join("blobs/sha256").join(blob.digest.encoded());
            let mut file = std::fs::File::create(path).expect("create a blob");
            blob.content.each(|part| file.write_all(part).expect("write a blob"));
        }
        std::fs::write(directory.join("blobs/sha256").join(self.digest.encoded()), &self.manifest)
            .expect("write a manifest");
    }
}

/// `os/architecture[/variant]` as a platform object.
pub fn platform_value(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut value = json!({"os": parts.next(), "architecture": parts.next()});
    if let Some(variant) = parts.next() {
        value["variant"] = json!(variant);
    }
    value
}

/// An uncompressed tar of these files, in order: path and content. Enough for programs that unpack it.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, content) in files {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        let is_dir = path.ends_with('/');
        put(0, path);
        put(100, if is_dir { "0000755" } else { "0000644" });
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "14616077051");
        put(148, "        ");
        put(156, if is_dir { "5" } else { "0" });
        put(257, "ustar\u{0}00");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}
