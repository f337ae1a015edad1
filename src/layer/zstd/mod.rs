//! zstd layers (RFC 8878): one pass over the whole, and what random reads need after it.
//!
//! A layer of many small frames is read frame by frame ([`Framed`]); one of large frames cannot be entered in the
//! middle, so that the first pass writes a copy of its content in chunks ([`rechunk`]). Promises: content checksums
//! are checked, windows and sizes are bounded by limits that have names. Knows nothing of tar.

pub mod cache;
pub(super) mod exact;
mod frame;
mod framed;
pub mod rechunk;
mod scan;
mod seal;
mod table;

pub use framed::Framed;
pub use scan::Scanner;
pub use table::{Frames, Piece};

/// The largest window, as a power of two: 128 MiB, what the C library, Go's and containerd's readers accept.
pub const MAX_WINDOW_LOG: u32 = 27;
/// The most content of a layer: 1 TiB.
pub const MAX_CONTENT: u64 = 1 << 40;
