//! Writes the copy: content is pushed in, chunks go to a file.

use super::CHUNK;
use super::table::Table;
use crate::error::{Error, Kind, Result};
use crate::layer::zstd::MAX_CONTENT;
use std::io::Write;
use zstd::bulk::Compressor;

/// The quickest level that compresses: the copy is local, and read far more often than it is sent.
const LEVEL: i32 = 1;

/// A copy that is being written. Memory: two chunks.
pub struct Writer {
    file: Box<dyn Write + Send>,
    encoder: Compressor<'static>,
    table: Table,
    /// Content of the chunk that is not full.
    pending: Vec<u8>,
    packed: Vec<u8>,
}

impl Writer {
    /// A copy into `file`, which is empty.
    pub fn new(file: impl Write + Send + 'static) -> Result<Writer> {
        let encoder = Compressor::new(LEVEL).map_err(|error| Error::with(Kind::Io, "start a zstd encoder", error))?;
        let (pending, packed) = (Vec::with_capacity(CHUNK), vec![0; CHUNK]);
        Ok(Writer { file: Box::new(file), encoder, table: Table::default(), pending, packed })
    }

    /// Takes the next bytes of content. `NoSpace` and the like if the file takes no more; then the copy is lost.
    pub fn push(&mut self, mut content: &[u8]) -> Result<()> {
        if self.table.len.saturating_add(content.len() as u64) > MAX_CONTENT {
            return Err(Error::new(Kind::TooBig, format!("the content is over {} GiB", MAX_CONTENT >> 30)));
        }
        self.table.len += content.len() as u64;
        while !content.is_empty() {
            let (now, later) = content.split_at(content.len().min(CHUNK - self.pending.len()));
            self.pending.extend_from_slice(now);
            content = later;
            if self.pending.len() == CHUNK {
                self.chunk()?;
            }
        }
        Ok(())
    }

    /// Writes the last chunk. The file is not synced: its table should be published after the caller did that.
    pub fn finish(mut self) -> Result<Table> {
        if !self.pending.is_empty() {
            self.chunk()?;
        }
        Ok(self.table)
    }

    fn chunk(&mut self) -> Result<()> {
        // The buffer is as long as the content less a byte: what does not fit there is kept as it is.
        let room = self.pending.len() - 1;
        let fits = self.packed.get_mut(..room).and_then(|to| self.encoder.compress_to_buffer(&self.pending, to).ok());
        let bytes = match fits.and_then(|len| self.packed.get(..len)) {
            Some(packed) => packed,
            None => &self.pending,
        };
        let at = self.table.file_len();
        self.file.write_all(bytes).map_err(|error| Error::io("write the copy of a layer", error))?;
        self.table.chunks.push((at + bytes.len() as u64, *blake3::hash(bytes).as_bytes()));
        self.pending.clear();
        Ok(())
    }
}
