//! The regfs program: everything is in the library, so that tests and benches see the same code.

fn main() -> std::process::ExitCode {
    regfs::cli::main()
}
