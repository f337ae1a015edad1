//! One request on the wire, from its sending to the head of its answer; and what can go wrong there, in words.
//!
//! Promises: it ends by the deadline it is given; it follows, retries and signs nothing. Knows reqwest's errors.

use super::inflate;
use super::origin;
use super::pinned;
use super::record::Record;
use crate::error::{Error, Kind};
use crate::journal::Journal;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// A failure of the wire.
#[derive(Debug)]
pub(super) struct Fault {
    /// What the user is told.
    pub(super) error: Error,
    /// Whether sending it again may help.
    pub(super) again: bool,
    /// Whether the peer does not speak TLS, or not within a handshake's time.
    pub(super) no_tls: bool,
}

impl Fault {
    /// A failure that stays.
    pub(super) fn last(error: Error) -> Fault {
        Fault { error, again: false, no_tls: false }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::last(error)
    }
}

/// The head of an answer, its body still on the wire.
pub(super) struct Reply {
    /// Status, headers, body.
    pub(super) response: Response,
    /// Its record, which ends with the body.
    pub(super) record: Record,
    /// Whether another origin than the registry's own gave it, after a redirect.
    pub(super) foreign: bool,
}

impl Reply {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Up to `limit` bytes of the body, decoded if it came compressed, for words or to keep the connection; never
    /// fails, never waits longer than `wait`.
    pub(super) async fn drain(mut self, limit: u64, wait: Duration) -> Vec<u8> {
        let mut inflate = inflate::of(self.headers()).ok().flatten();
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = self.response.chunk().await {
                self.record.received(chunk.len());
                match &mut inflate {
                    None => body.extend_from_slice(&chunk),
                    Some(inflate) => {
                        inflate.feed(chunk);
                        while let Ok(Some(decoded)) = inflate.next() {
                            body.extend_from_slice(&decoded);
                            if body.len() as u64 >= limit {
                                break;
                            }
                        }
                    }
                }
                if body.len() as u64 >= limit {
                    break;
                }
            }
        };
        // What is here when the time is up is as good as it gets.
        let _ = tokio::time::timeout(wait, read).await;
        body.truncate(limit as usize);
        body
    }
}

/// One request to send.
pub(super) struct Shot<'a> {
    /// The remote's name in the journal.
    pub(super) remote: &'a str,
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
    /// A form to post; reads have none.
    pub(super) form: Option<String>,
    pub(super) deadline: Instant,
    /// The `host:port` of the proxy on the way, for words.
    pub(super) via: Option<String>,
}

/// Sends one request and waits for the head of its answer.
pub(super) async fn send(client: &Client, journal: &Arc<Journal>, shot: Shot<'_>) -> Result<Reply, Fault> {
    let range = shot.headers.get(reqwest::header::RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    let mut record = Record::start(journal, shot.remote, &shot.method, shot.url, range);
    let mut headers = shot.headers;
    // A compressed body is not the bytes that a digest names, nor those that a range counts (item 4).
    headers.insert(reqwest::header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut request = client.request(shot.method, shot.url.clone()).headers(headers);
    if let Some(form) = shot.form {
        request = request.header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
    }
    match tokio::time::timeout_at(shot.deadline, request.send()).await {
        Ok(Ok(response)) => {
            record.answered(response.status().as_u16());
            Ok(Reply { response, record, foreign: false })
        }
        Ok(Err(error)) => {
            let fault = fault(&record, shot.url, shot.via.as_deref(), &error);
            let mut words = fault.error.to_string();
            if let Some(rest) = words.strip_prefix(&format!("{}: ", record.words())) {
                words = rest.to_owned();
            }
            record.failed(&words);
            Err(fault)
        }
        Err(_) => {
            let words = format!("no answer in {}", seconds(record.took()));
            record.failed(&words);
            let error = Error::new(Kind::Timeout, format!("{}: {words}", record.words()));
            Err(Fault { error, again: true, no_tls: false })
        }
    }
}

/// `30 s`, `0.5 s`
pub(super) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 10.0 || (seconds - seconds.round()).abs() < 0.05 && seconds >= 1.0 {
        format!("{:.0} s", seconds)
    } else {
        format!("{seconds:.1} s")
    }
}

/// Every cause under an error, itself first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = match error.downcast_ref::<std::io::Error>() {
            // An io::Error stands for its inner error: its source() would skip it.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
        Some(error)
    })
}

