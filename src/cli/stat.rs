//! `regfs stat`: what is known of one name of the tree, extended attributes and all.

use super::common::{Common, PATH_HELP};
use super::open::Trees;
use super::out::{Out, Report, printable};
use super::show;
use crate::error::Result;
use crate::tree::Node;
use crate::tree::walk::Last;
use clap::Args;
use std::ffi::{OsStr, OsString};

/// Show attributes: type, size, times, digest, media type, whether the content is checked
#[derive(Args, Debug)]
#[command(after_long_help = PATH_HELP)]
pub(crate) struct StatArgs {
    /// What to show
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<OsString>,

    /// Show what a link leads to instead of the link
    #[arg(short = 'L', long)]
    dereference: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) common: Common,
}

/// Extended attributes with lines of their own, and what people call them. Asked for by name: that may cost a request.
const NAMED: [(&str, &str); 3] =
    [("user.oci.digest", "Digest"), ("user.oci.mediaType", "Media type"), ("user.regfs.verified", "Verified")];

/// The value of an attribute: text, or bytes as getfattr(1) writes them.
fn text(value: Vec<u8>) -> String {
    match String::from_utf8(value) {
        Ok(text) if !text.contains('\0') => text,
        Ok(text) => format!("0x{}", hex::encode(text)),
        Err(error) => format!("0x{}", hex::encode(error.as_bytes())),
    }
}

/// What is shown of one node.
struct Facts {
    named: Vec<(&'static str, String)>,
    others: Vec<(String, String)>,
}

/// Runs it; the exit code.
pub(super) fn run(args: &StatArgs) -> Result<u8> {
    let mut out = Out::new()?;
    let mut report = Report::new("stat");
    let mut trees = Trees::new(&args.common);
    let last = if args.dereference { Last::Follow } else { Last::Keep };
    for path in &args.paths {
        match trees.find(path, last).and_then(|node| Ok((facts(&node)?, node))) {
            Ok((facts, node)) if args.json => out.text(&format!("{}\n", json(path, &node, &facts)))?,
            Ok((facts, node)) => print(&mut out, path, &node, &facts)?,
            Err(error) => report.failed(path, &error)?,
        }
        out.flush()?;
    }
    Ok(report.code())
}

fn facts(node: &Node) -> Result<Facts> {
    let mut named = Vec::new();
    for (name, _) in NAMED {
        if let Some(value) = node.xattr(OsStr::new(name))? {
            named.push((name, text(value)));
        }
    }
    let others = node.xattrs()?.into_iter().filter(|(name, _)| !NAMED.iter().any(|(own, _)| name == own));
    let others = others.map(|(name, value)| (name.to_string_lossy().into_owned(), text(value))).collect();
    Ok(Facts { named, others })
}

fn print(out: &mut Out, path: &OsStr, node: &Node, facts: &Facts) -> Result<()> {
    let attr = node.attr();
    let mut line = |label: &str, value: &str| {
        // Values of annotations are a stranger's too.
        let value = if out.is_terminal() { printable(value) } else { value.to_owned() };
        out.text(&format!("{label:>10}: {value}\n"))
    };
    line("Path", &path.to_string_lossy())?;
    match node {
        Node::Link(link) => line("Type", &format!("link -> {}", link.target.to_string_lossy()))?,
        _ => line("Type", show::kind(node))?,
    }
    let human = if attr.size < 1024 { String::new() } else { format!(" ({})", super::size::show(attr.size)) };
    line("Size", &format!("{} bytes{human}", attr.size))?;
    line("Mode", &format!("{:04o} {}", attr.mode, show::permissions(attr.mode)))?;
    if let Some((uid, gid)) = attr.owner {
        line("Owner", &format!("{uid}:{gid}"))?;
    }
    if attr.nlink > 1 {
        line("Names", &attr.nlink.to_string())?;
    }
    if let Some(stored) = attr.stored {
        line("Stored", &format!("{stored} bytes, the rest are zeros"))?;
    }
    if let Some(device) = show::device(node) {
        line("Device", &device)?;
    }
    line("Modified", &attr.mtime.map_or("not known yet".to_owned(), crate::stamp::stamp))?;
    for (name, value) in &facts.named {
        let label = NAMED.iter().find(|(own, _)| own == name).map_or(*name, |(_, label)| label);
        let value = match (*name, value.as_str()) {
            ("user.regfs.verified", "1") => "yes, against its digest",
            ("user.regfs.verified", "0") => "not yet: it is not all here",
            (_, value) => value,
        };
        line(label, value)?;
    }
    for (name, value) in &facts.others {
        line("Attribute", &format!("{name} = {value}"))?;
    }
    Ok(())
}

fn json(path: &OsStr, node: &Node, facts: &Facts) -> serde_json::Value {
    let attr = node.attr();
    let named = facts.named.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let xattrs: std::collections::BTreeMap<String, String> = named.chain(facts.others.iter().cloned()).collect();
    let mut object = serde_json::json!({
        "path": path.to_string_lossy(),
        "type": show::kind(node),
        "size": attr.size,
        "mode": format!("{:04o}", attr.mode),
        "mtime": attr.mtime.map(crate::stamp::stamp),
        "xattrs": xattrs,
    });
    if let Node::Link(link) = node {
        object["target"] = link.target.to_string_lossy().into();
    }
    show::extend(&mut object, node);
    object
}
