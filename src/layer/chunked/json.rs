//! Reads the JSON of a table of contents, record by record: a list of records is never in memory twice.

use super::record::Record;
use super::table::Builder;
use super::{MAX_RECORDS, MAX_TOC, Packing, TocLayer};
use crate::error::{Error, Kind, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The layer that a table of contents tells of. `data_end` is where the data of files ends in the blob: the table comes
/// after it. The JSON's digest is the caller's to check.
///
/// Errors: `Corrupt` for a table that is malformed or does not add up, `TooBig` for one over a limit, `Unsupported` for
/// other versions and for names and digests that cannot be used.
pub fn parse(json: &[u8], packing: Packing, data_end: u64) -> Result<TocLayer> {
    if json.len() as u64 > MAX_TOC {
        let why = format!("toc: {} bytes are over the limit of {} MiB", json.len(), MAX_TOC >> 20);
        return Err(Error::new(Kind::TooBig, why));
    }
    let mut toc = Toc { builder: Builder::new(packing, data_end), version: None, failed: None };
    let mut from = serde_json::Deserializer::from_slice(json);
    let parsed = (&mut from).deserialize_map(&mut toc).and_then(|()| from.end());
    if let Some(error) = toc.failed {
        return Err(error);
    }
    parsed.map_err(|error| Error::with(Kind::Corrupt, "toc: malformed", error))?;
    match toc.version {
        Some(1) => toc.builder.finish(),
        Some(other) => Err(Error::new(Kind::Unsupported, format!("toc: version {other} is not known"))),
        None => Err(Error::new(Kind::Corrupt, "toc: it does not say its version")),
    }
}

struct Toc {
    builder: Builder,
    version: Option<i64>,
    /// Why a record was refused: what serde passes on has no kind.
    failed: Option<Error>,
}

impl<'de> Visitor<'de> for &mut Toc {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => self.version = Some(map.next_value()?),
                "entries" if seen => return Err(A::Error::custom("two lists of entries")),
                "entries" => {
                    seen = true;
                    map.next_value_seed(Entries(self))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Entries<'a>(&'a mut Toc);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    /// What Go writes for a list of none.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut count = 0usize;
        while let Some(record) = list.next_element::<Record<'de>>()? {
            count += 1;
            let taken = if count > MAX_RECORDS {
                Err(Error::new(Kind::TooBig, format!("toc: more than {MAX_RECORDS} entries")))
            } else {
                self.0.builder.push(&record)
            };
            if let Err(error) = taken {
                self.0.failed = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}