/// The innermost cause of a failure, in its words.
pub(super) fn last_cause(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn fault(record: &Record, url: &Url, via: Option<&str>, error: &reqwest::Error) -> Fault {
    let say = |kind, words: String| Error::new(kind, format!("{}: {words}", record.words()));
    let host = origin::authority(url);
    for cause in causes(error) {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return tls_fault(tls, &host, say);
        }
    }
    let way = via.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    if error.is_timeout() {
        let words = format!("no connection to {host}{way} in {}", seconds(record.took()));
        return Fault { error: say(Kind::Timeout, words), again: true, no_tls: url.scheme() == "https" };
    }
    let last = last_cause(error);
    if error.is_connect() {
        // A peer that closes in the midst of the handshake: this is how many plain servers answer it.
        // Any of them: what the handshake met is wrapped in what the connection tells of it.
        let closed = causes(error)
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|io| matches!(io.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset));
        let no_tls = url.scheme() == "https" && closed;
        let words = if error.is_dns() && via.is_none() {
            format!("the name {} is not known ({last})", url.host_str().unwrap_or_default())
        } else {
            format!("no connection to {host}{way}: {last}")
        };
        return Fault { error: say(Kind::Unreachable, words), again: true, no_tls };
    }
    if last.contains("invalid HTTP") || last.contains("header") || last.contains("message head is too large") {
        return Fault::last(say(Kind::Protocol, format!("{host} does not answer as HTTP ({last})")));
    }
    Fault { error: say(Kind::Unreachable, format!("the connection broke: {last}")), again: true, no_tls: false }
}

fn tls_fault(tls: &rustls::Error, host: &str, say: impl Fn(Kind, String) -> Error) -> Fault {
    use rustls::CertificateError as Bad;
    let mend = format!("add its CA to certs.d/{host} or to the system's, or allow it with --insecure");
    let words = match tls {
        rustls::Error::InvalidMessage(_) => {
            let error = say(Kind::Unreachable, format!("{host} does not speak TLS (is it http://?)"));
            return Fault { error, again: false, no_tls: true };
        }
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => format!("the certificate of {host} is signed by an unknown issuer: {mend}"),
            Bad::Expired | Bad::ExpiredContext { .. } => {
                format!("the certificate of {host} has expired (--insecure skips the check)")
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                format!("the certificate of {host} is not valid yet: is the clock right?")
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                format!("the certificate of {host} is for another name ({bad})")
            }
            Bad::Revoked => format!("the certificate of {host} is revoked"),
            other => format!("the certificate of {host} does not hold ({}): {mend}", flaw(other)),
        },
        rustls::Error::AlertReceived(alert) => {
            format!("{host} ends the TLS handshake ({})", spaced(&format!("{alert:?}")))
        }
        other => format!("TLS with {host} fails: {other}"),
    };
    Fault::last(say(Kind::Unreachable, words))
}

/// What is wrong with a certificate, where there is nothing to say of how to mend it.
fn flaw(bad: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Bad;
    match bad {
        Bad::BadEncoding => "it is malformed",
        Bad::BadSignature => "its signature is wrong",
        Bad::UnhandledCriticalExtension => "it demands a check that is not known here",
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "it is not for servers",
        Bad::Other(why) if why.0.to_string() == pinned::CA_AS_SERVER => "it is an authority's, not a server's",
        Bad::Other(why) if why.0.to_string() == "UnsupportedCertVersion" => "it is of an old version",
        _ => "it cannot be checked",
    }
}

/// `HandshakeFailure` as people write it.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    #[test]
    fn certificates_are_said_in_words() {
        let say = |kind, words| Error::new(kind, words);
        for (bad, words) in [
            (CertificateError::UnknownIssuer, "unknown issuer: add its CA to certs.d/r:5000"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidYet, "is the clock right?"),
            (CertificateError::NotValidForName, "for another name"),
            (CertificateError::BadSignature, "does not hold (its signature is wrong)"),
        ] {
            let fault = tls_fault(&rustls::Error::InvalidCertificate(bad), "r:5000", say);
            assert!(fault.error.to_string().contains(words), "{}", fault.error);
            assert!(!fault.again && !fault.no_tls && fault.error.kind() == Kind::Unreachable);
        }
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(tls_fault(&plain, "r", say).no_tls);
    }

    #[test]
    fn alerts_are_said_in_words() {
        let say = |kind, words| Error::new(kind, words);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
        assert!(tls_fault(&alert, "r", say).error.to_string().ends_with("(handshake failure)"));
    }

    #[test]
    fn times_are_short() {
        for (millis, shown) in [(30_000, "30 s"), (900, "0.9 s"), (1000, "1 s"), (1500, "1.5 s"), (12_345, "12 s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), shown);
        }
    }
}
