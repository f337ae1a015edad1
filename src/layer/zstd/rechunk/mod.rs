//! A copy of a layer's content in chunks that can be read at random, made on the first pass.
//!
//! For layers whose frames are too large to be entered: usually one frame is the whole layer. Each chunk is a zstd
//! frame of its own (or as it is, where it does not compress) with a check. Promises: a chunk is checked before a byte
//! of it is served. The file has no header; the table, kept elsewhere, is what makes sense of it.

mod reader;
mod table;
mod writer;

pub use reader::Rechunked;
pub use table::Table;
pub use writer::Writer;

/// Bytes of content of a chunk, but of the last.
pub const CHUNK: usize = 1 << 20;

#[cfg(test)]
mod tests;
