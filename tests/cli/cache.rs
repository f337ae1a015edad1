//! `regfs cache` where a mount has kept what it made from layers.

use crate::world::World;
use regfs::journal::Journal;
use regfs::store::{Config, Derived, Store, Verify};
use std::io::Write;
use std::sync::Arc;

/// A world whose cache has the small layer, and an index and chunks of it.
fn filled() -> World {
    let world = World::new();
    world.run(["cat", &world.layer(0)]).ok();
    let store = Store::open(Config {
        dir: Some(world.path("home/.cache/regfs")),
        disk_bytes: 1 << 30,
        memory_bytes: 1 << 20,
        verify: Verify::Lazy,
        journal: Arc::new(Journal::new()),
    })
    .expect("a store always opens");
    for (kind, len) in [(Derived::Index, 2345), (Derived::Chunks, 6789)] {
        let mut draft = store.draft(kind, &world.image.layers()[0].digest).expect("a draft");
        draft.write_all(&vec![1; len]).expect("written");
        store.keep(draft).expect("kept");
    }
    world
}

#[test]
fn ls_says_what_was_made_from_a_layer() {
    let world = filled();
    let digest = world.image.layers()[0].digest.as_str();
    let text = world.run(["cache", "ls"]).ok().text();
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = text.lines().filter(|line| line.ends_with(digest)).map(columns).collect();
    let find = |state: &str| lines.iter().find(|line| line.iter().any(|word| word == state)).expect(state);
    assert_eq!(find("index")[..2], ["2345", "2345"]);
    assert_eq!(find("chunks")[..2], ["6789", "6789"]);
    assert_eq!(find("verified")[..2], ["3000", "3000"]);
    let text = world.run(["cache", "ls", "--json"]).ok().text();
    let states: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line))
        .filter(|object| object["digest"] == digest)
        .map(|object| object["state"].as_str().expect("a word").to_owned())
        .collect();
    assert!(["index", "chunks", "verified"].iter().all(|state| states.contains(&(*state).to_owned())), "{states:?}");
}

#[test]
fn verify_leaves_it_to_its_own_checks_and_says_so() {
    let world = filled();
    let ran = world.run(["cache", "verify", "--quiet"]).ok();
    assert!(ran.text().contains(" 0 wrong, "), "{}", ran.text());
    assert!(ran.err.contains("2 files made from layers"), "{}", ran.err);
    assert!(world.run(["cache", "ls"]).ok().text().contains(" index "), "it is still there");
}

#[test]
fn clear_takes_it_out() {
    let world = filled();
    let text = world.run(["cache", "clear"]).ok().text();
    assert!(text.contains(" blobs and 2 files made from layers taken out, "), "{text}");
    assert_eq!(world.run(["cache", "ls"]).ok().text(), "");
    let text = world.run(["cache", "clear"]).ok().text();
    assert!(text.starts_with("0 blobs taken out, "), "{text}");
}

#[test]
fn prune_keeps_a_small_index_longest() {
    let world = filled();
    world.run(["cat", &world.layer(1)]).ok();
    let text = world.run(["cache", "prune", "--to", "64K"]).ok().text();
    assert!(text.contains(" freed"), "{text}");
    let text = world.run(["cache", "ls"]).ok().text();
    assert!(text.contains(" index "), "{text}");
    assert!(!text.contains(world.image.layers()[1].digest.as_str()), "{text}");
}
