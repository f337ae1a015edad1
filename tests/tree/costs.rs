//! What each thing that people do costs, in requests.

use crate::memory::{Memory, digest};
use crate::{cat, forgetful, ls, options, stat, store, text, tree, tree_with};
use regfs::error::Kind;
use regfs::tree::{Node, Options};
use serde_json::Value;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MADE: &str = "2024-02-29T12:00:00Z";

fn one_image() -> (Arc<Memory>, Value) {
    let memory = Memory::new();
    let image = memory.image("a/b", MADE, &[b"layer one", b"layer two"]);
    memory.tag("a/b", "v1", &image);
    (memory, image)
}

#[test]
fn nothing_is_asked_before_it_is_needed() {
    let (memory, _) = one_image();
    let root = tree(&memory);
    for path in ["", "a", "a/b", "a/b/tags", "a/b/manifests", "a/b/blobs", "no/such/thing", "a/%tags"] {
        stat(&root, path).map(|_| ()).expect(path);
    }
    for absent in [".hidden", "A", "a/b/tags/.hidden", "a/b/blobs/README", "a/b/manifests/v1", "tags", "%other"] {
        assert_eq!(stat(&root, absent).map(|_| ()).expect_err(absent).kind(), Kind::NotFound, "{absent}");
    }
    assert!(memory.asked().is_empty());
    assert_eq!(ls(&root, "").expect("ls"), ["a"]);
    assert_eq!(ls(&root, "a").expect("ls"), ["b"]);
    assert_eq!(ls(&root, "a/b").expect("ls"), ["blobs", "manifests", "tags"]);
    assert_eq!(memory.asked(), ["catalog"]);
}

#[test]
fn a_listed_tag_costs_nothing_until_something_of_it_is_read() {
    let (memory, image) = one_image();
    let root = tree(&memory);
    assert_eq!(ls(&root, "a/b/tags").expect("ls"), ["v1"]);
    let inside = ["", "oci-layout", "blobs", "blobs/sha256", "layers", "platforms", "referrers"]
        .map(|name| format!("a/b/tags/v1/{name}"));
    for path in &inside {
        stat(&root, path).map(|_| ()).expect(path);
    }
    assert_eq!(stat(&root, "a/b/tags/v1/.git").map(|_| ()).expect_err("absent").kind(), Kind::NotFound);
    assert_eq!(memory.asked(), ["tags a/b"]);
    assert_eq!(text(&root, "a/b/tags/v1/digest"), format!("{}\n", digest(&image)));
    assert_eq!(memory.asked(), ["resolve a/b:v1"]);
}

#[test]
fn cat_digest_of_a_tag_is_one_request() {
    let (memory, image) = one_image();
    assert_eq!(text(&tree(&memory), "a/b/tags/v1/digest"), format!("{}\n", digest(&image)));
    assert_eq!(memory.asked(), ["manifest a/b:v1"]);
}

#[test]
fn cat_config_is_a_manifest_and_a_blob() {
    let (memory, image) = one_image();
    for listed in [false, true] {
        let root = tree(&memory);
        if listed {
            ls(&root, "a/b/tags").expect("ls");
            memory.asked();
        }
        assert!(text(&root, "a/b/tags/v1/config.json").contains(MADE));
        let asked = memory.asked();
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert_eq!(asked[0], "manifest a/b:v1");
        assert!(asked[1].starts_with("blob a/b@"));
        for path in ["digest", "manifest.json", "index.json", "config.json"] {
            cat(&root, &format!("a/b/tags/v1/{path}")).expect(path);
        }
        cat(&root, &format!("a/b/manifests/{}/manifest.json", digest(&image))).expect("the same, by digest");
        let more: Vec<String> = memory.asked().into_iter().filter(|what| !what.starts_with("blob ")).collect();
        assert!(more.is_empty(), "{more:?}");
    }
}

#[test]
fn a_thousand_tags_are_one_listing() {
    let (memory, image) = one_image();
    for n in 0..1000 {
        memory.tag("a/b", &format!("t{n}"), &image);
    }
    let root = tree(&memory);
    let Node::Dir(tags) = stat(&root, "a/b/tags").expect("tags") else { panic!("not a directory") };
    let entries = tags.list().expect("ls -l");
    assert_eq!(entries.len(), 1001);
    for entry in &entries {
        let attr = entry.node.attr();
        assert_eq!((attr.mode, attr.mtime), (0o555, None));
        assert!(attr.ttl > Duration::from_secs(50), "{:?}", attr.ttl);
        assert!(tags.is_ready(&entry.name));
        let node = tags.lookup(&entry.name).expect("lookup");
        assert!(node.xattrs().expect("xattrs").is_empty());
        assert!(node.xattr(OsStr::new("system.posix_acl_access")).expect("acl").is_none());
    }
    assert_eq!(memory.asked(), ["tags a/b"]);
}

#[test]
fn the_time_of_an_image_is_shown_once_its_config_was_read() {
    let (memory, _) = one_image();
    let root = tree(&memory);
    let mtime = || stat(&root, "a/b/tags/v1").expect("tag").attr().mtime;
    ls(&root, "a/b/tags").expect("ls");
    assert_eq!(mtime(), None);
    cat(&root, "a/b/tags/v1/manifest.json").expect("manifest");
    assert_eq!(mtime(), None);
    cat(&root, "a/b/tags/v1/config.json").expect("config");
    let made: SystemTime = UNIX_EPOCH + Duration::from_secs(1_709_208_000);
    assert_eq!(mtime(), Some(made));
    assert_eq!(stat(&root, "a/b/tags/v1/manifest.json").expect("file").attr().mtime, Some(made));
    assert_eq!(stat(&root, "a/b/tags/v1/layers").expect("dir").attr().mtime, Some(made));
}

