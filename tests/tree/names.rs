//! Every repository has one place, whatever it and its neighbours are called.

use crate::memory::Memory;
use crate::{ls, options, stat, store, text, tree, tree_with};
use proptest::prelude::*;
use regfs::error::Kind;
use regfs::name::show_component;
use regfs::tree::hosts::Hosts;
use regfs::tree::registry::Registry;
use regfs::tree::{Dir, Node, Options};
use std::collections::BTreeSet;
use std::sync::Arc;

fn shown(repository: &str) -> String {
    repository.split('/').map(show_component).collect::<Vec<_>>().join("/")
}

/// Every repository that is found by listing alone, as its name.
fn listed(root: &Arc<dyn Dir>) -> BTreeSet<String> {
    fn below(root: &Arc<dyn Dir>, path: &str, name: &str, found: &mut BTreeSet<String>) {
        let names = ls(root, path).expect(path);
        if names.iter().any(|name| name == "tags") {
            found.insert(name.to_owned());
        }
        for entry in names.iter().filter(|entry| !["tags", "manifests", "blobs"].contains(&entry.as_str())) {
            let component = entry.strip_prefix('%').unwrap_or(entry);
            let name = if name.is_empty() { component.to_owned() } else { format!("{name}/{component}") };
            below(root, &format!("{path}/{entry}"), &name, found);
        }
    }
    let mut found = BTreeSet::new();
    below(root, "", "", &mut found);
    found
}

fn check(names: &BTreeSet<String>) {
    let memory = Memory::new();
    for name in names {
        let image = memory.image(name, name, &[name.as_bytes()]);
        memory.tag(name, "tags", &image);
    }
    let root = tree(&memory);
    assert_eq!(listed(&root), *names);
    for name in names {
        assert_eq!(ls(&root, &format!("{}/tags", shown(name))).expect(name), ["tags"]);
        assert_eq!(text(&root, &format!("{}/tags/tags/layers/00.tar.gz", shown(name))), *name);
    }
}

