//! Names: hosts, repositories, tags, references; and how each is shown as a file name, both ways.
//!
//! Promises: `parse(show(x)) == x` for everything shown; nothing parsed can leave a directory, hold a control
//! character or exceed its limit. Knows the grammar of the OCI distribution-spec ("Pulling manifests"), nothing else.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest repository name in bytes; docker-registry answers 500 to longer ones, so they are refused here.
pub const MAX_REPOSITORY: usize = 255;
/// The longest tag in bytes (distribution-spec).
pub const MAX_TAG: usize = 128;

/// A repository name: components of lower-case letters, digits and separators, joined by `/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Arc<str>);

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// What names a manifest within a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that may move.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

/// Whether `text` is one component of a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
pub fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !bytes.first().is_some_and(word) || !bytes.last().is_some_and(word) {
        return false;
    }
    bytes
        .split(word)
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-'))
}

impl Repository {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its components.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for Repository {
    type Err = Error;
    fn from_str(text: &str) -> Result<Repository> {
        if text.len() > MAX_REPOSITORY {
            return Err(Error::new(
                Kind::NameTooLong,
                format!("repository name of {} bytes is over the limit of {MAX_REPOSITORY}", text.len()),
            ));
        }
        if text.split('/').all(is_component) {
            return Ok(Repository(text.into()));
        }
        Err(Error::new(Kind::Invalid, format!("\"{}\" is not a repository name", escape(text.as_bytes()))))
    }
}

impl Tag {
    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Error;
    fn from_str(text: &str) -> Result<Tag> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if text.len() > MAX_TAG {
            return Err(Error::new(
                Kind::NameTooLong,
                format!("tag of {} bytes is over the limit of {MAX_TAG}", text.len()),
            ));
        }
        if text.bytes().next().is_some_and(word) && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-')) {
            return Ok(Tag(text.into()));
        }
        Err(Error::new(Kind::Invalid, format!("\"{}\" is not a tag", escape(text.as_bytes()))))
    }
}

impl Reference {
    /// As it stands in a manifest URL.
    pub fn as_str(&self) -> &str {
        match self {
            Reference::Tag(tag) => tag.as_str(),
            Reference::Digest(digest) => digest.as_str(),
        }
    }
}

macro_rules! shows_as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}
shows_as_text!(Repository, Tag, Reference);

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Directory names with a meaning below a repository: a component of the same name is shown with a `%` before it,
/// which no component can hold.
const RESERVED: [&str; 3] = ["tags", "manifests", "blobs"];

/// The file name of one repository component.
pub fn show_component(component: &str) -> String {
    if RESERVED.contains(&component) { format!("%{component}") } else { component.to_owned() }
}

/// The repository component that a file name shows; `None` if it shows none.
pub fn parse_component(name: &OsStr) -> Option<&str> {
    let name = name.to_str()?;
    match name.strip_prefix('%') {
        Some(rest) if RESERVED.contains(&rest) => Some(rest),
        Some(_) => None,
        None if RESERVED.contains(&name) => None,
        None => is_component(name).then_some(name),
    }
}

/// The file name of a digest, with `separator` between algorithm and value (`:`; `-` for clients that cannot spell it).
pub fn show_digest(digest: &Digest, separator: char) -> String {
    format!("{}{separator}{}", digest.algorithm(), digest.encoded())
}

/// The digest that a file name shows, with either separator; `None` if it shows none.
pub fn parse_digest(name: &OsStr) -> Option<Digest> {
    let name = name.to_str()?;
    if name.contains(':') {
        return name.parse().ok();
    }
    let (algorithm, encoded) = name.rsplit_once('-')?;
    format!("{algorithm}:{encoded}").parse().ok()
}

/// `bytes` with everything that could steer a terminal, or break a line of a log, written as an escape.
///
/// Printable text of any language stays as it is.
pub fn escape(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || is_steering(c) || c == '\\' {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// [`escape`] of a file name.
pub fn terminal(name: &OsStr) -> String {
    escape(name.as_bytes())
}

/// Invisible characters that reorder or hide text: bidirectional controls, zero-width marks, line separators.
fn is_steering(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repositories() {
        for good in ["a", "a/b", "library/ubuntu", "a__b", "a--b", "a.b_c-d/e", "tags/tags", "0"] {
            assert_eq!(good.parse::<Repository>().expect(good).as_str(), good);
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "a___b", "a..b", "a-_b", "a.", ".", "..", "a/../b", "a b", "a%b", "ü",
            "a\n",
        ] {
            assert_eq!(bad.parse::<Repository>().expect_err(bad).kind(), Kind::Invalid, "{bad:?}");
        }
        assert_eq!("a".repeat(256).parse::<Repository>().expect_err("long").kind(), Kind::NameTooLong);
        "a".repeat(255).parse::<Repository>().expect("at the limit");
    }

    #[test]
    fn tags() {
        for good in ["latest", "_x", "22.04", "A-b_c.d", &"t".repeat(128)] {
            good.parse::<Tag>().expect(good);
        }
        for bad in ["", ".x", "-x", "a/b", "a:b", "..", "a b", "ä"] {
            assert_eq!(bad.parse::<Tag>().expect_err(bad).kind(), Kind::Invalid);
        }
        assert_eq!("t".repeat(129).parse::<Tag>().expect_err("long").kind(), Kind::NameTooLong);
    }

    #[test]
    fn reserved_components_are_escaped() {
        assert_eq!(show_component("tags"), "%tags");
        assert_eq!(parse_component(OsStr::new("%tags")), Some("tags"));
        assert_eq!(parse_component(OsStr::new("tags")), None);
        assert_eq!(parse_component(OsStr::new("%other")), None);
        assert_eq!(parse_component(OsStr::from_bytes(b"\xff")), None);
    }

    #[test]
    fn digests_as_file_names() {
        let digest = Digest::of(b"x");
        for separator in [':', '-'] {
            assert_eq!(parse_digest(OsStr::new(&show_digest(&digest, separator))), Some(digest.clone()));
        }
        assert_eq!(parse_digest(OsStr::new("sha256-")), None);
        assert_eq!(parse_digest(OsStr::new("README.md")), None);
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(escape(b"a\x1b[31m\n\xff\\"), "a\\u{1b}[31m\\n\\xff\\\\");
        assert_eq!(escape("gr\u{fc}n \u{202e}x".as_bytes()), "gr\u{fc}n \\u{202e}x");
    }

    proptest! {
        #[test]
        fn components_survive_both_ways(component in "[a-z0-9]{1,3}([._-][a-z0-9]{1,3}){0,2}|tags|blobs|manifests") {
            prop_assert!(is_component(&component));
            let shown = show_component(&component);
            prop_assert_eq!(parse_component(OsStr::new(&shown)), Some(component.as_str()));
        }

        #[test]
        fn parsing_never_panics_and_never_escapes(name in "\\PC{0,40}|[a-z./%_:-]{0,40}") {
            if let Some(component) = parse_component(OsStr::new(&name)) {
                prop_assert!(!component.contains('/') && component != ".." && component != ".");
                prop_assert_eq!(show_component(component), name.clone());
            }
            if let Some(digest) = parse_digest(OsStr::new(&name)) {
                prop_assert!(!digest.as_str().contains('/'));
            }
            if let Ok(tag) = name.parse::<Tag>() { prop_assert_eq!(tag.as_str(), name.as_str()); }
            let shown = escape(name.as_bytes());
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
