//! What a refusal means: a status and a body of any shape in, a kind and words out (protocols.md 1.11, read column).
//!
//! Pure; takes JSON of three dialects, HTML, text, nothing, and anything cut short. Promises words without control
//! characters, of bounded length. Does not know what was asked.

use crate::error::Kind;
use crate::name;
use serde_json::Value;

/// How much of an error's body is read.
pub(super) const MAX_BODY: u64 = 64 << 10;
/// How many characters of a server's words are repeated.
const MAX_WORDS: usize = 300;

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What it means to who reads.
    pub(super) kind: Kind,
    /// `404 Not Found: manifest unknown`; no secrets, no control characters.
    pub(super) words: String,
}

/// Reads a refusal. The first code that is known decides; else the status does.
pub(super) fn read(status: u16, body: &[u8]) -> Failure {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let kind = value.as_ref().and_then(first_known_code).unwrap_or_else(|| of_status(status));
    let said = match &value {
        Some(value) => json_words(value),
        None => text_words(body),
    };
    let mut words = status_words(status);
    if let Some(said) = said {
        words.push_str(": ");
        words.push_str(&clean(&said));
    }
    Failure { kind, words }
}

/// `404 Not Found`
pub(super) fn status_words(status: u16) -> String {
    match reqwest::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()) {
        Some(reason) => format!("{status} {reason}"),
        None => status.to_string(),
    }
}

/// What a status means where no code says more.
pub(super) fn of_status(status: u16) -> Kind {
    match status {
        401 | 403 | 407 | 451 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        405 | 415 | 501 => Kind::Unsupported,
        408 | 429 => Kind::Busy,
        500..=599 => Kind::Server,
        _ => Kind::Protocol,
    }
}

fn of_code(code: &str) -> Option<Kind> {
    Some(match code {
        "BLOB_UNKNOWN" | "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "NAME_INVALID" | "TAG_INVALID" | "DIGEST_INVALID" => {
            Kind::NotFound
        }
        "UNAUTHORIZED" | "DENIED" => Kind::Denied,
        "UNSUPPORTED" => Kind::Unsupported,
        "TOOMANYREQUESTS" => Kind::Busy,
        "MANIFEST_UNVERIFIED" => Kind::Unverified,
        "MANIFEST_BLOB_UNKNOWN" => Kind::NoData,
        "PAGINATION_NUMBER_INVALID" => Kind::Invalid,
        "MANIFEST_INVALID" | "SIZE_INVALID" | "BLOB_UPLOAD_INVALID" | "BLOB_UPLOAD_UNKNOWN" => Kind::Protocol,
        _ => return None,
    })
}

