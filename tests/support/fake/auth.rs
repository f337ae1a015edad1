//! Who may read: Basic, and Bearer with its token endpoint (distribution's spec/auth, token.md and oauth.md).

use super::options::{Auth, Tokens};
use super::state::{State, Token, lock};
use crate::support::http::{Reply, Request};
use serde_json::{Value, json};
use std::time::Instant;

/// The service of every challenge: the comma and the escaped quote must survive the client's parser.
pub const SERVICE: &str = "fake, with \"comma";

/// The 401 for a request that may not be answered; `None` if it may. `scope` is what it needs.
pub(super) fn refuse(state: &State, request: &Request, scope: Option<&str>) -> Option<Reply> {
    match state.options().auth {
        Auth::None => None,
        Auth::Basic { user, password } => {
            (request.basic() != Some((user, password))).then(|| challenge("Basic realm=\"a realm, with comma\""))
        }
        Auth::Bearer(options) => {
            let error = match request.bearer() {
                None => "",
                Some(bearer) => match lock(&state.tokens).get(bearer) {
                    None => ",error=\"invalid_token\"",
                    Some(token) if token.until <= Instant::now() => ",error=\"invalid_token\"",
                    Some(token) if scope.is_none_or(|scope| token.scopes.iter().any(|held| held == scope)) => {
                        return None;
                    }
                    Some(_) => ",error=\"insufficient_scope\"",
                },
            };
            let query = if options.realm_query { "?x=1" } else { "" };
            let mut text = format!(
                "Bearer realm=\"http://{}/token{query}\",service=\"{}\"",
                state.addresses().tokens,
                SERVICE.replace('"', "\\\"")
            );
            if let Some(scope) = scope.filter(|_| options.scope_in_challenge) {
                text.push_str(&format!(",scope=\"{scope}\""));
            }
            text.push_str(error);
            Some(challenge(&text))
        }
    }
}

fn challenge(text: &str) -> Reply {
    Reply::error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", text)
}

/// The token endpoint.
pub(super) fn token(state: &State, request: &Request) -> Reply {
    let Auth::Bearer(options) = state.options().auth else { return Reply::new(404) };
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let values = |name: &str| -> Vec<String> {
        let source = if request.method == "POST" { form.as_bytes() } else { request.query.as_bytes() };
        url::form_urlencoded::parse(source).filter(|(key, _)| key == name).map(|(_, v)| v.into_owned()).collect()
    };
    let allowed = if request.method == "POST" {
        let Some(identity) = &options.identity else { return Reply::new(404) };
        values("grant_type") == ["refresh_token"] && values("refresh_token") == [identity.as_str()]
    } else {
        match request.basic() {
            Some(given) => options.user.as_ref() == Some(&given),
            None => options.anonymous,
        }
    };
    if !allowed {
        return Reply::json(401, &json!({"details": "incorrect username or password"}));
    }
    if values("service") != [SERVICE] {
        return Reply::json(400, &json!({"details": "unknown service"}));
    }
    let scopes = values("scope").iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect();
    give(state, &options, scopes)
}

fn give(state: &State, options: &Tokens, scopes: Vec<String>) -> Reply {
    let bearer = format!("token-{}-{:016x}", state.serial(), fastrand::u64(..));
    let scopes = if options.powerless { Vec::new() } else { scopes };
    let token = Token { scopes, until: Instant::now() + options.life };
    lock(&state.tokens).insert(bearer.clone(), token);
    let mut answer = json!({});
    for field in options.fields {
        answer[*field] = json!(bearer);
    }
    if let Some(expires_in) = &options.expires_in {
        answer["expires_in"] = expires_in.clone();
    }
    if let Some(issued_at) = &options.issued_at {
        answer["issued_at"] = Value::String(issued_at.clone());
    }
    Reply::json(200, &answer)
}
