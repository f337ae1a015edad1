//! ls, cat, stat and tree, when all goes well.

use crate::support::fake::What;
use crate::support::image::Image;
use crate::support::run::run;
use crate::world::World;
use regfs::digest::Digest;

#[test]
fn ls_lists_names_one_a_line() {
    let world = World::new();
    world.registry.put("team/tool/cli", "v1", &world.image);
    world.registry.tag("team/app", "latest", &world.image.digest);
    assert_eq!(world.run(["ls", &world.at("")]).ok().text(), "team\n");
    assert_eq!(world.run(["ls", &world.at("team/")]).ok().text(), "app\ntool\n");
    assert_eq!(world.run(["ls", &world.at("team/app/tags")]).ok().text(), "latest\nv1\n");
    let image = world.run(["ls", &world.at("team/app/tags/v1")]).ok().text();
    for name in ["blobs", "config.json", "digest", "index.json", "manifest.json", "oci-layout"] {
        assert!(image.lines().any(|line| line == name), "{name} in\n{image}");
    }
}

#[test]
fn ls_takes_image_references() {
    let world = World::new();
    let by_path = world.run(["ls", &world.at("team/app/tags/v1")]).ok().text();
    assert_eq!(world.run(["ls", &world.at("team/app:v1")]).ok().text(), by_path);
    let by_digest = world.run(["cat", &world.at(&format!("team/app@{}/digest", world.image.digest))]).ok().text();
    assert_eq!(by_digest, format!("{}\n", world.image.digest));
}

#[test]
fn ls_long_has_type_size_time_and_name() {
    let world = World::new();
    let text = world.run(["ls", "-l", &world.at("team/app:v1")]).ok().text();
    let line = |name: &str| text.lines().find(|line| line.ends_with(&format!(" {name}"))).expect(name).to_owned();
    let manifest = line("manifest.json");
    assert!(manifest.starts_with("-r--r--r-- "), "{manifest}");
    assert!(manifest.contains(&format!(" {} ", world.image.manifest.len())), "{manifest}");
    assert!(line("blobs").starts_with("dr-xr-xr-x "));
    // -h is human-readable here, as everywhere; help is --help.
    let layer = world.run(["ls", "-lh", &world.layer(1)]).ok().text();
    assert!(layer.contains(" 9.0M "), "{layer}");
    assert!(world.run(["ls", "--help"]).ok().text().contains("--human-readable"));
}

#[test]
fn ls_of_a_file_and_of_several_places() {
    let world = World::new();
    let file = world.at("team/app:v1/digest");
    assert_eq!(world.run(["ls", &file]).ok().text(), format!("{file}\n"));
    let (a, b) = (world.at("team"), world.at("team/app"));
    let ran = world.run(["ls", &a, &b]).ok();
    assert!(ran.text().starts_with(&format!("{a}:\napp\n\n{b}:\n")), "{}", ran.text());
    let ran = world.run(["ls", "-d", &a]).ok();
    assert_eq!(ran.text(), format!("{a}\n"));
}

#[test]
fn ls_json_is_one_object_a_line() {
    let world = World::new();
    let text = world.run(["ls", "--json", &world.at("team/app:v1")]).ok().text();
    let found = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect(line))
        .find(|object| object["name"] == "manifest.json")
        .expect("manifest.json");
    assert_eq!(found["type"], "file");
    assert_eq!(found["size"], world.image.manifest.len());
}

#[test]
fn cat_gives_the_very_bytes() {
    let world = World::new();
    let manifest = world.run(["cat", &world.at("team/app:v1/manifest.json")]).ok();
    assert_eq!(manifest.out, world.image.manifest);
    let both = world.run(["cat", &world.layer(0), &world.layer(1)]).ok();
    let layers = world.image.layers();
    let expected = [layers[0].content.to_vec(), layers[1].content.to_vec()].concat();
    assert_eq!(both.out.len(), expected.len());
    assert_eq!(Digest::of(&both.out), Digest::of(&expected));
    assert_eq!(both.err, "");
}

#[test]
fn a_second_process_reads_from_the_cache() {
    let world = World::new();
    world.run(["cat", &world.layer(1)]).ok();
    assert!(world.path("home/.cache/regfs").is_dir());
    world.registry.forget();
    let again = world.run(["cat", &world.layer(1)]).ok();
    assert_eq!(Digest::of(&again.out), world.image.layers()[1].digest);
    assert_eq!(world.registry.count(What::Blob), 0);
}

#[test]
fn two_processes_share_one_cache_at_once() {
    let world = World::new();
    let path = world.layer(1);
    let outputs: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(|| world.run(["cat", &path]).ok().out)).collect();
        runs.into_iter().map(|run| run.join().expect("a run")).collect()
    });
    for output in outputs {
        assert_eq!(Digest::of(&output), world.image.layers()[1].digest);
    }
}

