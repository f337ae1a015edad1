//! `regfs status`: how the mounts of this machine fare, from their `.regfs/status`.

use super::out::{self, Out, Report, printable};
use super::size;
use crate::error::{Error, Kind, Result};
use crate::fuse::mounts;
use clap::Args;
use serde_json::Value;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The largest status read, in bytes: what thousands of remotes would need.
const MAX_STATUS: u64 = 16 << 20;
/// How long a mount may take to answer: it does so at once while it lives.
const PATIENCE: Duration = Duration::from_secs(5);

/// Show how mounts fare: remotes, errors, credentials, cache
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// The mount; without it, every mount of regfs
    #[arg(value_hint = clap::ValueHint::DirPath)]
    mountpoint: Option<PathBuf>,

    /// The JSON of MOUNTPOINT/.regfs/status as it is, one object a line
    #[arg(long)]
    json: bool,
}

/// Runs it; the exit code.
pub(super) fn run(args: &StatusArgs) -> Result<u8> {
    let mut to = Out::new()?;
    let mut report = Report::new("status");
    let mounts = match &args.mountpoint {
        Some(mountpoint) => vec![mountpoint.clone()],
        None => mounts::table()?.into_iter().filter(mounts::Mount::is_ours).map(|mount| mount.point).collect(),
    };
    let mut others = 0;
    for (n, point) in mounts.iter().enumerate() {
        match read_soon(point) {
            Ok(status) if args.json => to.text(&format!("{status}\n"))?,
            Ok(status) => {
                to.text(if n == 0 { "" } else { "\n" })?;
                print(&mut to, point, &status)?;
            }
            // What others mounted for themselves is theirs; only who names it wants to hear of it.
            Err(error) if args.mountpoint.is_none() && error.kind() == Kind::Denied => others += 1,
            Err(error) => report.failed(point.as_os_str(), &error)?,
        }
    }
    if mounts.len() == others && !args.json {
        to.text("nothing is mounted by regfs\n")?;
    }
    to.flush()?;
    if others > 0 {
        out::note(&format!("regfs: status: {others} mounts of other users are not shown"));
    }
    Ok(report.code())
}

/// The status of a mount, unless it does not answer: one that is dead keeps nobody from hearing of the others.
fn read_soon(mountpoint: &Path) -> Result<Value> {
    let (tell, told) = mpsc::channel();
    let point = mountpoint.to_owned();
    let asked = std::thread::Builder::new().spawn(move || tell.send(read(&point)));
    asked.map_err(|error| Error::io("start a thread", error))?;
    let silent = || Error::new(Kind::Timeout, "does not answer; regfs umount takes it away");
    told.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(silent()))
}

fn read(mountpoint: &Path) -> Result<Value> {
    let told = |error: std::io::Error| match error.raw_os_error() {
        Some(libc::ENOTCONN) => Error::new(Kind::Unreachable, "its process has ended; regfs umount takes it away"),
        Some(libc::ENOENT | libc::ENOTDIR) => Error::new(Kind::NotFound, "is not a mount of regfs"),
        _ => Error::io("read its status", error),
    };
    let mut text = Vec::new();
    let file = std::fs::File::open(mountpoint.join(".regfs/status")).map_err(told)?;
    file.take(MAX_STATUS).read_to_end(&mut text).map_err(told)?;
    serde_json::from_slice(&text).map_err(|error| {
        let shown = crate::name::escape(mountpoint.as_os_str().as_bytes());
        Error::with(Kind::Protocol, format!("{shown}/.regfs/status is not JSON"), error)
    })
}

/// A mount in a few lines. What a status lacks is left out: it may be another version's.
fn print(out: &mut Out, point: &Path, status: &Value) -> Result<()> {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let uptime = Duration::from_secs(status["uptime_seconds"].as_u64().unwrap_or_default());
    let offline = if status["offline"] == true { ", offline" } else { "" };
    let (source, pid) = (text(&status["source"]), &status["pid"]);
    out.text(&format!("{source} on "))?;
    out.name(point.as_os_str())?;
    out.text(&format!(", up {} (process {pid}){offline}\n", span(uptime)))?;
    for (name, remote) in status["remotes"].as_object().into_iter().flatten() {
        out.text(&format!("  {}: {}\n", printable(name), remote_words(remote)))?;
    }
    for (layer, indexing) in status["indexing"].as_object().into_iter().flatten() {
        out.text(&format!("  indexing {}: {}\n", printable(layer), indexing_words(indexing)))?;
    }
    out.text(&format!("  cache: {}\n", cache_words(&status["cache"])))?;
    let errors = status["errors"].as_u64().unwrap_or_default();
    if errors > 0 {
        out.text(&format!("  {errors} recent errors, the last ones (all: .regfs/errors):\n"))?;
        for line in last_errors(point) {
            out.text(&format!("    {}\n", printable(&line)))?;
        }
    }
    Ok(())
}

