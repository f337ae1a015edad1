//! Sources: what a user writes to name something that can be mounted (design, section 1).
//!
//! Promises: every text gives a [`Source`], or an error that says what was meant and what to write instead; nothing
//! accepted holds credentials or a host off its grammar. Asks neither disk nor network.

use crate::error::{Error, Kind, Result};
use crate::name::{Repository, escape};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest source or path accepted, in bytes: the kernel's PATH_MAX.
pub const MAX_SOURCE: usize = 4096;
/// The longest host name, in bytes (RFC 1035).
pub const MAX_HOST: usize = 253;

/// What can be mounted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Every registry: `all:`.
    All,
    /// A registry, or one repository of it.
    Registry {
        /// As the client takes it: `host[:port]`, with `http://` or `https://` before it where that was written.
        host: String,
        /// The repository, if only one is meant; the Hub's official ones with their `library/`.
        repository: Option<Repository>,
    },
    /// An OCI image layout on this machine: `oci:PATH`.
    Layout(PathBuf),
}

impl Source {
    /// Reads SOURCE of `regfs mount`. `Invalid` if it is none, `Unsupported` if this version cannot mount it.
    pub fn parse(text: &OsStr) -> Result<Source> {
        within_limit(text)?;
        if let Some(path) = layout_path(text) {
            if path.as_os_str().is_empty() {
                return Err(Error::new(Kind::Invalid, "oci: needs the path of an image layout after it: oci:PATH"));
            }
            return Ok(Source::Layout(path.to_owned()));
        }
        let (source, rest) = split(text)?;
        let Source::Registry { host, .. } = source else {
            return if rest.is_empty() { Ok(source) } else { Err(all_takes_no_path(&rest)) };
        };
        if rest.is_empty() {
            return Ok(Source::Registry { host, repository: None });
        }
        let names: Vec<String> = rest.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let repository = names.join("/");
        let parsed = repository.parse::<Repository>().map_err(|error| explain_repository(&host, &names, &error))?;
        Ok(Source::Registry { repository: Some(official(&host, parsed)?), host })
    }
}

/// As the user would write it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::All => f.write_str("all:"),
            Source::Registry { host, repository: None } => f.write_str(host),
            Source::Registry { host, repository: Some(repository) } => write!(f, "{host}/{repository}"),
            Source::Layout(path) => write!(f, "oci:{}", escape(path.as_os_str().as_bytes())),
        }
    }
}

/// Refuses what no system call would take.
pub(crate) fn within_limit(text: &OsStr) -> Result<()> {
    if text.len() > MAX_SOURCE {
        let words = format!("source of {} bytes is over the limit of {MAX_SOURCE}", text.len());
        return Err(Error::new(Kind::NameTooLong, words));
    }
    if text.as_bytes().contains(&0) {
        return Err(Error::new(Kind::Invalid, "source holds a NUL"));
    }
    Ok(())
}

/// What follows `oci:`.
pub(crate) fn layout_path(text: &OsStr) -> Option<&Path> {
    text.as_bytes().strip_prefix(b"oci:").map(|rest| Path::new(OsStr::from_bytes(rest)))
}

/// Splits what is not `oci:` into the tree's source and the names after it.
pub(crate) fn split(text: &OsStr) -> Result<(Source, Vec<OsString>)> {
    let names = |rest: &str| rest.split('/').filter(|name| !name.is_empty()).map(OsString::from).collect();
    let Some(text) = text.to_str() else {
        let shown = escape(text.as_bytes());
        return Err(Error::new(Kind::Invalid, format!("\"{shown}\" is not UTF-8: no registry is called so")));
    };
    if text.starts_with(['/', '.', '~']) {
        let shown = escape(text.as_bytes());
        let words = format!("\"{shown}\" is a local path, no registry: an OCI image layout is written oci:{shown}");
        return Err(Error::new(Kind::Invalid, words));
    }
    if text.is_empty() {
        return Err(Error::new(Kind::Invalid, "the source is empty: write a registry, such as registry.example.com"));
    }
    if let Some(rest) = text.strip_prefix("all:") {
        return Ok((Source::All, names(rest)));
    }
    for (prefix, what) in LATER {
        if text.starts_with(prefix) {
            return Err(later(text, what));
        }
    }
    let (scheme, bare) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => ("https://", rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => ("http://", rest),
        Some((scheme, _)) if !scheme.contains('/') => {
            let words = format!("\"{}://\" is not a kind of source: {KINDS}", escape(scheme.as_bytes()));
            return Err(Error::new(Kind::Invalid, words));
        }
        _ => ("", text),
    };
    let (authority, rest) = bare.split_once('/').unwrap_or((bare, ""));
    let host = registry_host(authority, scheme, text)?;
    Ok((Source::Registry { host: format!("{scheme}{host}"), repository: None }, names(rest)))
}