fn errors(value: &Value) -> &[Value] {
    value.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn first_known_code(value: &Value) -> Option<Kind> {
    let known = |value| errors(value).iter().filter_map(|error| error.get("code")?.as_str()).find_map(of_code);
    // A pull-through cache wraps what its origin said, as 500 UNKNOWN.
    known(value).or_else(|| errors(value).iter().filter_map(|error| error.get("detail")).find_map(known))
}

/// The words of the registry dialect, of `{"error": …}` (Quay), of `{"message": …}` (GitHub, S3 gateways).
fn json_words(value: &Value) -> Option<String> {
    if let Some(error) = errors(value).first() {
        let text = |key: &str| error.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let mut words = match (text("code"), text("message")) {
            (Some(code), Some(message)) => format!("{message} ({code})"),
            (Some(code), None) => code.to_owned(),
            (None, Some(message)) => message.to_owned(),
            (None, None) => error.as_str()?.to_owned(),
        };
        if let Some(detail) = text("detail") {
            words = format!("{words}: {detail}");
        }
        return Some(words);
    }
    for key in ["error_description", "error", "message", "details", "detail", "title"] {
        match value.get(key) {
            Some(Value::String(text)) if !text.is_empty() => return Some(text.clone()),
            Some(Value::Object(inner)) => {
                if let Some(text) = inner.get("message").and_then(Value::as_str) {
                    return Some(text.to_owned());
                }
            }
            _ => {}
        }
    }
    value.as_str().map(str::to_owned)
}

/// Plain text as it is; of a page or of XML, what a person would read of it.
fn text_words(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if !text.starts_with('<') {
        return Some(text.to_owned());
    }
    for tag in ["Message", "title", "h1"] {
        let inner = text.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
        if let Some((inner, _)) = inner {
            return Some(inner.to_owned());
        }
    }
    None
}

/// One line, bounded, nothing that steers a terminal.
pub(super) fn clean(words: &str) -> String {
    let mut line = String::new();
    for word in words.split_whitespace() {
        if line.len() + word.len() > MAX_WORDS {
            line.extend(word.chars().take(MAX_WORDS.saturating_sub(line.len())));
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    name::escape(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(status: u16, body: &str) -> (Kind, String) {
        let failure = read(status, body.as_bytes());
        (failure.kind, failure.words)
    }

    #[test]
    fn item_7_bodies_of_any_shape() {
        let registry = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#;
        assert_eq!(of(404, registry), (Kind::NotFound, "404 Not Found: manifest unknown (MANIFEST_UNKNOWN)".into()));
        assert_eq!(of(404, "404 page not found\n"), (Kind::NotFound, "404 Not Found: 404 page not found".into()));
        assert_eq!(
            of(401, r#"{"error":"Invalid bearer token format"}"#).1,
            "401 Unauthorized: Invalid bearer token format"
        );
        let page = "<html><head><title>502 Bad Gateway</title></head></html>";
        assert_eq!(of(502, page), (Kind::Server, "502 Bad Gateway: 502 Bad Gateway".into()));
        assert_eq!(
            of(403, "<?xml?><Error><Message>Request has expired</Message></Error>").1,
            "403 Forbidden: Request has expired"
        );
        assert_eq!(of(500, "").1, "500 Internal Server Error");
        assert_eq!(of(404, r#"{"errors":[{"code":"MANIF"#).0, Kind::NotFound);
        assert_eq!(of(404, r#"{"errors":[]}"#).0, Kind::NotFound);
        assert_eq!(of(404, r#"{"errors":[{"detail":7}]}"#).1, "404 Not Found");
        assert_eq!(of(599, "\u{1b}[31mred").1, "599: \\u{1b}[31mred");
    }

    #[test]
    fn the_first_known_code_wins_over_the_status() {
        let body = r#"{"errors":[{"code":"UNKNOWN"},{"code":"NEW_THING"},{"code":"DENIED"},{"code":"NAME_UNKNOWN"}]}"#;
        assert_eq!(of(404, body).0, Kind::Denied);
        assert_eq!(of(400, r#"{"errors":[{"code":"UNKNOWN"}]}"#).0, Kind::Protocol);
        assert_eq!(of(500, r#"{"errors":[{"code":"UNKNOWN"}]}"#).0, Kind::Server);
        let wrapped = r#"{"errors":[{"code":"UNKNOWN","detail":{"errors":[{"code":"MANIFEST_UNKNOWN"}]}}]}"#;
        assert_eq!(of(500, wrapped).0, Kind::NotFound);
        assert_eq!(of(400, r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}"#).0, Kind::Invalid);
    }

    #[test]
    fn the_table_of_1_11() {
        for (status, kind) in [
            (400, Kind::Protocol),
            (401, Kind::Denied),
            (403, Kind::Denied),
            (404, Kind::NotFound),
            (405, Kind::Unsupported),
            (408, Kind::Busy),
            (409, Kind::Protocol),
            (410, Kind::NotFound),
            (412, Kind::Protocol),
            (413, Kind::Protocol),
            (429, Kind::Busy),
            (451, Kind::Denied),
            (500, Kind::Server),
            (501, Kind::Unsupported),
            (502, Kind::Server),
            (505, Kind::Server),
        ] {
            assert_eq!(of_status(status), kind, "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_body_gives_short_clean_words(status in 300u16..700, body in prop::collection::vec(any::<u8>(), 0..600)) {
            let failure = read(status, &body);
            prop_assert!(failure.words.len() < 12 * MAX_WORDS);
            prop_assert!(!failure.words.chars().any(char::is_control));
        }
    }
}
