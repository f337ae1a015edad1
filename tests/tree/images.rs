//! What an image directory shows, of every kind of manifest.

use crate::memory::{Memory, base64, digest};
use crate::{cat, forgetful, ls, options, stat, store, text, tree, tree_with};
use bytes::Bytes;
use regfs::digest::Digest;
use regfs::error::Kind;
use regfs::manifest::media;
use regfs::tree::walk::{Last, walk};
use regfs::tree::{Dir, FOREVER, Node, Options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

const MADE: &str = "2024-02-29T12:00:00Z";

/// Reads `dir` as an OCI image layout and gives every blob that the image named `tag` reaches.
fn read_layout(root: &Arc<dyn Dir>, dir: &str, tag: Option<&str>) -> BTreeMap<Digest, Vec<u8>> {
    let layout: Value = serde_json::from_str(&text(root, &format!("{dir}/oci-layout"))).expect("oci-layout");
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
    let index: Value = serde_json::from_str(&text(root, &format!("{dir}/index.json"))).expect("index.json");
    assert_eq!(index["schemaVersion"], 2);
    let entries = index["manifests"].as_array().expect("manifests");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["annotations"]["org.opencontainers.image.ref.name"].as_str(), tag);
    let mut todo = entries.clone();
    let mut reached = BTreeMap::new();
    while let Some(descriptor) = todo.pop() {
        let digest = digest(&descriptor);
        let bytes = cat(root, &format!("{dir}/blobs/{}/{}", digest.algorithm(), digest.encoded())).expect("blob");
        assert_eq!(Digest::of(&bytes), digest);
        assert_eq!(descriptor["size"], bytes.len());
        if descriptor["mediaType"].as_str().is_some_and(|kind| kind.contains("manifest") || kind.contains("index")) {
            let document: Value = serde_json::from_slice(&bytes).expect("manifest");
            for key in ["manifests", "layers"] {
                todo.extend(document[key].as_array().cloned().unwrap_or_default());
            }
            todo.extend(document.get("config").cloned());
        }
        reached.insert(digest, bytes);
    }
    reached
}

fn multi_platform(memory: &Memory) -> (Value, Value, Value) {
    let amd = memory.image("a/b", MADE, &[b"amd one", b"both"]);
    let arm = memory.image("a/b", "2023-01-01T00:00:00Z", &[b"arm one", b"both"]);
    let statement = memory.image("a/b", "2022-01-01T00:00:00Z", &[b"in-toto"]);
    let index = memory
        .index("a/b", &[("linux/arm64/v8", arm.clone()), ("linux/amd64", amd.clone()), ("unknown/unknown", statement)]);
    memory.tag("a/b", "v1", &index);
    (index, amd, arm)
}

#[test]
fn an_image_is_a_layout_of_its_own_blobs() {
    let memory = Memory::new();
    let image = memory.image("a/b", MADE, &[b"one", b"two"]);
    let other = memory.image("a/b", MADE, &[b"three"]);
    memory.tag("a/b", "v1", &image);
    memory.tag("a/b", "v2", &other);
    let root = tree(&memory);
    let all = ["blobs", "config.json", "digest", "index.json", "layers", "manifest.json", "oci-layout", "referrers"];
    let all = [&all[..], &["rootfs"]].concat();
    assert_eq!(ls(&root, "a/b/tags/v1").expect("ls"), all);
    let reached = read_layout(&root, "a/b/tags/v1", Some("v1"));
    assert_eq!(reached.len(), 4);
    let listed = ls(&root, "a/b/tags/v1/blobs/sha256").expect("ls");
    assert_eq!(listed, reached.keys().map(|digest| digest.encoded().to_owned()).collect::<Vec<_>>());
    assert_eq!(ls(&root, "a/b/tags/v1/blobs").expect("ls"), ["sha256"]);
    let foreign = Digest::of(b"three");
    let path = format!("a/b/tags/v1/blobs/sha256/{}", foreign.encoded());
    assert_eq!(stat(&root, &path).map(|_| ()).expect_err("of another image").kind(), Kind::NotFound);
    assert_eq!(ls(&root, "a/b/tags/v1/layers").expect("ls"), ["00", "00.tar.gz", "01", "01.tar.gz"]);
    assert_eq!(text(&root, "a/b/tags/v1/layers/01.tar.gz"), "two");
    let link = walk(&root, OsStr::new("a/b/tags/v1/layers/00.tar.gz"), Last::Keep).expect("link");
    let Node::Link(link) = link else { panic!("not a link") };
    assert_eq!(link.target, *format!("../blobs/sha256/{}", Digest::of(b"one").encoded()));
    assert_eq!(link.attr.size, link.target.len() as u64);
    let by_digest = format!("a/b/manifests/{}", digest(&image));
    assert_eq!(read_layout(&root, &by_digest, None), reached);
    assert_eq!(stat(&root, &by_digest).expect("by digest").attr().ttl, FOREVER);
    assert_eq!(ls(&root, "a/b/tags/v1/platforms").expect("of one platform"), [""; 0]);
    assert_eq!(ls(&root, "a/b/manifests").expect("ls").len(), 1, "v2 was not resolved");
    assert_eq!(ls(&root, "a/b/blobs").expect("ls").len(), 3);
}