#[test]
fn what_is_known_of_a_tag_is_only_confirmed_when_it_is_old() {
    let (memory, _) = one_image();
    let root = forgetful(&memory);
    cat(&root, "a/b/tags/v1/manifest.json").expect("manifest");
    assert_eq!(memory.asked(), ["manifest a/b:v1"]);
    std::thread::sleep(Duration::from_millis(120));
    cat(&root, "a/b/tags/v1/manifest.json").expect("manifest");
    assert_eq!(memory.asked(), ["resolve a/b:v1"]);
    let long = tree(&memory);
    cat(&long, "a/b/tags/v1/manifest.json").expect("manifest");
    long.refresh();
    memory.asked();
    cat(&long, "a/b/tags/v1/manifest.json").expect("manifest");
    assert_eq!(memory.asked(), ["resolve a/b:v1"]);
}

#[test]
fn many_readers_of_one_thing_ask_once() {
    let (memory, _) = one_image();
    memory.with(|state| state.delay = Duration::from_millis(200));
    let root = tree(&memory);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| cat(&root, "a/b/tags/v1/manifest.json").expect("manifest"));
        }
    });
    assert_eq!(memory.asked(), ["manifest a/b:v1"]);
}

#[test]
fn what_is_not_there_is_asked_for_once() {
    let (memory, _) = one_image();
    let root = tree(&memory);
    let absent = digest(&Memory::new().image("x", "never", &[]));
    for path in ["a/b/tags/v9".to_owned(), format!("a/b/manifests/{absent}"), format!("a/b/blobs/{absent}")] {
        for _ in 0..3 {
            assert_eq!(stat(&root, &path).map(|_| ()).expect_err(&path).kind(), Kind::NotFound);
        }
        assert_eq!(memory.asked().len(), 1, "{path}");
    }
}

#[test]
fn a_blob_whose_size_a_manifest_told_is_not_asked_for() {
    let (memory, _) = one_image();
    let root = tree(&memory);
    let layer = memory.blob("a/b", "", b"layer one");
    let other = memory.blob("a/b", "", b"of no image");
    let path = |blob: &Value| format!("a/b/blobs/{}", digest(blob));
    assert_eq!(stat(&root, &path(&layer)).expect("blob").attr().size, 9);
    assert_eq!(memory.asked().len(), 1);
    let root = tree(&memory);
    cat(&root, "a/b/tags/v1/manifest.json").expect("manifest");
    memory.asked();
    assert_eq!(stat(&root, &path(&layer)).expect("blob").attr().size, 9);
    assert!(memory.asked().is_empty());
    assert_eq!(cat(&root, &path(&other)).expect("blob"), b"of no image");
    assert_eq!(memory.asked().len(), 2);
    assert_eq!(cat(&root, &path(&other).replace("sha256:", "sha256-")).expect("blob"), b"of no image");
}

#[test]
fn attributes_of_an_image_are_asked_for_by_name_alone() {
    let (memory, image) = one_image();
    let root = tree(&memory);
    ls(&root, "a/b/tags").expect("ls");
    let tag = stat(&root, "a/b/tags/v1").expect("tag");
    assert!(tag.xattr(OsStr::new("security.capability")).expect("xattr").is_none());
    memory.asked();
    let value = tag.xattr(OsStr::new("user.oci.digest")).expect("xattr");
    assert_eq!(value, Some(digest(&image).as_str().as_bytes().to_vec()));
    assert_eq!(memory.asked(), ["resolve a/b:v1"]);
    assert!(tag.xattr(OsStr::new("user.oci.annotation.org.example.made")).expect("xattr").is_some());
    assert_eq!(memory.asked().len(), 1);
    let names: Vec<_> = tag.xattrs().expect("xattrs").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["user.oci.digest", "user.oci.mediaType", "user.oci.annotation.org.example.made"]);
    let layer = stat(&root, "a/b/tags/v1/layers/00.tar.gz").expect("layer");
    let verified = |node: &Node| node.xattr(OsStr::new("user.regfs.verified")).expect("xattr");
    assert_eq!(verified(&layer), Some(b"0".to_vec()));
    cat(&root, "a/b/tags/v1/layers/00.tar.gz").expect("layer");
    assert_eq!(verified(&layer), Some(b"1".to_vec()));
}

#[test]
fn ten_thousand_tags_stay_small() {
    let (memory, image) = one_image();
    for n in 0..10_000 {
        memory.tag("a/b", &format!("tag-{n}"), &image);
    }
    let root = tree_with(&memory, &store(None), Options { digest_separator: '-', ..options() });
    assert_eq!(ls(&root, "a/b/tags").expect("ls").len(), 10_001);
    for n in 0..10_000 {
        text(&root, &format!("a/b/tags/tag-{n}/digest"));
    }
    let pages = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let resident: u64 = pages.split(' ').nth(1).expect("resident").parse().expect("pages");
    assert!(resident * 4096 < (150 << 20), "{} MiB", (resident * 4096) >> 20);
    assert_eq!(ls(&root, "a/b/manifests").expect("ls"), [digest(&image).as_str().replace(':', "-")]);
}
