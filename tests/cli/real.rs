//! The same commands against servers that know nothing of these tests.

use crate::support::content::Content;
use crate::support::image::Image;
use crate::support::push;
use crate::support::run::{command, run};
use crate::support::servers::docker::DockerRegistry;
use crate::support::servers::ferro::Ferro;
use crate::world::{BIG, World};
use regfs::digest::Digest;
use std::time::Duration;

#[test]
fn docker_registry_and_skopeo_agree() {
    let world = World::new();
    let registry = DockerRegistry::plain();
    push::by_skopeo(&world.image, &registry.host(), "team/app", "v1", None);
    let at = format!("{}/team/app", registry.host());
    assert_eq!(world.run(["ls", &format!("{at}/tags")]).ok().text(), "v1\n");
    let manifest = world.run(["cat", &format!("{at}:v1/manifest.json")]).ok();
    let digest = world.run(["cat", &format!("{at}:v1/digest")]).ok().text();
    assert_eq!(digest.trim(), Digest::of(&manifest.out).as_str());

    world.run(["cp", "-r", &format!("{at}:v1"), "layout"]).ok();
    let oci = format!("oci:{}", world.path("layout").display());
    let seen = run(command("skopeo").args(["inspect", "--format", "{{.Digest}}", &oci])).ok();
    assert_eq!(seen.text(), digest);
    let missing = world.run(["ls", &format!("{at}:v2")]).failed();
    assert_eq!(missing.code, Some(3), "{}", missing.err);
}

#[test]
fn ferro_is_read_too() {
    let world = World::new();
    let registry = Ferro::start();
    push::by_http(&world.image, &registry.host(), "team/app", "v1");
    let at = format!("{}/team/app", registry.host());
    assert_eq!(world.run(["ls", &format!("{at}/tags")]).ok().text(), "v1\n");
    let blob = format!("{at}/blobs/{}", world.image.layers()[1].digest);
    assert_eq!(Digest::of(&world.run(["cat", &blob]).ok().out), world.image.layers()[1].digest);
}

#[test]
fn a_copy_that_is_killed_leaves_nothing() {
    use crate::support::fake::{Fault, Rule, What};
    let world = World::new();
    let image = Image::new([Content::random(3, 2 * BIG)], "linux/amd64");
    world.registry.put("team/slow", "v1", &image);
    world.registry.fault(Rule::on(What::Blob, Fault::Drip(64 << 10, Duration::from_millis(50))));
    let blob = world.at(&format!("team/slow/blobs/{}", image.layers()[0].digest));
    std::fs::create_dir(world.path("to")).expect("mkdir");
    let mut copying = world.command(["cp", &blob, "to/blob"]).spawn().expect("spawn");
    crate::support::wait_for("the copy to begin", Duration::from_secs(20), || {
        (world.registry.count(What::Blob) > 0).then_some(())
    });
    std::thread::sleep(Duration::from_millis(200));
    copying.kill().expect("kill");
    copying.wait().expect("wait");
    assert_eq!(crate::world::names(&world.path("to")), [] as [&str; 0]);
}
