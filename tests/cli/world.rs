//! A registry, a home of its own, and the program that is run in it.

use crate::support::content::Content;
use crate::support::fake::{Options, Registry};
use crate::support::image::Image;
use crate::support::run::{Ran, run};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The length of the image's big layer: above 8 MiB, so that it is served before it is checked.
pub(crate) const BIG: u64 = (9 << 20) + 12_345;

/// One test's surroundings; gone when it is dropped.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) image: Image,
    dir: tempfile::TempDir,
}

impl World {
    /// A registry with the image `team/app:v1`, of a small and a big layer.
    pub(crate) fn new() -> World {
        World::with(Options::default())
    }

    /// The same, in a registry that behaves as `options` say.
    pub(crate) fn with(options: Options) -> World {
        let registry = Registry::with(options);
        let image = Image::new([Content::random(1, 3_000), Content::random(2, BIG)], "linux/amd64");
        registry.put("team/app", "v1", &image);
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("home")).expect("a home");
        World { registry, image, dir }
    }

    /// A path in the world's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in the tree of the registry, as the command line takes it.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.registry.host())
    }

    /// The path of a layer's blob in the image directory.
    pub(crate) fn layer(&self, n: usize) -> String {
        self.at(&format!("team/app/tags/v1/blobs/sha256/{}", self.image.layers()[n].digest.encoded()))
    }

    /// The program, knowing nothing of this machine's user; the cache is in the world's home.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(crate::support::regfs());
        command.args(args).current_dir(self.dir.path());
        self.surround(&mut command);
        command
    }

    /// Gives any command the world's surroundings.
    pub(crate) fn surround(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            if ["XDG_", "DOCKER", "REGISTRY_", "REGFS"].iter().any(|p| text.starts_with(p)) || text.ends_with("PROXY") {
                command.env_remove(&name);
            }
        }
        command.env("HOME", self.path("home"));
    }

    /// Runs the program to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(&mut self.command(args))
    }

    /// Runs it, as the shell would, on a terminal of its own; all that the terminal was sent.
    pub(crate) fn on_terminal<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        let quote = |arg: &OsStr| format!("'{}'", arg.to_str().expect("UTF-8").replace('\'', "'\\''"));
        let mut line = quote(crate::support::regfs().as_os_str());
        for arg in args {
            line.push(' ');
            line.push_str(&quote(arg.as_ref()));
        }
        let mut command = crate::support::run::command("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(self.dir.path());
        self.surround(&mut command);
        run(&mut command)
    }
}

/// Every name in a directory, sorted.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
