//! One record of a table of contents (CRFS's JSON, as eStargz and zstd:chunked extend it) and the entry it makes.

use crate::error::{Error, Kind, Result};
use crate::layer::entry::{self, Entry, Time};
use crate::name::escape;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The longest name or target, in bytes; the rules of merging are stricter.
const MAX_NAME: usize = 64 << 10;

/// A file, or a chunk of the file before it. Numbers are checked by who uses them.
#[derive(serde::Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    link_name: Cow<'a, str>,
    pub(super) size: i64,
    mode: i64,
    uid: i64,
    gid: i64,
    #[serde(rename = "modtime")]
    mtime: Option<Cow<'a, str>>,
    dev_major: i64,
    dev_minor: i64,
    xattrs: Option<BTreeMap<String, Option<String>>>,
    #[serde(borrow)]
    pub(super) digest: Cow<'a, str>,
    pub(super) offset: i64,
    pub(super) end_offset: i64,
    pub(super) inner_offset: i64,
    pub(super) chunk_offset: i64,
    pub(super) chunk_size: i64,
    #[serde(borrow)]
    pub(super) chunk_digest: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) chunk_type: Cow<'a, str>,
}

impl Record<'_> {
    /// The entry of a file; `None` for names that the format puts into the layer and that are not files of it.
    pub(super) fn entry(&self) -> Result<Option<Entry>> {
        let kind = match &*self.kind {
            "reg" => entry::Kind::File,
            "dir" => entry::Kind::Dir,
            "symlink" => entry::Kind::Symlink,
            "hardlink" => entry::Kind::Hardlink,
            "char" => entry::Kind::Char,
            "block" => entry::Kind::Block,
            "fifo" => entry::Kind::Fifo,
            other => return Err(self.corrupt(&format!("the type \"{}\" is not known", escape(other.as_bytes())))),
        };
        if matches!(plain(&self.name), ".prefetch.landmark" | ".no.prefetch.landmark" | "stargz.index.json") {
            return Ok(None);
        }
        for name in [&self.name, &self.link_name] {
            if name.len() > MAX_NAME {
                return Err(Error::new(Kind::TooBig, format!("toc: a name is over the limit of {MAX_NAME} bytes")));
            }
            // JSON cannot say other bytes than UTF-8: writers put this in their place, and the name is lost.
            if name.contains('\u{fffd}') {
                return Err(Error::new(Kind::Unsupported, "toc: a name that is not UTF-8 cannot be told from it"));
            }
        }
        let small = |what: &str, number: i64| {
            u32::try_from(number).map_err(|_| self.corrupt(&format!("the {what} {number} is out of range")))
        };
        let size = u64::try_from(self.size).map_err(|_| self.corrupt("the size is negative"))?;
        Ok(Some(Entry {
            path: self.name.as_bytes().to_vec(),
            kind,
            // The upper bits are the type again, as some writers have it.
            mode: (self.mode & 0o7777) as u32,
            uid: small("uid", self.uid)?,
            gid: small("gid", self.gid)?,
            mtime: self.time()?,
            size: if kind == entry::Kind::File { size } else { 0 },
            extents: Vec::new(),
            target: self.link_name.as_bytes().to_vec(),
            device: (small("device", self.dev_major)?, small("device", self.dev_minor)?),
            xattrs: self.xattrs()?,
        }))
    }

    fn time(&self) -> Result<Time> {
        let text = self.mtime.as_deref().unwrap_or_default();
        // Go's zero time, which archives show as the epoch.
        if text.is_empty() || text.starts_with("0001-01-01T00:00:00") {
            return Ok(Time::default());
        }
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| self.corrupt(&format!("the time \"{}\" is malformed", escape(text.as_bytes()))))?;
        Ok(Time { secs: time.unix_timestamp(), nanos: time.nanosecond() })
    }

    fn xattrs(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut xattrs = Vec::new();
        for (name, value) in self.xattrs.iter().flatten() {
            let value = STANDARD.decode(value.as_deref().unwrap_or_default()).map_err(|error| {
                self.corrupt(&format!("the value of {} is not base64: {error}", escape(name.as_bytes())))
            })?;
            xattrs.push((name.as_bytes().to_vec(), value));
        }
        Ok(xattrs)
    }

    /// An error about this file.
    pub(super) fn corrupt(&self, why: &str) -> Error {
        let name: String = escape(self.name.as_bytes()).chars().take(200).collect();
        Error::new(Kind::Corrupt, format!("toc: file \"{name}\": {why}"))
    }
}

