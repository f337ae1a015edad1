//! The `Link` header of paged listings (RFC 8288; distribution-spec, "Listing Tags"): where the next page is.

use crate::net::header::{HeaderMap, LINK};
use url::Url;

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nowhere: this was the last page.
    End,
    /// There, verbatim: parameters are the registry's own business.
    At(Url),
    /// At another host, or not at anything that can be asked: not followed.
    Elsewhere(String),
}

/// The next page, as `headers` of the answer from `asked` say.
///
/// The target may be relative, absolute, badly escaped. One at the same host under another scheme or port is asked
/// where this page was: proxies that end TLS leave registries ignorant of how they are reached.
pub(super) fn next(headers: &HeaderMap, asked: &Url) -> Next {
    let lines = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let Some(target) = lines.flat_map(targets).next() else { return Next::End };
    let Ok(mut url) = asked.join(&target) else { return Next::Elsewhere(crate::name::escape(target.as_bytes())) };
    if url.host_str() != asked.host_str() || !matches!(url.scheme(), "http" | "https") {
        return Next::Elsewhere(url.host_str().unwrap_or(url.scheme()).to_owned());
    }
    if url.origin() != asked.origin() {
        let mut here = asked.clone();
        here.set_path(url.path());
        here.set_query(url.query());
        url = here;
    }
    url.set_fragment(None);
    Next::At(url)
}

/// The targets of `line` whose relation is `next`.
fn targets(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else { break };
        let (parameters, following) = split_parameters(after);
        if parameters.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("rel")
                && value.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
        }) {
            found.push(target.trim().to_owned());
        }
        rest = following;
    }
    found
}

/// The parameters after a target, up to the comma that begins the next link; and what follows it.
fn split_parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut parameters = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    let mut escaped = false;
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                part.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                end = at;
                break;
            }
            ';' if !quoted => take_parameter(&mut part, &mut parameters),
            _ => part.push(c),
        }
    }
    take_parameter(&mut part, &mut parameters);
    (parameters, &text[end..])
}

fn take_parameter(part: &mut String, parameters: &mut Vec<(String, String)>) {
    let text = std::mem::take(part);
    if let Some((name, value)) = text.split_once('=') {
        parameters.push((name.trim().to_owned(), value.trim().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::header::HeaderValue;
    use proptest::prelude::*;

    fn at(asked: &str, lines: &[&str]) -> Next {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, HeaderValue::from_str(line).expect("value"));
        }
        next(&headers, &Url::parse(asked).expect("url"))
    }

    fn found(asked: &str, line: &str) -> String {
        match at(asked, &[line]) {
            Next::At(url) => url.to_string(),
            other => format!("{other:?}"),
        }
    }

    const ASKED: &str = "https://r.example/v2/_catalog?n=100";

    #[test]
    fn targets_as_registries_write_them() {
        for (line, expected) in [
            // docker-registry: relative, escaped
            (r#"</v2/_catalog?last=t%2Fa&n=1>; rel="next""#, "https://r.example/v2/_catalog?last=t%2Fa&n=1"),
            // ferro: not escaped
            (
                r#"</v2/_catalog?last=conformance/repo1&n=1>; rel="next""#,
                "https://r.example/v2/_catalog?last=conformance/repo1&n=1",
            ),
            // Quay: absolute, opaque
            (
                r#"<https://r.example/v2/_catalog?n=50&next_page=gAAAA%3D%3D>; rel="next""#,
                "https://r.example/v2/_catalog?n=50&next_page=gAAAA%3D%3D",
            ),
            // ECR: absolute, and its port spelled out
            (
                r#"<https://r.example:443/v2/_catalog?last=abc%3D&n=100>; rel="next""#,
                "https://r.example/v2/_catalog?last=abc%3D&n=100",
            ),
            // behind a proxy that ends TLS
            (r#"<http://r.example/v2/_catalog?last=b&n=1>;rel=next"#, "https://r.example/v2/_catalog?last=b&n=1"),
            (r#"<?last=b>; title="a, b; <x>"; rel="prev NEXT""#, "https://r.example/v2/_catalog?last=b"),
            (r#"</a>; rel="first", </b>; rel="next""#, "https://r.example/b"),
        ] {
            assert_eq!(found(ASKED, line), expected, "{line}");
        }
        assert_eq!(
            at(ASKED, &["</a>; rel=first", "</b>; rel=next"]),
            Next::At(Url::parse("https://r.example/b").expect("url"))
        );
    }

    #[test]
    fn the_end_and_elsewhere() {
        for line in ["", "</a>", r#"</a>; rel="prev""#, "nothing", "<a"] {
            assert_eq!(at(ASKED, &[line]), Next::End, "{line}");
        }
        assert_eq!(at(ASKED, &[]), Next::End);
        assert_eq!(found(ASKED, "<https://evil.example/v2/_catalog>; rel=next"), r#"Elsewhere("evil.example")"#);
        assert_eq!(found(ASKED, "<//evil.example/x>; rel=next"), r#"Elsewhere("evil.example")"#);
        assert_eq!(found(ASKED, "<file:///etc/passwd>; rel=next"), r#"Elsewhere("file")"#);
    }

    proptest! {
        #[test]
        fn never_panics_and_never_leaves_the_host(line in "[ -~]{0,80}|<[ -~]{0,30}>; ?rel=\"?next\"?") {
            if let Next::At(url) = at(ASKED, &[&line]) {
                prop_assert_eq!(url.origin(), Url::parse(ASKED).expect("url").origin());
            }
        }
    }
}
