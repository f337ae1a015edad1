//! Image layouts as people have them: written by skopeo, half written, changed meanwhile, hostile.

use crate::connect::{descriptor, tag};
use crate::fixture::{Fixture, edit_index};
use crate::support::image::Image;
use crate::support::run::{command, run};
use regfs::digest::Digest;
use regfs::error::Kind;
use regfs::name::{Reference, Repository};
use regfs::remote::Registry as _;
use regfs::remote::layout::{self, Layout};
use serde_json::json;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

fn only() -> Repository {
    layout::repository().expect("name")
}

/// A layout with the fixture's image as `v1`.
fn written() -> (TempDir, Image) {
    let directory = tempfile::tempdir().expect("tempdir");
    let image = Fixture::new().image;
    image.write_layout(directory.path(), "v1");
    (directory, image)
}

fn open(directory: &Path) -> Layout {
    Layout::open(directory).expect("layout")
}

fn blob_path(directory: &Path, digest: &Digest) -> std::path::PathBuf {
    directory.join("blobs/sha256").join(digest.encoded())
}

#[test]
fn what_is_no_layout_is_said_so() {
    let kind = |path: &Path| Layout::open(path).map(|_| ()).map_err(|error| error.kind());
    let (directory, _) = written();
    assert_eq!(kind(&directory.path().join("absent")), Err(Kind::NotFound));
    assert_eq!(kind(&directory.path().join("index.json")), Err(Kind::NotDir));
    let marker = directory.path().join("oci-layout");
    for (text, expected) in [
        ("{\"imageLayoutVersion\":\"1.0.0\"}", Ok(())),
        ("{\"imageLayoutVersion\":\"1.1.0\",\"more\":1}", Ok(())),
        ("{\"imageLayoutVersion\":\"2.0.0\"}", Err(Kind::Unsupported)),
        ("{}", Err(Kind::Invalid)),
        ("", Err(Kind::Invalid)),
    ] {
        std::fs::write(&marker, text).expect("write");
        assert_eq!(kind(directory.path()), expected, "{text}");
    }
    std::fs::remove_file(&marker).expect("remove");
    let error = Layout::open(directory.path()).map(|_| ()).expect_err("no marker");
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("not an OCI image layout"), "{error}");
    std::fs::write(&marker, "{\"imageLayoutVersion\":\"1.0.0\"}").expect("write");
    std::fs::write(directory.path().join("index.json"), "{").expect("write");
    assert_eq!(kind(directory.path()), Err(Kind::Protocol));
    std::fs::remove_file(directory.path().join("index.json")).expect("remove");
    assert_eq!(kind(directory.path()), Err(Kind::Invalid));
}

#[test]
fn a_changed_index_is_read_again() {
    let (directory, image) = written();
    let layout = open(directory.path());
    assert_eq!(layout.tags(&only()).expect("tags").names, [tag("v1")]);
    let other = Fixture::new().docker;
    other.write_layout(directory.path(), "v2");
    assert_eq!(layout.tags(&only()).expect("tags").names, [tag("v1"), tag("v2")]);
    // The same length, in place, as fast as can be.
    edit_index(directory.path(), |manifests| {
        manifests[0]["annotations"]["org.opencontainers.image.ref.name"] = json!("v3");
    });
    assert_eq!(layout.tags(&only()).expect("tags").names, [tag("v2"), tag("v3")]);
    assert_eq!(layout.resolve(&only(), &tag("v1"), None).expect_err("gone").kind(), Kind::NotFound);
    assert_eq!(layout.resolve(&only(), &tag("v3"), None).expect("renamed").digest, image.digest);
}