#[test]
fn cat_ends_quietly_when_its_reader_does() {
    let world = World::new();
    let mut shell = crate::support::run::command("bash");
    let line = format!("set -o pipefail; '{}' cat '{}' | head -c 1 | wc -c", regfs(), world.layer(1));
    shell.args(["-c", &line]);
    world.surround(&mut shell);
    let ran = run(&mut shell).ok();
    assert_eq!((ran.text().trim(), ran.err.as_str()), ("1", ""));
}

#[test]
fn ls_and_help_end_quietly_when_their_reader_does() {
    let world = World::new();
    for line in [format!("ls '{}'", world.at("team")), "--help".to_owned(), "completions bash".to_owned()] {
        let mut shell = crate::support::run::command("bash");
        shell.args(["-c", &format!("exec 1> >(exec true); sleep 0.2; '{}' {line}", regfs())]);
        world.surround(&mut shell);
        assert_eq!(run(&mut shell).ok().err, "", "{line}");
    }
}

fn regfs() -> String {
    crate::support::regfs().to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_full_standard_output_is_a_failure() {
    let world = World::new();
    let mut command = world.command(["cat", &world.layer(0)]);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let child = command.stdout(full).stderr(std::process::Stdio::piped()).spawn().expect("spawn");
    let output = child.wait_with_output().expect("wait");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}

#[test]
fn stat_tells_digest_type_and_state() {
    let world = World::new();
    let text = world.run(["stat", &world.at("team/app:v1")]).ok().text();
    assert!(text.contains(&format!("Digest: {}", world.image.digest)), "{text}");
    assert!(text.contains(&format!("Media type: {}", world.image.media_type)), "{text}");
    assert!(text.contains("user.oci.annotation.org.opencontainers.image.title = a test image"), "{text}");

    let layer = &world.image.layers()[0];
    let json = world.run(["stat", "--json", &world.layer(0)]).ok().text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["size"], layer.content.len());
    assert_eq!(json["xattrs"]["user.oci.digest"], layer.digest.as_str());
    assert_eq!(json["type"], "file");
}

#[test]
fn tree_draws_as_tree_does_and_no_deeper_than_told() {
    let world = World::new();
    let at = world.at("");
    let text = world.run(["tree", "--depth", "2", &at]).ok().text();
    assert_eq!(
        text,
        format!("{at}\n\u{2514}\u{2500}\u{2500} team\n    \u{2514}\u{2500}\u{2500} app\n\n2 directories, 0 files\n")
    );
    let text = world.run(["tree", &world.at("team/app:v1")]).ok().text();
    assert!(text.contains("manifest.json\n"), "{text}");
    let cut = world.run(["tree", "--limit", "2", "-L", "5", &at]).ok().text();
    assert!(cut.contains("cut at 2 names"), "{cut}");
}

#[test]
fn a_platform_is_chosen() {
    let world = World::new();
    let arm = Image::new([], "linux/arm64");
    let index = Image::index([Image::new([], "linux/amd64"), arm.clone()]);
    world.registry.put("team/multi", "v1", &index);
    let config = world.run(["cat", "--platform", "linux/arm64", &world.at("team/multi:v1/config.json")]).ok();
    assert_eq!(config.out, arm.config().content.to_vec());
    let platforms = world.run(["ls", &world.at("team/multi:v1/platforms")]).ok().text();
    assert_eq!(platforms, "linux-amd64\nlinux-arm64\n");
}

#[test]
fn a_layout_is_read_like_a_registry() {
    let world = World::new();
    let layout = world.path("layout");
    std::fs::create_dir(&layout).expect("a directory");
    world.image.write_layout(&layout, "v1");
    let layout = layout.to_str().expect("UTF-8").to_owned();
    assert_eq!(world.run(["ls", &format!("oci:{layout}//tags")]).ok().text(), "v1\n");
    let manifest = world.run(["cat", &format!("oci:{layout}:v1/manifest.json")]).ok();
    assert_eq!(manifest.out, world.image.manifest);
    let relative = world.run(["cat", "oci:layout/tags/v1/digest"]).ok();
    assert_eq!(relative.text(), format!("{}\n", world.image.digest));
    assert_eq!(world.registry.total(), 0);
}

#[test]
fn offline_reads_what_is_cached_and_asks_nobody() {
    let world = World::new();
    world.run(["cat", &world.layer(0)]).ok();
    world.registry.forget();
    let by_digest = world.at(&format!("team/app/blobs/{}", world.image.layers()[0].digest));
    let ran = world.run(["cat", "--offline", &by_digest]).ok();
    assert_eq!(ran.out, world.image.layers()[0].content.to_vec());
    let other = world.at(&format!("team/app/blobs/{}", world.image.layers()[1].digest));
    let ran = world.run(["cat", "--offline", &other]).failed();
    assert!(ran.err.contains("offline"), "{}", ran.err);
    assert_eq!(world.registry.total(), 0);
}
