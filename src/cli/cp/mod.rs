//! `regfs cp`: files and directories out of the tree, onto this machine.
//!
//! Promises: a file appears under its name whole and checked, or not at all; a directory file by file. Links stay
//! links, times and permissions are kept; the owner may write to copies of what nobody can write to in the tree.

mod local;

use super::common::{Common, PATH_HELP};
use super::copy;
use super::open::{Trees, basename};
use super::out::{Out, Report, is_closed};
use super::show;
use crate::error::{Error, Kind, Result};
use crate::name::escape;
use crate::tree::walk::Last;
use crate::tree::{Attr, Dir, Node};
use clap::Args;
use local::Target;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The deepest directory copied, in levels: nothing real comes near, and a tree without an end ends here.
const MAX_DEPTH: usize = 100;

/// Copy files and directories out of the tree
#[derive(Args, Debug)]
#[command(after_long_help = PATH_HELP, override_usage = "regfs cp [OPTIONS] PATH… DEST")]
pub(crate) struct CpArgs {
    /// What to copy, and last the local file or directory to copy it to
    #[arg(value_names = ["PATH", "DEST"], required = true, num_args = 2..)]
    paths: Vec<OsString>,

    /// Copy directories with everything in them
    #[arg(short, short_alias = 'R', long)]
    recursive: bool,

    /// Leave files alone that exist already
    #[arg(short, long)]
    no_clobber: bool,

    /// Name each file that was copied
    #[arg(short, long)]
    verbose: bool,

    /// Show no progress, not on a terminal either
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    pub(super) common: Common,
}

/// Runs it; the exit code.
pub(super) fn run(args: &CpArgs) -> Result<u8> {
    let Some((dest, sources)) = args.paths.split_last() else { return Ok(2) };
    let dest = Path::new(dest);
    let is_dir = dest.is_dir();
    if !is_dir && (sources.len() > 1 || dest.as_os_str().as_bytes().ends_with(b"/")) {
        let what = if sources.len() > 1 { Kind::NotDir } else { Kind::NotFound };
        let words = format!("{}: is not a directory", escape(dest.as_os_str().as_bytes()));
        return Err(Error::new(if dest.exists() { Kind::NotDir } else { what }, words));
    }
    let (mut out, mut report) = (Out::new()?, Report::new("cp"));
    let mut trees = Trees::new(&args.common);
    for source in sources {
        let mut copying = Copying { args, report: &mut report, out: &mut out };
        if let Err(error) = copying.top(&mut trees, source, dest, is_dir) {
            report.failed(source, &error)?;
        }
    }
    Ok(report.code())
}

struct Copying<'a> {
    args: &'a CpArgs,
    report: &'a mut Report,
    out: &'a mut Out,
}

impl Copying<'_> {
    fn top(&mut self, trees: &mut Trees<'_>, source: &OsStr, dest: &Path, is_dir: bool) -> Result<()> {
        // With -r a link is copied as such, as cp(1) does it.
        let last = if self.args.recursive { Last::Keep } else { Last::Follow };
        let node = trees.find(source, last)?;
        if matches!(node, Node::Dir(_)) && !self.args.recursive {
            return Err(Error::new(Kind::IsDir, "is a directory: give -r to copy it with everything in it"));
        }
        let to = match basename(source)? {
            Some(name) if is_dir => dest.join(name),
            // The root of a registry has no name: its entries go into the directory.
            _ => dest.to_owned(),
        };
        if self.node(&node, source, &to, 0)? && node.attr().mtime.is_none() {
            let mtime = trees.find(source, last)?.attr().mtime;
            mtime.map_or(Ok(()), |mtime| local::touch(&to, mtime))?;
        }
        Ok(())
    }

    /// Copies one node; whether there was something to do. What fails inside a directory is told, and the rest is
    /// copied.
    fn node(&mut self, node: &Node, from: &OsStr, to: &Path, depth: usize) -> Result<bool> {
        match node {
            Node::File(file) => {
                let Some(mut target) = Target::open(to, self.args.no_clobber)? else { return Ok(false) };
                copy::stream(file.as_ref(), from, self.args.quiet, &mut |bytes| target.write(bytes))?;
                target.publish(kept_mode(&file.attr(), 0o200), file.attr().mtime)?;
            }
            Node::Link(link) => {
                if !local::link(&link.target, to, self.args.no_clobber)? {
                    return Ok(false);
                }
                link.attr.mtime.map_or(Ok(()), |mtime| local::touch(to, mtime))?;
            }
            Node::Special(_) => return Err(Error::new(Kind::Unsupported, format!("is a {}", show::kind(node)))),
            Node::Dir(dir) => return self.directory(dir.as_ref(), from, to, depth).map(|()| true),
        }
        self.say(from, to)?;
        Ok(true)
    }

    fn directory(&mut self, dir: &dyn Dir, from: &OsStr, to: &Path, depth: usize) -> Result<()> {
        if depth == MAX_DEPTH {
            return Err(Error::new(Kind::TooBig, format!("is nested deeper than {MAX_DEPTH} directories")));
        }
        let entries = dir.list()?;
        local::directory(to)?;
        self.say(from, to)?;
        let mut timeless = HashSet::new();
        for entry in entries {
            let inner: PathBuf = Path::new(from).join(&entry.name);
            let copied =
                safe(&entry.name).and_then(|name| self.node(&entry.node, inner.as_os_str(), &to.join(name), depth + 1));
            match copied {
                // Nothing that follows would fit either.
                Err(error) if error.kind() == Kind::NoSpace || is_closed(&error) => return Err(error),
                Err(error) => self.report.failed(inner.as_os_str(), &error)?,
                Ok(true) if entry.node.attr().mtime.is_none() => {
                    timeless.insert(entry.name);
                }
                Ok(_) => {}
            }
        }
        self.times(dir, &timeless, to)?;
        let attr = dir.attr();
        local::dress(to, kept_mode(&attr, 0o300), attr.mtime)
    }

    /// Times that reading made known: an image's is in its config, which is no reason to fetch it, but now it is here.
    fn times(&self, dir: &dyn Dir, timeless: &HashSet<OsString>, to: &Path) -> Result<()> {
        if timeless.is_empty() {
            return Ok(());
        }
        for entry in dir.list()? {
            if let (true, Some(mtime)) = (timeless.contains(&entry.name), entry.node.attr().mtime) {
                local::touch(&to.join(entry.name), mtime)?;
            }
        }
        Ok(())
    }

    fn say(&mut self, from: &OsStr, to: &Path) -> Result<()> {
        if self.args.verbose {
            self.out.name(from)?;
            self.out.text(" -> ")?;
            self.out.name(to.as_os_str())?;
            self.out.text("\n")?;
            self.out.flush()?;
        }
        Ok(())
    }
}

/// The permissions of a copy. Where the tree has no owner of its own, its lack of write permission says only that a
/// registry is not written to: `owner` bits are added, or the copy could not even be removed.
fn kept_mode(attr: &Attr, owner: u16) -> u32 {
    let mode = attr.mode & 0o777;
    u32::from(if attr.owner.is_none() { mode | owner } else { mode })
}

/// A name that stays in the directory that it is made in. The tree shows no other; this is the last gate.
fn safe(name: &OsStr) -> Result<&OsStr> {
    match name.as_bytes() {
        b"" | b"." | b".." => Err(Error::new(Kind::Invalid, "is not a file name")),
        bytes if bytes.contains(&b'/') => Err(Error::new(Kind::Invalid, "is not a file name")),
        _ => Ok(name),
    }
}
