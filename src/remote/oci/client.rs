//! What every request of this folder shares: the host, how a small document is fetched, whether it is a registry.

use super::Options;
use super::plain::Plain;
use crate::error::{Error, Kind, Result};
use crate::net::Method;
use crate::net::header::HeaderMap;
use crate::net::http::{Ask, Host, What};
use bytes::Bytes;
use url::Url;

/// How often a document whose body broke off is asked for again. The wire has retried what comes before the body.
const BODY_RETRIES: u32 = 2;

pub(super) struct Client {
    pub(super) host: Host,
    pub(super) options: Options,
    /// The repositories whose blobs are not served in parts.
    pub(super) plain: Plain,
}

/// A document at hand.
pub(super) struct Fetched {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    /// The body; empty unless the status is 2xx.
    pub(super) bytes: Bytes,
}

impl Client {
    pub(super) fn new(host: Host, options: Options) -> Client {
        Client { host, options, plain: Plain::default() }
    }

    /// Whether `/v2/` answers as a registry does (distribution-spec, "Determining Support").
    pub(super) fn ping(&self) -> Result<()> {
        let ask = Ask { method: Method::GET, path: "/v2/", what: What::Base, headers: HeaderMap::new(), range: None };
        let not =
            |why: &str| Error::new(Kind::Protocol, format!("{} is not a registry: GET /v2/ {why}", self.host.name()));
        match self.host.send(&ask, &[404, 405]) {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(not(&format!("is answered with {}", answer.status))),
            // Statuses that registries have no use for here; credentials and the wire speak for themselves.
            Err(error) => match error.kind() {
                Kind::NotFound | Kind::Unsupported | Kind::Invalid | Kind::Protocol => {
                    Err(not(&format!("fails: {error}")))
                }
                _ => Err(error.context(format!("ask {}", self.host.name()))),
            },
        }
    }

    /// Fetches a document of at most `limit` bytes; statuses of `accept` come back as they are, without a body.
    pub(super) fn fetch(&self, ask: &Ask<'_>, accept: &[u16], limit: u64) -> Result<Fetched> {
        let mut retries = 0;
        loop {
            let answer = self.host.send(ask, accept)?;
            let (status, headers, url) = (answer.status, answer.headers.clone(), answer.url.clone());
            if !(200..300).contains(&status) {
                return Ok(Fetched { status, headers, url, bytes: Bytes::new() });
            }
            match answer.bytes(limit) {
                Ok(bytes) => return Ok(Fetched { status, headers, url, bytes }),
                Err(error) if retries < BODY_RETRIES && is_broken(&error) => retries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the connection failed rather than what came over it. Not a timeout: waiting it out again helps nobody.
pub(super) fn is_broken(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unreachable | Kind::Protocol | Kind::Server | Kind::Io)
}
