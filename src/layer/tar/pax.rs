//! PAX records: `length key=value` lines, by length and not by line, so that values may hold any bytes.
//!
//! Promises: takes and refuses what Go's `archive/tar` does. Knows the two ways to write extended attributes; what the
//! other keys mean is the matter of [`super::member`] and [`super::sparse`].

use super::number::decimal;
use crate::error::{Error, Kind, Result};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::collections::BTreeMap;

/// Attributes with their bytes as they are: star, GNU tar, Go, and so everything around containers.
const SCHILY: &[u8] = b"SCHILY.xattr.";
/// Attributes with an URL-encoded name and a value in base64: libarchive, beside the other form.
const LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";

/// libarchive leaves the padding out; its readers take both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The records of one extended header, the last of each key.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records {
    /// Reads the content of an extended header. `Corrupt` if any of it is not a record.
    pub(super) fn parse(mut text: &[u8]) -> Result<Records> {
        let mut records = BTreeMap::new();
        let mut map: Vec<&[u8]> = Vec::new();
        while !text.is_empty() {
            let (key, value, rest) = record(text)?;
            text = rest;
            match key {
                // The sparse format 0.0 repeats its keys, which makes them a list: 0.1 has it in one record.
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    let turn: &[u8] =
                        if map.len().is_multiple_of(2) { b"GNU.sparse.offset" } else { b"GNU.sparse.numbytes" };
                    if key != turn || value.contains(&b',') {
                        return Err(corrupt("the records of a sparse file are out of order"));
                    }
                    map.push(value);
                }
                _ => {
                    records.insert(key.to_vec(), value.to_vec());
                }
            }
        }
        if !map.is_empty() {
            records.insert(b"GNU.sparse.map".to_vec(), map.join(&b','));
        }
        Ok(Records(records))
    }

    /// The value of a key; an empty one counts as none, as the standard says.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key.as_bytes()).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    /// The value of a key as a number. `Corrupt` if it is none.
    pub(super) fn number(&self, key: &str) -> Result<Option<i64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        decimal(value).map(Some).ok_or_else(|| corrupt(&format!("the record {key} is not a number")))
    }

    /// The extended attributes, by name. One that is written in both ways counts as in the plain one.
    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = BTreeMap::new();
        for (name, value) in self.with_prefix(LIBARCHIVE) {
            // What does not decode is left out, as by all the readers that do not know this form.
            if let (Some(name), Ok(value)) = (url_decoded(name), BASE64.decode(value)) {
                found.insert(name, value);
            }
        }
        for (name, value) in self.with_prefix(SCHILY) {
            found.insert(name.to_vec(), value.to_vec());
        }
        // A NUL comes only from an encoded name.
        found.into_iter().filter(|(name, _)| !name.is_empty() && !name.contains(&0)).collect()
    }

    fn with_prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + 'a {
        let from = self.0.range(prefix.to_vec()..);
        from.map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_slice())))
    }
}

/// The first record of `text`: its key, its value, and what follows.
fn record(text: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let bad = || corrupt("a record is malformed");
    let space = text.iter().position(|byte| *byte == b' ').ok_or_else(bad)?;
    let len = text.get(..space).and_then(decimal).and_then(|len| usize::try_from(len).ok()).ok_or_else(bad)?;
    // The length counts itself, the space and the newline at the end.
    let (record, rest) = text.split_at_checked(len).ok_or_else(bad)?;
    let record = record.get(space + 1..).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(bad)?;
    let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    // Names may not be cut short by a NUL; other values are binary.
    let text = match key {
        b"path" | b"linkpath" | b"uname" | b"gname" => value,
        _ => key,
    };
    if key.is_empty() || text.contains(&0) {
        return Err(bad());
    }
    Ok((key, value, rest))
}

/// A name without its `%xx`; `None` if one of them is cut off or no number.
fn url_decoded(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let (code, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        out.push(digit(*code.first()?)? << 4 | digit(*code.last()?)?);
        rest = after;
    }
    Some(out)
}

fn corrupt(what: &str) -> Error {
    Error::new(Kind::Corrupt, what)
}

