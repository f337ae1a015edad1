//! What can go wrong with a fake, by rule or by seed.

use crate::support::content::Content;
use crate::support::http::{Cut, Length, Reply, Request};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    Ping,
    Catalog,
    Tags,
    Manifest,
    Blob,
    Referrers,
    /// The token endpoint.
    Token,
    /// The object store that blobs are redirected to.
    Object,
    Other,
}

/// What a fault of the test's own makes of an answer.
pub type Change = dyn Fn(&Request, Reply) -> Reply + Send + Sync;

/// One thing that goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// This status with an error body as registries send it.
    Status(u16),
    /// This status, code and message.
    Error(u16, &'static str, &'static str),
    /// 429, with this Retry-After.
    TooMany(Option<&'static str>),
    /// This status with a page of HTML.
    Html(u16),
    /// The connection ends before anything is sent.
    Nothing(Cut),
    /// The connection ends after so many bytes of body.
    Cut(u64, Cut),
    /// Nothing is ever sent.
    Hang,
    /// Nothing more is sent after so many bytes of body.
    HangAfter(u64),
    /// The answer comes late.
    Delay(Duration),
    /// The body comes so many bytes at a time, with a pause after each.
    Drip(u64, Duration),
    /// One bit of the body is wrong, at this offset; a shorter body has its last byte changed.
    Flip(u64),
    /// The Content-Length says this; the body is what it is, and the connection is closed after it.
    Claim(u64),
    /// The body lacks its last bytes, and the Content-Length agrees.
    Shorten(u64),
    /// The body has further bytes, and the Content-Length agrees.
    Lengthen(u64),
    /// The body is gzipped though nobody asked, and chunked.
    Gzip,
    /// Another body.
    Body(Content),
    /// A header is set; without a value it is taken away.
    Header(&'static str, Option<String>),
    /// Anything else.
    Custom(Arc<Change>),
}

impl Fault {
    /// The answer with this fault in it.
    pub fn apply(&self, request: &Request, reply: Reply) -> Reply {
        match self {
            Fault::Status(status) => Reply::error(*status, "UNKNOWN", "something went wrong"),
            Fault::Error(status, code, message) => Reply::error(*status, code, message),
            Fault::TooMany(retry_after) => {
                let reply = Reply::error(429, "TOOMANYREQUESTS", "slow down");
                match retry_after {
                    Some(value) => reply.header("Retry-After", *value),
                    None => reply,
                }
            }
            Fault::Html(status) => Reply::new(*status)
                .header("Content-Type", "text/html")
                .body("<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"),
            Fault::Nothing(cut) => Reply::nothing(*cut),
            Fault::Cut(after, cut) => reply.cut_after(*after, *cut),
            Fault::Hang => Reply::hang(),
            Fault::HangAfter(after) => reply.hang_after(*after),
            Fault::Delay(delay) => reply.delay(*delay),
            Fault::Drip(bytes, pause) => reply.drip(*bytes, *pause),
            Fault::Flip(offset) => match reply.content().len() {
                0 => reply,
                len => {
                    let content = reply.content().flipped((*offset).min(len - 1));
                    reply.body(content)
                }
            },
            Fault::Claim(length) => reply.length(Length::Claimed(*length)),
            Fault::Shorten(by) => {
                let content = reply.content().slice(0, reply.content().len().saturating_sub(*by));
                reply.body(content).without("content-length")
            }
            Fault::Lengthen(by) => {
                let mut all = reply.content().to_vec();
                all.resize(all.len() + *by as usize, b'x');
                reply.body(all).without("content-length")
            }
            Fault::Gzip => gzip(reply),
            Fault::Body(content) => reply.body(content.clone()).without("content-length"),
            Fault::Header(name, Some(value)) => reply.set(name, value.clone()),
            Fault::Header(name, None) => reply.without(name),
            Fault::Custom(custom) => custom(request, reply),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Status(status) | Fault::Html(status) | Fault::Error(status, ..) => write!(f, "status {status}"),
            Fault::TooMany(after) => write!(f, "429 {after:?}"),
            Fault::Nothing(cut) => write!(f, "nothing, {cut:?}"),
            Fault::Cut(after, cut) => write!(f, "cut after {after}, {cut:?}"),
            Fault::Hang => f.write_str("hang"),
            Fault::HangAfter(after) => write!(f, "hang after {after}"),
            Fault::Delay(delay) => write!(f, "delay {delay:?}"),
            Fault::Drip(bytes, pause) => write!(f, "drip {bytes} each {pause:?}"),
            Fault::Flip(offset) => write!(f, "flip at {offset}"),
            Fault::Claim(length) => write!(f, "claim length {length}"),
            Fault::Shorten(by) => write!(f, "shorten by {by}"),
            Fault::Lengthen(by) => write!(f, "lengthen by {by}"),
            Fault::Gzip => f.write_str("gzip"),
            Fault::Body(content) => write!(f, "other body, {content:?}"),
            Fault::Header(name, value) => write!(f, "header {name}: {value:?}"),
            Fault::Custom(_) => f.write_str("custom"),
        }
    }
}

fn gzip(reply: Reply) -> Reply {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    reply.content().each(|part| encoder.write_all(part).expect("gzip"));
    let compressed = encoder.finish().expect("gzip");
    let reply = match reply.value("etag") {
        Some(etag) => {
            let weak = format!("W/{etag}");
            reply.set("ETag", weak)
        }
        None => reply,
    };
    reply.body(compressed).without("content-length").set("Content-Encoding", "gzip").length(Length::Chunked)
}

/// When a fault strikes.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    what: Option<What>,
    method: Option<&'static str>,
    path: Option<String>,
    skip: u64,
    times: u64,
    pub(super) seen: u64,
}

