//! The commands reach inside images: out of a registry and out of a layout, without a mount.

use crate::support::archive::{self, Member};
use crate::support::compare::same;
use crate::support::image::{Blob, Image, OCI_LAYER, OCI_LAYER_GZIP};
use crate::support::run::{command, run};
use crate::world::World;
use regfs::digest::Digest;
use std::path::Path;

fn image() -> Image {
    let su = Member { mode: 0o4755, ..Member::file("bin/su", "su\n") };
    let lower = archive::tar(&[
        Member::dir("bin/"),
        su.clone(),
        Member::link("bin/su2", &su),
        Member::dir("etc/"),
        Member { mtime: (1_234_567_890, 500_000_000), ..Member::file("etc/os-release", "ID=lower\n") },
        Member { owner: (1000, 7), mode: 0o600, ..Member::file("etc/shadow", "secret\n") },
        Member::dir("etc/gone/"),
        Member::file("etc/gone/x", "x"),
        Member::symlink("etc/link", "os-release"),
    ]);
    let upper = archive::tar(&[
        Member::dir("etc/"),
        Member::file("etc/.wh.gone", ""),
        Member::file("etc/os-release", "ID=upper\n"),
    ]);
    let diff_id = Digest::of(&lower);
    let lower = (Blob::new(OCI_LAYER_GZIP, archive::gzip(&lower)), diff_id);
    let upper = Blob::new(OCI_LAYER, upper);
    let diff_id = upper.digest.clone();
    Image::compressed(vec![lower, (upper, diff_id)], "linux/amd64")
}

/// What the commands say below `root`, an image directory.
fn reaches(world: &World, root: &str, expected: &Path, out: &str) {
    let at = |path: &str| format!("{root}/{path}");
    let text = |args: &[&str]| world.run(args).ok().text();
    assert_eq!(text(&["cat", &at("rootfs/etc/os-release")]), "ID=upper\n");
    assert_eq!(text(&["cat", &at("layers/00/etc/os-release")]), "ID=lower\n");
    assert_eq!(text(&["ls", &at("rootfs/etc")]), "link\nos-release\nshadow\n");
    assert_eq!(text(&["ls", "-a", &at("layers/01/etc")]), ".wh.gone\nos-release\n");
    assert_eq!(text(&["ls", &at("layers")]).lines().collect::<Vec<_>>(), ["00", "00.tar.gz", "01", "01.tar"]);
    let tree = text(&["tree", &at("rootfs")]);
    assert!(tree.contains("su2") && !tree.contains("gone"), "{tree}");
    let long = text(&["ls", "-l", &at("rootfs/bin/su")]);
    assert!(long.starts_with("-rwsr-xr-x"), "{long}");
    let stat = text(&["stat", &at("rootfs/etc/shadow")]);
    assert!(stat.contains("1000") && stat.contains("600"), "{stat}");
    let gone = world.run(["cat", &at("rootfs/etc/gone/x")]).failed();
    assert!(gone.err.contains("etc/gone"), "{}", gone.err);

    world.run(["cp", "-r", &at("rootfs"), out]).ok();
    same(root, expected, &world.path(out));
}

#[test]
fn out_of_a_registry_and_out_of_a_layout() {
    assert!(nix::unistd::geteuid().is_root(), "owners can be compared by root only");
    let world = World::new();
    let image = image();
    let layout = world.path("layout");
    image.write_layout(&layout, "v1");
    world.registry.put("team/inside", "v1", &image);
    let bundle = world.path("bundle");
    run(command("umoci").args(["unpack", "--image", &format!("{}:v1", layout.display())]).arg(&bundle)).ok();
    let expected = bundle.join("rootfs");
    reaches(&world, &world.at("team/inside/tags/v1"), &expected, "from-registry");
    reaches(&world, &world.at("team/inside:v1"), &expected, "from-reference");
    reaches(&world, &format!("oci:{}//tags/v1", layout.display()), &expected, "from-layout");
}
