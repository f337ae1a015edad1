//! What every remote of the suite holds: images, an index of two platforms, an artifact that refers to one.

use crate::support::content::Content;
use crate::support::fake;
use crate::support::image::{Image, OCI_INDEX, OCI_MANIFEST};
use crate::support::push;
use serde_json::{Value, json};
use std::path::Path;

/// The repository that holds it.
pub(crate) const REPOSITORY: &str = "lib/app";
/// Another one, whose name uses every separator that the grammar knows.
pub(crate) const OTHER: &str = "lib/app/a__b--c.d_e";
/// The type of the artifact.
pub(crate) const ARTIFACT: &str = "application/vnd.example.sbom.v1";

pub(crate) struct Fixture {
    pub(crate) image: Image,
    pub(crate) docker: Image,
    pub(crate) index: Image,
    pub(crate) artifact: Image,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let image =
            Image::new([Content::random(1, 300_001), Content::random(2, 10), Content::default()], "linux/amd64");
        let arm = Image::new([Content::random(3, 70_000)], "linux/arm64/v8");
        let docker = Image::docker([Content::random(4, 5_000)], "linux/amd64");
        let artifact = Image::artifact(&image, ARTIFACT, "{\"packages\":[]}");
        let index = Image::index([image.clone(), arm]);
        Fixture { image, docker, index, artifact }
    }

    /// The tags of [`REPOSITORY`], sorted, with what each names.
    pub(crate) fn tags(&self) -> Vec<(&'static str, &Image)> {
        vec![("22.04_A-b.c", &self.image), ("docker", &self.docker), ("multi", &self.index), ("v1", &self.image)]
    }

    /// The tag that stands in for the referrers API.
    pub(crate) fn fallback(&self) -> (String, Image) {
        let mut entry = self.artifact.descriptor();
        entry["artifactType"] = json!(ARTIFACT);
        entry["annotations"] = json!({"org.example.kind": "test"});
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
        (self.image.digest.as_str().replace(':', "-"), Image::raw(OCI_INDEX, index.to_string()))
    }

    /// Pushes all of it, byte for byte; with the fallback tag where there is no referrers API.
    pub(crate) fn push(&self, host: &str, referrers_api: bool) {
        for (tag, image) in self.tags() {
            push::by_http(image, host, REPOSITORY, tag);
        }
        push::by_http(&self.docker, host, OTHER, "latest");
        for blob in &self.artifact.blobs {
            push::blob(host, REPOSITORY, blob);
        }
        push::manifest(host, REPOSITORY, self.artifact.digest.as_str(), OCI_MANIFEST, &self.artifact.manifest);
        if !referrers_api {
            let (tag, index) = self.fallback();
            push::manifest(host, REPOSITORY, &tag, OCI_INDEX, &index.manifest);
        }
    }

    /// Puts all of it into a fake.
    pub(crate) fn put(&self, fake: &fake::Registry) {
        for (tag, image) in self.tags() {
            fake.put(REPOSITORY, tag, image);
        }
        fake.put(OTHER, "latest", &self.docker);
        fake.put_untagged(REPOSITORY, &self.artifact);
    }

    /// Writes all of it as an image layout; the artifact has no name there.
    pub(crate) fn write(&self, directory: &Path) {
        for (tag, image) in self.tags() {
            image.write_layout(directory, tag);
        }
        self.artifact.write_layout(directory, "artifact");
        edit_index(directory, |manifests| {
            for entry in manifests {
                if entry["annotations"]["org.opencontainers.image.ref.name"] == json!("artifact") {
                    entry.as_object_mut().expect("descriptor").remove("annotations");
                }
            }
        });
    }
}

/// Changes the entries of a layout's index.json.
pub(crate) fn edit_index(directory: &Path, change: impl FnOnce(&mut Vec<Value>)) {
    let path = directory.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("index.json");
    change(index["manifests"].as_array_mut().expect("manifests"));
    std::fs::write(path, index.to_string()).expect("write");
}
