//! `WWW-Authenticate`: a pure parser of challenges as servers really write them (RFC 9110 section 11, protocols.md
//! item 10).
//!
//! Takes several headers and several challenges in one, quoted values with commas and escapes, bare values, any case
//! and any whitespace. Promises never to panic and to give up nothing that it understood because of what it did not.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// More challenges than this are not looked at.
const MAX_CHALLENGES: usize = 16;
/// More parameters of one challenge than this are not looked at.
const MAX_PARAMETERS: usize = 32;

/// One way to prove who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// `bearer`, `basic`; in lower case.
    pub(super) scheme: String,
    /// Names in lower case, values unquoted.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of that name (in lower case), if it is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }
}

/// Every challenge in the headers, in order.
pub(super) fn read(headers: &HeaderMap) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        parse(&String::from_utf8_lossy(value.as_bytes()), &mut challenges);
    }
    challenges
}

fn parse(text: &str, challenges: &mut Vec<Challenge>) {
    let mut cursor = Cursor { rest: text };
    // Parameters never continue a challenge of another header.
    let mut current: Option<Challenge> = None;
    while challenges.len() < MAX_CHALLENGES {
        cursor.skip(|c| c == ',' || c.is_whitespace());
        if cursor.rest.is_empty() {
            break;
        }
        let word = cursor.take(|c| !c.is_whitespace() && !matches!(c, ',' | '=' | '"'));
        let before = cursor.rest;
        cursor.skip(char::is_whitespace);
        if word.is_empty() {
            // A stray quote or equals sign: a value of nothing.
            cursor.value();
            continue;
        }
        if cursor.rest.starts_with('=') {
            cursor.skip(|c| c == '=');
            cursor.skip(char::is_whitespace);
            let value = cursor.value();
            if let Some(challenge) = &mut current
                && challenge.parameters.len() < MAX_PARAMETERS
            {
                challenge.parameters.push((word.to_ascii_lowercase(), value));
            }
            continue;
        }
        // A bare word right after a scheme, with nothing between it and the comma, is its token68.
        let bare = before.trim_start().is_empty() || before.trim_start().starts_with(',');
        if bare
            && let Some(challenge) = &current
            && challenge.parameters.is_empty()
            && !known(word)
        {
            continue;
        }
        challenges.extend(current.take());
        current = Some(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
    }
    challenges.extend(current);
}

/// Schemes that may stand without parameters.
fn known(word: &str) -> bool {
    ["basic", "bearer", "negotiate", "digest", "ntlm"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.take(unwanted);
    }

    /// A quoted or bare value; a quote that is never closed ends with the text.
    fn value(&mut self) -> String {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let bare = self.take(|c| c != ',' && !c.is_whitespace());
            if bare.is_empty() {
                // Always moves on.
                let mut chars = self.rest.chars();
                chars.next();
                self.rest = chars.as_str();
            }
            return bare.to_owned();
        };
        let mut value = String::new();
        let mut chars = quoted.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => value.extend(chars.next()),
                c => value.push(c),
            }
        }
        self.rest = chars.as_str();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    fn of(values: &[&str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).expect("a header"));
        }
        read(&headers)
    }

    fn show(challenges: &[Challenge]) -> Vec<String> {
        let show = |challenge: &Challenge| {
            let parameters = challenge.parameters.iter().map(|(name, value)| format!(" {name}={value};"));
            challenge.scheme.clone() + &parameters.collect::<String>()
        };
        challenges.iter().map(show).collect()
    }

    #[test]
    fn item_10_what_docker_registry_really_sends() {
        let bearer =
            "Bearer realm=\"http://127.0.0.1/token?x=1\",service=\"svc, with comma\",scope=\"repository:lib/x:pull\"";
        assert_eq!(
            show(&of(&[bearer])),
            ["bearer realm=http://127.0.0.1/token?x=1; service=svc, with comma; scope=repository:lib/x:pull;"]
        );
        assert_eq!(show(&of(&["Basic realm=\"a realm, with comma\""])), ["basic realm=a realm, with comma;"]);
    }

    #[test]
    fn item_10_lists_cases_quotes_and_spaces() {
        for (values, shown) in [
            (
                &["Basic realm=\"a\", BEARER Realm = b , service=c=d"][..],
                &["basic realm=a;", "bearer realm=b; service=c=d;"][..],
            ),
            (&["Basic realm=a", "bearer realm=\"b\\\"c\\\\\""], &["basic realm=a;", "bearer realm=b\"c\\;"]),
            (&["Negotiate, Basic realm=x"], &["negotiate", "basic realm=x;"]),
            (&["Negotiate oYGeMIGboAMK==, Basic realm=x"], &["negotiate", "basic realm=x;"]),
            (&["Basic"], &["basic"]),
            (&[" ,, Bearer  realm=\"x\",,scope=\"\" "], &["bearer realm=x; scope=;"]),
            (&["Bearer realm=\"never closed, scope=x"], &["bearer realm=never closed, scope=x;"]),
            (&[""], &[]),
            (&["realm=x"], &[]),
        ] {
            let shown_now: Vec<String> = show(&of(values));
            // A token68 ends in equals signs and may pass for an empty parameter: it names nothing we ask for.
            let shown_now: Vec<String> = shown_now.iter().map(|s| s.replace(" oygemigboamk=;", "")).collect();
            assert_eq!(shown_now, shown, "{values:?}");
        }
        assert_eq!(of(&["Bearer scope=\"\""])[0].get("scope"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "\\PC{0,60}|[A-Za-z=,\" \\\\]{0,60}") {
            let mut challenges = Vec::new();
            parse(&text, &mut challenges);
            prop_assert!(challenges.len() <= MAX_CHALLENGES + 1);
        }

        #[test]
        fn what_is_written_is_read(values in prop::collection::vec("[ -~]{0,20}", 1..4)) {
            let parameters: Vec<String> = values.iter().enumerate()
                .map(|(n, value)| format!("p{n}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect();
            let mut challenges = Vec::new();
            parse(&format!("Bearer {}, Basic realm=x", parameters.join(",")), &mut challenges);
            prop_assert_eq!(challenges.len(), 2);
            for (n, value) in values.iter().enumerate() {
                prop_assert_eq!(challenges[0].get(&format!("p{n}")).unwrap_or(""), value.as_str());
            }
        }
    }
}
