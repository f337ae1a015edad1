//! A mount under test: always another process, since a process that reads its own mount can wait for itself for ever.

use super::run::{Ran, command, run_within};
use super::{regfs, wait_for};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a mount may take to become usable, and to end.
const LIMIT: Duration = Duration::from_secs(20);

/// What is to be mounted, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    source: String,
    args: Vec<String>,
    cache: Option<PathBuf>,
    point: Option<PathBuf>,
    envs: BTreeMap<OsString, OsString>,
}

impl Plan {
    /// A mount of `source` with a cache, a home and a configuration of its own.
    pub fn new(source: &str) -> Plan {
        Plan { source: source.to_owned(), args: Vec::new(), cache: None, point: None, envs: BTreeMap::new() }
    }

    /// Further arguments, before the source.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Plan {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// A cache directory that outlives the mount, or is shared.
    #[must_use]
    pub fn cache(self, cache: &Path) -> Plan {
        Plan { cache: Some(cache.to_owned()), ..self }
    }

    /// A mountpoint that is there, or was left behind by a mount that crashed.
    #[must_use]
    pub fn point(self, point: &Path) -> Plan {
        Plan { point: Some(point.to_owned()), ..self }
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Plan {
        self.envs.insert(name.into(), value.into());
        self
    }

    /// Mounts it and waits until it is usable. Panics, with what regfs said, if it does not become so.
    #[track_caller]
    pub fn mount(&self) -> Mount {
        self.try_mount().unwrap_or_else(|said| panic!("mount {}: {said}", self.source))
    }

    /// Mounts it; what regfs said if that fails.
    pub fn try_mount(&self) -> Result<Mount, String> {
        assert!(Path::new("/dev/fuse").exists(), "/dev/fuse is missing: mounts cannot be tested on this machine");
        let directory = tempfile::tempdir().expect("tempdir");
        let point = self.point.clone().unwrap_or_else(|| {
            let point = directory.path().join("mnt");
            std::fs::create_dir(&point).expect("create the mountpoint");
            point
        });
        let was_left = is_mounted(&point);
        let home = directory.path().join("home");
        std::fs::create_dir(&home).expect("create a home");
        let cache = self.cache.clone().unwrap_or_else(|| directory.path().join("cache"));
        let log = directory.path().join("regfs.log");
        let out = File::create(&log).expect("create a log file");
        let mut mount = Command::new(regfs());
        // Nothing of this machine's configuration may matter.
        isolate(&mut mount, &home);
        mount.arg("mount").arg("-f").arg("--cache-dir").arg(&cache).args(&self.args);
        mount.arg(&self.source).arg(&point).envs(&self.envs);
        let start = Instant::now();
        let child = mount
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle of the log"))
            .stderr(out)
            .spawn()
            .expect("run regfs");
        let mut mount = Mount { child, directory: Some(directory), point, cache, log, home, took: Duration::ZERO };
        loop {
            // A dead mount that was left there answers nothing.
            if is_mounted(&mount.point) && (!was_left || std::fs::read_dir(&mount.point).is_ok()) {
                mount.took = start.elapsed();
                return Ok(mount);
            }
            if mount.child.try_wait().expect("wait for regfs").is_some() {
                return Err(mount.log());
            }
            if start.elapsed() > LIMIT {
                return Err(format!("not mounted after {LIMIT:?}\n{}", mount.log()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Takes every variable that could lead to this machine's configuration away, and sets a home.
pub fn isolate<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    for name in [
        "DOCKER_CONFIG",
        "REGISTRY_AUTH_FILE",
        "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
        "CONTAINERS_REGISTRIES_CONF",
        "NOTIFY_SOCKET",
    ] {
        command.env_remove(name);
    }
    command.env("HOME", home)
}

/// A mount in another process. Dropping it unmounts, lazily if it must, and ends the process.
pub struct Mount {
    child: Child,
    directory: Option<tempfile::TempDir>,
    point: PathBuf,
    cache: PathBuf,
    log: PathBuf,
    home: PathBuf,
    /// How long it took to become usable.
    pub took: Duration,
}

impl Mount {
    /// Mounts `source` with these arguments.
    #[track_caller]
    pub fn new(source: &str, args: &[&str]) -> Mount {
        Plan::new(source).args(args).mount()
    }

    /// The mountpoint.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// A path in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.point.join(path)
    }

    /// The home directory it has, for credentials.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its cache directory.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A file's bytes. Bounded, since it is read by another process.
    pub fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        read_within(Duration::from_secs(120), &self.path(path))
    }

    /// A file's text; panics with the errno if it cannot be read.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        let bytes = self.read(path).unwrap_or_else(|error| panic!("read {path}: {error}\n{}", self.log()));
        String::from_utf8(bytes).expect("text")
    }

    /// The names in a directory, sorted.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<String> {
        self.try_list(path).unwrap_or_else(|error| panic!("list {path}: {error}\n{}", self.log()))
    }

    /// The names in a directory, sorted, or the error.
    pub fn try_list(&self, path: &str) -> std::io::Result<Vec<String>> {
        let path = self.path(path);
        within(Duration::from_secs(120), "a listing", move || {
            let mut names: Vec<String> = std::fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect::<std::io::Result<_>>()?;
            names.sort();
            Ok(names)
        })
    }

    /// `.regfs/errors`.
    pub fn errors(&self) -> String {
        self.text(".regfs/errors")
    }

    /// A line of `.regfs/errors` that contains `part`; panics with all of them if there is none.
    #[track_caller]
    pub fn error_with(&self, part: &str) -> String {
        let errors = self.errors();
        let found = errors.lines().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no error with \"{part}\" in .regfs/errors:\n{errors}")).to_owned()
    }

