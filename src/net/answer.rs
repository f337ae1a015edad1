//! The body of an answer: chunks with a watchdog, decoded where the server compressed it unasked, capped.
//!
//! Promises: no call waits longer than the timeout without a byte, nor for a drip of them; a body that ends before its
//! length is an error, never a short success. Does not know how to resume: who reads asks again from where it got.

use super::host;
use super::http::Http;
use super::inflate::{self, Inflate};
use super::pace::Pace;
use super::wire::{self, Reply};
use crate::error::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

/// An answer whose body is still on the wire. Dropping it early closes its connection.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers. Where the body is decoded on the way, `Content-Encoding` and `Content-Length` are taken out.
    pub headers: HeaderMap,
    /// Where it came from, after redirects, with its query: relative links are resolved against it.
    pub url: Url,
    http: Arc<Http>,
    body: Option<Body>,
}

struct Body {
    reply: Reply,
    inflate: Option<Inflate>,
    pace: Pace,
    /// When the question was put.
    asked: Instant,
    /// Held until the body ends: bodies count against the host's bound.
    _permit: OwnedSemaphorePermit,
}

impl Answer {
    /// Takes over a reply. A 416 has no body here: docker-registry lies about its length (item 54).
    pub(super) fn new(http: Arc<Http>, reply: Reply, permit: OwnedSemaphorePermit, asked: Instant) -> Result<Answer> {
        let status = reply.status();
        let mut headers = reply.headers().clone();
        let url = reply.response.url().clone();
        let refuse = |encoding: &str| {
            let words = format!("{}: the body is encoded ({encoding}) though asked not to be", reply.record.words());
            Error::new(Kind::Protocol, words)
        };
        let inflate = inflate::of(&headers).map_err(|encoding| refuse(&encoding))?;
        if inflate.is_some() {
            // Offsets of a part count in the encoded stream: it cannot be used (item 4).
            if status == 206 {
                return Err(refuse("gzip"));
            }
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
        }
        let pace = Pace::new(http.config.timeout);
        let body = (status != 416).then_some(Body { reply, inflate, pace, asked, _permit: permit });
        Ok(Answer { status, headers, url, http, body })
    }

    /// Lets the body come as it is sent, if its encoded length is `size`, that of the content itself: object stores
    /// label a layer that is gzip by nature so, and decoding it would be the mistake. Before the first chunk only.
    pub fn keep_encoded(&mut self, size: u64) {
        let Some(body) = &mut self.body else { return };
        let length = body.reply.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if body.inflate.is_some() && length == Some(size) {
            body.inflate = None;
            self.headers = body.reply.headers().clone();
        }
    }

    /// The next part of the body; `None` at its end. `Timeout` after the timeout without a byte, or with a
    /// few only; `Io` where the connection breaks or ends early; after an error there is nothing more.
    pub fn chunk(&mut self) -> Result<Option<Bytes>> {
        let Some(body) = &mut self.body else { return Ok(None) };
        loop {
            if let Some(inflate) = &mut body.inflate
                && let Some(decoded) = inflate.next().map_err(|words| broken(body, words))?
            {
                return Ok(Some(decoded));
            }
            let (patience, begun) = (body.pace.patience(body.asked.elapsed()), Instant::now());
            let next =
                self.http.runtime.block_on(async { tokio::time::timeout(patience, body.reply.response.chunk()).await });
            let waited = begun.elapsed();
            let result = match next {
                Ok(Ok(Some(chunk))) => {
                    body.reply.record.received(chunk.len());
                    body.pace.came(chunk.len(), waited);
                    match &mut body.inflate {
                        Some(inflate) => {
                            inflate.feed(chunk);
                            continue;
                        }
                        None => return Ok(Some(chunk)),
                    }
                }
                Ok(Ok(None)) => match body.inflate.as_mut().is_none_or(Inflate::is_whole) {
                    true => Ok(None),
                    false => Err(broken(body, "the compressed body is cut short")),
                },
                Ok(Err(error)) => {
                    let cause = wire::last_cause(&error);
                    body.reply.record.failed(&format!("the body broke off: {cause}"));
                    let words = format!("{}: the body broke off: {cause}", body.reply.record.words());
                    // The host was reached: what it promised did not come.
                    Err(Error::new(Kind::Io, words))
                }
                Err(_) => {
                    let Some(stalled) = body.pace.give_up(waited, body.asked.elapsed()) else { continue };
                    body.reply.record.failed(&stalled);
                    Err(Error::new(Kind::Timeout, format!("{}: {stalled}", body.reply.record.words())))
                }
            };
            self.body = None;
            return result;
        }
    }

    /// The whole body, decoded if the server compressed it; `TooBig` over `limit` bytes. The timeout counts from the
    /// question on, and gets longer only by what comes.
    pub fn bytes(mut self, limit: u64) -> Result<Bytes> {
        let Some(body) = &mut self.body else { return Ok(Bytes::new()) };
        body.pace.end(self.http.config.timeout + host::GRACE);
        let words = body.reply.record.words();
        let too_big = || Error::new(Kind::TooBig, format!("{words}: the answer is over the limit of {limit} bytes"));
        let length = self.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(too_big());
        }
        let Some(first) = self.chunk()? else { return Ok(Bytes::new()) };
        if first.len() as u64 > limit {
            return Err(too_big());
        }
        let Some(second) = self.chunk()? else { return Ok(first) };
        let mut whole = BytesMut::with_capacity(length.unwrap_or(0).max((first.len() + second.len()) as u64) as usize);
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if (whole.len() + chunk.len()) as u64 > limit {
                return Err(too_big());
            }
            whole.extend_from_slice(&chunk);
            next = self.chunk()?;
        }
        Ok(whole.freeze())
    }
}

fn broken(body: &Body, words: impl std::fmt::Display) -> Error {
    Error::new(Kind::Protocol, format!("{}: {words}", body.reply.record.words()))
}
