//! cp: what appears is whole and right, or does not appear.

use crate::support::fake::{Fault, Rule, What};
use crate::support::run::{command, run};
use crate::world::{BIG, World, names};
use regfs::digest::Digest;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_file_is_copied_with_time_and_permissions() {
    let world = World::new();
    let ran = world.run(["cp", &world.layer(1), "layer.tar"]).ok();
    assert_eq!((ran.text().as_str(), ran.err.as_str()), ("", ""), "no progress into a pipe");
    let copy = std::fs::read(world.path("layer.tar")).expect("the copy");
    assert_eq!(Digest::of(&copy), world.image.layers()[1].digest);
    let mode = std::fs::metadata(world.path("layer.tar")).expect("stat").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);

    world.run(["ls", &world.at("team/app:v1/config.json")]).ok();
    world.run(["cp", &world.at("team/app:v1/config.json"), "."]).ok();
    let modified = std::fs::metadata(world.path("config.json")).expect("stat").modified().expect("mtime");
    let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_714_979_289);
    assert_eq!(modified, created, "the image's created, 2024-05-06T07:08:09Z");
    assert_eq!(names(&world.path("")), ["config.json", "home", "layer.tar"]);
}

#[test]
fn a_directory_is_copied_whole_and_is_an_image_layout() {
    let world = World::new();
    let image = world.at("team/app:v1");
    let refused = world.run(["cp", &image, "copy"]).failed();
    assert!(refused.err.contains("-r"), "{}", refused.err);
    world.run(["cp", "-r", &image, "copy"]).ok();
    assert_eq!(std::fs::read(world.path("copy/manifest.json")).expect("manifest"), world.image.manifest);
    let link = std::fs::read_link(world.path("copy/layers/01.tar")).expect("a link stays a link");
    assert_eq!(std::fs::metadata(world.path("copy/layers").join(link)).expect("it leads on").len(), BIG);
    let mode = std::fs::metadata(world.path("copy/blobs")).expect("stat").permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "its owner can remove it again");
    let mut skopeo = command("skopeo");
    let oci = format!("oci:{}", world.path("copy").display());
    let inspected = run(skopeo.args(["inspect", "--format", "{{.Digest}}", &oci])).ok();
    assert_eq!(inspected.text().trim(), world.image.digest.as_str());
    // Again, into the directory that is there now.
    world.run(["cp", "-r", &image, "copy"]).ok();
    assert!(world.path("copy/v1/manifest.json").is_file(), "{:?}", names(&world.path("copy")));
}

#[test]
fn what_is_there_is_replaced_only_by_what_is_right() {
    let world = World::new();
    std::fs::write(world.path("out"), "before").expect("write");
    world.registry.corrupt(&world.image.layers()[1].digest, BIG - 5);
    let ran = world.run(["cp", &world.layer(1), "out"]).failed();
    assert_eq!(ran.code, Some(6), "{}", ran.err);
    assert_eq!(std::fs::read(world.path("out")).expect("read"), b"before");
    assert_eq!(names(&world.path("")), ["home", "out"], "nothing half-done is left");

    world.registry.heal();
    world.run(["cp", "-n", &world.layer(0), "out"]).ok();
    assert_eq!(std::fs::read(world.path("out")).expect("read"), b"before");
    world.run(["cp", &world.layer(0), "out"]).ok();
    assert_eq!(std::fs::read(world.path("out")).expect("read"), world.image.layers()[0].content.to_vec());
}

#[test]
fn a_connection_that_ends_early_leaves_nothing() {
    let world = World::new();
    world.registry.fault(Rule::on(What::Blob, Fault::Status(500)));
    let ran = world.run(["cp", &world.layer(1), "out"]).failed();
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    assert_eq!(names(&world.path("")), ["home"]);
}

#[test]
fn of_a_directory_everything_else_is_copied() {
    let world = World::new();
    world.registry.corrupt(&world.image.layers()[0].digest, 5);
    let ran = world.run(["cp", "-r", &world.at("team/app:v1"), "copy"]).failed();
    assert_eq!(ran.code, Some(6), "{}", ran.err);
    let blobs = names(&world.path("copy/blobs/sha256"));
    assert!(!blobs.contains(&world.image.layers()[0].digest.encoded().to_owned()));
    assert!(blobs.contains(&world.image.layers()[1].digest.encoded().to_owned()), "{}", ran.err);
}

#[test]
fn devices_are_written_to_and_not_replaced() {
    let world = World::new();
    world.run(["cp", &world.layer(0), "/dev/null"]).ok();
    use std::os::unix::fs::FileTypeExt;
    assert!(std::fs::metadata("/dev/null").expect("stat").file_type().is_char_device());
}

#[test]
fn a_destination_that_cannot_be() {
    let world = World::new();
    for dest in ["nowhere/out", "nowhere/"] {
        let ran = world.run(["cp", &world.layer(0), dest]).failed();
        assert!(ran.err.contains("nowhere"), "{}", ran.err);
    }
    let ran = world.run(["cp", &world.layer(0), &world.layer(1), "file"]).failed();
    assert!(ran.err.contains("not a directory"), "{}", ran.err);
    std::fs::create_dir_all(world.path("dir/digest")).expect("mkdir");
    let ran = world.run(["cp", &world.at("team/app:v1/digest"), "dir"]).failed();
    assert!(ran.err.contains("is a directory"), "{}", ran.err);
}
