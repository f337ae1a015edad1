//! What a registry can do, whatever it is reached by: the trait that every registry client implements.
//!
//! Promises: manifests come back checked against the digest they were asked by; blobs do not (the store checks
//! them). Knows nothing of caching, of file names, of who asks.

mod check;
pub mod layout;
mod names;
pub mod oci;

use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{Descriptor, Manifest};
use crate::name::{Reference, Repository, Tag};
use crate::read_at::ReadAt;
use std::sync::Arc;

/// Names that a remote listed.
#[derive(Clone, Debug, Default)]
pub struct Listing<T> {
    /// The names, sorted, each once.
    pub names: Vec<T>,
    /// Why this is not all there is, if it is not: a registry that refuses to list, or a limit that was reached.
    pub partial: Option<String>,
}

/// A registry, as far as it can be read. Every call may block, and ends within the deadlines of the wire.
pub trait Registry: Send + Sync {
    /// The registry as the user calls it: `registry.example.com:5000`, `oci:/path`. Used in messages and as a key.
    fn name(&self) -> &str;

    /// Whether it is there and is a registry (`GET /v2/`). Refused credentials are `Denied`.
    fn ping(&self) -> Result<()>;

    /// The repositories it lists. One that refuses to list gives an empty, partial listing, not an error; one that
    /// refuses whoever asks altogether, as [`Registry::ping`] tells, is `Denied`.
    fn repositories(&self) -> Result<Listing<Repository>>;

    /// The tags of a repository, without those that are not tags. `NotFound` if it does not exist.
    fn tags(&self, repository: &Repository) -> Result<Listing<Tag>>;

    /// What a tag names now: digest, size and type of the manifest. `known` is what it named before; where the
    /// remote can say "unchanged" for less, it is asked so. `NotFound` if there is no such tag.
    fn resolve(&self, repository: &Repository, tag: &Tag, known: Option<&Descriptor>) -> Result<Descriptor>;

    /// A manifest, checked: by digest against that digest, by tag against what the remote says it is.
    /// `NotFound` if there is none; `Corrupt` if the bytes are others.
    fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<Manifest>;

    /// The size of a blob. `NotFound` if there is none.
    fn blob_size(&self, repository: &Repository, digest: &Digest) -> Result<u64>;

    /// The bytes of a blob, unchecked, lazily: no request is made before the first read. Its length is
    /// `descriptor.size`; a remote that holds another length is `Corrupt` at the first read, one that does not hold
    /// it at all is `Io`: whoever reads has found the name already (protocols.md 1.11, BLOB_UNKNOWN).
    fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> Arc<dyn ReadAt>;

    /// What refers to a manifest, by the referrers API or its fallback tag. None is an empty list.
    fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>>;
}
