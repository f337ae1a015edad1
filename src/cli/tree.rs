//! `regfs tree`: directories and what is in them, drawn as tree(1) draws them; bounded in depth and in length.

use super::common::{Common, PATH_HELP};
use super::open::Trees;
use super::out::{Out, Report, printable};
use crate::error::Result;
use crate::tree::walk::Last;
use crate::tree::{Entry, Node};
use clap::Args;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The deepest that can be asked for: deeper than any path that a registry can name.
const MAX_DEPTH: u64 = 256;

/// Draw a directory of the tree, and those in it
#[derive(Args, Debug)]
#[command(after_long_help = PATH_HELP)]
pub(crate) struct TreeArgs {
    /// Where to begin; without it, at every registry that is known
    #[arg(value_name = "PATH", default_value = "all:", hide_default_value = true)]
    paths: Vec<OsString>,

    /// How many levels to show; each directory shown costs what listing it costs
    #[arg(short = 'L', long, value_name = "LEVELS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=MAX_DEPTH))]
    depth: u64,

    /// How many names to show at most
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    limit: u64,

    /// Names that begin with a dot too
    #[arg(short, long)]
    all: bool,

    /// Directories only
    #[arg(short)]
    directories: bool,

    #[command(flatten)]
    pub(super) common: Common,
}

/// What was drawn so far.
struct Drawing<'a> {
    args: &'a TreeArgs,
    out: Out,
    report: Report,
    directories: u64,
    files: u64,
    is_cut: bool,
}

/// Runs it; the exit code.
pub(super) fn run(args: &TreeArgs) -> Result<u8> {
    let (out, report) = (Out::new()?, Report::new("tree"));
    let mut drawing = Drawing { args, out, report, directories: 0, files: 0, is_cut: false };
    let mut trees = Trees::new(&args.common);
    for path in &args.paths {
        let node = match trees.find(path, Last::Follow) {
            Ok(node) => node,
            Err(error) => {
                drawing.report.failed(path, &error)?;
                continue;
            }
        };
        drawing.out.name(path)?;
        drawing.out.text("\n")?;
        drawing.inside(&node, path, "", 1)?;
    }
    drawing.summary()
}

impl Drawing<'_> {
    fn inside(&mut self, node: &Node, path: &OsStr, indent: &str, level: u64) -> Result<()> {
        let Node::Dir(dir) = node else { return Ok(()) };
        let entries = match dir.list() {
            Ok(entries) => entries,
            Err(error) => {
                self.out.text(&format!("{indent}\u{2514}\u{2500}\u{2500} [{}]\n", printable(&error.to_string())))?;
                return self.report.failed(path, &error);
            }
        };
        let is_shown = |entry: &Entry| {
            (self.args.all || !entry.name.as_bytes().starts_with(b"."))
                && (!self.args.directories || matches!(entry.node, Node::Dir(_)))
        };
        let entries: Vec<Entry> = entries.into_iter().filter(is_shown).collect();
        let last = entries.len().saturating_sub(1);
        for (n, entry) in entries.iter().enumerate() {
            if self.directories + self.files == self.args.limit {
                self.is_cut = true;
                return Ok(());
            }
            let (branch, below) = if n == last {
                ("\u{2514}\u{2500}\u{2500} ", "    ")
            } else {
                ("\u{251c}\u{2500}\u{2500} ", "\u{2502}   ")
            };
            self.out.text(&format!("{indent}{branch}"))?;
            self.out.name(&entry.name)?;
            match &entry.node {
                Node::Dir(_) => self.directories += 1,
                Node::File(_) | Node::Special(_) => self.files += 1,
                Node::Link(link) => {
                    self.files += 1;
                    self.out.text(" -> ")?;
                    self.out.name(&link.target)?;
                }
            }
            self.out.text("\n")?;
            let is_view = matches!(&entry.node, Node::Dir(dir) if dir.is_view());
            if level < self.args.depth && !is_view {
                let path = std::path::Path::new(path).join(&entry.name);
                self.inside(&entry.node, path.as_os_str(), &format!("{indent}{below}"), level + 1)?;
            }
        }
        // A slow registry's first directories are worth reading while the next ones come.
        self.out.flush()
    }

    fn summary(mut self) -> Result<u8> {
        let count = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let directories = count(self.directories, "directory", "directories");
        let mut words = format!("\n{directories}, {}", count(self.files, "file", "files"));
        if self.is_cut {
            words.push_str(&format!("; cut at {} names (--limit)", self.args.limit));
        }
        self.out.text(&format!("{words}\n"))?;
        self.out.flush()?;
        Ok(self.report.code())
    }
}
