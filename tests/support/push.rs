//! Pushes images to real registries: by skopeo, as users do, or by plain requests where skopeo would not take them.

use super::client::Ask;
use super::image::{Blob, Image};
use super::run::{command, run};

/// Pushes an image by skopeo, every platform of it, digests kept. `credentials`: `user:password`.
pub fn by_skopeo(image: &Image, host: &str, repository: &str, tag: &str, credentials: Option<&str>) {
    let directory = tempfile::tempdir().expect("tempdir");
    image.write_layout(directory.path(), tag);
    let mut skopeo = command("skopeo");
    skopeo.args(["copy", "--all", "--preserve-digests", "--dest-tls-verify=false"]);
    if let Some(credentials) = credentials {
        skopeo.args(["--dest-creds", credentials]);
    }
    skopeo.arg(format!("oci:{}:{tag}", directory.path().display()));
    skopeo.arg(format!("docker://{host}/{repository}:{tag}"));
    run(&mut skopeo).ok();
}

/// Pushes an image with all that it names to a registry without authentication, byte for byte.
pub fn by_http(image: &Image, host: &str, repository: &str, tag: &str) {
    all(image, host, repository);
    manifest(host, repository, tag, &image.media_type, &image.manifest);
}

fn all(image: &Image, host: &str, repository: &str) {
    for child in &image.children {
        all(child, host, repository);
        manifest(host, repository, child.digest.as_str(), &child.media_type, &child.manifest);
    }
    for content in &image.blobs {
        blob(host, repository, content);
    }
}

/// Pushes a blob.
pub fn blob(host: &str, repository: &str, blob: &Blob) {
    let started = Ask::new("POST", &format!("http://{host}/v2/{repository}/blobs/uploads/")).send().expect("upload");
    assert_eq!(started.status, 202, "start an upload: {}", started.text());
    let location = started.header("location").expect("a location");
    let location = if location.starts_with('/') { format!("http://{host}{location}") } else { location.to_owned() };
    let joint = if location.contains('?') { '&' } else { '?' };
    let done = Ask::new("PUT", &format!("{location}{joint}digest={}", blob.digest))
        .header("Content-Type", "application/octet-stream")
        .body(blob.content.clone())
        .send()
        .expect("upload");
    assert_eq!(done.status, 201, "upload {}: {}", blob.digest, done.text());
}

/// Pushes a manifest of any bytes.
pub fn manifest(host: &str, repository: &str, reference: &str, media_type: &str, manifest: &[u8]) {
    let done = Ask::new("PUT", &format!("http://{host}/v2/{repository}/manifests/{reference}"))
        .header("Content-Type", media_type)
        .body(manifest)
        .send()
        .expect("push a manifest");
    assert_eq!(done.status, 201, "push {repository}:{reference}: {}", done.text());
}
