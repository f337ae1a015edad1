//! The command line: what is asked, who does it, how it ends (design, section 4).
//!
//! Promises: every failure is one line on standard error that names the command and the thing, and an exit code of
//! [`exit`]; a reader that went away is no failure. Only this floor prints.

pub mod assemble;
mod cache;
mod cat;
pub mod common;
mod completions;
mod copy;
mod cp;
mod daemon;
mod exit;
mod fstab;
pub mod log;
mod ls;
mod mount;
mod open;
mod options;
mod out;
mod presence;
mod progress;
mod show;
mod signals;
pub mod size;
mod stat;
mod status;
mod systemd;
mod tree;
mod umount;
mod version;
mod watcher;

pub use common::Common;

use crate::error::Result;
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsStr;
use std::io::Write;
use std::process::ExitCode;

/// Mount a container registry as a drive: lazy, verified, cached
///
/// Repositories, tags, manifests and blobs are directories and files. What is read is fetched, checked against its
/// digest, and kept in a cache; nothing else is. Credentials are those of docker and podman.
#[derive(Parser, Debug)]
#[command(name = "regfs", version, after_help = exit::HELP, max_term_width = 100, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Log every request, and what is decided on the way
    #[arg(long, global = true)]
    debug: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    Mount(mount::MountArgs),
    Umount(umount::UmountArgs),
    Ls(ls::LsArgs),
    Cat(cat::CatArgs),
    Cp(cp::CpArgs),
    Stat(stat::StatArgs),
    Tree(tree::TreeArgs),
    Status(status::StatusArgs),
    Cache(cache::CacheArgs),
    Completions(completions::CompletionsArgs),
    Version(version::VersionArgs),
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if watcher::run(&arguments) {
        return ExitCode::SUCCESS;
    }
    let arguments = match fstab::read(&arguments, is_command) {
        Some(fstab::Call::Fake) => return ExitCode::SUCCESS,
        Some(fstab::Call::Mount(arguments)) => arguments,
        None => arguments,
    };
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
            return match error.print().and_then(|()| std::io::stdout().flush()) {
                // Help into a closed pipe is no failure.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    out::tell("help", &format!("write standard output: {error}"));
                    ExitCode::FAILURE
                }
                _ => code,
            };
        }
    };
    let (name, done) = cli.command.run(cli.debug);
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) if out::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            out::tell(name, &error.to_string());
            ExitCode::from(exit::code(error.kind()))
        }
    }
}

/// Whether a word is the name of a subcommand.
fn is_command(word: &OsStr) -> bool {
    word == "help" || word.to_str().is_some_and(|word| Cli::command().find_subcommand(word).is_some())
}

impl Command {
    /// Does it. The command's name, and the exit code or the failure that is still to be told.
    fn run(&self, debug: bool) -> (&'static str, Result<u8>) {
        // What a command has to say it says itself; the log is for what nobody asked about.
        let start = |common: &Common| log::start_command(common.log_format, common.log_file.as_deref(), debug);
        match self {
            // It starts its log itself, once its options and its process are settled.
            Command::Mount(args) => ("mount", mount::run(args, debug)),
            Command::Umount(args) => ("umount", umount::run(args)),
            Command::Ls(args) => ("ls", start(&args.common).and_then(|()| ls::run(args))),
            Command::Cat(args) => ("cat", start(&args.common).and_then(|()| cat::run(args))),
            Command::Cp(args) => ("cp", start(&args.common).and_then(|()| cp::run(args))),
            Command::Stat(args) => ("stat", start(&args.common).and_then(|()| stat::run(args))),
            Command::Tree(args) => ("tree", start(&args.common).and_then(|()| tree::run(args))),
            Command::Status(args) => ("status", status::run(args)),
            Command::Cache(args) => ("cache", cache::run(args)),
            Command::Completions(args) => ("completions", completions::run(args)),
            Command::Version(args) => ("version", version::run(args)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} of {} has no help", argument.get_id(), command.get_name());
            }
        }
    }
}
