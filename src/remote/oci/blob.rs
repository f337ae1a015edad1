//! Blobs: their size, and where their bytes are asked for (distribution-spec, "Pulling blobs").
//!
//! Does not check digests: the store does.

use super::client::Client;
use super::headers::{self, ContentRange};
use super::manifests::is_refused_head;
use super::transfer;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::Descriptor;
use crate::name::Repository;
use crate::net::Method;
use crate::net::header::HeaderMap;
use crate::net::http::{Answer, Ask, What};
use crate::read_at::{ReadAt, Sink};
use crate::span::Span;
use std::sync::Arc;
use url::Url;

/// The size of a blob, by HEAD; by a GET that reads nothing where HEAD does not tell. `NotFound` if there is none.
pub(super) fn size(client: &Client, repository: &Repository, digest: &Digest) -> Result<u64> {
    let say =
        |error: Error| error.context(format!("find blob {} of {}/{repository}", digest.short(), client.host.name()));
    let path = format!("/v2/{repository}/blobs/{digest}");
    let ask =
        |method, range| Ask { method, path: &path, what: What::Blob { repository }, headers: HeaderMap::new(), range };
    match client.host.send(&ask(Method::HEAD, None), &[405]) {
        Ok(answer) if answer.status == 200 => {
            // Some servers give HEAD no length, or that of the body it does not have.
            if let Some(length) = headers::content_length(&answer.headers)
                && (length > 0 || *digest == Digest::of(b""))
            {
                return Ok(length);
            }
        }
        Ok(_) => {}
        Err(error) if error.kind() == Kind::NotFound => return Err(say(error)),
        // A URL that was signed for GET alone is refused as anything else might be.
        Err(error) if is_refused_head(&error) => {}
        Err(error) => return Err(say(error)),
    }
    let answer = client.host.send(&ask(Method::GET, Some(Span::new(0, 1))), &[416]).map_err(say)?;
    let told = match headers::content_range(&answer.headers) {
        Some(ContentRange::Part { total, .. }) if answer.status == 206 => total,
        Some(ContentRange::Unsatisfied { total }) if answer.status == 416 => Some(total),
        _ if answer.status == 200 => headers::content_length(&answer.headers),
        _ => None,
    };
    told.ok_or_else(|| say(Error::new(Kind::Protocol, "the registry does not say how long it is")))
}

/// One blob of a repository.
pub(super) struct Blob {
    pub(super) client: Arc<Client>,
    pub(super) repository: Repository,
    pub(super) descriptor: Descriptor,
}

impl Blob {
    pub(super) fn new(client: Arc<Client>, repository: &Repository, descriptor: &Descriptor) -> Blob {
        Blob { client, repository: repository.clone(), descriptor: descriptor.clone() }
    }

    /// Puts in front of an error what was being done.
    pub(super) fn say(&self, error: &Error) -> Error {
        let (digest, host) = (self.descriptor.digest.short(), self.client.host.name());
        error.context(format!("read blob {digest} of {host}/{}", self.repository))
    }

    /// Asks the registry for `range`, or where it does not hold the blob, and the user wants that, its other places.
    pub(super) fn ask(&self, range: Option<Span>) -> Result<Answer> {
        let path = format!("/v2/{}/blobs/{}", self.repository, self.descriptor.digest);
        let error = match self.send(&path, range) {
            Err(error) if error.kind() == Kind::NotFound => error,
            other => return other,
        };
        let elsewhere: Vec<Url> = self.descriptor.urls.iter().filter_map(|url| Url::parse(url).ok()).collect();
        if !self.descriptor.urls.is_empty() && !self.client.options.foreign_urls {
            let place = elsewhere.first().and_then(Url::host_str).unwrap_or("another place");
            let why = format!("the registry does not hold this foreign layer; fetching it from {place} is not enabled");
            return Err(Error::new(Kind::Io, why));
        }
        let mut last = None;
        for url in elsewhere.iter().filter(|url| is_safe(url)) {
            match self.send(url.as_str(), range) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
        }
        // The name stood in a manifest or a listing: what is missing now is content, not a name (protocols.md 1.11).
        Err(last.unwrap_or(error).context("the registry does not hold it").as_kind(Kind::Io))
    }

    fn send(&self, path: &str, range: Option<Span>) -> Result<Answer> {
        let what = What::Blob { repository: &self.repository };
        let ask = Ask { method: Method::GET, path, what, headers: HeaderMap::new(), range };
        let mut answer = self.client.host.send(&ask, &[416])?;
        answer.keep_encoded(self.descriptor.size);
        Ok(answer)
    }
}

/// Whether a foreign layer may be fetched from `url`: never in clear, except on this machine.
fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        },
        _ => false,
    }
}

impl ReadAt for Blob {
    fn len(&self) -> Result<u64> {
        Ok(self.descriptor.size)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let span = Span::new(offset, offset.saturating_add(buf.len() as u64).min(self.descriptor.size));
        if span.is_empty() {
            return Ok(0);
        }
        transfer::run(self, span, true, &mut |at, bytes| {
            let got = span.intersect(Span::new(at, at + bytes.len() as u64));
            if !got.is_empty() {
                let (to, from) = ((got.start - span.start) as usize, (got.start - at) as usize);
                let count = got.len() as usize;
                buf[to..to + count].copy_from_slice(&bytes[from..from + count]);
            }
            Ok(())
        })?;
        Ok(span.len() as usize)
    }

    fn stream(&self, span: Span, sink: Sink<'_>) -> Result<()> {
        transfer::run(self, span, false, sink)
    }

    fn origin(&self) -> String {
        format!("{}/{}", self.client.host.name(), self.repository)
    }
}
