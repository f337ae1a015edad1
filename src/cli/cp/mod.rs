//! `regfs cp`: files and directories out of the tree, onto this machine.
//!
//! Promises: a file appears under its name whole and checked, or not at all; a directory file by file. Links stay
//! links, times and permissions are kept; the owner may write to copies of what nobody can write to in the tree. Of a
//! directory of an image everything is kept that `cp -a` keeps: hard links, holes, owners, attributes, devices.

mod copying;
mod dress;
mod local;

use super::common::{Common, PATH_HELP};
use super::open::{Trees, basename};
use super::out::{Out, Report};
use crate::error::{Error, Kind, Result};
use crate::name::escape;
use crate::tree::Node;
use crate::tree::walk::Last;
use clap::Args;
use copying::{Copying, Manner};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
    let CpArgs { recursive, no_clobber, verbose, quiet, .. } = *args;
    let mut copying = Copying::new(Manner { recursive, no_clobber, verbose, quiet }, &mut report, &mut out);
    for source in sources {
        if let Err(error) = top(&mut copying, &mut trees, source, dest, is_dir) {
            copying.report.failed(source, &error)?;
        }
    }
    Ok(report.code())
}

fn top(copying: &mut Copying<'_>, trees: &mut Trees<'_>, source: &OsStr, dest: &Path, is_dir: bool) -> Result<()> {
    // With -r a link is copied as such, as cp(1) does it.
    let recursive = copying.manner.recursive;
    let last = if recursive { Last::Keep } else { Last::Follow };
    let node = trees.find(source, last)?;
    if matches!(node, Node::Dir(_)) && !recursive {
        return Err(Error::new(Kind::IsDir, "is a directory: give -r to copy it with everything in it"));
    }
    let to = match basename(source)? {
        Some(name) if is_dir => dest.join(name),
        // The root of a registry has no name: its entries go into the directory.
        _ => dest.to_owned(),
    };
    if copying.node(&node, source, &to, 0)? && node.attr().mtime.is_none() {
        let mtime = trees.find(source, last)?.attr().mtime;
        mtime.map_or(Ok(()), |mtime| local::touch(&to, mtime))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