#[test]
fn manifests_without_a_name_are_found_by_digest() {
    let (directory, image) = written();
    edit_index(directory.path(), |manifests| manifests[0]["annotations"] = json!(null));
    let layout = open(directory.path());
    assert_eq!(layout.tags(&only()).expect("tags").names, []);
    let found = layout.manifest(&only(), &Reference::Digest(image.digest.clone())).expect("by digest");
    assert_eq!(found.bytes, image.manifest);
    let error = layout.tags(&"other".parse().expect("name")).expect_err("only one repository");
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn missing_and_wrong_content() {
    let (directory, image) = written();
    let layout = open(directory.path());
    let layer = &image.layers()[0];
    let path = blob_path(directory.path(), &layer.digest);
    let blob = layout.blob(&only(), &descriptor(layer.digest.as_str(), layer.content.len()));
    std::fs::write(&path, b"short").expect("write");
    assert_eq!(blob.read_at(&mut [0; 10], 0).expect_err("short").kind(), Kind::Corrupt);
    std::fs::remove_file(&path).expect("remove");
    assert_eq!(blob.read_at(&mut [0; 10], 0).expect_err("gone").kind(), Kind::Io);
    assert_eq!(layout.blob_size(&only(), &layer.digest).expect_err("gone").kind(), Kind::NotFound);
    std::fs::write(blob_path(directory.path(), &image.digest), b"{}").expect("write");
    let error = layout.manifest(&only(), &Reference::Tag(tag("v1"))).expect_err("others");
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    let file = std::fs::File::create(blob_path(directory.path(), &image.digest)).expect("create");
    file.set_len(9 << 20).expect("grow");
    let error = layout.manifest(&only(), &Reference::Tag(tag("v1"))).expect_err("large");
    assert_eq!(error.kind(), Kind::TooBig, "{error}");
}

#[test]
fn nothing_outside_the_directory_and_nothing_but_files() {
    let (directory, image) = written();
    let outside = tempfile::tempdir().expect("tempdir");
    let layer = &image.layers()[0];
    let path = blob_path(directory.path(), &layer.digest);
    std::fs::rename(&path, outside.path().join("layer")).expect("move");
    let layout = open(directory.path());
    let read = || {
        let blob = layout.blob(&only(), &descriptor(layer.digest.as_str(), layer.content.len()));
        blob.read_at(&mut [0; 10], 0).expect_err("must not be opened").errno()
    };
    symlink(outside.path().join("layer"), &path).expect("symlink");
    assert_eq!(read(), libc::EIO, "a link");
    std::fs::remove_file(&path).expect("remove");
    run(command("mkfifo").arg(&path)).ok();
    assert_eq!(read(), libc::EIO, "a FIFO");
    assert_eq!(layout.blob_size(&only(), &layer.digest).expect_err("a FIFO").errno(), libc::EIO);
    std::fs::remove_file(&path).expect("remove");
    std::fs::create_dir(&path).expect("mkdir");
    assert_eq!(read(), libc::EIO, "a directory");
    std::fs::rename(directory.path().join("blobs/sha256"), outside.path().join("sha256")).expect("move");
    symlink(outside.path().join("sha256"), directory.path().join("blobs/sha256")).expect("symlink");
    let error = layout.manifest(&only(), &Reference::Tag(tag("v1"))).expect_err("behind a link");
    assert_eq!(error.errno(), libc::EIO, "{error}");
    let index = directory.path().join("index.json");
    std::fs::rename(&index, outside.path().join("index.json")).expect("move");
    symlink(outside.path().join("index.json"), &index).expect("symlink");
    assert_eq!(layout.tags(&only()).expect_err("a link").errno(), libc::EIO);
}

#[test]
fn the_directory_itself_may_be_a_link() {
    let (directory, _) = written();
    let links = tempfile::tempdir().expect("tempdir");
    let link = links.path().join("link");
    symlink(directory.path(), &link).expect("symlink");
    assert_eq!(open(&link).tags(&only()).expect("tags").names, [tag("v1")]);
}

#[test]
fn as_skopeo_and_umoci_write_it() {
    let (from, image) = written();
    let to = tempfile::tempdir().expect("tempdir");
    let copied = to.path().join("copied");
    run(command("skopeo").args(["copy", "--preserve-digests"]).args([
        format!("oci:{}:v1", from.path().display()),
        format!("oci:{}:docker.io/library/app:v7", copied.display()),
    ]))
    .ok();
    let layout = open(&copied);
    assert_eq!(layout.tags(&only()).expect("tags").names, [tag("v7")]);
    assert_eq!(layout.resolve(&only(), &tag("v7"), None).expect("resolves").digest, image.digest);
    for blob in &image.blobs {
        let remote = layout.blob(&only(), &descriptor(blob.digest.as_str(), blob.content.len()));
        let all = regfs::read_at::read_all(&*remote, 1 << 30).expect("read");
        assert!(all == blob.content.to_vec());
    }
    let fresh = to.path().join("fresh");
    run(command("umoci").arg("init").arg("--layout").arg(&fresh)).ok();
    assert_eq!(open(&fresh).tags(&only()).expect("tags").names, []);
    run(command("umoci").arg("new").arg("--image").arg(format!("{}:first", fresh.display()))).ok();
    let layout = open(&fresh);
    assert_eq!(layout.tags(&only()).expect("tags").names, [tag("first")]);
    layout.manifest(&only(), &Reference::Tag(tag("first"))).expect("manifest");
}