#[test]
fn an_index_shows_its_images() {
    let memory = Memory::new();
    let (index, amd, arm) = multi_platform(&memory);
    let root = tree(&memory);
    let names = ls(&root, "a/b/tags/v1").expect("ls");
    assert!(names.contains(&"platforms".to_owned()) && names.contains(&"config.json".to_owned()), "{names:?}");
    assert_eq!(ls(&root, "a/b/tags/v1/platforms").expect("ls"), ["linux-amd64", "linux-arm64-v8"]);
    assert!(text(&root, "a/b/tags/v1/config.json").contains(MADE), "of the platform asked for");
    assert_eq!(text(&root, "a/b/tags/v1/layers/00.tar.gz"), "amd one");
    assert_eq!(text(&root, "a/b/tags/v1/platforms/linux-arm64-v8/layers/00.tar.gz"), "arm one");
    assert_eq!(text(&root, "a/b/tags/v1/platforms/linux-arm64-v8/digest").trim(), digest(&arm).as_str());
    let reached = read_layout(&root, "a/b/tags/v1", Some("v1"));
    assert_eq!(reached.len(), 1 + 3 + 3 + 4, "the index, three manifests, three configs, four layers");
    assert_eq!(ls(&root, "a/b/tags/v1/blobs/sha256").expect("ls").len(), reached.len());
    assert_eq!(read_layout(&root, "a/b/tags/v1/platforms/linux-amd64", Some("v1")).len(), 4);
    assert!(reached.contains_key(&digest(&amd)) && reached.contains_key(&digest(&index)));
}

#[test]
fn a_blob_of_an_index_is_found_with_as_little_as_it_takes() {
    let memory = Memory::new();
    let (_, amd, arm) = multi_platform(&memory);
    let find = |root: &Arc<dyn Dir>, digest: &Digest| {
        stat(root, &format!("a/b/tags/v1/blobs/sha256/{}", digest.encoded())).map(|node| node.attr().size)
    };
    let manifests = || memory.asked().into_iter().filter(|what| what.starts_with("manifest ")).count();
    let root = tree(&memory);
    find(&root, &digest(&arm)).expect("a manifest");
    assert_eq!(manifests(), 2);
    assert_eq!(find(&root, &Digest::of(b"arm one")).expect("its layer"), 7);
    assert_eq!(manifests(), 0);
    assert_eq!(find(&root, &Digest::of(b"amd one")).expect("a layer for this platform"), 7);
    assert_eq!(manifests(), 1);
    assert_eq!(find(&tree(&memory), &Digest::of(b"amd one")).expect("the same, at once"), 7);
    assert_eq!(manifests(), 2);
    assert_eq!(find(&root, &Digest::of(b"in-toto")).expect("of an attestation"), 7);
    assert_eq!(manifests(), 1);
    assert_eq!(find(&root, &Digest::of(b"none")).expect_err("of no image").kind(), Kind::NotFound);
    assert_eq!(manifests(), 0);
    let _ = amd;
}

#[test]
fn another_platform_can_be_asked_for() {
    let memory = Memory::new();
    multi_platform(&memory);
    for (platform, layer) in
        [("linux/arm64", Some("arm one")), ("linux/arm64/v8", Some("arm one")), ("linux/s390x", None)]
    {
        let platform = regfs::manifest::Platform::parse(platform).expect("platform");
        let root = tree_with(&memory, &store(None), Options { platform, ..options() });
        match layer {
            Some(layer) => assert_eq!(text(&root, "a/b/tags/v1/layers/00.tar.gz"), layer),
            None => {
                assert_eq!(ls(&root, "a/b/tags/v1/layers").expect("ls"), [""; 0]);
                assert!(!ls(&root, "a/b/tags/v1").expect("ls").contains(&"config.json".to_owned()));
                let absent = stat(&root, "a/b/tags/v1/config.json").map(|_| ()).expect_err("for no platform");
                assert_eq!(absent.kind(), Kind::NotFound);
            }
        }
    }
}

