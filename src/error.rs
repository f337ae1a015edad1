//! The one error type: what went wrong, in the user's words, and the kind that decides everything else.
//!
//! Promises: every kind has exactly one errno, one log level and one exit code, each by an exhaustive match, so
//! that a new kind does not compile until all tables know it. Knows nothing of HTTP, FUSE or files.

use std::fmt;
use std::sync::Arc;

/// The result of anything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: a kind for programs, a sentence for people, and the cause underneath.
///
/// Cloning is cheap: one failure is told to everybody who waited for it.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    what: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure; [`Kind::errno`] is what a program sees of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The name does not exist.
    NotFound,
    /// The name exists already.
    Exists,
    /// A directory was needed.
    NotDir,
    /// A directory cannot be used so.
    IsDir,
    /// The directory has entries.
    NotEmpty,
    /// The credentials do not allow it (401, or 403 on a read).
    Denied,
    /// It is not allowed to anybody here (403 on a write, a gate that is closed).
    Forbidden,
    /// The source, or this mount of it, takes no writes.
    ReadOnly,
    /// The remote, or the format, cannot do it.
    Unsupported,
    /// The input is malformed.
    Invalid,
    /// A name is over its limit.
    NameTooLong,
    /// The input is over its limit.
    TooBig,
    /// What was asked for is no longer there.
    Stale,
    /// The bytes are not those that the digest names.
    Corrupt,
    /// The remote asked to wait longer than we do, or the thing is in use.
    Busy,
    /// Nothing came within the deadline.
    Timeout,
    /// No connection: name not known, refused, no route.
    Unreachable,
    /// The remote answered what the protocol does not allow.
    Protocol,
    /// The remote said that it failed (5xx).
    Server,
    /// There is no attribute or data of that name.
    NoData,
    /// A signature did not hold.
    Unverified,
    /// The disk is full.
    NoSpace,
    /// A signal ended the wait.
    Interrupted,
    /// A local file operation failed.
    Io,
}

impl Kind {
    /// The errno that system calls return.
    pub const fn errno(self) -> i32 {
        match self {
            Kind::NotFound => libc::ENOENT,
            Kind::Exists => libc::EEXIST,
            Kind::NotDir => libc::ENOTDIR,
            Kind::IsDir => libc::EISDIR,
            Kind::NotEmpty => libc::ENOTEMPTY,
            Kind::Denied => libc::EACCES,
            Kind::Forbidden => libc::EPERM,
            Kind::ReadOnly => libc::EROFS,
            Kind::Unsupported => libc::EOPNOTSUPP,
            Kind::Invalid => libc::EINVAL,
            Kind::NameTooLong => libc::ENAMETOOLONG,
            Kind::TooBig => libc::EFBIG,
            Kind::Stale => libc::ESTALE,
            // Not EAGAIN: a reader of a blocking descriptor would spin on it.
            Kind::Busy => libc::EBUSY,
            Kind::Timeout => libc::ETIMEDOUT,
            Kind::Unreachable => libc::EHOSTUNREACH,
            Kind::NoData => libc::ENODATA,
            Kind::Unverified => libc::EKEYREJECTED,
            Kind::NoSpace => libc::ENOSPC,
            Kind::Interrupted => libc::EINTR,
            Kind::Corrupt | Kind::Protocol | Kind::Server | Kind::Io => libc::EIO,
        }
    }

    /// The level at which a failure of this kind is logged, once, where the reply is made.
    pub const fn level(self) -> log::Level {
        match self {
            // What shells and file managers probe for all day.
            Kind::NotFound | Kind::NoData | Kind::Interrupted | Kind::Exists => log::Level::Debug,
            Kind::NotDir
            | Kind::IsDir
            | Kind::NotEmpty
            | Kind::ReadOnly
            | Kind::Unsupported
            | Kind::Invalid
            | Kind::NameTooLong
            | Kind::Forbidden => log::Level::Info,
            Kind::Denied
            | Kind::TooBig
            | Kind::Stale
            | Kind::Busy
            | Kind::Timeout
            | Kind::Unreachable
            | Kind::Protocol
            | Kind::Server
            | Kind::Unverified
            | Kind::NoSpace
            | Kind::Io => log::Level::Warn,
            Kind::Corrupt => log::Level::Error,
        }
    }

