//! HTTP for floor 2: blocking calls over one small async runtime (API outline; bodies to be written).
#![allow(missing_docs, clippy::todo, unused_variables)]
use crate::error::Result;
use crate::journal::Journal;
use crate::name::Repository;
use crate::net::env::Env;
use crate::span::Span;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

#[derive(Clone, Debug)]
pub struct Config {
    /// Seconds without progress before a request is given up (`--timeout`).
    pub timeout: Duration,
    /// Clear HTTP and unchecked certificates are allowed to hosts other than loopback.
    pub insecure: bool,
    /// No request is ever sent; everything fails `Unreachable`, saying so.
    pub offline: bool,
    pub journal: Arc<Journal>,
    /// Where configuration is read from: environment variables and files, replaceable in tests.
    pub env: Env,
}

/// One registry host with its credentials, mirrors and tokens. Cheap to clone.
#[derive(Clone)]
pub struct Host {}

/// The wire: runtime, connection pools, token cache. One per process.
pub struct Http {}

impl Http {
    pub fn new(config: Config) -> Result<Arc<Http>> {
        todo!()
    }
    /// The client for a registry named by the user: `registry.example.com:5000`, `docker.io`, or with an explicit
    /// scheme `http://host:port`. `http://` only for loopback or with `insecure`; without a scheme: https, but
    /// http for loopback hosts where https does not answer as TLS. Reads config, sends nothing.
    pub fn host(self: &Arc<Http>, name: &str) -> Result<Host> {
        todo!()
    }
    /// Hosts that credentials and configuration files know, for `all:`.
    pub fn known_hosts(&self) -> Vec<String> {
        todo!()
    }
}

/// What a request asks.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// `GET` or `HEAD`.
    pub method: reqwest::Method,
    /// Path below the host's base, with query: `/v2/library/ubuntu/tags/list?n=100`; or an absolute URL given by the host (Link), which gets credentials only if its origin is the host's.
    pub path: &'a str,
    /// What is asked for, for scopes, mirrors and messages.
    pub what: What<'a>,
    /// Extra headers (`Accept`, `If-None-Match`).
    pub headers: HeaderMap,
    /// One range of bytes.
    pub range: Option<Span>,
}

#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// `/v2/`
    Base,
    Catalog,
    /// Tags, manifests, referrers of a repository. `by_tag`: the answer decides what a tag means (mirrors without `resolve` are skipped).
    Metadata {
        repository: &'a Repository,
        by_tag: bool,
    },
    Blob {
        repository: &'a Repository,
    },
}

/// An answer whose body is still on the wire.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Where it came from after redirects.
    pub url: Url,
}

impl Host {
    /// As the user calls it.
    pub fn name(&self) -> &str {
        todo!()
    }
    /// Sends it: mirrors in order, then the host itself; credentials, the 401 dance, redirects, retries by kind and
    /// deadlines are done here. 2xx and 304 are answers, and 404, 405, 416 too where `accept` lists them; every
    /// other status is an error whose kind is that of protocols.md 1.11 and whose words are the server's.
    pub fn send(&self, ask: &Ask<'_>, accept: &[u16]) -> Result<Answer> {
        todo!()
    }
}

impl Answer {
    /// The next part of the body; `None` at its end. `Timeout` after `timeout` without a byte.
    pub fn chunk(&mut self) -> Result<Option<Bytes>> {
        todo!()
    }
    /// The whole body, decoded if the server compressed it; `TooBig` over `limit`.
    pub fn bytes(self, limit: u64) -> Result<Bytes> {
        todo!()
    }
}
