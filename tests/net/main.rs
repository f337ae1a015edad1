//! The wire against scripted servers: every item of protocols.md 0, 1.1, 1.2 and 1.6 that concerns it.
#![allow(missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod challenges;
mod configured;
mod credentials;
mod deadlines;
mod kit;
mod links;
mod mirrors;
mod real;
mod redirects;
mod refusals;
mod retries;
mod routes;
mod schemes;
mod setup;
mod skopeo;
mod tls;
mod tokens;
