//! Where a redirect may lead: the rules of protocols.md item 57, as a pure function.
//!
//! Promises: never from https to http, never in clear to a host that clear HTTP is not allowed to, never with user
//! and password in the URL. Does not count hops and sends nothing.

use super::origin;
use crate::error::{Error, Kind, Result};
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

/// How many redirects are followed.
pub(super) const MAX_HOPS: usize = 10;

/// The next URL after `from` answered so; `None` if that is no redirect. `clear`: clear HTTP is allowed to any host.
pub(super) fn next(from: &Url, status: u16, headers: &HeaderMap, clear: bool) -> Result<Option<Url>> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let refuse = |why: String| Err(Error::new(Kind::Protocol, format!("{} redirects {why}", origin::shown(from))));
    let Some(location) = headers.get(LOCATION) else { return refuse("to nowhere".to_owned()) };
    let Ok(mut to) = from.join(&String::from_utf8_lossy(location.as_bytes())) else {
        return refuse("to what is no URL".to_owned());
    };
    match to.scheme() {
        "https" => {}
        "http" if from.scheme() == "https" => {
            return refuse(format!("from https to {}, which is refused", origin::shown(&to)));
        }
        "http" if clear || origin::is_loopback(&to) || to.host() == from.host() => {}
        "http" => return refuse(format!("to {}: clear HTTP needs --insecure", origin::shown(&to))),
        _ => return refuse(format!("to another protocol ({})", crate::name::escape(to.scheme().as_bytes()))),
    }
    // They would become an Authorization header.
    let _ = to.set_username("");
    let _ = to.set_password(None);
    to.set_fragment(None);
    Ok(Some(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    fn go(from: &str, location: &str) -> Result<Option<Url>> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).expect("a header"))]);
        next(&from.parse().expect("a url"), 307, &headers, false)
    }

    #[test]
    fn item_57_where_redirects_lead() {
        let to = |from, location| go(from, location).expect("allowed").expect("a redirect").to_string();
        assert_eq!(to("https://a/v2/x", "/y?z=1"), "https://a/y?z=1");
        assert_eq!(to("https://a/v2/x", "y"), "https://a/v2/y");
        assert_eq!(to("https://a/v2/x", "https://u:p@b:1/y#f"), "https://b:1/y");
        assert_eq!(to("https://a/v2/x", "//b/y"), "https://b/y");
        assert_eq!(to("http://127.0.0.1:1/", "http://127.0.0.1:2/y"), "http://127.0.0.1:2/y");
        assert_eq!(to("http://127.0.0.1:1/", "https://b/"), "https://b/");
    }

    #[test]
    fn item_57_where_they_may_not() {
        for (from, location) in [
            ("https://a/", "http://a/"),
            ("https://127.0.0.1/", "http://127.0.0.1/"),
            ("http://127.0.0.1:1/", "http://b/"),
            ("https://a/", "ftp://a/"),
            ("https://a/", "file:///etc/passwd"),
            ("https://a/", "https://"),
        ] {
            let error = go(from, location).expect_err(location);
            assert_eq!(error.kind(), Kind::Protocol);
        }
        let from = "https://a/".parse().expect("a url");
        next(&from, 302, &HeaderMap::new(), false).expect_err("no Location");
        assert_eq!(next(&from, 304, &HeaderMap::new(), false).expect("no redirect"), None);
        assert_eq!(next(&from, 300, &HeaderMap::new(), false).expect("no redirect"), None);
    }

    proptest! {
        #[test]
        fn any_location_is_safe_or_refused(location in "[ -~]{0,40}|(https?|ftp)?:?//?[a-z@:/.0-9\\[\\]]{0,20}") {
            if let Ok(Some(to)) = go("https://a/v2/x", &location) {
                prop_assert!(to.scheme() == "https" && to.username().is_empty() && to.password().is_none());
            }
        }
    }
}