#[test]
fn hard_names() {
    let names = [
        "a",
        "a/b",
        "a/b/c",
        "a-b",
        "a.b/c",
        "tags",
        "tags/tags",
        "blobs/manifests/tags",
        "a/tags",
        "a/blobs/b",
        "manifests",
    ];
    check(&names.map(str::to_owned).into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_set_of_repositories_is_listed_and_found(
        names in prop::collection::btree_set("(a|b|a-b|a__b|tags|blobs|manifests)(/(a|b|tags|blobs|manifests)){0,3}", 0..8),
    ) {
        check(&names);
    }
}

#[test]
fn a_name_that_may_begin_a_repository_is_an_empty_directory() {
    let memory = Memory::new();
    memory.tag("a/b", "v1", &memory.image("a/b", "", &[]));
    memory.with(|state| state.unlistable = Some("it refuses".to_owned()));
    let root = tree(&memory);
    assert_eq!(ls(&root, "nothing/here").expect("ls"), [""; 0]);
    assert_eq!(ls(&root, "nothing/here/tags").expect_err("no such repository").kind(), Kind::NotFound);
    let long = vec!["a"; 200].join("/");
    assert_eq!(stat(&root, &long).map(|_| ()).expect_err("too long").kind(), Kind::NameTooLong);
}

#[test]
fn what_a_whole_catalog_lacks_is_walked_through_for_nothing_and_listed_once_asked_for() {
    let memory = Memory::new();
    memory.tag("a/b", "v1", &memory.image("a/b", "", &[]));
    let root = tree(&memory);
    assert_eq!(ls(&root, "").expect("ls"), ["a"]);
    assert_eq!(memory.asked(), ["catalog"]);
    for path in ["nope", "a/c", "a/b/c", "deep/er/down"] {
        stat(&root, path).map(|_| ()).expect(path);
    }
    assert!(memory.asked().is_empty());
    for _ in 0..3 {
        assert_eq!(ls(&root, "nothing/here").expect_err("not there").kind(), Kind::NotFound);
    }
    assert_eq!(memory.asked(), ["tags nothing/here"]);
    // Absence from the catalog is no proof: below `deep`, which is nothing, something may be.
    memory.tag("deep/late", "v1", &memory.image("deep/late", "", &[b"here"]));
    assert_eq!(ls(&root, "deep").expect_err("it is none itself").kind(), Kind::NotFound);
    assert_eq!(ls(&root, "deep/late").expect("it is asked"), ["blobs", "manifests", "tags"]);
    assert_eq!(ls(&root, "deep/late/tags").expect("the answer is the listing, too"), ["v1"]);
    assert_eq!(memory.asked(), ["tags deep", "tags deep/late"]);
    // What was found is listed from now on, and so is what it is in.
    assert_eq!(ls(&root, "").expect("ls"), ["a", "deep"]);
    assert_eq!(ls(&root, "deep").expect("it leads on"), ["late"]);
    assert!(memory.asked().is_empty());
    memory.content("empty", |_| ());
    assert_eq!(ls(&root, "empty").expect_err("as ferro says").kind(), Kind::NotFound);
    // What the registry will not or cannot tell is not that there is nothing.
    memory.with(|state| state.failing = Some(Kind::Denied));
    assert_eq!(ls(&root, "secret").expect("refused"), ["blobs", "manifests", "tags"]);
    memory.with(|state| state.failing = Some(Kind::Timeout));
    assert_eq!(ls(&root, "slow").expect_err("dead").kind(), Kind::Timeout);
}

#[test]
fn a_whole_catalog_decides_alone_what_is_listed() {
    let memory = Memory::new();
    for name in ["a", "gone/b"] {
        memory.tag(name, "v1", &memory.image(name, "", &[]));
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let first = tree_with(&memory, &store(Some(dir.path())), options());
    for name in ["a", "gone/b"] {
        assert_eq!(ls(&first, &format!("{name}/tags")).expect("ls"), ["v1"]);
    }
    assert_eq!(ls(&first, "").expect("ls"), ["a", "gone"]);
    drop(first);
    memory.with(|state| state.repositories.remove("gone/b"));
    let root = tree_with(&memory, &store(Some(dir.path())), options());
    assert_eq!(ls(&root, "").expect("ls"), ["a"]);
    assert_eq!(ls(&root, "gone").expect_err("deleted").kind(), Kind::NotFound);
    let fresh = tree_with(&memory, &store(Some(dir.path())), options());
    assert_eq!(ls(&fresh, "gone/b").expect_err("deleted").kind(), Kind::NotFound);
}

#[test]
fn a_repository_that_is_alone_has_none_below_it() {
    let memory = Memory::new();
    memory.tag("layout", "v1", &memory.image("layout", "", &[]));
    let root = Registry::new(memory.clone(), store(None), options()).alone(&"layout".parse().expect("name"));
    assert_eq!(ls(&root, "").expect("ls"), ["blobs", "manifests", "tags"]);
    assert_eq!(ls(&root, "tags").expect("ls"), ["v1"]);
    assert_eq!(stat(&root, "nope").map(|_| ()).expect_err("nothing").kind(), Kind::NotFound);
}

#[test]
fn a_repository_that_is_mounted_by_itself_has_to_be_there() {
    let memory = Memory::new();
    memory.tag("a/b", "v1", &memory.image("a/b", "", &[]));
    let find =
        |name: &str| Registry::new(memory.clone(), store(None), options()).find(&name.parse().expect("repository"));
    find("a/b").expect("a repository");
    assert_eq!(memory.asked(), ["tags a/b"]);
    find("a").expect("a namespace");
    assert_eq!(find("b").expect_err("nothing").kind(), Kind::NotFound);
    memory.with(|state| state.unlistable = Some("it refuses".to_owned()));
    find("b").expect("who knows");
}

#[test]
fn a_registry_that_does_not_list_shows_what_was_found() {
    let memory = Memory::new();
    for name in ["library/ubuntu", "library/debian", "acme/app"] {
        memory.tag(name, "v1", &memory.image(name, "", &[]));
    }
    memory.with(|state| state.unlistable = Some("it refuses".to_owned()));
    let dir = tempfile::tempdir().expect("tempdir");
    {
        let cache = store(Some(dir.path()));
        let root = tree_with(&memory, &cache, options());
        assert_eq!(ls(&root, "").expect("ls"), [""; 0]);
        assert_eq!(ls(&root, "library/ubuntu/tags").expect("ls"), ["v1"]);
        text(&root, "acme/app/tags/v1/digest");
        root.refresh();
        assert_eq!(ls(&root, "").expect("ls"), ["acme", "library"]);
        assert_eq!(ls(&root, "library").expect("ls"), ["ubuntu"]);
        assert_eq!(ls(&root, "library/debian").expect("it is asked"), ["blobs", "manifests", "tags"]);
        assert_eq!(ls(&root, "library/nothing").expect("it is asked"), [""; 0]);
    }
    let root = tree_with(&memory, &store(Some(dir.path())), options());
    assert_eq!(ls(&root, "library").expect("the next mount knows"), ["debian", "ubuntu"]);
    // Where a namespace is refused, that says nothing of what it holds.
    memory.with(|state| state.failing = Some(Kind::Denied));
    let root = tree(&memory);
    memory.with(|state| state.failing = None);
    ls(&root, "").expect("ls");
    memory.with(|state| state.failing = Some(Kind::Denied));
    assert_eq!(ls(&root, "acme").expect("a namespace"), [""; 0]);
    assert_eq!(ls(&root, "acme/app/tags").expect_err("its tags").kind(), Kind::Denied);
    assert_eq!(stat(&root, "acme/app/tags/v1").map(|_| ()).expect_err("a tag").kind(), Kind::Denied);
}

#[test]
fn a_repository_that_has_no_tags_any_more_is_empty() {
    let memory = Memory::new();
    memory.content("a", |_| ());
    let root = tree(&memory);
    ls(&root, "").expect("ls");
    assert_eq!(ls(&root, "a/tags").expect("ls"), [""; 0]);
}

#[test]
fn one_repository_can_be_the_root() {
    let memory = Memory::new();
    for name in ["a", "a/b"] {
        memory.tag(name, "v1", &memory.image(name, name, &[]));
    }
    let registry = Registry::new(memory.clone(), store(None), options());
    let root = registry.rooted(&"a".parse().expect("repository"));
    assert_eq!(ls(&root, "").expect("ls"), ["blobs", "manifests", "tags"]);
    assert!(memory.asked().is_empty(), "one repository does not list all");
    assert_eq!(ls(&root, "tags").expect("ls"), ["v1"]);
    assert_eq!(ls(&root, "b/tags").expect("ls"), ["v1"]);
    assert_eq!(ls(&root, "").expect("ls"), ["b", "blobs", "manifests", "tags"]);
}

#[test]
fn official_images_of_the_hub_are_found_by_their_short_names() {
    let memory = Memory::of("docker.io");
    memory.tag("library/ubuntu", "v1", &memory.image("library/ubuntu", "", &[b"here"]));
    memory.with(|state| state.unlistable = Some("it refuses".to_owned()));
    let root = tree(&memory);
    assert_eq!(text(&root, "ubuntu/tags/v1/layers/00.tar.gz"), "here");
    assert_eq!(ls(&root, "ubuntu").expect("ls"), ["blobs", "manifests", "tags"]);
    root.refresh();
    assert_eq!(ls(&root, "").expect("ls"), ["library"], "what is listed is the whole name");
    assert_eq!(ls(&root, "library").expect("ls"), ["ubuntu"]);
}

#[test]
fn every_host_is_a_directory() {
    let memory = Memory::new();
    memory.tag("a", "v1", &memory.image("a", "", &[b"here"]));
    let cache = store(None);
    let connect = {
        let memory = memory.clone();
        Box::new(move |_: &str| Ok(Registry::new(memory.clone(), cache.clone(), options()) as Arc<dyn Dir>))
    };
    let hosts: Arc<dyn Dir> = Hosts::new(vec!["docker.io".to_owned()], connect, Options::default());
    assert_eq!(ls(&hosts, "").expect("ls"), ["docker.io"]);
    assert!(memory.asked().is_empty());
    assert_eq!(text(&hosts, "registry.example.com:5000/a/tags/v1/layers/00.tar.gz"), "here");
    assert_eq!(stat(&hosts, "README").map(|_| ()).expect_err("no host").kind(), Kind::NotFound);
    memory.asked();
    hosts.refresh();
    let Node::Dir(_) = stat(&hosts, "registry.example.com:5000/a/tags/v1").expect("tag") else {
        panic!("not a directory")
    };
    assert_eq!(memory.asked(), ["resolve a:v1"]);
}
