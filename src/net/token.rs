//! Bearer tokens: fetched from the realm, kept until shortly before they end (distribution's auth specifications,
//! protocols.md items 11 to 22).
//!
//! Promises: passwords and refresh tokens go to the realm and nowhere else; the answer is capped; 100 readers who need
//! the same token cause one request. Does not know challenges, and decides nothing about the registry's answers.

use super::courier::{Courier, Headers};
use super::credentials::{Credential, Secret};
use super::failure;
use super::flight::Flights;
use super::origin;
use super::retry::Tries;
use super::wire::{Fault, Reply};
use crate::error::{Error, Kind, Result};
use base64::Engine as _;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::{Url, form_urlencoded};

/// The largest answer of a token server.
const MAX_ANSWER: u64 = 64 << 10;
/// How long a token lives where its server does not say.
const LIFE: Duration = Duration::from_secs(60);
/// No token is believed to live longer: clocks and servers are wrong.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);
/// A token is replaced so long before its end, or at half of its life if that is sooner.
const EARLY: Duration = Duration::from_secs(10);
/// How we call ourselves to OAuth2 servers.
const CLIENT_ID: &str = "regfs";

/// What a token is for, and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
    /// Sorted, each once.
    pub(super) scopes: Vec<String>,
    pub(super) credential: Option<Arc<Credential>>,
}

/// A token and when to replace it.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) text: Arc<str>,
    until: Instant,
}

/// Every token of this process.
pub(super) struct Tokens(Flights<TokenKey, Token>);

impl Tokens {
    pub(super) fn new() -> Tokens {
        Tokens(Flights::new())
    }

    /// The token for `key`, and whether it was fetched just now.
    pub(super) async fn get(&self, key: &TokenKey, courier: &Courier<'_>) -> Result<(Token, bool)> {
        self.0.get(key, |token| Instant::now() < token.until, || fetch(key, courier)).await
    }

    /// Drops a token that was refused.
    pub(super) async fn forget(&self, key: &TokenKey, refused: &str) {
        self.0.forget(key, |token| *token.text == *refused).await;
    }
}

async fn fetch(key: &TokenKey, courier: &Courier<'_>) -> Result<Token> {
    let mut tries = Tries::default();
    loop {
        let (error, pause) = match ask(key, courier).await {
            Ok(reply) if reply.response.status().is_success() => return read(key, courier, reply).await,
            Ok(reply) => {
                let status = reply.status();
                let pause = tries.after_status(status, reply.headers(), courier.left());
                let words = reply.record.words();
                let body = reply.drain(failure::MAX_BODY, courier.left()).await;
                (refusal(key, status, &words, &body), pause)
            }
            Err(fault) => {
                let pause = if fault.again { tries.after_fault(courier.left()) } else { None };
                (fault.error, pause)
            }
        };
        let Some(pause) = pause else { return Err(error) };
        tokio::time::sleep(pause).await;
    }
}

fn refusal(key: &TokenKey, status: u16, words: &str, body: &[u8]) -> Error {
    let failure = failure::read(status, body);
    let mut text = format!("{words}: {}", failure.words);
    if matches!(status, 401 | 403) {
        // A login that has become stale must be told, even where no login would have done (item 24).
        text.push_str(&match &key.credential {
            Some(credential) => format!(" (the credentials of {} are refused)", credential.source),
            None => " (no credentials are stored for it)".to_owned(),
        });
    }
    let kind = match failure.kind {
        // A realm that is not there says nothing about what was asked for.
        Kind::NotFound | Kind::Unsupported | Kind::Invalid | Kind::NoData => Kind::Protocol,
        kind => kind,
    };
    Error::new(kind, text)
}

/// One question to the realm: by OAuth2 where there is a refresh token, else as docker always did.
async fn ask(key: &TokenKey, courier: &Courier<'_>) -> Result<Reply, Fault> {
    let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    let credential = key.credential.as_deref().map(|credential| &credential.secret);
    if let Some(Secret::IdentityToken { token }) = credential {
        let form = form(key, &[("grant_type", "refresh_token"), ("refresh_token", token)]);
        let reply = courier.post(&key.realm, form, accept.clone()).await?;
        if !matches!(reply.status(), 400 | 401 | 404 | 405) {
            return Ok(reply);
        }
        // Servers without OAuth2 take the token as the password of a user of this name.
        courier.discard(reply).await;
        return courier.fetch(&Method::GET, &query(key, None), &headers(accept, Some(("<token>", token)))).await;
    }
    let basic = match credential {
        Some(Secret::Basic { user, password }) => Some((user.as_str(), password.as_str())),
        _ => None,
    };
    let url = query(key, basic.map(|(user, _)| user));
    let reply = courier.fetch(&Method::GET, &url, &headers(accept.clone(), basic)).await?;
    match (reply.status(), basic) {
        (404 | 405, Some((user, password))) => {
            courier.discard(reply).await;
            let form = form(key, &[("grant_type", "password"), ("username", user), ("password", password)]);
            courier.post(&key.realm, form, accept).await
        }
        _ => Ok(reply),
    }
}

fn headers(accept: HeaderMap, basic: Option<(&str, &str)>) -> Headers {
    let own = basic.and_then(|(user, password)| Some((AUTHORIZATION, basic_header(user, password)?)));
    Headers { own: own.into_iter().collect(), anywhere: accept }
}

