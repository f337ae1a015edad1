//! The tree of [`scene`], mounted by this test program in another process.

use crate::scene;
use crate::support::{mount, wait_for};
use regfs::fuse;
use regfs::journal::Journal;
use regfs::store;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Says to the test program that it shall serve, and where.
const POINT: &str = "REGFS_TEST_MOUNTPOINT";
/// The options, as in `-o`.
const OPTIONS: &str = "REGFS_TEST_OPTIONS";
/// How long a mount may take to come and go.
const LIMIT: Duration = Duration::from_secs(20);
/// The user and group `nobody`.
pub const NOBODY: u32 = 65534;

/// Not a test: what the other process runs.
#[test]
fn serve() {
    let Some(point) = std::env::var_os(POINT) else { return };
    let mut options = fuse::Options { source: "scene".into(), ..fuse::Options::default() };
    for option in std::env::var(OPTIONS).unwrap_or_default().split(',') {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let number = || value.parse::<u32>().expect("a number");
        match name {
            "" => (),
            "allow_other" => options.allow_other = true,
            "allow_root" => options.allow_root = true,
            "default_permissions" => options.default_permissions = true,
            "uid" => options.uid = Some(number()),
            "gid" => options.gid = Some(number()),
            "umask" => options.umask = u16::from_str_radix(value, 8).expect("an octal number"),
            _ => panic!("option {name}"),
        }
    }
    let journal = Arc::new(Journal::new());
    let config = store::Config {
        dir: None,
        disk_bytes: 0,
        memory_bytes: 64 << 20,
        verify: store::Verify::Lazy,
        journal: journal.clone(),
    };
    let mut backing = tempfile::tempfile().expect("a file");
    backing.write_all(&scene::big()).expect("write it");
    let store = store::Store::open(config).expect("open a store");
    let result = fuse::mountpoint::prepare(Path::new(&point), false)
        .and_then(|point| fuse::mount(scene::root(backing), store, journal, &point, options));
    let mut out = std::io::stdout();
    match result {
        Ok(mounted) => {
            writeln!(out, "\nready").expect("tell");
            mounted.wait().expect("serve");
        }
        Err(error) => writeln!(out, "\nfailed {error}").expect("tell"),
    }
}

/// A mount of the scene. Dropping it unmounts and ends the process.
pub struct Served {
    child: Child,
    point: PathBuf,
    directory: Option<tempfile::TempDir>,
}

impl Served {
    /// Mounts it as this user.
    #[track_caller]
    pub fn new(options: &str) -> Served {
        let directory = directory();
        let mut served = Served::start(directory.path(), options, None).expect("mount");
        served.directory = Some(directory);
        served
    }

    /// Mounts it as `nobody`, by fusermount3; what it said if that fails.
    pub fn as_nobody(options: &str) -> Result<Served, String> {
        // As udev has it on any machine; containers may not.
        std::fs::set_permissions("/dev/fuse", std::fs::Permissions::from_mode(0o666)).expect("open /dev/fuse to all");
        let directory = directory();
        let point = directory.path().join("mnt");
        std::os::unix::fs::chown(&point, Some(NOBODY), Some(NOBODY)).expect("give the mountpoint away");
        let mut served = Served::start(directory.path(), options, Some(NOBODY))?;
        served.directory = Some(directory);
        Ok(served)
    }

    /// Mounts it in a directory that stays; what it said if that fails.
    pub fn start(directory: &Path, options: &str, user: Option<u32>) -> Result<Served, String> {
        let point = directory.join("mnt");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["served::serve", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(POINT, &point).env(OPTIONS, options).env("TMPDIR", "/tmp");
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut child = child.expect("start this program again");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = std::sync::mpsc::channel();
        // Read to its end, for the program is not to fail for want of a reader.
        std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut served = Served { child, point, directory: None };
        loop {
            match lines.recv_timeout(LIMIT) {
                Ok(line) if line == "ready" => return Ok(served),
                Ok(line) => {
                    if let Some(said) = line.strip_prefix("failed ") {
                        // What may be mounted there is another's.
                        served.point = PathBuf::new();
                        return Err(said.to_owned());
                    }
                }
                Err(_) => return Err("it neither mounted nor said why".to_owned()),
            }
        }
    }

    /// A path in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.point.join(path)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How often the tree was asked for this (`lookup small`), by `.regfs/calls`.
    pub fn calls(&self, call: &str) -> u64 {
        let text = std::fs::read_to_string(self.path(".regfs/calls")).expect("calls");
        let count = text.lines().find_map(|line| line.strip_prefix(call)?.strip_prefix(": "));
        count.map_or(0, |count| count.parse().expect("a count"))
    }

    /// Kills the process, as a crash does. The mountpoint stays behind, dead.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Waits until the process ended by itself.
    #[track_caller]
    pub fn wait(&mut self) {
        let child = &mut self.child;
        let status = wait_for("the end of the mount's process", LIMIT, || child.try_wait().expect("wait"));
        assert!(status.success(), "{status}");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        while mount::is_mounted(&self.point) {
            let unmounted = Command::new("umount").arg("-l").arg(&self.point).status();
            if !unmounted.is_ok_and(|status| status.success()) {
                // Never delete through a mount.
                self.directory.take().map(tempfile::TempDir::keep);
                break;
            }
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A directory that everybody may enter, with `mnt` in it.
pub fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("directory");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("open it");
    std::fs::create_dir(directory.path().join("mnt")).expect("mountpoint");
    directory
}