fn remote_words(remote: &Value) -> String {
    let number = |name: &str| remote[name].as_u64().unwrap_or_default();
    let mut words = match remote["reachable"].as_bool() {
        Some(true) => format!("reachable, answered {}", ago(&remote["answered"])),
        Some(false) => {
            let (failure, what) = (&remote["last_error"], &remote["last_error"]["what"]);
            let what = printable(what.as_str().unwrap_or_default());
            format!("failing, last {} ({what}), answered {}", ago(&failure["time"]), ago(&remote["answered"]))
        }
        None => "not asked yet".to_owned(),
    };
    if let Some(credentials) = remote["credentials"].as_str().filter(|credentials| !credentials.is_empty()) {
        words.push_str(&format!(", credentials: {}", printable(credentials)));
    }
    let (requests, in_flight, bytes) = (number("requests"), number("in_flight"), size::show(number("bytes")));
    words.push_str(&format!("; {requests} requests, {in_flight} in flight, {bytes} received"));
    words
}

fn indexing_words(indexing: &Value) -> String {
    let number = |name: &str| indexing[name].as_u64().unwrap_or_default();
    let (read, size) = (number("read"), number("size"));
    let percent = (u128::from(read) * 100).checked_div(u128::from(size)).unwrap_or(100);
    format!("{} of {} ({percent}%)", size::show(read), size::show(size))
}

fn cache_words(cache: &Value) -> String {
    let number = |name: &str| cache[name].as_u64().unwrap_or_default();
    let bytes = |name: &str| size::show(number(name));
    let mut words = format!(
        "{} of {} disk ({} blobs, {} more in part), {} of {} memory",
        bytes("disk_used"),
        bytes("disk_limit"),
        number("blobs"),
        number("partial"),
        bytes("memory_used"),
        bytes("memory_limit")
    );
    if let Some(ratio) = cache["hit_ratio"].as_f64() {
        words.push_str(&format!("; {:.0}% of reads from it, {} fetched", ratio * 100.0, bytes("fetched")));
    }
    for (name, what) in [("corrupt_spans", "damaged spans dropped"), ("poisoned", "blobs NOT WHAT THEIR DIGEST SAYS")] {
        if number(name) > 0 {
            words.push_str(&format!("; {} {what}", number(name)));
        }
    }
    if let Some(why) = cache["degraded"].as_str() {
        words.push_str(&format!("; the disk is not used: {}", printable(why)));
    }
    words
}

/// The last lines of `.regfs/errors`, as many as are worth a look.
fn last_errors(point: &Path) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut text = Vec::new();
    let read = std::fs::File::open(point.join(".regfs/errors"));
    let read = read.and_then(|file| file.take(MAX_STATUS).read_to_end(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].iter().map(|line| (*line).to_owned()).collect()
}

/// `3 s ago`, of a time as the status has it.
fn ago(time: &Value) -> String {
    let parsed = time.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    match parsed {
        Some(time) => format!("{} ago", span(SystemTime::from(time).elapsed().unwrap_or_default())),
        None => "never".to_owned(),
    }
}

/// `42 s`, `5 min`, `3 h 20 min`, `9 d 4 h`.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, one: &str, small: u64, other: &str| match small {
        0 => format!("{large} {one}"),
        _ => format!("{large} {one} {small} {other}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spans_of_time() {
        for (seconds, words) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (12_000, "3 h 20 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
        assert_eq!(ago(&Value::Null), "never");
    }

    #[test]
    fn what_is_wrong_is_said_and_steers_nothing() {
        let what = "no answer \u{1b}[31m";
        let remote = json!({"reachable": false, "last_error": {"time": "1970-01-01T00:00:00Z", "what": what}});
        let words = remote_words(&remote);
        assert!(words.starts_with("failing, last ") && words.contains("no answer \\u{1b}[31m"), "{words}");
        let cache = json!({"poisoned": 1, "hit_ratio": 0.434, "degraded": "full"});
        let words = cache_words(&cache);
        for part in ["1 blobs NOT", "43% of reads", "not used: full"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(indexing_words(&json!({"read": 1u64 << 62, "size": 1u64 << 63})).ends_with("(50%)"));
        assert!(!indexing_words(&Value::Null).is_empty());
        assert!(!remote_words(&Value::Null).is_empty() && !cache_words(&Value::Null).is_empty());
    }
}
