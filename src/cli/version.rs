//! `regfs version`: what this program is, and what it was built for.

use super::out::Out;
use crate::error::Result;
use clap::Args;

/// Print the version
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {}

/// Runs it; the exit code.
pub(super) fn run(_: &VersionArgs) -> Result<u8> {
    let mut out = Out::new()?;
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    out.text(&format!("regfs {} ({os} {arch})\n", env!("CARGO_PKG_VERSION")))?;
    out.flush()?;
    Ok(0)
}
