//! Credential helpers: `docker-credential-<name> get`, the host on its input, JSON on its output.
//!
//! Promises: a helper has [`HELPER_DEADLINE`], or as long as somebody waits for it, after which it and its children are killed; its answer is bounded and
//! kept in memory only; an error names the helper and, where it said why in words, says that; never a secret.
//! Protocol: github.com/docker/docker-credential-helpers, "Development".

use super::Secret;
use crate::error::{Error, Kind, Result};
use crate::name::escape;
use crate::net::env::Env;
use crate::net::hostname;
use crate::net::wire::seconds;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a helper may take: time to unlock a key ring, not to wait for a dead network.
pub const HELPER_DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes of an answer; tokens of cloud registries have a few kilobytes.
const MAX_ANSWER: u64 = 256 << 10;
/// The most characters told of what a helper said.
const MAX_WORDS: usize = 200;
/// How often a running helper is looked after.
const PACE: Duration = Duration::from_millis(5);
/// What helpers say when they have nothing for the host (`errCredentialsNotFoundMessage`).
const NOT_FOUND: &str = "credentials not found";

/// What a helper answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Asks the helper `name` for `host` (a normal name), until `by` at the latest; `None` if it has nothing.
///
/// # Errors
/// The helper is not installed, fails, takes too long, or answers something else.
pub(super) fn get(env: &Env, name: &str, host: &str, by: Option<Instant>) -> Result<Option<Secret>> {
    let deadline = || {
        let left = by.map(|by| by.saturating_duration_since(Instant::now()));
        left.unwrap_or(HELPER_DEADLINE).min(HELPER_DEADLINE)
    };
    if host != hostname::HUB {
        return ask(env, name, host, deadline());
    }
    // docker stores the Hub under its own key, podman under the name.
    match ask(env, name, hostname::HUB_KEY, deadline())? {
        Some(secret) => Ok(Some(secret)),
        None => ask(env, name, hostname::HUB, deadline()),
    }
}

/// One run of the helper.
fn ask(env: &Env, name: &str, server: &str, deadline: Duration) -> Result<Option<Secret>> {
    let fail =
        |kind: Kind, why: String| Error::new(kind, format!("credential helper {}: {why}", escape(name.as_bytes())));
    let io = |error: io::Error| fail(Kind::Io, error.to_string());
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(fail(Kind::Invalid, "not a name of a helper".to_owned()));
    }
    let program = find_program(env, &format!("docker-credential-{name}"))
        .ok_or_else(|| fail(Kind::Denied, format!("docker-credential-{name} is not in $PATH")))?;

    // Files in memory rather than pipes: nothing to pump, and a grandchild that keeps them open holds nobody up.
    let mut input = memory("regfs-helper-input").map_err(io)?;
    input.write_all(server.as_bytes()).and_then(|()| input.rewind()).map_err(io)?;
    let output = memory("regfs-helper-output").map_err(io)?;
    let complaints = memory("regfs-helper-errors").map_err(io)?;
    let started = Instant::now();
    let mut command = Command::new(program);
    command
        .arg("get")
        .env_clear()
        .envs(&env.vars)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output.try_clone().map_err(io)?))
        .stderr(Stdio::from(complaints.try_clone().map_err(io)?))
        .process_group(0);
    let mut child = spawn(&mut command, started + deadline).map_err(io)?;

    let status = match wait(&mut child, &[&output, &complaints], started + deadline) {
        Ok(Ended::Exited(status)) => status,
        Ok(Ended::Late) => {
            kill(&mut child);
            let why = format!("docker-credential-{name} gave no answer for {server} in {}", seconds(deadline));
            return Err(fail(Kind::Timeout, why));
        }
        Ok(Ended::TooMuch) => {
            kill(&mut child);
            return Err(fail(Kind::TooBig, format!("its answer is over the limit of {MAX_ANSWER} bytes")));
        }
        Err(error) => {
            kill(&mut child);
            return Err(io(error));
        }
    };
    let said = contents(&output).map_err(io)?;
    if !status.success() {
        let complaint = contents(&complaints).map_err(io)?;
        if [&said, &complaint].into_iter().any(|text| is_not_found(text)) {
            return Ok(None);
        }
        let why = [&said, &complaint].into_iter().find_map(|text| words(text)).map(|w| format!(": {w}"));
        return Err(fail(Kind::Denied, format!("{status} for {server}{}", why.unwrap_or_default())));
    }
    let answer: Answer = serde_json::from_slice(&said)
        // Without the library's words: they quote the answer.
        .map_err(|_| fail(Kind::Invalid, format!("its answer for {server} is not the JSON of a credential")))?;
    Ok(match (answer.username.as_str(), answer.secret.is_empty()) {
        (_, true) => None,
        ("<token>", false) => Some(Secret::IdentityToken { token: answer.secret }),
        (_, false) => Some(Secret::Basic { user: answer.username, password: answer.secret }),
    })
}

/// An executable of that name in the environment's `PATH`.
fn find_program(env: &Env, program: &str) -> Option<PathBuf> {
    std::env::split_paths(env.var("PATH")?)
        .filter(|directory| directory.is_absolute())
        .map(|d| d.join(program))
        .find(|path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}

/// A file without a name, in memory, closed in every program but the one it is given to.
fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// Starts it, waiting out an installer that is still writing the program.
fn spawn(command: &mut Command, deadline: Instant) -> io::Result<Child> {
    loop {
        match command.spawn() {
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) && Instant::now() < deadline => {
                std::thread::sleep(PACE);
            }
            done => return done,
        }
    }
}

/// How the wait for a helper ends.
enum Ended {
    Exited(ExitStatus),
    Late,
    TooMuch,
}

/// Waits for the end, the deadline, or too much output, whichever is first.
fn wait(child: &mut Child, outputs: &[&File], deadline: Instant) -> io::Result<Ended> {
    loop {
        let ended = child.try_wait()?;
        for output in outputs {
            if output.metadata()?.len() > MAX_ANSWER {
                return Ok(Ended::TooMuch);
            }
        }
        if let Some(status) = ended {
            return Ok(Ended::Exited(status));
        }
        if Instant::now() >= deadline {
            return Ok(Ended::Late);
        }
        std::thread::sleep(PACE);
    }
}

/// Ends a helper and its children.
fn kill(child: &mut Child) {
    // Its group is its own, so nobody else is met; it may have ended by itself meanwhile.
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    let _ = child.kill();
    let _ = child.wait();
}

/// What a file in memory holds, from its start wherever its writer stands.
fn contents(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.metadata()?.len().min(MAX_ANSWER) as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Whether a helper says that it has nothing for the host.
fn is_not_found(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).to_ascii_lowercase().contains(NOT_FOUND)
}

/// The first line of what a helper said, if it is words: what looks like an answer may hold a secret.
fn words(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    if text.contains('{') || text.contains("Secret") {
        return None;
    }
    let short: String = line.chars().take(MAX_WORDS).collect();
    Some(escape(short.as_bytes()))
}
