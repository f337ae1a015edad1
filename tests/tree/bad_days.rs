//! Tags that move, content that vanishes, registries that are dead or hostile, mounts that are offline.

use crate::memory::{Memory, digest};
use crate::{cat, forgetful, ls, options, stat, store, text, tree, tree_with};
use regfs::digest::Digest;
use regfs::error::Kind;
use regfs::manifest::media;
use regfs::read_at::read_all;
use regfs::tree::{FOREVER, Node, Options};
use serde_json::json;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(120);

#[test]
fn a_moved_tag_is_seen_by_new_lookups_alone() {
    let memory = Memory::new();
    let (old, new) = (memory.image("a", "old", &[b"old layer"]), memory.image("a", "new", &[b"new layer"]));
    memory.tag("a", "v1", &old);
    let root = forgetful(&memory);
    let Node::File(file) = stat(&root, "a/tags/v1/manifest.json").expect("file") else { panic!("not a file") };
    let handle = file.open().expect("open");
    let before = file.attr();
    let dir = stat(&root, "a/tags/v1").expect("tag").attr();
    assert!(before.ttl <= Duration::from_millis(100), "{:?}", before.ttl);
    let layer = |bytes: &[u8]| format!("a/tags/v1/blobs/sha256/{}", Digest::of(bytes).encoded());
    assert_eq!(stat(&root, &layer(b"old layer")).expect("layer").attr().ttl, FOREVER);
    memory.tag("a", "v1", &new);
    std::thread::sleep(PAUSE);
    assert_eq!(text(&root, "a/tags/v1/digest").trim(), digest(&new).as_str());
    assert_eq!(text(&root, "a/tags/v1/layers/00.tar.gz"), "new layer");
    let after = stat(&root, "a/tags/v1/manifest.json").expect("file").attr();
    assert_ne!(after.identity, before.identity);
    assert_eq!(stat(&root, "a/tags/v1").expect("tag").attr().identity, dir.identity);
    let kept = read_all(&*handle, 1 << 20).expect("the open file");
    assert_eq!(Digest::of(&kept), digest(&old));
    assert_eq!(text(&root, &layer(b"old layer")), "old layer", "who read the old index.json may finish");
    assert_eq!(ls(&root, "a/tags/v1/blobs/sha256").expect("ls").len(), 3);
}

#[test]
fn a_platform_of_a_moved_tag_is_another_directory() {
    let memory = Memory::new();
    let (one, two) = (memory.image("a", "one", &[b"one"]), memory.image("a", "two", &[b"two"]));
    memory.tag("a", "v1", &memory.index("a", &[("linux/amd64", one)]));
    let root = forgetful(&memory);
    let before = stat(&root, "a/tags/v1/platforms/linux-amd64").expect("dir").attr();
    assert!(before.ttl <= Duration::from_millis(100));
    memory.tag("a", "v1", &memory.index("a", &[("linux/amd64", two)]));
    std::thread::sleep(PAUSE);
    assert_ne!(stat(&root, "a/tags/v1/platforms/linux-amd64").expect("dir").attr().identity, before.identity);
    assert_eq!(text(&root, "a/tags/v1/platforms/linux-amd64/layers/00.tar.gz"), "two");
}

#[test]
fn a_tag_that_appears_is_found_and_one_that_goes_is_lost() {
    let memory = Memory::new();
    memory.tag("a", "v1", &memory.image("a", "", &[]));
    let root = forgetful(&memory);
    assert_eq!(stat(&root, "a/tags/v2").map(|_| ()).expect_err("not yet").kind(), Kind::NotFound);
    memory.tag("a", "v2", &memory.image("a", "two", &[]));
    std::thread::sleep(PAUSE);
    stat(&root, "a/tags/v2").map(|_| ()).expect("now");
    assert_eq!(ls(&root, "a/tags").expect("ls"), ["v1", "v2"]);
    memory.content("a", |content| content.tags.remove("v1"));
    assert_eq!(cat(&root, "a/tags/v1/digest").expect_err("it was listed").kind(), Kind::NotFound);
    assert_eq!(stat(&root, "a/tags/v1").map(|_| ()).expect_err("gone").kind(), Kind::NotFound);
    std::thread::sleep(PAUSE);
    assert_eq!(ls(&root, "a/tags").expect("ls"), ["v2"]);
}

