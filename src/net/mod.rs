//! The wire: HTTP to registries, as blocking calls. The only floor that says `async`.
//!
//! One question passes through these, from top to bottom:
//! - [`http`] is the face: one [`http::Http`] per process, a `Host` per registry, an `Ask`, an `Answer`.
//! - `host` chooses endpoints (mirrors in order, the host itself last; [`mirrors`]) and the scheme (`probe`).
//! - `exchange` gets an answer of one endpoint: it asks again what may be asked again (`retry`), proves who asks
//!   (`auth`, `challenge`, `token`, [`credentials`]), and goes where blobs were found before (`targets`).
//! - `courier` follows redirects (`redirect`), and `wire` sends one request by one deadline over a pooled `client`
//!   ([`tls`]); `record` tells the journal.
//! - `answer` is the body, which has to keep a `pace`, `failure` what a refusal means.
//!
//! Promises: every call ends within the timeout plus the time that bytes keep coming at a pace worth waiting for; no secret leaves for another
//! origin than its own, or into words. Knows nothing of manifests, blobs or files.

pub mod credentials;
pub mod env;
pub mod hostname;
pub mod http;
pub mod mirrors;
pub mod tls;

mod answer;
mod ask;
mod auth;
mod challenge;
mod client;
mod courier;
mod exchange;
mod failure;
mod files;
mod flight;
mod host;
mod inflate;
mod memory;
mod origin;
mod pace;
mod pinned;
mod probe;
mod proxies;
mod record;
mod redirect;
mod retry;
mod runtime;
mod targets;
mod token;
mod unchecked;
mod wire;

// The words of HTTP that requests are made of, so that nobody above has to know where they come from.
pub use reqwest::{Method, header};
