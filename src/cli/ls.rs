//! `regfs ls`: the names of a directory of the tree, without a mount.

use super::common::{Common, PATH_HELP};
use super::open::Trees;
use super::out::{Out, Report};
use super::show;
use crate::error::Result;
use crate::tree::Node;
use crate::tree::walk::Last;
use clap::Args;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// List a directory of the tree, without mounting it
#[derive(Args, Debug)]
#[command(after_long_help = PATH_HELP, disable_help_flag = true)]
pub(crate) struct LsArgs {
    /// What to list; without it, every registry that is known
    #[arg(value_name = "PATH", default_value = "all:", hide_default_value = true)]
    paths: Vec<OsString>,

    /// Long: type and permissions, size in bytes, modification time (UTC; - while not known), name
    #[arg(short)]
    long: bool,

    /// Sizes of -l as 1.5K, 64M
    #[arg(short = 'h', long)]
    human_readable: bool,

    /// Names that begin with a dot too
    #[arg(short, long)]
    all: bool,

    /// The directory itself, not what is in it
    #[arg(short, long)]
    directory: bool,

    /// One name a line; it is always so
    #[arg(short = '1', hide = true)]
    one: bool,

    /// One JSON object a line: name, type, size, mode, mtime, target; of files of images uid, gid, nlink, stored, device
    #[arg(long, conflicts_with = "long")]
    json: bool,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    #[command(flatten)]
    pub(super) common: Common,
}

/// One line of output.
struct Line {
    name: OsString,
    node: Node,
}

/// Runs it; the exit code.
pub(super) fn run(args: &LsArgs) -> Result<u8> {
    let mut out = Out::new()?;
    let mut report = Report::new("ls");
    let mut trees = Trees::new(&args.common);
    let mut is_first = true;
    for path in &args.paths {
        match lines(args, &mut trees, path) {
            Ok(lines) => {
                let headed = args.paths.len() > 1 && !args.json && !args.directory;
                if headed {
                    out.text(if is_first { "" } else { "\n" })?;
                    out.name(path)?;
                    out.text(":\n")?;
                }
                if lines.is_empty() && path == "all:" {
                    log::warn!("no registry is known here: log in to one, or name one, as in regfs ls docker.io");
                }
                is_first = false;
                print(args, &mut out, &lines)?;
                out.flush()?;
            }
            Err(error) => report.failed(path, &error)?,
        }
    }
    Ok(report.code())
}

fn lines(args: &LsArgs, trees: &mut Trees<'_>, path: &OsStr) -> Result<Vec<Line>> {
    // As ls(1): a link on the command line is shown as such only where its target would be, too.
    let last = if args.long || args.directory { Last::Keep } else { Last::Follow };
    let node = trees.find(path, last)?;
    let dir = match &node {
        Node::Dir(dir) if !args.directory => dir,
        _ => return Ok(vec![Line { name: path.to_owned(), node }]),
    };
    let entries = dir.list()?.into_iter();
    let shown = entries.filter(|entry| args.all || !entry.name.as_bytes().starts_with(b"."));
    Ok(shown.map(|entry| Line { name: entry.name, node: entry.node }).collect())
}

fn print(args: &LsArgs, out: &mut Out, lines: &[Line]) -> Result<()> {
    let size = |node: &Node| {
        if let Some(device) = show::device(node) {
            return device;
        }
        let size = node.attr().size;
        if args.human_readable { super::size::show(size) } else { size.to_string() }
    };
    let width = lines.iter().map(|line| size(&line.node).len()).max().unwrap_or(0);
    for line in lines {
        if args.json {
            out.text(&format!("{}\n", json(line)))?;
            continue;
        }
        if args.long {
            let attr = line.node.attr();
            let mode = show::mode(&line.node);
            out.text(&format!("{mode} {:>width$} {} ", size(&line.node), show::minute(attr.mtime)))?;
        }
        out.name(&line.name)?;
        if let (Node::Link(link), true) = (&line.node, args.long) {
            out.text(" -> ")?;
            out.name(&link.target)?;
        }
        out.text("\n")?;
    }
    Ok(())
}

fn json(line: &Line) -> serde_json::Value {
    let attr = line.node.attr();
    let mut object = serde_json::json!({
        "name": line.name.to_string_lossy(),
        "type": show::kind(&line.node),
        "size": attr.size,
        "mode": format!("{:04o}", attr.mode),
        "mtime": attr.mtime.map(crate::stamp::stamp),
    });
    if let Node::Link(link) = &line.node {
        object["target"] = link.target.to_string_lossy().into();
    }
    show::extend(&mut object, &line.node);
    object
}