#[cfg(test)]
mod tests {
    use super::super::craft::record as line;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_as_go_takes_them() {
        let get = |text: &str, key: &str| {
            Records::parse(text.as_bytes()).map(|records| records.get(key).map(|v| v.escape_ascii().to_string()))
        };
        for (text, key, value) in [
            ("6 k=1\n", "k", Some("1")),
            ("10 a=name\n", "a", Some("name")),
            ("9 a=name\n", "a", Some("name")),
            ("30 mtime=1350244992.023960108\n", "mtime", Some("1350244992.023960108")),
            ("13 key1=haha\n13 key2=nana\n13 key3=kaka\n", "key2", Some("nana")),
            ("13 key1=val1\n13 key2=val2\n8 key1=\n", "key1", None),
            ("13 key1=val1\n13 key1=val2\n", "key1", Some("val2")),
            ("11 k=a=b\nx\n", "k", Some("a=b\\nx")),
            ("", "k", None),
        ] {
            assert_eq!(get(text, key).expect("records").as_deref(), value, "{text:?}");
        }
        for text in [
            "3 somelongkey=\n",
            "50 tooshort=\n",
            "k=1\n",
            "6 k=1",
            "6 k=1\0",
            "5 k1\n",
            "5 =1\n",
            "-6 k=1\n",
            " 6 k=1\n",
            "0 k=1\n",
            "99999999999999999999 k=1\n",
            "8 a\0b=1\n",
            "11 path=a\0b\n",
            "6 k=1\n\0\0",
        ] {
            assert_eq!(Records::parse(text.as_bytes()).expect_err(text).kind(), Kind::Corrupt, "{text:?}");
        }
    }

    #[test]
    fn values_hold_any_bytes() {
        let value = b"\x01\0\0\x02\n12 path=/etc\n\xff\0=";
        let text = [line("SCHILY.xattr.security.capability", value), line("path", b"name")].concat();
        let records = Records::parse(&text).expect("records");
        assert_eq!(records.xattrs(), [(b"security.capability".to_vec(), value.to_vec())]);
        assert_eq!(records.get("path"), Some(&b"name"[..]));
    }

    #[test]
    fn attributes_in_both_ways() {
        let text = [
            line("LIBARCHIVE.xattr.user.both", b"bGliYXJjaGl2ZQ"),
            line("SCHILY.xattr.user.both", b"plain"),
            line("LIBARCHIVE.xattr.user.a%20%3D%25b", b"AP9/"),
            line("LIBARCHIVE.xattr.user.padded", b"YQ=="),
            line("LIBARCHIVE.xattr.user.bad", b"!"),
            line("LIBARCHIVE.xattr.user.%0", b"YQ"),
            line("LIBARCHIVE.xattr.user.%00", b"YQ"),
            line("LIBARCHIVE.xattr.user.%+f", b"YQ"),
            line("SCHILY.xattr.user.empty", b""),
            line("SCHILY.xattr.", b"no name"),
            line("SCHILY.xattrs", b"no attribute"),
        ]
        .concat();
        let xattrs = Records::parse(&text).expect("records").xattrs();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"user.a =%b", b"\0\xff\x7f"), (b"user.both", b"plain"), (b"user.empty", b""), (b"user.padded", b"a")];
        assert_eq!(xattrs, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
    }

    #[test]
    fn the_list_of_format_0_0_becomes_the_record_of_0_1() {
        let list = |pairs: &[(&str, &[u8])]| {
            Records::parse(&pairs.iter().flat_map(|(key, value)| line(key, value)).collect::<Vec<_>>())
        };
        let (offset, bytes) = ("GNU.sparse.offset", "GNU.sparse.numbytes");
        let records = list(&[(offset, b"1"), (bytes, b"2"), (offset, b"3"), (bytes, b"4")]).expect("list");
        assert_eq!(records.get("GNU.sparse.map"), Some(&b"1,2,3,4"[..]));
        for bad in [&[(bytes, &b"1"[..])][..], &[(offset, b"1"), (offset, b"2")], &[(offset, b"1,2")]] {
            assert_eq!(list(bad).expect_err("bad list").kind(), Kind::Corrupt);
        }
    }

    proptest! {
        #[test]
        fn records_give_back_what_was_written(pairs in prop::collection::btree_map("[a-zA-Z. ]{1,9}",
                                              prop::collection::vec(any::<u8>(), 1..200), 0..9)) {
            let pairs: Vec<_> = pairs.into_iter().filter(|(key, _)| key != "path").collect();
            let text: Vec<u8> = pairs.iter().flat_map(|(key, value)| line(key, value)).collect();
            let records = Records::parse(&text).expect("records");
            prop_assert_eq!(records.0.len(), pairs.len());
            for (key, value) in &pairs {
                prop_assert_eq!(records.get(key), Some(value.as_slice()));
            }
        }

        #[test]
        fn any_bytes_are_records_or_refused(text in prop::collection::vec(
            prop_oneof![Just(b' '), Just(b'='), Just(b'\n'), Just(b'6'), Just(b'k'), any::<u8>()], 0..60)) {
            if let Ok(records) = Records::parse(&text) {
                let _ = records.xattrs();
            }
        }
    }
}