impl Rule {
    /// Every request.
    pub fn any(fault: Fault) -> Rule {
        Rule { fault, what: None, method: None, path: None, skip: 0, times: u64::MAX, seen: 0 }
    }

    /// Every request of a kind.
    pub fn on(what: What, fault: Fault) -> Rule {
        Rule { what: Some(what), ..Rule::any(fault) }
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(self, method: &'static str) -> Rule {
        Rule { method: Some(method), ..self }
    }

    /// Only requests whose path contains this.
    #[must_use]
    pub fn path(self, part: impl Into<String>) -> Rule {
        Rule { path: Some(part.into()), ..self }
    }

    /// Lets the first ones pass.
    #[must_use]
    pub fn skip(self, skip: u64) -> Rule {
        Rule { skip, ..self }
    }

    /// Ends after so many.
    #[must_use]
    pub fn times(self, times: u64) -> Rule {
        Rule { times, ..self }
    }

    /// Ends after one.
    #[must_use]
    pub fn once(self) -> Rule {
        self.times(1)
    }

    /// The fault, if the rule strikes this request. Counts it.
    pub(super) fn strikes(&mut self, what: What, request: &Request) -> Option<Fault> {
        let fits = self.what.is_none_or(|wanted| wanted == what)
            && self.method.is_none_or(|wanted| wanted == request.method)
            && self.path.as_ref().is_none_or(|part| request.path.contains(part.as_str()));
        if !fits {
            return None;
        }
        self.seen += 1;
        (self.seen > self.skip && self.seen - self.skip <= self.times).then(|| self.fault.clone())
    }
}

/// Faults that a client must ride out, drawn by a seed: the same for the same seed and order of requests.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub seed: u64,
    /// How many of a hundred requests are struck.
    pub percent: u8,
}

impl Weather {
    /// What strikes the request with this number.
    pub(super) fn strikes(&self, number: u64) -> Option<Fault> {
        let mut rng = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        if rng.u8(..100) >= self.percent {
            return None;
        }
        Some(match rng.u8(..9) {
            0 => Fault::Status(502),
            1 => Fault::Html(503),
            2 => Fault::Status(504),
            3 => Fault::TooMany(Some("0")),
            4 => Fault::Nothing(Cut::Fin),
            5 => Fault::Nothing(Cut::Rst),
            6 => Fault::Cut(rng.u64(..1 << 16), Cut::Rst),
            7 => Fault::Cut(rng.u64(..1 << 20), Cut::Fin),
            _ => Fault::Delay(Duration::from_millis(rng.u64(..50))),
        })
    }
}