#[test]
fn a_child_that_is_gone_spoils_itself_alone() {
    let memory = Memory::new();
    let (_, amd, arm) = multi_platform(&memory);
    memory.content("a/b", |content| content.manifests.remove(&digest(&arm)));
    let root = tree(&memory);
    assert_eq!(ls(&root, "a/b/tags/v1/platforms").expect("ls"), ["linux-amd64", "linux-arm64-v8"]);
    assert_eq!(text(&root, "a/b/tags/v1/layers/00.tar.gz"), "amd one");
    let gone = cat(&root, "a/b/tags/v1/platforms/linux-arm64-v8/manifest.json").expect_err("gone");
    assert_eq!(gone.kind(), Kind::NotFound);
    let listed = ls(&root, "a/b/tags/v1/blobs/sha256").expect("ls");
    assert!(listed.contains(&digest(&amd).encoded().to_owned()));
    assert!(!listed.contains(&digest(&arm).encoded().to_owned()));
    memory.content("a/b", |content| content.manifests.remove(&digest(&amd)));
    let root = tree(&memory);
    assert!(!ls(&root, "a/b/tags/v1").expect("ls").contains(&"config.json".to_owned()));
    cat(&root, "a/b/tags/v1/manifest.json").expect("the index itself");
}

#[test]
fn artifacts_and_unknown_manifests_are_shown_raw() {
    let memory = Memory::new();
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2, "data": base64(b"{}")});
    let lie = json!({"mediaType": "text/plain", "digest": Digest::of(b"true"), "size": 4, "data": base64(b"lies")});
    let artifact = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": "application/x", "config": empty, "layers": [lie]});
    memory.blob("a", "text/plain", b"true");
    let artifact = memory.manifest("a", media::OCI_MANIFEST, &artifact);
    memory.tag("a", "artifact", &artifact);
    let odd = memory.manifest("a", "application/vnd.example.odd+json", &json!({"hello": ["world"]}));
    memory.tag("a", "odd", &odd);
    let root = tree(&memory);
    assert_eq!(text(&root, "a/tags/artifact/config.json"), "{}", "the descriptor holds it");
    assert_eq!(text(&root, "a/tags/artifact/layers/00.blob"), "true", "what it holds is not what the digest names");
    assert_eq!(
        ls(&root, "a/tags/odd").expect("ls"),
        ["blobs", "digest", "index.json", "manifest.json", "oci-layout", "referrers"]
    );
    assert_eq!(text(&root, "a/tags/odd/manifest.json"), r#"{"hello":["world"]}"#);
    assert_eq!(read_layout(&root, "a/tags/odd", Some("odd")).len(), 1);
}

#[test]
fn schema1_is_shown_raw_with_its_layers() {
    let memory = Memory::new();
    memory.blob("a", "", b"top layer");
    memory.blob("a", "", b"bottom");
    let raw = json!({"schemaVersion": 1, "fsLayers": [{"blobSum": Digest::of(b"top layer")}, {"blobSum": Digest::of(b"bottom")}]}).to_string();
    // What names it is the digest of its signed payload, not of its bytes.
    let named = Digest::of(b"the payload");
    memory.content("a", |content| {
        content.manifests.insert(named.clone(), (media::SCHEMA1_SIGNED.to_owned(), Bytes::from(raw.clone())));
        content.tags.insert("old".to_owned(), named.clone())
    });
    let root = tree(&memory);
    assert_eq!(ls(&root, "a/tags/old").expect("ls"), ["blobs", "digest", "layers", "manifest.json", "referrers"]);
    assert_eq!(text(&root, "a/tags/old/manifest.json"), raw);
    assert_eq!(text(&root, "a/tags/old/digest"), format!("{named}\n"));
    assert_eq!(ls(&root, "a/tags/old/layers").expect("ls"), ["00.tar.gz", "01.tar.gz"]);
    assert_eq!(ls(&root, "a/tags/old/blobs/sha256").expect("ls").len(), 2);
    assert_eq!(stat(&root, "a/tags/old/config.json").map(|_| ()).expect_err("none").kind(), Kind::NotFound);
    let Node::Dir(blobs) = stat(&root, "a/tags/old/blobs/sha256").expect("blobs") else { panic!("not a directory") };
    for entry in blobs.list().expect("ls") {
        assert_eq!(entry.node.attr().ttl, Duration::ZERO, "a size that is not known is not relied on");
        assert!(blobs.lookup(&entry.name).expect("lookup").attr().size > 0);
    }
    for entry in blobs.list().expect("ls") {
        assert!(entry.node.attr().size > 0, "what was asked for stays known");
    }
    assert_eq!(text(&root, "a/tags/old/layers/00.tar.gz"), "bottom");
    assert_eq!(text(&root, "a/tags/old/layers/01.tar.gz"), "top layer");
}

