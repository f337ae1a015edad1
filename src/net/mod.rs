//! The wire: HTTP to registries, as blocking calls. The only floor that says `async`.
//!
//! One request passes, from top to bottom: `http` and `host` (mirrors, then the origin), the exchange with one
//! endpoint (retries, credentials, redirects), `wire` (one request, one deadline), `answer` (its body).

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
