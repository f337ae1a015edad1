//! The log: lines of text or of JSON, to standard error or to a file; the backend of the crate `log`.
//!
//! Promises: a line is written whole or not at all, whatever the number of threads; nothing logged steers a terminal
//! or breaks a line; a log that cannot be written is no failure of the program.

use crate::error::{Error, Result};
use crate::stamp::stamp;
use clap::ValueEnum;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

/// How lines are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 2026-01-02T03:04:05.678Z WARN target: message
    Text,
    /// One JSON object a line: time, level, target, message
    Json,
}

struct Backend {
    format: Format,
    /// `None` is standard error.
    file: Option<Mutex<File>>,
}

static BACKEND: OnceLock<Backend> = OnceLock::new();
/// What [`start`] was told, for [`toggle_debug`] to come back to.
static USUAL: AtomicUsize = AtomicUsize::new(LevelFilter::Warn as usize);
static ON_STDERR: AtomicBool = AtomicBool::new(false);
/// Whether a person at a terminal reads what a command has to say: see [`start_command`].
static TO_A_PERSON: AtomicBool = AtomicBool::new(false);
/// Who logs failures that were told to whoever asked.
const TELLER: &str = "regfs::journal";
/// Who says why a listing is not whole: below a warning for a mount, but all that a command's user will see of it.
const LISTER: &str = "regfs::tree";

/// Starts the log; a second call changes nothing but the level. The file is made 0600 if it is not there.
pub fn start(format: Format, file: Option<&Path>, level: LevelFilter) -> Result<()> {
    let opened = match file {
        Some(path) => {
            let opened = File::options().create(true).append(true).mode(0o600).open(path);
            Some(Mutex::new(opened.map_err(|error| Error::io(format!("open the log file {}", path.display()), error))?))
        }
        None => None,
    };
    let on_stderr = opened.is_none();
    let backend = BACKEND.get_or_init(|| Backend { format, file: opened });
    if log::set_logger(backend).is_ok() {
        ON_STDERR.store(on_stderr, Ordering::Relaxed);
        catch_panics();
    }
    USUAL.store(level as usize, Ordering::Relaxed);
    log::set_max_level(level);
    Ok(())
}

/// Starts the log of a command that tells its failures itself. Without a file and without `debug` it says in plain
/// words what else there is to say, and nothing twice.
pub(crate) fn start_command(format: Format, file: Option<&Path>, debug: bool) -> Result<()> {
    TO_A_PERSON.store(file.is_none() && !debug, Ordering::Relaxed);
    start(format, file, if debug { LevelFilter::Debug } else { LevelFilter::Info })
}

/// Switches between the level that [`start`] was given and debug (info, if it was debug itself), and tells the new one.
pub fn toggle_debug() -> LevelFilter {
    let usual = LevelFilter::iter().nth(USUAL.load(Ordering::Relaxed)).unwrap_or(LevelFilter::Info);
    let other = if usual < LevelFilter::Debug { LevelFilter::Debug } else { LevelFilter::Info };
    let level = if log::max_level() == usual { other } else { usual };
    log::set_max_level(level);
    level
}

/// Whether standard error is a stream of JSON lines, which nothing else may be mixed into.
pub(crate) fn is_json_on_stderr() -> bool {
    ON_STDERR.load(Ordering::Relaxed) && BACKEND.get().is_some_and(|backend| backend.format == Format::Json)
}

/// Sends panics of any thread to the log, in one line; without it they would be lost with a daemon's standard error.
fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let payload = info.payload();
        let words = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let words = words.unwrap_or("no message");
        let place = info.location().map_or(String::new(), |place| format!(" at {place}"));
        log::error!(target: "regfs::panic", "thread {thread} panicked{place}: {words}");
    }));
}

impl Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let to_a_person = TO_A_PERSON.load(Ordering::Relaxed);
        if to_a_person && target == TELLER {
            return false;
        }
        // Libraries speak of their own insides below warnings, headers among them.
        let quiet = !is_ours(target) || to_a_person && !target.starts_with(LISTER);
        metadata.level() <= if quiet { LevelFilter::Warn.min(log::max_level()) } else { log::max_level() }
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        let line = match self.format {
            Format::Text if TO_A_PERSON.load(Ordering::Relaxed) => plain(record.level(), &message),
            format => line(format, SystemTime::now(), record.level(), record.target(), &message),
        };
        // A log that cannot be written (a closed pipe, a full disk) must not end what is being logged.
        let _ = match &self.file {
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()),
            None => std::io::stderr().lock().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

fn is_ours(target: &str) -> bool {
    target.split("::").next() == Some("regfs")
}

/// One line for whoever sits before the terminal.
fn plain(level: Level, message: &str) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        _ => "note",
    };
    format!("regfs: {level}: {}\n", super::out::printable(message))
}

/// One whole line, with its end.
fn line(format: Format, time: SystemTime, level: Level, target: &str, message: &str) -> String {
    let time = stamp(time);
    match format {
        Format::Text => format!("{time} {level:<5} {target}: {}\n", super::out::printable(message)),
        Format::Json => {
            let level = level.as_str().to_ascii_lowercase();
            let object = serde_json::json!({ "time": time, "level": level, "target": target, "message": message });
            format!("{object}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WHEN: Duration = Duration::from_millis(1_767_323_045_678);

    #[test]
    fn text_stays_on_its_line_and_steers_nothing() {
        let time = SystemTime::UNIX_EPOCH + WHEN;
        let shown = line(Format::Text, time, Level::Warn, "regfs::net", "a\nb\u{1b}[31m \u{202e} C:\\x gr\u{fc}n");
        assert_eq!(shown, "2026-01-02T03:04:05.678Z WARN  regfs::net: a\\nb\\u{1b}[31m \\u{202e} C:\\x gr\u{fc}n\n");
    }

    #[test]
    fn json_keeps_the_message() {
        let message = "a\n\"b\"\u{1b}\\";
        let shown = line(Format::Json, SystemTime::UNIX_EPOCH + WHEN, Level::Error, "regfs", message);
        assert_eq!(shown.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(value["message"], message);
        assert_eq!(value["level"], "error");
        assert_eq!(value["time"], "2026-01-02T03:04:05.678Z");
    }

    #[test]
    fn libraries_are_quiet() {
        assert!(is_ours("regfs::net::http") && is_ours("regfs"));
        assert!(!is_ours("reqwest::connect") && !is_ours("regfsx"));
    }
}
