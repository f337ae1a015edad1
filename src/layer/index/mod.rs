//! The table of one layer: growing in memory while the layer is read, then one immutable file, read in place.
//!
//! A node has the same number in both, so that who looks need not know which it is: both are a [`super::toc::Toc`].
//! The file has about 70 bytes an entry: a record of 48 bytes for each node, 8 bytes for each name in its directory,
//! and each distinct name, link target and set of attributes once. It checks itself when it is opened, and what it
//! says is checked again wherever it leads: a damaged file is `Corrupt`, whatever its bytes.
//!
//! Knows nothing of whiteouts but their prefix, nor of other layers; that is merging's. Where files are kept, how they
//! get their names, and when they go is the cache's.

mod body;
mod build;
mod edges;
mod facts;
mod format;
mod growing;
mod heap;
pub mod limits;
mod open;
pub(crate) mod path;
mod record;
mod tables;
#[cfg(test)]
mod tests;
mod write;

pub use facts::{Facts, Format, Point};
pub use growing::Growing;
pub use limits::Limits;
pub use open::Index;
