//! The wire against scripted and real servers: every item of protocols.md 0, 1.1, 1.2, 1.6 and 1.11 that concerns it.
#![allow(missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod challenges;
mod deadlines;
mod kit;
mod links;
mod mirrors;
mod real;
mod redirects;
mod refusals;
mod retries;
mod schemes;
mod tokens;
