//! Tables as bytes: a magic with a version, little-endian numbers, and a check over all of it at the end.

use crate::error::{Error, Kind, Result};

/// Bytes of the check.
const CHECK: usize = 32;

/// Writes a table.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A table of `magic` that is about `len` bytes long.
    pub(super) fn new(magic: &[u8; 8], len: usize) -> Writer {
        let mut bytes = Vec::with_capacity(len + magic.len() + CHECK);
        bytes.extend_from_slice(magic);
        Writer(bytes)
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn hash(&mut self, hash: &[u8; 32]) {
        self.0.extend_from_slice(hash);
    }

    /// The bytes, with their check.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let check = blake3::hash(&self.0);
        self.0.extend_from_slice(check.as_bytes());
        self.0
    }
}

/// Reads a table that was checked.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// The table in `bytes`; `Corrupt` if it is another, of another version, or damaged. `what` names it in errors.
    pub(super) fn new(magic: &[u8; 8], bytes: &'a [u8], what: &'static str) -> Result<Reader<'a>> {
        let corrupt = |why: &str| Error::new(Kind::Corrupt, format!("the {what} {why}"));
        let (body, check) = bytes.split_last_chunk::<CHECK>().ok_or_else(|| corrupt("is too short"))?;
        if blake3::hash(body).as_bytes() != check {
            return Err(corrupt("is damaged"));
        }
        match body.strip_prefix(magic) {
            Some(rest) => Ok(Reader { rest, what }),
            None => Err(corrupt("is of another version")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let (number, rest) = self.rest.split_first_chunk::<8>().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*number))
    }

    pub(super) fn hash(&mut self) -> Result<[u8; 32]> {
        let (hash, rest) = self.rest.split_first_chunk::<32>().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*hash)
    }

    /// A number of records of `size` bytes, which must be exactly what is left.
    pub(super) fn count(&mut self, size: usize) -> Result<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| self.short())?;
        if count.checked_mul(size) != Some(self.rest.len()) {
            return Err(self.short());
        }
        Ok(count)
    }

    fn short(&self) -> Error {
        Error::new(Kind::Corrupt, format!("the {} is not as long as it says", self.what))
    }
}
