//! `regfs cache`: what is in the cache, checking it, taking out of it. Safe beside mounts that use it.

use super::out::{Out, note};
use super::progress::Progress;
use super::{common, exit, show, size};
use crate::error::{Kind, Result};
use crate::store::check;
use crate::store::maintain::{self, Entry, Freed, Kept};
use clap::{Args, Subcommand};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Show, check and empty the cache
///
/// Mounts that use the cache meanwhile go on: what they have open stays readable for them.
#[derive(Args, Debug)]
pub(crate) struct CacheArgs {
    /// Directory of the cache [default: $XDG_CACHE_HOME/regfs, or ~/.cache/regfs]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath, global = true)]
    cache_dir: Option<PathBuf>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List what is in it, most recently used first: size, bytes that are here, last use (UTC), state, digest
    ///
    /// The state of a blob is verified, partial, or filling while a mount adds to it. Lines with the state index or
    /// chunks are not the blob but what was made from it, a layer: its table of contents, or its content in a form
    /// that can be read from the middle.
    Ls {
        /// Sizes as 1.5K, 64M
        #[arg(short = 'H', long)]
        human_readable: bool,

        /// One JSON object a line: digest, size, cached, used (seconds since 1970), state
        #[arg(long, conflicts_with = "human_readable")]
        json: bool,
    },
    /// Read and hash all of it; what is wrong is taken out, and fetched anew when it is needed
    ///
    /// What was made from layers (index, chunks) has checks of its own, which are made whenever it is used.
    Verify {
        /// No progress bar
        #[arg(short, long)]
        quiet: bool,
    },
    /// Take out what was not used for long, and the least recently used down to a size
    ///
    /// Indexes of layers are small and dear to make: as far as a quarter of that size holds them, they go last.
    Prune {
        /// Down to this size, as bytes or with K, M, G, T
        #[arg(long, value_name = "SIZE", value_parser = size::parse, required_unless_present = "unused")]
        to: Option<u64>,

        /// What was not used for this time, in seconds or with m, h, d
        #[arg(long, value_name = "TIME", value_parser = size::parse_time)]
        unused: Option<Duration>,
    },
    /// Take everything out
    Clear,
}

/// Runs it; the exit code: 6 if something was wrong.
pub(super) fn run(args: &CacheArgs) -> Result<u8> {
    let dir = common::cache_dir(args.cache_dir.as_deref())?;
    match &args.action {
        Action::Ls { human_readable, json } => list(&dir, *human_readable, *json),
        Action::Verify { quiet } => verify(&dir, *quiet),
        Action::Prune { to, unused } => freed(&maintain::prune(&dir, *to, *unused)?),
        Action::Clear => freed(&maintain::clear(&dir)?),
    }
}

fn list(dir: &Path, human: bool, json: bool) -> Result<u8> {
    let mut out = Out::new()?;
    let number = |bytes: u64| if human { size::show(bytes) } else { bytes.to_string() };
    for entry in maintain::list(dir)? {
        let state = state(&entry);
        let line = if json {
            let used = entry.used.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
            let Entry { digest, size, cached, .. } = &entry;
            serde_json::json!({ "digest": digest, "size": size, "cached": cached, "used": used, "state": state })
                .to_string()
        } else {
            let size = entry.size.map_or("-".to_owned(), number);
            let (cached, used) = (number(entry.cached), show::minute(Some(entry.used)));
            format!("{size:>12} {cached:>12} {used} {state:<8} {}", entry.digest)
        };
        out.text(&line)?;
        out.text("\n")?;
    }
    out.flush()?;
    Ok(0)
}

fn state(entry: &Entry) -> &'static str {
    match entry.kept {
        Kept::Whole => "verified",
        Kept::Part => "partial",
        Kept::Filling => "filling",
        Kept::Derived(kind) => kind.name(),
    }
}

fn verify(dir: &Path, quiet: bool) -> Result<u8> {
    let mut bar: Option<Progress> = None;
    let mut shown = 0;
    let checked = check::verify(dir, &mut |step| {
        let bar = bar.get_or_insert_with(|| Progress::new(OsStr::new("cache"), step.total, quiet));
        bar.advance((step.done - shown) as usize);
        shown = step.done;
    })?;
    drop(bar);
    let mut out = Out::new()?;
    for name in &checked.wrong {
        out.text(&format!("wrong, taken out: {name}\n"))?;
    }
    for (name, why) in &checked.stuck {
        out.text(&format!("wrong, could not be taken out: {name}: {why}\n"))?;
    }
    let wrong = checked.wrong.len() + checked.stuck.len();
    out.text(&format!("{} right, {wrong} wrong, {} read\n", checked.right, size::show(checked.bytes)))?;
    out.flush()?;
    if checked.busy > 0 {
        note(&format!("{} in use and not checked", checked.busy));
    }
    if checked.unchecked > 0 {
        note(&format!("{} made from layers not read: each is checked when it is used", files(checked.unchecked)));
    }
    Ok(if wrong == 0 { 0 } else { exit::code(Kind::Corrupt) })
}

fn freed(freed: &Freed) -> Result<u8> {
    let mut out = Out::new()?;
    let (bytes, left) = (size::show(freed.freed), size::show(freed.left));
    let derived = match freed.derived {
        0 => String::new(),
        count => format!(" and {} made from layers", files(count)),
    };
    out.text(&format!("{} blobs{derived} taken out, {bytes} freed, {left} left\n", freed.dropped))?;
    out.flush()?;
    Ok(0)
}

fn files(count: u64) -> String {
    format!("{count} {}", if count == 1 { "file" } else { "files" })
}