    /// The short name used in logs and in `.regfs/errors`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::NotFound => "not-found",
            Kind::Exists => "exists",
            Kind::NotDir => "not-dir",
            Kind::IsDir => "is-dir",
            Kind::NotEmpty => "not-empty",
            Kind::Denied => "denied",
            Kind::Forbidden => "forbidden",
            Kind::ReadOnly => "read-only",
            Kind::Unsupported => "unsupported",
            Kind::Invalid => "invalid",
            Kind::NameTooLong => "name-too-long",
            Kind::TooBig => "too-big",
            Kind::Stale => "stale",
            Kind::Corrupt => "corrupt",
            Kind::Busy => "busy",
            Kind::Timeout => "timeout",
            Kind::Unreachable => "unreachable",
            Kind::Protocol => "protocol",
            Kind::Server => "server",
            Kind::NoData => "no-data",
            Kind::Unverified => "unverified",
            Kind::NoSpace => "no-space",
            Kind::Interrupted => "interrupted",
            Kind::Io => "io",
        }
    }
}

impl Error {
    /// An error of `kind`; `what` is a sentence that names the thing, without a trailing period.
    pub fn new(kind: Kind, what: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, what: what.into(), source: None }))
    }

    /// The same with the cause underneath.
    pub fn with(
        kind: Kind,
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error(Arc::new(Inner { kind, what: what.into(), source: Some(Arc::from(source.into())) }))
    }

    /// A local I/O error, its kind told from the errno.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Error {
        let kind = match source.raw_os_error() {
            Some(libc::ENOSPC) | Some(libc::EDQUOT) => Kind::NoSpace,
            Some(libc::ENOENT) => Kind::NotFound,
            Some(libc::EACCES) => Kind::Denied,
            Some(libc::EPERM) => Kind::Forbidden,
            Some(libc::EROFS) => Kind::ReadOnly,
            Some(libc::EEXIST) => Kind::Exists,
            Some(libc::ENOTDIR) => Kind::NotDir,
            Some(libc::EISDIR) => Kind::IsDir,
            Some(libc::ENOTEMPTY) => Kind::NotEmpty,
            Some(libc::ENAMETOOLONG) => Kind::NameTooLong,
            Some(libc::EBUSY) => Kind::Busy,
            Some(libc::ESTALE) => Kind::Stale,
            _ => Kind::Io,
        };
        Error::with(kind, what, source)
    }

    /// The kind, which decides errno, level and retry.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The errno of [`Error::kind`].
    pub fn errno(&self) -> i32 {
        self.0.kind.errno()
    }

    /// The same failure, told from further up: `what: <this error's words>`.
    #[must_use]
    pub fn context(&self, what: impl fmt::Display) -> Error {
        Error(Arc::new(Inner {
            kind: self.0.kind,
            what: format!("{what}: {}", self.0.what),
            source: self.0.source.clone(),
        }))
    }

    /// The same failure under another kind, where the caller knows better what it means.
    #[must_use]
    pub fn as_kind(&self, kind: Kind) -> Error {
        Error(Arc::new(Inner { kind, what: self.0.what.clone(), source: self.0.source.clone() }))
    }
}

/// The whole story in one line: what, then each cause that adds something to it.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        let mut said = self.0.what.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let words = error.to_string();
            // Libraries repeat their cause in their own words: say each thing once.
            if !said.contains(&words) {
                write!(f, ": {words}")?;
                said.push_str(&words);
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_whole_story_once() {
        let cause = std::io::Error::other("connection reset");
        let error = Error::with(Kind::Unreachable, "ask registry.example.com", cause).context("list tags of a/b");
        assert_eq!(error.to_string(), "list tags of a/b: ask registry.example.com: connection reset");
        assert_eq!(error.errno(), libc::EHOSTUNREACH);
    }

    #[test]
    fn local_errors_keep_their_errno() {
        for errno in [libc::ENOSPC, libc::ENOENT, libc::EACCES, libc::EROFS, libc::EISDIR, libc::EBUSY] {
            assert_eq!(Error::io("x", std::io::Error::from_raw_os_error(errno)).errno(), errno);
        }
    }

    #[test]
    fn busy_is_never_eagain() {
        assert_eq!(Kind::Busy.errno(), libc::EBUSY);
    }
}
