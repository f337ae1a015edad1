//! Exit codes: what a script learns of a failure. One exhaustive match, beside errno's and the level's.

use crate::error::Kind;

/// What `--help` says of [`code`].
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage, or a malformed name
  3  not found
  4  credentials or permission refused
  5  the registry cannot be reached, does not answer in time, or fails
  6  content is not what its digest says";

/// The exit code of a failure.
pub(crate) const fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Invalid | Kind::NameTooLong => 2,
        Kind::NotFound => 3,
        Kind::Denied | Kind::Forbidden => 4,
        Kind::Unreachable | Kind::Timeout | Kind::Server | Kind::Busy => 5,
        Kind::Corrupt | Kind::Unverified => 6,
        Kind::Exists
        | Kind::NotDir
        | Kind::IsDir
        | Kind::NotEmpty
        | Kind::ReadOnly
        | Kind::Unsupported
        | Kind::TooBig
        | Kind::Stale
        | Kind::Protocol
        | Kind::NoData
        | Kind::NoSpace
        | Kind::Interrupted
        | Kind::Io => 1,
    }
}
