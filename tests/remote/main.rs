//! Registries and layouts as remotes: one conformance suite over all of them, and each quirk of real servers.

#[path = "../support/mod.rs"]
mod support;

mod blobs;
mod connect;
mod fixture;
mod layout;
mod listing;
mod manifests;
mod real;
mod referrers;
mod suite;