/// `Basic …`, marked as a secret.
pub(super) fn basic_header(user: &str, password: &str) -> Option<HeaderValue> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The realm with the question appended to whatever query it has (item 11).
fn query(key: &TokenKey, account: Option<&str>) -> Url {
    let mut url = key.realm.clone();
    {
        let mut pairs = url.query_pairs_mut();
        if let Some(service) = &key.service {
            pairs.append_pair("service", service);
        }
        for scope in &key.scopes {
            pairs.append_pair("scope", scope);
        }
        if let Some(account) = account {
            pairs.append_pair("account", account);
        }
        pairs.append_pair("client_id", CLIENT_ID);
    }
    url
}

fn form(key: &TokenKey, grant: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(grant).append_pair("client_id", CLIENT_ID).append_pair("access_type", "offline");
    if let Some(service) = &key.service {
        form.append_pair("service", service);
    }
    if !key.scopes.is_empty() {
        form.append_pair("scope", &key.scopes.join(" "));
    }
    form.finish()
}

async fn read(key: &TokenKey, courier: &Courier<'_>, reply: Reply) -> Result<Token> {
    let bad = |why: &str| Error::new(Kind::Protocol, format!("get a token from {}: {why}", origin::shown(&key.realm)));
    let received = Instant::now();
    let body = reply.drain(MAX_ANSWER + 1, courier.left()).await;
    if courier.left().is_zero() {
        let words = format!("get a token from {}: no whole answer in time", origin::shown(&key.realm));
        return Err(Error::new(Kind::Timeout, words));
    }
    if body.len() as u64 > MAX_ANSWER {
        return Err(bad(&format!("the answer is over the limit of {MAX_ANSWER} bytes")));
    }
    let value: Value = serde_json::from_slice(&body).map_err(|_| bad("the answer is not JSON"))?;
    let text = ["token", "access_token"].iter().find_map(|name| value.get(name)?.as_str().filter(|t| !t.is_empty()));
    let text = text.ok_or_else(|| bad("the answer holds no token"))?;
    if HeaderValue::from_str(text).is_err() {
        return Err(bad("the token holds control characters"));
    }
    Ok(Token { text: text.into(), until: received + keep(&value, SystemTime::now()) })
}

/// How long from now a token is used: its life, less what has passed of it, less some time to spare.
fn keep(value: &Value, now: SystemTime) -> Duration {
    let seconds = match value.get("expires_in") {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let life =
        seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok()).filter(|life| !life.is_zero());
    let life = life.unwrap_or(LIFE).min(MAX_LIFE);
    let keep = life - EARLY.min(life / 2);
    let issued = value.get("issued_at").and_then(Value::as_str).and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
    let age = issued.and_then(|at| now.duration_since(at.into()).ok()).unwrap_or_default();
    // A token that seems to be dead on arrival tells of a wrong clock: count from its receipt.
    if age < keep { keep - age } else { keep }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn item_16_how_long_a_token_is_used() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let keep = |value: Value| keep(&value, now).as_secs_f64();
        assert_eq!(keep(json!({})), 50.0);
        assert_eq!(keep(json!({"expires_in": 300})), 290.0);
        assert_eq!(keep(json!({"expires_in": "300"})), 290.0);
        assert_eq!(keep(json!({"expires_in": 10.5})), 5.25);
        assert_eq!(keep(json!({"expires_in": 0})), 50.0);
        assert_eq!(keep(json!({"expires_in": -3})), 50.0);
        assert_eq!(keep(json!({"expires_in": null})), 50.0);
        assert_eq!(keep(json!({"expires_in": 1e300})), 50.0);
        assert_eq!(keep(json!({"expires_in": 1e9})), 86390.0);
        // 2001-09-09T01:46:40Z is now.
        assert_eq!(keep(json!({"expires_in": 300, "issued_at": "2001-09-09T01:45:00Z"})), 190.0);
        assert_eq!(keep(json!({"expires_in": 300, "issued_at": "1999-01-01T00:00:00Z"})), 290.0);
        assert_eq!(keep(json!({"expires_in": 300, "issued_at": "2031-01-01T00:00:00Z"})), 290.0);
        assert_eq!(keep(json!({"expires_in": 300, "issued_at": "yesterday"})), 290.0);
    }

    fn key(realm: &str, scopes: &[&str]) -> TokenKey {
        TokenKey {
            realm: realm.parse().expect("a url"),
            service: Some("svc, with comma".into()),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            credential: None,
        }
    }

    #[test]
    fn items_11_13_and_14_the_question_is_appended_one_parameter_per_scope() {
        let key = key("https://auth/token?x=1", &["repository:a:pull", "repository:b:pull,push"]);
        assert_eq!(
            query(&key, Some("me")).as_str(),
            "https://auth/token?x=1&service=svc%2C+with+comma&scope=repository%3Aa%3Apull\
             &scope=repository%3Ab%3Apull%2Cpush&account=me&client_id=regfs"
        );
    }

    #[test]
    fn item_22_forms_have_one_list_of_scopes() {
        let key = key("https://auth/token", &["a", "b"]);
        assert_eq!(
            form(&key, &[("grant_type", "refresh_token"), ("refresh_token", "r&t")]),
            "grant_type=refresh_token&refresh_token=r%26t&client_id=regfs&access_type=offline\
             &service=svc%2C+with+comma&scope=a+b"
        );
    }

    #[test]
    fn item_23_passwords_may_hold_colons_and_spaces() {
        let header = basic_header("me", "pass: word").expect("a header");
        assert!(header.is_sensitive());
        assert_eq!(header.to_str().expect("text"), "Basic bWU6cGFzczogd29yZA==");
    }
}
