//! `regfs status`: how the mounts of this machine fare, from their `.regfs/status`.

use super::out::{Out, Report, printable};
use crate::error::{Error, Kind, Result};
use crate::fuse::mounts;
use clap::Args;
use serde_json::Value;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The largest status read, in bytes: what thousands of remotes would need.
const MAX_STATUS: u64 = 16 << 20;

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
    let mut out = Out::new()?;
    let mut report = Report::new("status");
    let mounts = match &args.mountpoint {
        Some(mountpoint) => vec![mountpoint.clone()],
        None => mounts::table()?.into_iter().filter(mounts::Mount::is_ours).map(|mount| mount.point).collect(),
    };
    for (n, point) in mounts.iter().enumerate() {
        match read(point) {
            Ok(status) if args.json => out.text(&format!("{status}\n"))?,
            Ok(status) => {
                out.text(if n == 0 { "" } else { "\n" })?;
                out.name(point.as_os_str())?;
                out.text("\n")?;
                print(&mut out, &status, 1)?;
            }
            Err(error) => report.failed(point.as_os_str(), &error)?,
        }
    }
    if mounts.is_empty() && !args.json {
        out.text("nothing is mounted by regfs\n")?;
    }
    out.flush()?;
    Ok(report.code())
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

/// Any status, one fact a line, what belongs together indented.
fn print(out: &mut Out, value: &Value, level: usize) -> Result<()> {
    let indent = "  ".repeat(level);
    let Value::Object(fields) = value else { return out.text(&format!("{indent}{}\n", plain(value))) };
    let width = fields.iter().filter(|(_, value)| !is_nested(value)).map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        let label = printable(&name.replace('_', " "));
        match value {
            Value::Object(_) => {
                out.text(&format!("{indent}{label}:\n"))?;
                print(out, value, level + 1)?;
            }
            Value::Array(items) if is_nested(value) => {
                out.text(&format!("{indent}{label}:\n"))?;
                for item in items {
                    print(out, item, level + 1)?;
                }
            }
            value => out.text(&format!("{indent}{label:<width$}  {}\n", plain(value)))?,
        }
    }
    Ok(())
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(|item| matches!(item, Value::Object(_) | Value::Array(_))),
        _ => false,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
