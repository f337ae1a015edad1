//! Headers of registries, read as they really come: quoted or not, with parameters, without prefixes.

use crate::digest::Digest;
use crate::manifest::media;
use crate::net::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Every kind of manifest, best first: a registry that misses one of them converts, or says there is none
/// (protocols.md 39). The last entry lets unknown kinds through.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5, \
     application/vnd.docker.distribution.manifest.v1+json;q=0.5, \
     application/vnd.oci.artifact.manifest.v1+json, \
     */*;q=0.1";

/// The digest that a registry says a manifest has.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The headers of every request for a manifest.
pub(super) fn for_manifest() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(ACCEPT))])
}

/// The headers of a request for referrers.
pub(super) fn for_referrers() -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(media::OCI_INDEX))])
}

/// Adds `If-None-Match` for content that is known by its digest.
pub(super) fn unless(headers: &mut HeaderMap, known: &Digest) {
    if let Ok(value) = HeaderValue::try_from(format!("\"{known}\"")) {
        headers.insert(header::IF_NONE_MATCH, value);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// `Content-Type` as sent; empty if there is none.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    text(headers, &header::CONTENT_TYPE).unwrap_or("")
}

/// `Content-Length`, if it is a number.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH)?.parse().ok()
}

/// `Docker-Content-Digest`, with or without its algorithm; `None` if it is absent or not a digest.
pub(super) fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    let value = text(headers, &CONTENT_DIGEST)?.trim_matches('"');
    // Some registries leave the algorithm out; then 64 digits are sha256.
    if value.contains(':') { value.parse().ok() } else { format!("sha256:{value}").parse().ok() }
}

/// What `Content-Range` says (RFC 9110, 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentRange {
    /// `bytes start-last/total`, here half-open; the total is `None` for `*`.
    Part {
        /// The first byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// The length of the whole.
        total: Option<u64>,
    },
    /// `bytes */total`: nothing of what was asked.
    Unsatisfied {
        /// The length of the whole.
        total: u64,
    },
}

/// `Content-Range`; `None` if it is absent or malformed.
pub(super) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let value = text(headers, &header::CONTENT_RANGE)?;
    let (unit, rest) = value.split_once([' ', '='])?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = rest.trim().split_once('/')?;
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    if range.trim() == "*" {
        return Some(ContentRange::Unsatisfied { total: total? });
    }
    let (start, last) = range.split_once('-')?;
    let (start, last): (u64, u64) = (start.trim().parse().ok()?, last.trim().parse().ok()?);
    let end = last.checked_add(1)?;
    if start >= end || total.is_some_and(|total| end > total) {
        return None;
    }
    Some(ContentRange::Part { start, end, total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("value"))])
    }

    fn range(value: &str) -> Option<ContentRange> {
        content_range(&with(header::CONTENT_RANGE, value))
    }

    #[test]
    fn every_kind_of_manifest_is_accepted() {
        let headers = for_manifest();
        let accept = headers[header::ACCEPT].to_str().expect("text");
        for kind in [
            media::OCI_INDEX,
            media::OCI_MANIFEST,
            media::OCI_ARTIFACT,
            media::DOCKER_LIST,
            media::DOCKER_MANIFEST,
            media::SCHEMA1,
            media::SCHEMA1_SIGNED,
            "*/*",
        ] {
            assert!(accept.split(", ").any(|part| part.split(';').next() == Some(kind)), "{kind}");
        }
    }

    #[test]
    fn content_ranges() {
        let part = |start, end, total| Some(ContentRange::Part { start, end, total });
        assert_eq!(range("bytes 900-999/1000"), part(900, 1000, Some(1000)));
        assert_eq!(range("Bytes 0-0/*"), part(0, 1, None));
        assert_eq!(range("bytes=0-9/10"), part(0, 10, Some(10)));
        assert_eq!(range("bytes */1000"), Some(ContentRange::Unsatisfied { total: 1000 }));
        for bad in [
            "",
            "bytes",
            "bytes 5-4/10",
            "bytes 0-10/10",
            "items 0-1/2",
            "bytes */*",
            "bytes 0-18446744073709551615/*",
            "bytes -1/2",
            "bytes a-b/c",
        ] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn digests_with_and_without_prefix() {
        let digest = Digest::of(b"x");
        for value in [digest.as_str().to_owned(), digest.encoded().to_owned(), format!("\"{digest}\"")] {
            assert_eq!(content_digest(&with(CONTENT_DIGEST, &value)), Some(digest.clone()), "{value}");
        }
        for bad in ["", "sha256:", "abc", "md5 x"] {
            assert_eq!(content_digest(&with(CONTENT_DIGEST, bad)), None, "{bad}");
        }
        assert_eq!(content_digest(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn parts_are_never_empty_or_beyond_the_total(value in "bytes [0-9*]{1,21}(-[0-9]{1,21})?/[0-9*]{1,21}|[ -~]{0,40}") {
            if let Some(ContentRange::Part { start, end, total }) = range(&value) {
                prop_assert!(start < end && total.is_none_or(|total| end <= total));
            }
        }
    }
}
