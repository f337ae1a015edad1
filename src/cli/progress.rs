//! How far a long transfer is, on standard error where that is a terminal; nothing anywhere else.

use crate::name::escape;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is over by then shows no bar: it would only flicker.
const PATIENCE: Duration = Duration::from_millis(400);
/// The most of a name that the bar shows, in characters.
const NAME_WIDTH: usize = 24;

/// The bar of one file.
pub(crate) struct Progress {
    bar: ProgressBar,
    since: Option<Instant>,
}

impl Progress {
    /// For `len` bytes of `name`; shows itself after a moment, and never if `quiet`.
    pub(crate) fn new(name: &OsStr, len: u64, quiet: bool) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::hidden());
        let template = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        // A digest is known by its beginning.
        let shown = escape(Path::new(name).file_name().unwrap_or(name).as_bytes());
        let is_long = shown.chars().count() > NAME_WIDTH;
        let cut: String = shown.chars().take(NAME_WIDTH - 1).collect();
        bar.set_message(if is_long { format!("{cut}\u{2026}") } else { shown });
        let since = (!quiet && std::io::stderr().is_terminal()).then(Instant::now);
        Progress { bar, since }
    }

    /// So many bytes more are done.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.bar.inc(bytes as u64);
        if self.since.is_some_and(|since| since.elapsed() > PATIENCE) {
            self.since = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

/// The line of the bar is free again for whatever is said next.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
