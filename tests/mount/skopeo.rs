//! Image directories are OCI image layouts: skopeo and umoci read them without knowing of regfs.

use crate::support::content::Content;
use crate::support::image::{Blob, Image, OCI_LAYER, tar};
use crate::support::mount::Mount;
use crate::support::push;
use crate::support::run::{Ran, command, run};
use crate::support::servers::{DockerRegistry, Ferro};
use std::path::Path;

fn image(name: &str, platform: &str) -> Image {
    let files = tar(&[("etc/", b""), ("etc/name", name.as_bytes()), ("etc/platform", platform.as_bytes())]);
    let more = tar(&[("hello", b"world")]);
    Image::of(vec![Blob::new(OCI_LAYER, files), Blob::new(OCI_LAYER, more)], platform)
}

fn copy(layout: &Path, reference: &str, to: &Path) -> Ran {
    run(command("skopeo")
        .args(["copy", "--all"])
        .arg(format!("oci:{}{reference}", layout.display()))
        .arg(format!("dir:{}", to.display())))
}

fn same(image: &Image, copied: &Path) {
    assert_eq!(std::fs::read(copied.join("manifest.json")).expect("manifest"), image.manifest);
    for image in std::iter::once(image).chain(&image.children) {
        for blob in &image.blobs {
            let copy = Content::file(&copied.join(blob.digest.encoded()));
            assert_eq!(copy.digest(), blob.digest);
        }
    }
}

/// By tag, by digest, by platform; with and without the name of the tag.
fn reads_everything(host: &str) {
    let single = image("single", "linux/amd64");
    let index = Image::index([image("index", "linux/amd64"), image("index", "linux/arm64/v8")]);
    push::by_http(&single, host, "a/single", "v1");
    push::by_http(&index, host, "a/index", "v1");
    let mount = Mount::new(host, &["--platform", "linux/amd64"]);
    let out = tempfile::tempdir().expect("tempdir");
    let mut number = 0;
    let mut to = || {
        number += 1;
        out.path().join(number.to_string())
    };
    for (image, repository) in [(&single, "a/single"), (&index, "a/index")] {
        for reference in ["", ":v1"] {
            let to = to();
            copy(&mount.path(&format!("{repository}/tags/v1")), reference, &to).ok();
            same(image, &to);
        }
        let to = to();
        // A colon in the path would be the end of it for skopeo.
        copy(&mount.path(&format!("{repository}/manifests/sha256-{}", image.digest.encoded())), "", &to).ok();
        same(image, &to);
    }
    for (number, platform) in ["linux-amd64", "linux-arm64-v8"].into_iter().enumerate() {
        let to = to();
        copy(&mount.path(&format!("a/index/tags/v1/platforms/{platform}")), "", &to).ok();
        same(&index.children[number], &to);
    }
    let bundle = out.path().join("bundle");
    let layout = mount.path("a/single/tags/v1");
    run(command("umoci")
        .args(["unpack", "--rootless", "--image"])
        .arg(format!("{}:v1", layout.display()))
        .arg(&bundle))
    .ok();
    assert_eq!(std::fs::read_to_string(bundle.join("rootfs/etc/name")).expect("a file"), "single");
    let inspected = run(command("skopeo").args(["inspect", "--raw"]).arg(format!("oci:{}:v1", layout.display()))).ok();
    assert_eq!(inspected.out, single.manifest);
    assert_eq!(mount.errors(), "", "something went wrong on the way");
}

#[test]
fn layouts_of_docker_registry() {
    reads_everything(&DockerRegistry::plain().host());
}

#[test]
fn layouts_of_ferro() {
    reads_everything(&Ferro::start().host());
}

#[test]
fn a_docker_image_is_read_by_its_own_types() {
    let registry = DockerRegistry::plain();
    let docker = Image::docker([Content::from(tar(&[("hello", b"world")]))], "linux/amd64");
    push::by_http(&docker, &registry.host(), "a/docker", "v1");
    let mount = Mount::new(&registry.host(), &[]);
    assert_eq!(mount.read("a/docker/tags/v1/manifest.json").expect("read"), docker.manifest);
    let out = tempfile::tempdir().expect("tempdir");
    // skopeo looks for the name of a tag among OCI's own types only.
    copy(&mount.path("a/docker/tags/v1"), "", &out.path().join("copy")).ok();
    same(&docker, &out.path().join("copy"));
}
