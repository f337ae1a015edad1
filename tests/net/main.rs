//! The wire against scripted servers: every item of protocols.md 0, 1.1, 1.2 and 1.6 that concerns it.
#![allow(missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod credentials;
mod kit;
mod mirrors;
mod setup;
mod skopeo;
mod tls;
