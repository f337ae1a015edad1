//! A server process: started, waited for, ended.

use crate::support::client;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer for the first time.
const START: Duration = Duration::from_secs(20);
/// Tries, each on another port.
const TRIES: usize = 5;

/// A running server process. Dropping it kills it.
pub struct Process {
    child: Child,
    log: PathBuf,
    port: u16,
}

impl Process {
    /// Starts what `command` gives for a port, and waits until `path` is answered there, with whatever status.
    /// Tries another port if it ends before.
    pub fn start(directory: &Path, name: &str, path: &str, mut command: impl FnMut(u16) -> Command) -> Process {
        for _ in 0..TRIES {
            let port = super::free_port();
            if let Some(process) = Process::try_on(directory, name, path, port, command(port)) {
                return process;
            }
        }
        let log = std::fs::read_to_string(directory.join(format!("{name}.log"))).unwrap_or_default();
        panic!("{name} does not start:\n{log}");
    }

    /// The same on one port, which must be free.
    pub fn start_on(directory: &Path, name: &str, path: &str, port: u16, command: Command) -> Process {
        Process::try_on(directory, name, path, port, command)
            .unwrap_or_else(|| panic!("{name} does not start on port {port}"))
    }

    fn try_on(directory: &Path, name: &str, path: &str, port: u16, mut command: Command) -> Option<Process> {
        let log = directory.join(format!("{name}.log"));
        let out = File::create(&log).expect("create a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second handle of the log"))
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        let mut process = Process { child, log, port };
        let start = Instant::now();
        while start.elapsed() < START {
            if let Some(status) = process.child.try_wait().expect("wait for a server") {
                let _ = status;
                return None;
            }
            if process.answers(path) {
                return Some(process);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{name} does not answer after {START:?}:\n{}", process.log());
    }

    fn answers(&self, path: &str) -> bool {
        // A TLS server closes or answers 400 in clear: both show that it is there.
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        client::Ask::get(&url).limit(Duration::from_secs(5)).send().is_ok()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