#[test]
fn what_is_listed_can_be_looked_at_though_it_was_not_there_a_moment_ago() {
    let memory = Memory::new();
    let image = memory.image("a", "", &[]);
    memory.tag("a", "v1", &image);
    let root = tree(&memory);
    assert_eq!(stat(&root, "a/tags/v2").map(|_| ()).expect_err("not yet").kind(), Kind::NotFound);
    memory.tag("a", "v2", &image);
    assert_eq!(stat(&root, "a/tags/v2").map(|_| ()).expect_err("it was not").kind(), Kind::NotFound);
    assert_eq!(ls(&root, "a/tags").expect("ls"), ["v1", "v2"]);
    text(&root, "a/tags/v2/digest");
}

#[test]
fn a_blob_that_vanished_is_an_io_error() {
    let memory = Memory::new();
    memory.tag("a", "v1", &memory.image("a", "", &[b"layer"]));
    let root = tree(&memory);
    assert_eq!(ls(&root, "a/tags/v1/layers").expect("ls"), ["00", "00.tar.gz"]);
    memory.content("a", |content| content.blobs.clear());
    let error = cat(&root, "a/tags/v1/layers/00.tar.gz").expect_err("vanished");
    assert_eq!(error.kind(), Kind::Io, "{error}");
    assert!(error.to_string().contains("no longer"), "{error}");
    let fresh = tree(&memory);
    let path = format!("a/blobs/{}", Digest::of(b"layer"));
    assert_eq!(cat(&fresh, &path).expect_err("never seen").kind(), Kind::NotFound);
}

#[test]
fn a_blob_of_another_length_or_content_is_never_served() {
    let memory = Memory::new();
    let layers = [
        json!({"mediaType": "application/x.tar", "digest": Digest::of(b"longer"), "size": 2}),
        json!({"mediaType": "application/x.tar", "digest": Digest::of(b"right"), "size": 5}),
    ];
    memory.content("a", |content| {
        content.blobs.insert(Digest::of(b"longer"), "longer".into());
        content.blobs.insert(Digest::of(b"right"), "wrong".into());
    });
    let document = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "layers": layers});
    memory.tag("a", "v1", &memory.manifest("a", media::OCI_MANIFEST, &document));
    let root = tree(&memory);
    for layer in ["00.tar", "01.tar"] {
        let error = cat(&root, &format!("a/tags/v1/layers/{layer}")).expect_err("not what the digest names");
        assert_eq!(error.errno(), libc::EIO, "{layer}: {error}");
    }
}

#[test]
fn two_lies_about_a_size_are_settled_by_asking() {
    let memory = Memory::new();
    memory.blob("a", "", b"12345");
    for (tag, size) in [("v1", 5), ("v2", 7)] {
        let layer = json!({"mediaType": "application/x.tar", "digest": Digest::of(b"12345"), "size": size});
        let document = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "layers": [layer]});
        memory.tag("a", tag, &memory.manifest("a", media::OCI_MANIFEST, &document));
    }
    let root = tree(&memory);
    for tag in ["v1", "v2"] {
        cat(&root, &format!("a/tags/{tag}/manifest.json")).expect("manifest");
    }
    assert_eq!(text(&root, &format!("a/blobs/{}", Digest::of(b"12345"))), "12345");
}

