//! Reads flatbuffers, every access checked against the end of the buffer.
//!
//! Of the format's types there is what a zTOC has. Strings are bytes: those of a zTOC hold extended attributes, which the
//! `flatbuffers` crate refuses as text, and its accessors are unsafe.

use super::corrupt;
use crate::error::Result;

/// A table in a buffer.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
    /// Where its fields are, from `at`: two bytes each.
    fields: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table that the buffer is of.
    pub(super) fn root(buffer: &'a [u8]) -> Result<Table<'a>> {
        let at = u32::from_le_bytes(fixed(buffer, 0)?) as usize;
        Table::at(buffer, at)
    }

    fn at(buffer: &'a [u8], at: usize) -> Result<Table<'a>> {
        let back = i64::from(i32::from_le_bytes(fixed(buffer, at)?));
        let start = i64::try_from(at).ok().and_then(|at| usize::try_from(at - back).ok()).ok_or_else(outside)?;
        let len = usize::from(u16::from_le_bytes(fixed(buffer, start)?));
        let fields = start.checked_add(4).and_then(|from| buffer.get(from..start.checked_add(len)?));
        Ok(Table { buffer, at, fields: fields.ok_or_else(outside)? })
    }

    /// Where a field is in the buffer; `None` if it has its default.
    fn field(&self, id: u16) -> Option<usize> {
        let from = usize::from(id) * 2;
        let offset = u16::from_le_bytes(*self.fields.get(from..)?.first_chunk()?);
        self.at.checked_add(usize::from(offset)).filter(|_| offset != 0)
    }

    fn number<const N: usize>(&self, id: u16) -> Result<Option<[u8; N]>> {
        self.field(id).map(|at| fixed(self.buffer, at)).transpose()
    }

    /// A byte, or its default.
    pub(super) fn u8(&self, id: u16, default: u8) -> Result<u8> {
        Ok(self.number(id)?.map_or(default, u8::from_le_bytes))
    }

    /// A number, or 0.
    pub(super) fn i32(&self, id: u16) -> Result<i32> {
        Ok(self.number(id)?.map_or(0, i32::from_le_bytes))
    }

    /// A number, or 0.
    pub(super) fn u32(&self, id: u16) -> Result<u32> {
        Ok(self.number(id)?.map_or(0, u32::from_le_bytes))
    }

    /// A number, or 0.
    pub(super) fn i64(&self, id: u16) -> Result<i64> {
        Ok(self.number(id)?.map_or(0, i64::from_le_bytes))
    }

    /// What a string or a vector of bytes holds, or nothing.
    pub(super) fn bytes(&self, id: u16) -> Result<&'a [u8]> {
        match self.field(id) {
            Some(at) => bytes(self.buffer, follow(self.buffer, at)?),
            None => Ok(&[]),
        }
    }

    /// A table, if there is one.
    pub(super) fn table(&self, id: u16) -> Result<Option<Table<'a>>> {
        self.field(id).map(|at| Table::at(self.buffer, follow(self.buffer, at)?)).transpose()
    }

    /// A vector of tables or of strings, or an empty one.
    pub(super) fn vector(&self, id: u16) -> Result<Vector<'a>> {
        let Some(at) = self.field(id) else { return Ok(Vector { buffer: self.buffer, start: 0, len: 0 }) };
        let at = follow(self.buffer, at)?;
        let len = u32::from_le_bytes(fixed(self.buffer, at)?) as usize;
        let start = at.checked_add(4).ok_or_else(outside)?;
        let end = len.checked_mul(4).and_then(|size| start.checked_add(size));
        if end.is_none_or(|end| end > self.buffer.len()) {
            return Err(outside());
        }
        Ok(Vector { buffer: self.buffer, start, len })
    }
}

/// A vector of offsets, whole in its buffer.
#[derive(Clone, Copy)]
pub(super) struct Vector<'a> {
    buffer: &'a [u8],
    start: usize,
    len: usize,
}

impl<'a> Vector<'a> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The places of the elements.
    fn places(self) -> impl Iterator<Item = Result<usize>> + 'a {
        (0..self.len).map(move |index| follow(self.buffer, self.start + index * 4))
    }

    /// The elements, if they are tables.
    pub(super) fn tables(self) -> impl Iterator<Item = Result<Table<'a>>> + 'a {
        self.places().map(move |at| Table::at(self.buffer, at?))
    }

    /// The elements, if they are strings.
    pub(super) fn strings(self) -> impl Iterator<Item = Result<&'a [u8]>> + 'a {
        self.places().map(move |at| bytes(self.buffer, at?))
    }
}

/// Where the offset at `at` leads.
fn follow(buffer: &[u8], at: usize) -> Result<usize> {
    at.checked_add(u32::from_le_bytes(fixed(buffer, at)?) as usize).ok_or_else(outside)
}

fn bytes(buffer: &[u8], at: usize) -> Result<&[u8]> {
    let len = u32::from_le_bytes(fixed(buffer, at)?) as usize;
    buffer.get(at..).and_then(|rest| rest.get(4..)).and_then(|rest| rest.get(..len)).ok_or_else(outside)
}

fn fixed<const N: usize>(buffer: &[u8], at: usize) -> Result<[u8; N]> {
    buffer.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(outside)
}

fn outside() -> crate::error::Error {
    corrupt("an offset leads out of it")
}
