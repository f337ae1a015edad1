//! Views into layers: from the bytes of a layer's blob to the files in it, and from a stack of layers to one tree.
//!
//! Promises: content is read through [`crate::read_at::ReadAt`], as little of it as the format allows; what a layer
//! claims is checked or refused, with limits that have names; nothing panics on hostile input. Knows nothing of
//! registries, of the cache, or of who reads.

pub mod chunked;
mod diff;
pub mod entry;
pub mod estargz;
pub mod file;
pub mod format;
pub mod gzip;
pub mod index;
pub mod merge;
pub mod pass;
pub mod soci;
pub mod tar;
pub mod toc;
pub mod zstd;