#[test]
fn a_dead_registry_says_so_and_recovers() {
    let memory = Memory::new();
    memory.tag("a", "v1", &memory.image("a", "", &[b"layer"]));
    for kind in [Kind::Timeout, Kind::Unreachable, Kind::Server, Kind::Denied] {
        let root = tree(&memory);
        memory.with(|state| state.failing = Some(kind));
        let paths = ["a/tags/v1/digest", "a/tags/v1/manifest.json", "a/tags/v1/config.json"];
        for path in paths {
            assert_eq!(cat(&root, path).expect_err(path).kind(), kind);
        }
        assert_eq!(memory.asked().len(), 1, "many names wait once");
        assert_eq!(ls(&root, "").expect_err("the catalog").kind(), kind);
        assert_eq!(ls(&root, "a/tags").expect_err("the tags").kind(), kind);
        memory.with(|state| state.failing = None);
        let since = Instant::now();
        while cat(&root, "a/tags/v1/digest").is_err() {
            assert!(since.elapsed() < Duration::from_secs(5), "it does not recover from {kind:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        ls(&root, "a/tags").expect("the tags");
        memory.asked();
    }
}

#[test]
fn a_dead_registry_is_waited_for_once_by_many_names() {
    let memory = Memory::new();
    memory.with(|state| state.failing = Some(Kind::Timeout));
    memory.with(|state| state.delay = Duration::from_millis(50));
    let root = tree(&memory);
    let since = Instant::now();
    for n in 0..100 {
        let error = cat(&root, &format!("a/tags/t{n}/digest")).expect_err("dead");
        assert_eq!(error.kind(), Kind::Timeout);
    }
    let asked = memory.asked().len() as u128;
    assert!(asked <= 1 + since.elapsed().as_millis() / 400, "{asked}");
}

#[test]
fn offline_shows_what_is_remembered() {
    let memory = Memory::new();
    let image = memory.image("a/b", "2024-02-29T12:00:00Z", &[b"layer"]);
    memory.tag("a/b", "v1", &image);
    memory.tag("a/b", "v2", &memory.image("a/b", "never read", &[]));
    let dir = tempfile::tempdir().expect("tempdir");
    {
        let root = tree_with(&memory, &store(Some(dir.path())), options());
        assert_eq!(ls(&root, "a/b/tags").expect("ls"), ["v1", "v2"]);
        text(&root, "a/b/tags/v1/config.json");
        text(&root, "a/b/tags/v1/layers/00.tar.gz");
        stat(&root, "a/b/tags/v1").expect("tag").attr();
    }
    let root = tree_with(&memory, &store(Some(dir.path())), options());
    ls(&root, "a/b/tags").expect("ls");
    assert!(stat(&root, "a/b/tags/v1").expect("tag").attr().mtime.is_some(), "the next mount knows the time");
    text(&root, "a/b/tags/v1/digest");
    assert!(stat(&root, "a/b/tags/v1").expect("tag").attr().mtime.is_some(), "it still does");
    drop(root);
    memory.asked();
    let root = tree_with(&memory, &store(Some(dir.path())), Options { offline: true, ..options() });
    assert_eq!(ls(&root, "").expect("ls"), ["a"]);
    assert_eq!(ls(&root, "a").expect("ls"), ["b"]);
    assert_eq!(ls(&root, "a/b").expect("ls"), ["blobs", "manifests", "tags"]);
    assert_eq!(ls(&root, "a/b/tags").expect("ls"), ["v1"]);
    assert!(stat(&root, "a/b/tags/v1").expect("tag").attr().mtime.is_some());
    assert_eq!(text(&root, "a/b/tags/v1/digest").trim(), digest(&image).as_str());
    assert!(text(&root, "a/b/tags/v1/config.json").contains("amd64"));
    assert_eq!(text(&root, "a/b/tags/v1/layers/00.tar.gz"), "layer");
    assert_eq!(ls(&root, "a/b/blobs").expect("ls").len(), 2);
    for path in ["a/b/tags/v2", "other/tags/v1", &format!("a/b/manifests/{}", Digest::of(b"none"))] {
        let error = stat(&root, path).map(|_| ()).expect_err(path);
        assert_eq!(error.kind(), Kind::Unreachable, "{path}: {error}");
        assert!(error.to_string().contains("offline"), "{error}");
    }
    let asked: Vec<String> = memory.asked().into_iter().filter(|what| !what.starts_with("blob ")).collect();
    assert!(asked.is_empty(), "{asked:?}");
}

#[test]
fn facts_that_cannot_be_read_are_as_good_as_none() {
    let memory = Memory::new();
    memory.tag("a", "v1", &memory.image("a", "", &[]));
    let dir = tempfile::tempdir().expect("tempdir");
    text(&tree_with(&memory, &store(Some(dir.path())), options()), "a/tags/v1/digest");
    let mut spoiled = 0;
    let mut todo = vec![dir.path().to_owned()];
    while let Some(path) = todo.pop() {
        for entry in std::fs::read_dir(&path).expect("dir").map(|entry| entry.expect("entry").path()) {
            if entry.is_dir() {
                todo.push(entry);
            } else if path.ends_with("known") {
                std::fs::write(&entry, b"{\"version\":1,\"facts\":[{\"repository\":7}]}").expect("spoil");
                spoiled += 1;
            }
        }
    }
    assert!(spoiled > 0);
    let root = tree_with(&memory, &store(Some(dir.path())), Options { offline: true, ..options() });
    assert_eq!(ls(&root, "").expect("ls"), [""; 0]);
    let root = tree_with(&memory, &store(Some(dir.path())), options());
    text(&root, "a/tags/v1/digest");
}

#[test]
fn deep_and_endless_indexes_end_in_an_error() {
    let memory = Memory::new();
    let mut index = memory.image("a", "", &[b"layer"]);
    for _ in 0..20 {
        index = memory.index("a", &[("", index)]);
    }
    memory.tag("a", "deep", &index);
    // No honest registry can hold an index that lists itself; this one does.
    let own = Digest::of(b"not its digest");
    let itself = json!({"mediaType": media::OCI_INDEX, "digest": own, "size": 1});
    let document = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [itself]});
    memory.content("a", |content| {
        let bytes = serde_json::to_vec(&document).expect("json");
        content.manifests.insert(own.clone(), (media::OCI_INDEX.to_owned(), bytes.into()));
        content.tags.insert("cyclic".to_owned(), own);
    });
    let wide: Vec<_> = (0..2000u32)
        .map(|n| ("", json!({"mediaType": media::OCI_MANIFEST, "digest": Digest::of(&n.to_le_bytes()), "size": 1})))
        .collect();
    memory.tag("a", "wide", &memory.index("a", &wide));
    let root = tree(&memory);
    for tag in ["deep", "cyclic", "wide"] {
        let names = ls(&root, &format!("a/tags/{tag}")).expect(tag);
        assert!(names.contains(&"manifest.json".to_owned()) && !names.contains(&"config.json".to_owned()), "{names:?}");
        cat(&root, &format!("a/tags/{tag}/manifest.json")).expect(tag);
    }
    for path in ["a/tags/deep/config.json", "a/tags/cyclic/config.json"] {
        assert_eq!(stat(&root, path).map(|_| ()).expect_err(path).kind(), Kind::TooBig, "{path}");
    }
    for path in ["a/tags/deep/blobs/sha256", "a/tags/wide/blobs/sha256"] {
        let error = ls(&root, path).expect_err(path);
        assert_eq!(error.kind(), Kind::TooBig, "{path}: {error}");
        assert!(error.to_string().contains("more than"), "{error}");
    }
    ls(&root, "a/tags/cyclic/blobs/sha256").expect("it has one manifest");
    assert!(memory.asked().len() < 40);
}

