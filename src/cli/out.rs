//! Printing: names raw into a pipe, escaped on a terminal; failures on standard error, always escaped.
//!
//! Promises: no name chosen by a stranger steers a terminal; a reader that went away ends the command quietly.

use super::exit;
use crate::error::{Error, Kind, Result};
use crate::name::escape;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

/// Standard output.
pub(crate) struct Out {
    /// Not [`std::io::Stdout`]: it would look for line ends in every megabyte of a blob.
    to: BufWriter<File>,
    is_terminal: bool,
}

/// The mark of a failure that is none: whoever read our output has seen enough.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("its reader went away")
    }
}

impl std::error::Error for Closed {}

impl Out {
    /// Opens it.
    pub(crate) fn new() -> Result<Out> {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let file = stdout.as_fd().try_clone_to_owned().map_err(broken)?;
        Ok(Out { to: BufWriter::with_capacity(64 << 10, File::from(file)), is_terminal })
    }

    /// Whether a person reads along.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// A name as it is to be shown here: its bytes, or escaped for a terminal.
    pub(crate) fn shown<'a>(&self, name: &'a OsStr) -> std::borrow::Cow<'a, [u8]> {
        if self.is_terminal { escape(name.as_bytes()).into_bytes().into() } else { name.as_bytes().into() }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(broken)
    }

    /// Writes text of our own.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Writes a name.
    pub(crate) fn name(&mut self, name: &OsStr) -> Result<()> {
        let shown = self.shown(name);
        self.to.write_all(&shown).map_err(broken)
    }

    /// Hands everything to whoever reads; without it a late failure would be lost.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.to.flush().map_err(broken)
    }
}

fn broken(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Error::with(Kind::Io, "write standard output", Closed);
    }
    Error::io("write standard output", error)
}

/// Whether an error only says that our reader went away.
pub(crate) fn is_closed(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Closed>())
}

/// `text` with what could steer a terminal or break its line escaped; what is escaped already stays.
pub(crate) fn printable(text: &str) -> String {
    escape(text.as_bytes()).replace("\\\\", "\\")
}

/// Tells failures, and remembers how the command is to end.
pub(crate) struct Report {
    command: &'static str,
    code: u8,
}

impl Report {
    /// For the command of this name.
    pub(crate) fn new(command: &'static str) -> Report {
        Report { command, code: 0 }
    }

    /// Tells that `path` failed; the first failure decides the exit code. Gives the error back if our reader went
    /// away: the command is to end.
    pub(crate) fn failed(&mut self, path: &OsStr, error: &Error) -> Result<()> {
        if is_closed(error) {
            return Err(error.clone());
        }
        if self.code == 0 {
            self.code = exit::code(error.kind());
        }
        let error = super::open::explain(path, error);
        tell(self.command, &format!("{}: {error}", escape(&without_secrets(path.as_bytes()))));
        Ok(())
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

/// What was given as a path, without what stands before the `@` of a URL: it may be a password.
fn without_secrets(path: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(path);
    let Some((scheme, rest)) = text.split_once("://") else { return path.to_vec() };
    let (authority, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://\u{2026}@{host}{below}").into_bytes(),
        None => path.to_vec(),
    }
}

/// One line on standard error: `regfs: cat: words`.
pub(crate) fn tell(command: &str, words: &str) {
    if super::log::is_json_on_stderr() {
        ::log::error!(target: "regfs::cli", "{command}: {words}");
        return;
    }
    // Nobody reads it: nothing is left to be done.
    let _ = writeln!(std::io::stderr(), "regfs: {command}: {}", printable(words));
}

/// One line on standard error that is no failure.
pub(crate) fn note(words: &str) {
    if super::log::is_json_on_stderr() {
        ::log::info!(target: "regfs::cli", "{words}");
        return;
    }
    let _ = writeln!(std::io::stderr(), "{}", printable(words));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_once() {
        assert_eq!(printable("a\u{1b}b"), "a\\u{1b}b");
        assert_eq!(printable(&printable("a\u{1b}\\b\n")), "a\\u{1b}\\b\\n");
        assert_eq!(printable("\\\u{1b}"), "\\\\u{1b}");
    }

    #[test]
    fn only_our_own_reader_is_quiet() {
        assert!(is_closed(&broken(std::io::ErrorKind::BrokenPipe.into())));
        let wire = Error::with(Kind::Unreachable, "ask host", std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(!is_closed(&wire));
        assert!(!is_closed(&broken(std::io::Error::from_raw_os_error(libc::ENOSPC))));
    }
}