const KINDS: &str = "a source is registry.example.com[:port][/repository], http(s)://…, all: or oci:PATH";

/// Sources of the design that this version does not mount.
const LATER: [(&str, &str); 5] = [
    ("oci+ssh:", "an image layout over SSH"),
    ("storage:", "a registry's storage directory"),
    ("storage+ssh:", "a registry's storage directory over SSH"),
    ("nuget:", "a NuGet feed"),
    ("ssh:", "a remote directory over SSH"),
];

fn later(text: &str, what: &str) -> Error {
    let words = format!("\"{}\" is {what}, which is not in this version of regfs", escape(text.as_bytes()));
    Error::new(Kind::Unsupported, words)
}

/// Checks `host[:port]`, and gives it in lower case. `whole` is the text it stands in.
fn registry_host(authority: &str, scheme: &str, whole: &str) -> Result<String> {
    let shown = || escape(whole.as_bytes());
    let invalid = |words: String| Err(Error::new(Kind::Invalid, words));
    if authority.contains('@') {
        if scheme.is_empty() && authority.contains(':') {
            return Err(later(whole, "a remote directory over SSH"));
        }
        // Not echoed: what stands before the @ may be a password.
        return invalid(
            "credentials do not belong in a source: log in with docker login, podman login or skopeo login".to_owned(),
        );
    }
    // An IPv6 address holds colons of its own.
    let (name, port) = match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None if authority.starts_with('[') => (authority, ""),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if let Some(port) = port.strip_prefix(':') {
        let numeric = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        if !numeric && scheme.is_empty() {
            let is_image = !port.is_empty() && !whole.contains('/');
            let hint = if is_image { " (an image is written docker.io/library/NAME:TAG)" } else { "" };
            let error = later(whole, "a remote directory over SSH");
            return Err(Error::new(error.kind(), format!("{error}{hint}")));
        }
        if !port.parse::<u16>().is_ok_and(|port| numeric && port > 0) {
            return invalid(format!("\"{}\" in \"{}\" is not a port", escape(port.as_bytes()), shown()));
        }
    } else if !port.is_empty() {
        return invalid(format!("\"{}\" is not a host", escape(authority.as_bytes())));
    }
    if name.len() > MAX_HOST {
        let words = format!("host name of {} bytes is over the limit of {MAX_HOST}", name.len());
        return Err(Error::new(Kind::NameTooLong, words));
    }
    let fits = match name.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(is_label),
    };
    if !fits {
        return invalid(format!("\"{}\" is not a host: {KINDS}", escape(name.as_bytes())));
    }
    Ok(authority.to_ascii_lowercase())
}

