//! An answer, and everything that can be wrong with it.

use crate::support::content::Content;
use std::net::SocketAddr;
use std::time::Duration;

/// An answer. Made by [`Reply::new`] and changed by the methods that take it.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Content,
    pub(super) length: Length,
    pub(super) delay: Duration,
    /// Bytes at a time, and the pause after each.
    pub(super) drip: Option<(u64, Duration)>,
    pub(super) end: End,
    pub(super) close: bool,
    pub(super) raw: bool,
    pub(super) tunnel: Option<SocketAddr>,
}

/// What tells the client where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// A true Content-Length.
    Known,
    /// A Content-Length of this, whatever the body has. The connection is closed afterwards.
    Claimed(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Nothing: the end of the connection.
    Omitted,
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In order: the client sees the end of the stream.
    Fin,
    /// A reset: the client sees ECONNRESET.
    Rst,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Whole,
    /// Nothing at all is sent.
    CutBeforeHead(Cut),
    HangBeforeHead,
    /// After this many bytes of body.
    CutAfter(u64, Cut),
    HangAfter(u64),
}

impl Reply {
    /// An answer with this status and no body.
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Content::default(),
            length: Length::Known,
            delay: Duration::ZERO,
            drip: None,
            end: End::Whole,
            close: false,
            raw: false,
            tunnel: None,
        }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<Content>) -> Reply {
        Reply::new(200).body(body)
    }

    /// A body of JSON with its Content-Type.
    pub fn json(status: u16, body: &serde_json::Value) -> Reply {
        Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
    }

    /// An error as registries send it.
    pub fn error(status: u16, code: &str, message: &str) -> Reply {
        Reply::json(status, &serde_json::json!({"errors": [{"code": code, "message": message, "detail": null}]}))
    }

    /// A redirect.
    pub fn redirect(status: u16, location: impl Into<String>) -> Reply {
        Reply::new(status).header("Location", location)
    }

    /// These bytes and nothing else, head included; then the connection is closed.
    pub fn raw(bytes: impl Into<Content>) -> Reply {
        Reply { raw: true, close: true, ..Reply::new(0).body(bytes) }
    }

    /// Takes the connection and ends it with nothing sent.
    pub fn nothing(cut: Cut) -> Reply {
        Reply { end: End::CutBeforeHead(cut), ..Reply::new(0) }
    }

    /// Takes the request and sends nothing until the server is dropped or releases it.
    pub fn hang() -> Reply {
        Reply { end: End::HangBeforeHead, ..Reply::new(0) }
    }

    /// Answers 200 and joins the connection to that address: what a proxy does for CONNECT.
    pub fn tunnel(to: SocketAddr) -> Reply {
        Reply { tunnel: Some(to), ..Reply::new(200) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces every header of that name.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.header(name, value)
    }

    /// Takes a header away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Reply {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the status.
    #[must_use]
    pub fn status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }

    /// Sets the body.
    #[must_use]
    pub fn body(self, body: impl Into<Content>) -> Reply {
        Reply { body: body.into(), ..self }
    }

    /// Sets what tells the body's length.
    #[must_use]
    pub fn length(self, length: Length) -> Reply {
        Reply { length, ..self }
    }

    /// Waits before the head.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Reply {
        Reply { delay, ..self }
    }

    /// Sends the body `bytes` at a time, with a pause after each.
    #[must_use]
    pub fn drip(self, bytes: u64, pause: Duration) -> Reply {
        Reply { drip: Some((bytes, pause)), ..self }
    }

    /// Cuts the connection after so many bytes of body.
    #[must_use]
    pub fn cut_after(self, bytes: u64, cut: Cut) -> Reply {
        Reply { end: End::CutAfter(bytes, cut), ..self }
    }

    /// Falls silent after so many bytes of body, until the server is dropped or releases it.
    #[must_use]
    pub fn hang_after(self, bytes: u64) -> Reply {
        Reply { end: End::HangAfter(bytes), ..self }
    }

    /// Closes the connection after this answer.
    #[must_use]
    pub fn close(self) -> Reply {
        Reply { close: true, ..self }
    }

    /// The status that will be sent.
    pub fn code(&self) -> u16 {
        self.status
    }

    /// The body that will be sent.
    pub fn content(&self) -> &Content {
        &self.body
    }

    /// The first header of that name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
