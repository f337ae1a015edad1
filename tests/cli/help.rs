//! Help, version, completions.

use crate::support::run::{command, run};
use crate::world::World;

#[test]
fn help_names_every_option_with_its_default() {
    let world = World::new();
    let help = world.run(["--help"]).ok().text();
    for word in ["ls", "cat", "cp", "stat", "tree", "status", "completions", "version", "Exit codes"] {
        assert!(help.contains(word), "{word} in\n{help}");
    }
    // As if it were not wrapped.
    let help = world.run(["cat", "--help"]).ok().text().split_whitespace().collect::<Vec<_>>().join(" ");
    for word in [
        "--cache-dir",
        "--cache-size",
        "10G or a tenth of the disk",
        "--memory",
        "64M",
        "--verify",
        "lazy",
        "--offline",
        "--platform",
        "--metadata-ttl",
        "60",
        "--timeout",
        "30",
        "--insecure",
        "--log-format",
        "--log-file",
        "--digest-separator",
    ] {
        assert!(help.contains(word), "{word} in\n{help}");
    }
}

#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let world = World::new();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let status = world.command(["--help"]).stdout(full).stderr(std::process::Stdio::null()).status().expect("run");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn version_is_the_packages() {
    let world = World::new();
    let expected = format!("regfs {}", env!("CARGO_PKG_VERSION"));
    assert!(world.run(["version"]).ok().text().starts_with(&expected));
    assert!(world.run(["--version"]).ok().text().starts_with(&expected));
}

#[test]
fn completions_are_scripts_that_shells_take() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.run(["completions", shell]).ok();
        assert!(script.text().contains("metadata-ttl"), "{shell}");
        if shell == "bash" {
            std::fs::write(world.path("regfs.bash"), &script.out).expect("write");
        }
    }
    run(command("bash").arg("-n").arg(world.path("regfs.bash"))).ok();
    assert_eq!(world.run(["completions", "csh"]).code, Some(2));
}
