//! Going to the background: the program runs itself again, without a terminal, and waits until the mount is usable.
//!
//! Promises: the one who called sees either a mount that works or the cause why not; what it has open (pipes of a
//! shell, locks) is not kept open by the mount. No fork, for the parts of a program with threads do not survive it.

use crate::error::{Error, Kind, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Tells the second program what it is: the process id of the first one, so that what the mount runs later does not
/// take itself for it.
const CHILD: &str = "REGFS_MOUNT_OF";

/// Whether this is the program that stays.
pub(super) fn is_child() -> bool {
    let parent = nix::unistd::getppid().as_raw();
    std::env::var(CHILD).is_ok_and(|text| text == parent.to_string())
}

/// Starts the program that stays, with our own arguments; returns once its mount is usable, or fails with its cause.
pub(super) fn start() -> Result<()> {
    let failed = |error| Error::io("start in the background", error);
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(CHILD, std::process::id().to_string());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut said).map_err(failed)?;
    }
    match heard(&said) {
        Some(result) => result,
        None => {
            let status = child.wait().map_err(failed)?;
            Err(Error::new(Kind::Io, format!("the process in the background ended before it was ready ({status})")))
        }
    }
}

/// The line with which the child tells that it is ready.
const READY: &str = "ready";
/// What begins the line that tells why not.
const FAILED: &str = "failed ";

/// What a line of the child says; `None` if it says nothing.
fn heard(line: &str) -> Option<Result<()>> {
    let line = line.strip_suffix('\n')?;
    if line == READY {
        return Some(Ok(()));
    }
    let (kind, words) = line.strip_prefix(FAILED)?.split_once(' ')?;
    Some(Err(Error::new(kind_of(kind), words)))
}

/// The kinds whose exit codes differ from that of a plain failure.
const KINDS: [Kind; 11] = [
    Kind::Invalid,
    Kind::NameTooLong,
    Kind::NotFound,
    Kind::Denied,
    Kind::Forbidden,
    Kind::Unreachable,
    Kind::Timeout,
    Kind::Server,
    Kind::Busy,
    Kind::Corrupt,
    Kind::Unverified,
];

fn kind_of(name: &str) -> Kind {
    KINDS.into_iter().find(|kind| kind.name() == name).unwrap_or(Kind::Io)
}

/// In the child, before anything else: a session of its own, and nothing open but the three streams.
pub(super) fn detach() -> Result<()> {
    nix::unistd::setsid().map_err(|errno| Error::io("leave the terminal", errno.into()))?;
    // It would be "exe", after the path it was run by; ps and killall know it by this. Nothing depends on it.
    std::fs::write("/proc/self/comm", "regfs").ok();
    let entries = std::fs::read_dir("/proc/self/fd").map_err(|error| Error::io("list open files", error))?;
    let open: Vec<i32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The listing's own is among them, and closed already.
        nix::unistd::close(fd).ok();
    }
    Ok(())
}

/// In the child: tells that the mount is usable, and lets go of the streams. Fails if nobody waits for it any more.
pub(super) fn ready() -> Result<()> {
    tell(READY).map_err(|error| Error::io("nobody waits for the mount any more", error))?;
    let null = || File::options().read(true).write(true).open("/dev/null");
    let null = null().map_err(|error| Error::io("open /dev/null", error))?;
    let done = nix::unistd::dup2_stdout(&null).and_then(|()| nix::unistd::dup2_stderr(&null));
    done.map_err(|errno| Error::io("let go of the terminal", errno.into()))?;
    // A mount that stays shall not keep another file system busy.
    nix::unistd::chdir("/").map_err(|errno| Error::io("change to /", errno.into()))
}

/// In the child: tells why there is no mount.
pub(super) fn fail(error: &Error) {
    let words = error.to_string().replace('\n', " ");
    // Whom could a failure of this be told?
    tell(&format!("{FAILED}{} {words}", error.kind().name())).ok();
}

fn tell(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_arrives_with_its_kind() {
        assert!(matches!(heard("ready\n"), Some(Ok(()))));
        assert!(heard("").is_none() && heard("ready").is_none() && heard("failed x\n").is_none());
        let error = heard("failed denied ask localhost: refused\n").expect("heard").expect_err("a failure");
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Denied, "ask localhost: refused"));
        assert_eq!(heard("failed strange x y\n").expect("heard").expect_err("a failure").kind(), Kind::Io);
    }
}
