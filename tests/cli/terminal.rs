//! What a terminal is sent: nothing that a stranger wrote may steer it. Into a pipe goes what is there.

use crate::support::fake::{Fault, Rule, What};
use crate::support::image::{Image, OCI_MANIFEST};
use crate::world::World;
use serde_json::Value;

const HOSTILE: &str = "red \u{1b}[31m and \u{202e}back";

fn hostile_image() -> Image {
    let mut image = Image::new([], "linux/amd64");
    let mut manifest: Value = serde_json::from_slice(&image.manifest).expect("JSON");
    manifest["annotations"]["evil"] = HOSTILE.into();
    let raw = Image::raw(OCI_MANIFEST, manifest.to_string());
    image.manifest = raw.manifest;
    image.digest = raw.digest;
    image
}

#[test]
fn annotations_are_escaped_on_a_terminal_and_raw_in_a_pipe() {
    let world = World::new();
    world.registry.put("team/evil", "v1", &hostile_image());
    let piped = world.run(["stat", &world.at("team/evil:v1")]).ok();
    assert!(piped.text().contains(HOSTILE), "{}", piped.text());
    let shown = world.on_terminal(["stat", &world.at("team/evil:v1")]).ok();
    assert!(shown.text().contains("red \\u{1b}[31m and \\u{202e}back"), "{}", shown.text());
    assert!(!shown.out.contains(&0x1b));
}

#[test]
fn a_registrys_words_are_escaped_everywhere() {
    let world = World::new();
    world.registry.fault(Rule::on(What::Tags, Fault::Error(403, "DENIED", HOSTILE)));
    let ran = world.run(["ls", &world.at("team/app/tags")]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}') && !ran.err.contains('\u{202e}'), "{}", ran.err);
}

#[test]
fn what_the_user_wrote_is_escaped_too() {
    let world = World::new();
    let ran = world.run(["cat", &world.at("team/\u{1b}[31m")]).failed();
    assert!(ran.err.contains("\\u{1b}[31m") && !ran.err.contains('\u{1b}'), "{}", ran.err);
    let ran = world.run(["ls", "h\u{1b}[31m"]).failed();
    assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
}

#[test]
fn names_are_plain_on_a_terminal() {
    let world = World::new();
    let shown = world.on_terminal(["ls", &world.at("team/app/tags")]).ok();
    assert_eq!(shown.text(), "v1\r\n");
}

#[test]
fn progress_shows_on_a_terminal_only() {
    let world = World::new();
    world.registry.fault(Rule::on(What::Blob, Fault::Drip(256 << 10, std::time::Duration::from_millis(50))));
    let shown = world.on_terminal(["cp", &world.layer(1), "one"]).ok();
    assert!(shown.text().contains("MiB"), "{:?}", shown.text());
    assert_eq!(std::fs::metadata(world.path("one")).expect("stat").len(), crate::world::BIG);
    let quiet = world.on_terminal(["cp", "--quiet", "--cache-size", "0", &world.layer(1), "two"]).ok();
    assert_eq!(quiet.text(), "");
    let piped = world.run(["cp", "--cache-size", "0", &world.layer(1), "three"]).ok();
    assert_eq!(piped.err, "");
}
