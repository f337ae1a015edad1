//! What the body of an answer for blob bytes is: which bytes it holds, or why it is of no use. Decided by status and
//! headers alone, before any byte of it is read.

use super::headers::{self, ContentRange};
use crate::error::{Error, Kind, Result};
use crate::net::header::HeaderMap;
use crate::span::Span;

/// What an answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// These bytes of the blob, as they are.
    Bytes(Span),
    /// Nothing that can be relied on: the blob must be asked for as a whole. Why.
    Useless(String),
}

/// Judges the answer to a request for `asked` (`None`: the whole) of a blob of `size` bytes.
///
/// `Corrupt` if the remote holds a blob of another length (protocols.md 51, 54, 63); `Protocol` for what is no answer.
pub(super) fn judge(status: u16, headers: &HeaderMap, asked: Option<Span>, size: u64) -> Result<Body> {
    match status {
        206 => part(headers, asked.unwrap_or(Span::new(0, size)), size),
        // Decided by headers: servers send such an answer with a length that its body does not have.
        416 => match headers::content_range(headers) {
            Some(ContentRange::Unsatisfied { total }) if total != size => Err(other_size(total, size)),
            _ => Ok(Body::Useless("it says that the bytes asked for are not there".to_owned())),
        },
        200 | 203 => whole(headers, size),
        _ => Err(Error::new(Kind::Protocol, format!("the registry answers {status}"))),
    }
}

fn whole(headers: &HeaderMap, size: u64) -> Result<Body> {
    match headers::content_length(headers) {
        Some(length) if length != size => Err(other_size(length, size)),
        // Without a length, as chunked and decoded bodies come, the end tells.
        _ => Ok(Body::Bytes(Span::new(0, size))),
    }
}

fn part(headers: &HeaderMap, asked: Span, size: u64) -> Result<Body> {
    let Some(ContentRange::Part { start, end, total }) = headers::content_range(headers) else {
        return Ok(Body::Useless("it answers with a part and does not say which".to_owned()));
    };
    match total {
        Some(total) if total != size => return Err(other_size(total, size)),
        None if end > size => return Ok(Body::Useless(format!("it sends bytes up to {end} of {size}"))),
        _ => {}
    }
    if start != asked.start {
        return Ok(Body::Useless(format!("it sends byte {start} when asked for byte {}", asked.start)));
    }
    match headers::content_length(headers) {
        Some(length) if length != end - start => {
            Ok(Body::Useless(format!("it sends {length} bytes as a part of {}", end - start)))
        }
        _ => Ok(Body::Bytes(Span::new(start, end))),
    }
}

fn other_size(found: u64, size: u64) -> Error {
    Error::new(Kind::Corrupt, format!("the registry holds {found} bytes, the descriptor says {size}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::header::{HeaderName, HeaderValue};

    const ASKED: Option<Span> = Some(Span::new(100, 200));

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&str, &str)| {
            (HeaderName::try_from(name).expect("name"), HeaderValue::from_str(value).expect("value"))
        };
        headers.iter().map(pair).collect()
    }

    fn body(status: u16, headers: &[(&str, &str)]) -> Result<Body> {
        judge(status, &map(headers), ASKED, 1000)
    }

    fn is_useless(status: u16, headers: &[(&str, &str)]) -> bool {
        matches!(body(status, headers), Ok(Body::Useless(_)))
    }

    fn is_corrupt(status: u16, headers: &[(&str, &str)]) -> bool {
        body(status, headers).is_err_and(|error| error.kind() == Kind::Corrupt)
    }

    #[test]
    fn parts() {
        let bytes = |start, end| Body::Bytes(Span::new(start, end));
        let exact = [("content-range", "bytes 100-199/1000"), ("content-length", "100")];
        assert_eq!(body(206, &exact).expect("exact"), bytes(100, 200));
        assert_eq!(body(206, &[("content-range", "bytes 100-149/*")]).expect("fewer"), bytes(100, 150));
        assert_eq!(body(206, &[("content-range", "bytes 100-999/1000")]).expect("more"), bytes(100, 1000));
        assert!(is_useless(206, &[]));
        assert!(is_useless(206, &[("content-type", "multipart/byteranges; boundary=x")]));
        assert!(is_useless(206, &[("content-range", "bytes 0-99/1000")]));
        assert!(is_useless(206, &[("content-range", "bytes 101-199/1000")]));
        assert!(is_useless(206, &[("content-range", "bytes 100-1000/*")]));
        assert!(is_useless(206, &[("content-range", "bytes 100-199/1000"), ("content-length", "99")]));
        assert!(is_corrupt(206, &[("content-range", "bytes 100-199/1001")]));
    }

    #[test]
    fn wholes() {
        let all = Body::Bytes(Span::new(0, 1000));
        assert_eq!(body(200, &[("content-length", "1000")]).expect("length"), all);
        assert_eq!(body(200, &[]).expect("chunked"), all);
        assert!(is_corrupt(200, &[("content-length", "999")]));
        assert_eq!(body(204, &[]).expect_err("204").kind(), Kind::Protocol);
    }

    #[test]
    fn unsatisfied_ranges() {
        assert!(is_corrupt(416, &[("content-range", "bytes */50"), ("content-length", "1000")]));
        assert!(is_useless(416, &[("content-range", "bytes */1000")]));
        assert!(is_useless(416, &[]));
    }
}
