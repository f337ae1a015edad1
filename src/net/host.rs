//! One registry host: where its requests go.

use super::answer::Answer;
use super::ask::Ask;
use super::failure;
use super::http::Http;
use super::origin::{self, Named};
use super::wire::{self, Shot};
use crate::error::{Error, Kind, Result};
use reqwest::header::HeaderValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

/// Requests in flight per host.
const MAX_IN_FLIGHT: usize = 32;

/// One registry host with its credentials, mirrors and tokens. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    http: Arc<Http>,
    named: Arc<Named>,
    base: Url,
    flights: Arc<Semaphore>,
}

impl Host {
    pub(super) fn new(http: &Arc<Http>, name: &str) -> Result<Host> {
        let named = Named::parse(name)?;
        let bad = || Error::new(Kind::Invalid, format!("{}: not a host", named.name));
        let probe: Url = format!("http://{}", origin::served_by(&named.name)).parse().map_err(|_| bad())?;
        let loopback = origin::is_loopback(&probe);
        let https = named.https.unwrap_or(!loopback);
        if !https && !loopback && !http.config.insecure {
            return Err(Error::new(Kind::Invalid, format!("http://{}: clear HTTP needs --insecure", named.name)));
        }
        let scheme = if https { "https" } else { "http" };
        let base = format!("{scheme}://{}", origin::served_by(&named.name)).parse().map_err(|_| bad())?;
        let flights = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        Ok(Host { http: Arc::clone(http), named: Arc::new(named), base, flights })
    }

    /// As the user calls it: `registry.example.com:5000`, `docker.io`.
    pub fn name(&self) -> &str {
        &self.named.name
    }

    /// Sends it: mirrors in order, then the host itself; credentials, the 401 dance, redirects, retries by kind and
    /// deadlines are done here. 2xx and 304 are answers, and those that `accept` lists (404, 405, 416); every
    /// other status is an error whose kind is that of protocols.md 1.11 and whose words are the server's.
    pub fn send(&self, ask: &Ask<'_>, accept: &[u16]) -> Result<Answer> {
        if self.http.config.offline {
            return Err(Error::new(Kind::Unreachable, format!("{} is not asked: --offline", self.name())));
        }
        self.http.runtime.block_on(self.send_async(ask, accept))
    }

    async fn send_async(&self, ask: &Ask<'_>, accept: &[u16]) -> Result<Answer> {
        let deadline = Instant::now() + self.http.config.timeout;
        let permit = Arc::clone(&self.flights).acquire_owned().await.map_err(|_| Error::new(Kind::Io, "closed"))?;
        let url = if ask.path.starts_with('/') { self.base.join(ask.path) } else { ask.path.parse() };
        let url = url.map_err(|error| Error::new(Kind::Invalid, format!("{}: {error}", ask.path)))?;
        let mut headers = ask.headers.clone();
        if let Ok(range) = HeaderValue::from_str(&ask.range_header())
            && !range.is_empty()
        {
            headers.insert(reqwest::header::RANGE, range);
        }
        let shot = Shot { remote: self.name(), method: ask.method.clone(), url: &url, headers, form: None, deadline };
        let reply =
            wire::send(&self.http.client, &self.http.config.journal, shot).await.map_err(|fault| fault.error)?;
        let status = reply.status();
        if reply.response.status().is_success() || status == 304 || accept.contains(&status) {
            return Answer::new(Arc::clone(&self.http), reply, permit);
        }
        let words = reply.record.words();
        let body = reply.drain(failure::MAX_BODY, Duration::from_secs(2)).await;
        let failure = failure::read(status, &body);
        Err(Error::new(failure.kind, format!("{words}: {}", failure.words)))
    }
}
