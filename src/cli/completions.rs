//! `regfs completions`: what a shell needs to complete this command line.

use super::out::Out;
use crate::error::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print completions for a shell: regfs completions bash > /etc/bash_completion.d/regfs
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs it; the exit code.
pub(super) fn run(args: &CompletionsArgs) -> Result<u8> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "regfs", &mut script);
    let mut out = Out::new()?;
    out.bytes(&script)?;
    out.flush()?;
    Ok(0)
}
