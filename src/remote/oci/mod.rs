//! A registry over HTTP: the read side of the OCI distribution-spec 1.1 and Docker's Registry HTTP API V2.
//!
//! Promises: manifests are checked before they are returned; no byte of a blob is delivered under an offset that the
//! registry did not give it; listings end. Tolerates what real registries do (protocols.md 1.3 to 1.6). Knows
//! nothing of credentials, mirrors, redirects and retries, which are the wire's, nor of caching.

mod blob;
mod body;
mod client;
mod headers;
mod link;
mod listing;
mod manifests;
mod pages;
mod plain;
mod referrers;
mod transfer;

use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{Descriptor, Manifest};
use crate::name::{Reference, Repository, Tag};
use crate::net::http::Host;
use crate::read_at::ReadAt;
use crate::remote::{Listing, Registry};
use client::Client;
use std::sync::Arc;

/// What a user may choose of how a registry is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Layers that the registry does not hold are fetched from the `urls` of their descriptors, without credentials.
    /// Off: reading one is an error that says so.
    pub foreign_urls: bool,
}

/// A registry over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct Oci(Arc<Client>);

impl Oci {
    /// The registry at `host`; sends nothing.
    pub fn new(host: Host, options: Options) -> Oci {
        Oci(Arc::new(Client::new(host, options)))
    }
}

impl Registry for Oci {
    fn name(&self) -> &str {
        self.0.host.name()
    }

    fn ping(&self) -> Result<()> {
        self.0.ping()
    }

    fn repositories(&self) -> Result<Listing<Repository>> {
        listing::repositories(&self.0)
    }

    fn tags(&self, repository: &Repository) -> Result<Listing<Tag>> {
        listing::tags(&self.0, repository)
    }

    fn resolve(&self, repository: &Repository, tag: &Tag, known: Option<&Descriptor>) -> Result<Descriptor> {
        manifests::resolve(&self.0, repository, tag, known)
    }

    fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<Manifest> {
        manifests::manifest(&self.0, repository, reference)
    }

    fn blob_size(&self, repository: &Repository, digest: &Digest) -> Result<u64> {
        blob::size(&self.0, repository, digest)
    }

    fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> Arc<dyn ReadAt> {
        Arc::new(blob::Blob::new(Arc::clone(&self.0), repository, descriptor))
    }

    fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        referrers::referrers(&self.0, repository, digest)
    }
}