#[test]
fn a_blob_of_another_algorithm_has_a_directory_of_its_own() {
    use sha2::Digest as _;
    let memory = Memory::new();
    let long: Digest = format!("sha512:{}", hex::encode(sha2::Sha512::digest(b"long"))).parse().expect("digest");
    memory.content("a", |content| content.blobs.insert(long.clone(), Bytes::from_static(b"long")));
    let layer = json!({"mediaType": "application/x.tar", "digest": long, "size": 4});
    let image = memory.manifest(
        "a",
        media::OCI_MANIFEST,
        &json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "layers": [layer]}),
    );
    memory.tag("a", "v1", &image);
    let root = tree(&memory);
    assert_eq!(ls(&root, "a/tags/v1/blobs").expect("ls"), ["sha256", "sha512"]);
    assert_eq!(ls(&root, "a/tags/v1/blobs/sha512").expect("ls"), [long.encoded()]);
    assert_eq!(text(&root, "a/tags/v1/layers/00.tar"), "long");
    assert_eq!(text(&root, &format!("a/blobs/{long}")), "long");
    assert_eq!(stat(&root, "a/tags/v1/blobs/blake3").map(|_| ()).expect_err("unused").kind(), Kind::NotFound);
}

#[test]
fn referrers_are_grouped_by_type() {
    let memory = Memory::new();
    let image = memory.image("a/b", MADE, &[b"one"]);
    memory.tag("a/b", "v1", &image);
    let sbom = memory.image("a/b", "2025-01-01T00:00:00Z", &[b"packages"]);
    let signature = memory.image("a/b", "2025-01-02T00:00:00Z", &[b"signed"]);
    let root = forgetful(&memory);
    assert_eq!(ls(&root, "a/b/tags/v1/referrers").expect("ls"), [""; 0]);
    let with = |value: &Value, kind: &str| {
        let mut value = value.clone();
        value["artifactType"] = json!(kind);
        value
    };
    let both = vec![with(&sbom, "application/spdx+json"), with(&signature, "../../etc")];
    memory.content("a/b", |content| content.referrers.insert(digest(&image), both));
    std::thread::sleep(Duration::from_millis(120));
    assert_eq!(ls(&root, "a/b/tags/v1/referrers").expect("ls"), ["..-..-etc", "application-spdx+json"]);
    let path = format!("a/b/tags/v1/referrers/application-spdx+json/{}", digest(&sbom));
    assert_eq!(text(&root, &format!("{path}/layers/00.tar.gz")), "packages");
    let of_another = format!("a/b/tags/v1/referrers/application-spdx+json/{}", digest(&signature));
    assert_eq!(stat(&root, &of_another).map(|_| ()).expect_err("another type").kind(), Kind::NotFound);
}

#[test]
fn a_manifest_that_cannot_be_read_is_still_its_bytes() {
    let two = json!({"schemaVersion": 2, "layers": [], "manifests": []}).to_string();
    for bytes in ["not json", "\u{feff}{}", r#"{"layers":[{"digest":"sha256:x","size":-1}]}"#, two.as_str()] {
        let memory = Memory::new();
        let digest = Digest::of(bytes.as_bytes());
        memory.content("a", |content| {
            let kept = (media::OCI_MANIFEST.to_owned(), bytes.to_owned().into());
            content.manifests.insert(digest.clone(), kept);
            content.tags.insert("v1".to_owned(), digest.clone());
        });
        let root = tree(&memory);
        for image in ["a/tags/v1".to_owned(), format!("a/manifests/{digest}")] {
            assert_eq!(ls(&root, &image).expect("ls"), ["blobs", "digest", "manifest.json"], "{bytes}");
            assert_eq!(text(&root, &format!("{image}/manifest.json")), bytes);
            assert_eq!(text(&root, &format!("{image}/digest")), format!("{digest}\n"));
            assert_eq!(text(&root, &format!("{image}/blobs/sha256/{}", digest.encoded())), bytes);
            for absent in ["index.json", "config.json"] {
                let error = stat(&root, &format!("{image}/{absent}")).map(|_| ()).expect_err(absent);
                assert_eq!(error.kind(), Kind::NotFound, "{absent}");
            }
        }
    }
}