    /// Resident memory of the process in bytes, now and at its peak.
    pub fn rss(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status of regfs");
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a line of status");
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Runs `regfs umount`.
    pub fn umount(&self) -> Ran {
        run_within(LIMIT, Command::new(regfs()).arg("umount").arg(&self.point))
    }

    /// Kills it at once, as a crash does. The mountpoint stays behind, dead.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal by name (`HUP`, `USR1`, `INT`).
    pub fn signal(&self, name: &str) {
        super::run::run(command("kill").args([&format!("-{name}"), &self.pid().to_string()])).ok();
    }

    /// Waits for the process to end; its exit code.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = wait_for("the end of regfs", LIMIT, || child.try_wait().expect("wait for regfs"));
        status.code()
    }

    /// Whether the kernel still has the mount.
    pub fn is_mounted(&self) -> bool {
        is_mounted(&self.point)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("-- regfs said:\n{}", self.log());
            }
        }
        if is_mounted(&self.point) {
            // Lazily at once: a test may have left a file open.
            let _ = Command::new("umount").arg("-l").arg(&self.point).stderr(Stdio::null()).status();
            if is_mounted(&self.point) {
                let _ = Command::new("fusermount3").arg("-uz").arg(&self.point).stderr(Stdio::null()).status();
            }
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if is_mounted(&self.point) {
            // Never delete through a mount.
            if let Some(directory) = self.directory.take() {
                let _ = directory.keep();
            }
        }
    }
}

/// Whether something is mounted at `point`, by the kernel's table: asking the mount itself could wait for ever.
pub fn is_mounted(point: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let point = point.to_string_lossy();
    table.lines().any(|line| line.split(' ').nth(4) == Some(&*point))
}

/// Reads a file on a thread of its own; panics after `limit`.
pub fn read_within(limit: Duration, path: &Path) -> std::io::Result<Vec<u8>> {
    let path = path.to_owned();
    within(limit, &format!("reading {}", path.display()), move || std::fs::read(path))
}

/// Runs `work` on a thread of its own; panics if it is not done after `limit`.
pub fn within<T: Send + 'static>(limit: Duration, what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = done.send(work());
    });
    result.recv_timeout(limit).unwrap_or_else(|_| panic!("{what}: not done after {limit:?}"))
}
