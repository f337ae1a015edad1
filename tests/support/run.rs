//! Runs programs and waits for them, with a bound.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most programs that tests run are done in a moment; none may take longer.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A program that was run to its end.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error, as text.
    pub err: String,
    /// The command line, for messages.
    pub line: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Panics, with all that the program said, unless it succeeded.
    #[track_caller]
    pub fn ok(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}\n{}\n{}", self.line, self.text(), self.err);
        self
    }

    /// Panics if it succeeded.
    #[track_caller]
    pub fn failed(self) -> Ran {
        assert_ne!(self.code, Some(0), "{} was to fail\n{}", self.line, self.text());
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// Where a program is. Panics with what to do if it is not there: a test never passes for want of a program.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run make test-deps"))
}

/// A command of an installed program.
pub fn command(name: &str) -> Command {
    Command::new(program(name))
}

/// Runs it to its end, at most [`LIMIT`].
pub fn run(command: &mut Command) -> Ran {
    run_within(LIMIT, command)
}

/// Runs it to its end; kills it and panics after `limit`.
pub fn run_within(limit: Duration, command: &mut Command) -> Ran {
    let line = format!("{command:?}");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("run {line}: {error}"));
    let out = drain(child.stdout.take().expect("stdout"));
    let err = drain(child.stderr.take().expect("stderr"));
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait for a program") {
            break status;
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{line}: not done after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = start.elapsed();
    let out = out.join().unwrap_or_default();
    let err = String::from_utf8_lossy(&err.join().unwrap_or_default()).into_owned();
    Ran { code: status.code(), out, err, line, took }
}

/// Reads to the end on a thread of its own, so that the program never waits for its reader.
fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}
