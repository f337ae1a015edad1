//! regfs mounts a registry as a drive: repositories, tags, manifests and blobs are directories and files.
//!
//! # Floors
//!
//! A module imports only lower floors, or its own folder; siblings do not see each other (`tests/floors.rs`).
//!
//! | floor | modules | what they know |
//! |---|---|---|
//! | 0 words | [`error`], [`digest`], [`name`], [`span`], [`stamp`], [`read_at`], [`manifest`], [`location`], [`source`], [`journal`] | grammar and arithmetic; no I/O |
//! | 1 wire | [`net`] | HTTP, credentials, mirrors, TLS; the only asynchronous code |
//! | 2 siblings | [`remote`], [`store`], [`layer`] | what a registry can do · what is cached, and that it is right · what is in a layer |
//! | 3 tree | [`tree`] | which name stands for what |
//! | 4 frontends | [`fuse`] | inode numbers, kernel TTLs, replies |
//! | 5 command line | [`cli`] | options, processes, terminals; `cli::assemble` puts everything together |
//!
//! The seam is [`read_at::ReadAt`]: whatever has bytes is one, and a read is a chain of them. [`tree::Node`] is the
//! other: whatever has a name is a directory, a file or a link, and a frontend only renames and replies.
//!
//! # One read
//!
//! `cat /mnt/reg/library/ubuntu/tags/22.04/config.json`, nothing known yet:
//!
//! 1. The kernel looks up each name. `fuse` finds the directory behind the inode number and asks it; what may wait
//!    moves, with its reply, to the pool of its remote. `library` and `ubuntu` cost nothing where the registry's
//!    catalog is not known; `22.04` is one `GET` of the manifest, whose bytes go to the store under their digest.
//! 2. `config.json` is a file over the blob that the manifest names; its size is the manifest's word.
//! 3. Opening it gives a handle of the store: that digest, whatever the tag comes to name.
//! 4. The read goes handle → memory → disk → remote. The remote is `remote::oci`, which asks `net::http` for the blob;
//!    it is under 8 MiB, so it is fetched whole, hashed, published, and only then served.
//! 5. `fuse` replies and lets the kernel keep the pages: a digest names one content for ever.
//!
//! A larger blob is served span by span (256 KiB) while its digest is computed; the last bytes wait for the verdict.
//!
//! `cat …/22.04/rootfs/etc/os-release` goes on from 2. The first name below `rootfs` has `tree::layers` read every layer
//! of the image, each on a thread: blob → `layer::pass` (inflate, tar) → a table that grows. `layer::merge` is asked
//! with the tables as they are, and again when one of them grew, until no layer can change the answer. The file is
//! extents of a layer's archive; its bytes come file → inflate (from the checkpoint before them) → store. When a layer
//! has come to its end, and is what its digest says, its table and checkpoints are kept as an index.
//!
//! # Invariants
//!
//! - Only one function gives a file its name in the cache's `blobs/`, and it takes a proof that the content was hashed.
//!   A span that is read back from disk is checked against its own sum first.
//! - Every request has a deadline and every wait on another thread a bound, so every thread is given back.
//! - Slow work never sits on a thread that reads the kernel's requests.
//! - An error is told once, where the reply is made, in words that name the thing; its kind alone decides the errno.
//! - Nothing from the wire reaches a path, a shell or a terminal unescaped; secrets have no `Debug`.
//! - Identities follow content: a moved tag's files are other inodes, so no cache of the kernel outlives its truth.

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
pub mod stamp;

// 1: the wire
pub mod net;

// 2: siblings
pub mod layer;
pub mod remote;
pub mod store;

// 3: names to nodes
pub mod tree;

// 4: frontends
pub mod fuse;

// 5: the command line
pub mod cli;