/// One part of a host name. Underscores are no host names' but are found inside private networks.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Whether `host` is Docker Hub, by any of its names.
pub(crate) fn is_hub(host: &str) -> bool {
    matches!(host.trim_start_matches("https://"), "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// The repository that a name means: the Hub's official images have names of one word, and live under `library/`.
pub(crate) fn official(host: &str, repository: Repository) -> Result<Repository> {
    if is_hub(host) && repository.components().count() == 1 {
        return format!("library/{repository}").parse();
    }
    Ok(repository)
}

fn all_takes_no_path(names: &[OsString]) -> Error {
    let first = names.first().map_or(String::new(), |name| escape(name.as_bytes()));
    Error::new(Kind::Invalid, format!("all: is mounted whole; to mount one registry, name it: {first}"))
}

/// Says what to mount instead of an image or a path inside a repository.
fn explain_repository(host: &str, names: &[String], error: &Error) -> Error {
    let joined = names.join("/");
    let split = joined.split_once('@').or_else(|| joined.rsplit_once(':'));
    if let Some((repository, _)) = split.filter(|(repository, _)| repository.parse::<Repository>().is_ok()) {
        return Error::new(
            Kind::Invalid,
            format!(
                "\"{}\" names one image: mount its repository, {host}/{repository}, and find the image under tags/ or manifests/",
                escape(joined.as_bytes())
            ),
        );
    }
    error.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Source> {
        Source::parse(OsStr::new(text))
    }

    fn shows(text: &str, expected: &str) {
        assert_eq!(parse(text).expect(text).to_string(), expected, "{text}");
    }

    #[test]
    fn registries_and_repositories() {
        shows("registry.example.com", "registry.example.com");
        shows("Registry.Example.com:5000/acme/app/", "registry.example.com:5000/acme/app");
        shows("http://127.0.0.1:5000", "http://127.0.0.1:5000");
        shows("HTTPS://[::1]:5000/a", "https://[::1]:5000/a");
        shows("[2001:db8::1]", "[2001:db8::1]");
        shows("localhost:5000/tags/blobs", "localhost:5000/tags/blobs");
        shows("docker.io/ubuntu", "docker.io/library/ubuntu");
        shows("docker.io/acme/app", "docker.io/acme/app");
        shows("ghcr.io/ubuntu", "ghcr.io/ubuntu");
        shows("host:5000/x", "host:5000/x");
    }

    #[test]
    fn all_and_layouts() {
        assert_eq!(parse("all:").expect("all"), Source::All);
        assert_eq!(parse("oci:/a/b:c").expect("oci"), Source::Layout("/a/b:c".into()));
        assert_eq!(parse("oci:").expect_err("no path").kind(), Kind::Invalid);
        assert_eq!(parse("all:/docker.io").expect_err("path").kind(), Kind::Invalid);
    }

    #[test]
    fn what_a_later_version_mounts() {
        for text in [
            "user@host:/srv",
            "host:/srv",
            "host:srv",
            "host:",
            "user@host:5000/x",
            "ssh://host/x",
            "oci+ssh://host/x",
            "storage:/var/lib/registry",
            "storage+ssh://host/x",
            "nuget:https://api.nuget.org/v3/index.json",
            "[::1]:srv",
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.kind(), Kind::Unsupported, "{text}: {error}");
            assert!(error.to_string().contains("not in this version"), "{error}");
        }
        assert!(parse("ubuntu:latest").expect_err("image").to_string().contains("docker.io/library"));
    }

    #[test]
    fn what_is_no_source() {
        for text in [
            "",
            "/srv",
            "./x",
            "-host",
            "ho st",
            "host:0",
            "host:65536",
            "https://host:",
            "ftp://host",
            "https://",
            "https://host:x",
            "[::1",
            "[::g]",
            "[::1]x",
            "a..b",
            "host/UPPER",
            "host/a/../b",
            "host/a?b=c",
            "h\u{1b}ost",
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.kind(), Kind::Invalid, "{text:?}: {error}");
            assert!(!error.to_string().contains('\u{1b}'));
        }
        assert_eq!(parse(&"a.".repeat(3000)).expect_err("long").kind(), Kind::NameTooLong);
        assert_eq!(parse(&["a"; 200].join(".")).expect_err("long").kind(), Kind::NameTooLong);
    }

    #[test]
    fn secrets_are_not_echoed() {
        let error = parse("https://me:hunter2@host/x").expect_err("credentials").to_string();
        assert!(!error.contains("hunter2") && error.contains("docker login"), "{error}");
    }

    #[test]
    fn an_image_is_not_a_repository() {
        let error = parse("docker.io/library/ubuntu:22.04").expect_err("image").to_string();
        assert!(error.contains("mount its repository, docker.io/library/ubuntu"), "{error}");
    }

    proptest! {
        #[test]
        fn never_panics_and_shows_what_parses_again(text in "\\PC{0,60}|[a-z:/@.\\[\\]0-9-]{0,40}") {
            if let Ok(source) = parse(&text) {
                prop_assert_eq!(parse(&source.to_string()).expect("shown"), source);
            }
        }
    }
}