#[test]
fn nothing_is_made_of_manifests_that_are_none() {
    let memory = Memory::new();
    let both = json!({"schemaVersion": 2, "manifests": [], "layers": [], "config": null});
    let two_kinds = memory.manifest("a", media::OCI_INDEX, &both);
    memory.tag("a", "two-kinds", &two_kinds);
    memory.content("a", |content| {
        for (tag, bytes) in [("text", &b"not json"[..]), ("empty", b""), ("nested", &[b'['; 100_000])] {
            let digest = Digest::of(bytes);
            content.manifests.insert(digest.clone(), (media::OCI_MANIFEST.to_owned(), bytes.to_vec().into()));
            content.tags.insert(tag.to_owned(), digest);
        }
    });
    let good = memory.image("a", "", &[b"layer"]);
    memory.tag("a", "index", &memory.index("a", &[("linux/s390x", two_kinds), ("linux/amd64", good)]));
    let root = tree(&memory);
    for tag in ["two-kinds", "text", "empty", "nested"] {
        // Its bytes are what its digest says, and nothing is made of them.
        cat(&root, &format!("a/tags/{tag}/manifest.json")).expect(tag);
        for made in ["config.json", "index.json", "layers/00.tar.gz"] {
            let error = cat(&root, &format!("a/tags/{tag}/{made}")).expect_err(tag);
            assert_eq!(error.errno(), libc::ENOENT, "{tag}/{made}: {error}");
        }
    }
    assert_eq!(text(&root, "a/tags/index/layers/00.tar.gz"), "layer");
    assert_eq!(ls(&root, "a/tags/index/blobs/sha256").expect("ls").len(), 5, "a bad child is listed, as it is");
}
