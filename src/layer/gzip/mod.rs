//! gzip layers (RFC 1952): one pass that inflates and notes where inflating can begin again, then reads at any offset.
//!
//! [`Scanner`] takes the compressed bytes as they come, gives what they inflate to, and every [`SPACING`] bytes of it
//! a [`Checkpoint`]: a place between two DEFLATE blocks, with the bytes before it that what follows refers to, and a
//! check of what follows. [`Inflated`] reads through them: a read inflates the span between two checkpoints and no
//! more, checks it before a byte is served, and keeps it in a [`Cache`].
//!
//! What a blob is: one member or more, one after the other, as Go's `compress/gzip` reads them. What follows a member
//! and does not begin with the two bytes of the magic number ends the content and is ignored, be it padding (bsdtar)
//! or anything else: gzip, pigz and umoci do so. What does begin with them must be a whole member. The digest of the
//! blob covers what is ignored.
//!
//! Promises: damaged or lying input is `Corrupt` and what is over a limit `TooBig`; never a panic, never more memory
//! than the limits say. Does not know what is in the content, nor where blobs and checkpoints are kept.

mod ahead;
mod cache;
mod checkpoint;
mod header;
mod inflate;
mod inflated;
mod members;
mod resume;
mod scan;
mod spans;
mod sparse;
#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use checkpoint::{Checkpoint, Point, Points, Table, unpack};
pub use inflated::Inflated;
pub use scan::Scanner;

/// How far apart checkpoints are, in uncompressed bytes: a read inflates about this much at most, and the checkpoints
/// of text take two thousandths of its size.
pub const SPACING: u64 = 1 << 20;

/// The least spacing; smaller ones are raised to it. A checkpoint is complete only a window's length after its place.
pub const MIN_SPACING: u64 = 64 << 10;

/// The largest span between two checkpoints, uncompressed. Encoders end a block after some ten thousand symbols of at
/// most 258 bytes, so that spans of theirs stay under a quarter of this; but zlib-ng at level 1 never ends one.
pub const MAX_SPAN: u64 = 64 << 20;

/// The most that a layer may inflate to. The ratio needs no limit of its own: DEFLATE's is 1032.
pub const MAX_UNCOMPRESSED: u64 = 1 << 40;

/// The longest header of a member, with its name, its comment and its extra field (64 KiB at most).
pub const MAX_HEADER: u64 = 1 << 20;

/// How far back DEFLATE refers, in bytes.
const WINDOW: usize = 32 << 10;

/// DEFLATE spends at least two bits on 258 bytes.
const MAX_RATIO: u64 = 1032;