/// The name without what does not tell it from another: `./`, a leading or trailing `/`.
pub(super) fn plain(name: &str) -> &str {
    let mut name = name.trim_end_matches('/');
    while let Some(rest) = name.strip_prefix('/').or_else(|| name.strip_prefix("./")) {
        name = rest;
    }
    if name == "." { "" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Record<'_> {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn a_record_makes_an_entry() {
        let entry = record(
            r#"{"type":"char","name":"dev/né","mode":8640,"uid":1,"gid":2,"devMajor":5,"devMinor":1,"size":7,
                "modtime":"1969-12-31T23:59:58.5Z","xattrs":{"security.capability":"AQAKAg==","user.nil":null},"x":[]}"#,
        )
        .entry()
        .expect("valid")
        .expect("shown");
        assert_eq!(entry.path, "dev/né".as_bytes());
        assert_eq!((entry.kind, entry.mode, entry.uid, entry.gid), (entry::Kind::Char, 0o700, 1, 2));
        assert_eq!(entry.mtime, Time { secs: -2, nanos: 500_000_000 });
        assert_eq!((entry.device, entry.size), ((5, 1), 0));
        let capability = (b"security.capability".to_vec(), vec![1, 0, 10, 2]);
        assert_eq!(entry.xattrs, [capability, (b"user.nil".to_vec(), vec![])]);
    }

    #[test]
    fn names_of_the_format_are_hidden_at_the_root_only() {
        for name in ["./.prefetch.landmark", "/.no.prefetch.landmark", "stargz.index.json"] {
            let hidden = Record { kind: "reg".into(), name: name.into(), ..Record::default() };
            assert_eq!(hidden.entry().expect("valid"), None, "{name}");
        }
        assert!(record(r#"{"type":"reg","name":"a/stargz.index.json"}"#).entry().expect("valid").is_some());
    }

    #[test]
    fn nonsense_is_refused() {
        for (json, kind) in [
            (r#"{"type":"chunk","name":"a"}"#, Kind::Corrupt),
            (r#"{"type":"","name":"a"}"#, Kind::Corrupt),
            (r#"{"type":"reg","name":"a","size":-1}"#, Kind::Corrupt),
            (r#"{"type":"reg","name":"a","uid":-1}"#, Kind::Corrupt),
            (r#"{"type":"reg","name":"a","gid":4294967296}"#, Kind::Corrupt),
            (r#"{"type":"char","name":"a","devMajor":-1}"#, Kind::Corrupt),
            (r#"{"type":"reg","name":"a","modtime":"yesterday"}"#, Kind::Corrupt),
            (r#"{"type":"reg","name":"a","xattrs":{"user.a":"%"}}"#, Kind::Corrupt),
            (r#"{"type":"reg","name":"a\ufffd"}"#, Kind::Unsupported),
        ] {
            assert_eq!(record(json).entry().expect_err(json).kind(), kind, "{json}");
        }
    }

    #[test]
    fn times_of_go() {
        for json in [r#"{"type":"dir"}"#, r#"{"type":"dir","modtime":"0001-01-01T00:00:00Z"}"#] {
            assert_eq!(record(json).entry().expect("valid").expect("shown").mtime, Time::default());
        }
    }

    #[test]
    fn plain_names() {
        for (name, expected) in [("./a/", "a"), ("//a/b", "a/b"), ("././a", "a"), ("./", ""), ("/", ""), (".a", ".a")] {
            assert_eq!(plain(name), expected);
        }
    }
}
