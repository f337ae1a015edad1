//! `regfs cat`: the bytes of files of the tree, to standard output.

use super::common::{Common, PATH_HELP};
use super::copy;
use super::open::Trees;
use super::out::{Out, Report};
use super::show;
use crate::error::{Error, Kind, Result};
use crate::tree::Node;
use crate::tree::walk::Last;
use clap::Args;
use std::ffi::{OsStr, OsString};

/// Write files of the tree to standard output
#[derive(Args, Debug)]
#[command(after_long_help = PATH_HELP)]
pub(crate) struct CatArgs {
    /// The files, one after the other
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<OsString>,

    #[command(flatten)]
    pub(super) common: Common,
}

/// Runs it; the exit code.
pub(super) fn run(args: &CatArgs) -> Result<u8> {
    let mut out = Out::new()?;
    let mut report = Report::new("cat");
    let mut trees = Trees::new(&args.common);
    for path in &args.paths {
        if let Err(error) = cat(&mut trees, &mut out, path) {
            report.failed(path, &error)?;
        }
    }
    Ok(report.code())
}

fn cat(trees: &mut Trees<'_>, out: &mut Out, path: &OsStr) -> Result<()> {
    let node = trees.find(path, Last::Follow)?;
    match &node {
        Node::File(file) => {
            // A bar would be drawn into the text.
            let quiet = out.is_terminal();
            copy::stream(file.as_ref(), path, quiet, &mut |bytes| out.bytes(bytes))?;
            out.flush()
        }
        Node::Dir(_) => Err(Error::new(Kind::IsDir, "is a directory; regfs ls lists it")),
        Node::Link(_) => Err(Error::new(Kind::Invalid, "is a link that leads nowhere")),
        Node::Special(_) => Err(Error::new(Kind::Invalid, format!("is a {}, without content", show::kind(&node)))),
    }
}
