//! status, of a mount that another process has.

use crate::support::run::run;
use crate::world::World;
use std::path::{Path, PathBuf};

/// A mount of the world's registry, taken away when it is dropped.
struct Mounted<'a> {
    world: &'a World,
    point: PathBuf,
}

impl<'a> Mounted<'a> {
    fn new(world: &'a World, name: &str) -> Mounted<'a> {
        let point = world.path(name);
        std::fs::create_dir(&point).expect("a mountpoint");
        world.run([Path::new("mount"), Path::new(&world.registry.host()), &point]).ok();
        Mounted { world, point }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run(&mut self.world.command([Path::new("umount"), &self.point]));
    }
}

#[test]
fn status_tells_how_mounts_fare() {
    let world = World::new();
    let mounted = Mounted::new(&world, "a mount");
    let point = mounted.point.to_str().expect("UTF-8");
    std::fs::read(mounted.point.join("team/app/tags/v1/config.json")).expect("read through the mount");

    let one = world.run(["status", point]).ok().text();
    let host = world.registry.host();
    assert!(one.starts_with(&format!("{host} on {point}, up ")), "{one}");
    assert!(one.contains(&format!("  {host}: reachable, answered ")), "{one}");
    assert!(one.contains("  cache: "), "{one}");

    // All of them, whoever else has mounts on this machine.
    let all = world.run(["status"]).text();
    assert!(all.contains(&format!("{host} on {point}, up ")), "{all}");

    let json = world.run(["status", "--json", point]).ok().text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["source"], host.as_str());
    assert_eq!(json["mountpoint"], point);

    let below = mounted.point.join("team");
    let ran = world.run([Path::new("status"), &below]).failed();
    assert!(ran.err.contains("is not a mount of regfs"), "{}", ran.err);
}

#[test]
fn status_says_what_went_wrong() {
    let world = World::new();
    let mounted = Mounted::new(&world, "mnt");
    world.registry.down();
    std::fs::read_dir(mounted.point.join("team/app/tags")).expect_err("the registry is down");
    let text = world.run([Path::new("status"), &mounted.point]).ok().text();
    assert!(text.contains("failing, last ") && text.contains("recent errors"), "{text}");
    assert!(text.contains("team/app"), "{text}");
}
