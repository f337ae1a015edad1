//! regfs mounts a registry as a drive: repositories, tags, manifests and blobs are directories and files.

// Floors, lowest first; a module imports only lower floors or its own folder (tests/floors.rs).

// 0: words, no I/O
pub mod digest;
pub mod error;
pub mod journal;
pub mod location;
pub mod manifest;
pub mod name;
pub mod read_at;
pub mod source;
pub mod span;

// 1: the wire
pub mod net;

// 2: siblings
pub mod remote;
pub mod store;

// 3: names to nodes
pub mod tree;

// 4: frontends
pub mod fuse;

// 5: the command line
pub mod cli;
