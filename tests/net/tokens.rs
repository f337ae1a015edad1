//! Bearer tokens: how they are asked for, kept, shared, replaced and given up.

use crate::kit::{self, Machine, basic, catalog, get, ping, range, text};
use crate::support::http::{Reply, Request, Server};
use regfs::error::Kind;
use regfs::net::http::Host;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A token server that answers as told, and a registry that takes what `takes` says, challenging for `scope`.
fn pair(
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    takes: impl Fn(&str) -> Result<(), &'static str> + Send + Sync + 'static,
    scope: &'static str,
) -> (Server, Server) {
    let tokens = Server::start(answer);
    let realm = tokens.url("/token?x=1");
    let registry = Server::start(move |request| {
        let error = match request.bearer().map(&takes) {
            Some(Ok(())) => return Reply::ok("in"),
            Some(Err(error)) => format!(",error=\"{error}\""),
            None => String::new(),
        };
        let scope = if scope.is_empty() { String::new() } else { format!(",scope=\"{scope}\"") };
        Reply::error(401, "UNAUTHORIZED", "authentication required")
            .header("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=\"svc, with comma\"{scope}{error}"))
    });
    (tokens, registry)
}

fn any(_: &str) -> Result<(), &'static str> {
    Ok(())
}

fn token(_: &Request) -> Reply {
    Reply::json(200, &json!({"token": "t", "expires_in": 300}))
}

fn tags(host: &Host) -> regfs::error::Result<String> {
    text(get(host, "/v2/lib/x/tags/list"))
}

#[test]
fn items_11_13_14_the_question_to_the_realm() {
    let (tokens, registry) = pair(token, any, "repository:lib/y:pull repository:lib/x:pull,push");
    let machine = Machine::new();
    machine.login(&[(&registry.host(), basic("me", "p"))]);
    assert_eq!(tags(&kit::host_with(machine.config(), &registry)).expect("in"), "in");
    let asked = &tokens.requests()[0];
    assert_eq!(asked.query_values("x"), ["1"]);
    assert_eq!(asked.query_values("service"), ["svc, with comma"]);
    assert_eq!(asked.query_values("scope"), ["repository:lib/x:pull,push", "repository:lib/y:pull"]);
    assert_eq!(asked.query_values("account"), ["me"]);
    assert_eq!(asked.basic(), Some(("me".to_owned(), "p".to_owned())));
}

#[test]
fn item_13_anonymous_pulls_send_no_credentials() {
    let (tokens, registry) = pair(token, any, "");
    assert_eq!(tags(&kit::host(&registry)).expect("in"), "in");
    assert!(tokens.requests()[0].header("authorization").is_none());
    assert!(tokens.requests()[0].query_value("account").is_none());
}

#[test]
fn item_15_a_challenge_without_scope_is_answered_with_the_scope_of_the_question() {
    let (tokens, registry) = pair(token, any, "");
    let host = kit::host(&registry);
    text(ping(&host)).expect("in");
    text(catalog(&host)).expect("in");
    tags(&host).expect("in");
    text(range(&host, "/v2/lib/x/blobs/sha256:0", 0, 5)).expect("in");
    let scopes: Vec<_> = tokens.requests().iter().map(|request| request.query_values("scope")).collect();
    assert_eq!(scopes, [vec![], vec!["registry:catalog:*".to_owned()], vec!["repository:lib/x:pull".to_owned()]]);
    // One challenge in all: what the first one told holds for the rest.
    assert_eq!(registry.requests().iter().filter(|request| request.bearer().is_none()).count(), 1);
}

#[test]
fn item_16_tokens_by_any_name_with_any_life() {
    for (answer, asked) in [
        (json!({"token": "t"}), 1),
        (json!({"access_token": "t"}), 1),
        (json!({"token": "", "access_token": "t", "expires_in": "300"}), 1),
        (json!({"access_token": "t", "expires_in": 300.5, "issued_at": "2020-01-01T00:00:00Z"}), 1),
        // Half of its life is over before the second question.
        (json!({"token": "t", "expires_in": 0.1}), 2),
    ] {
        let shown = answer.to_string();
        let (tokens, registry) = pair(move |_| Reply::json(200, &answer), any, "");
        let host = kit::host(&registry);
        tags(&host).expect("in");
        std::thread::sleep(Duration::from_millis(120));
        tags(&host).expect("in");
        assert_eq!(tokens.count(), asked, "{shown}");
    }
}

#[test]
fn item_16_an_answer_without_a_token_is_an_error() {
    let big = json!({"token": "t".repeat(70_000)}).to_string();
    for answer in ["", "{}", "null", "[]", "<html>", "{\"token\":7}", "{\"token\":\"a\\nb\"}", &big] {
        let answer = answer.to_owned();
        let (_tokens, registry) = pair(move |_| Reply::ok(answer.clone()), any, "");
        let error = tags(&kit::host(&registry)).expect_err("no token");
        assert_eq!(error.kind(), Kind::Protocol, "{error}");
        assert!(error.to_string().contains("/token"), "{error}");
    }
}

#[test]
fn item_17_an_invalid_token_is_dropped_and_fetched_once() {
    let given = Arc::new(AtomicU64::new(0));
    let answer = {
        let given = Arc::clone(&given);
        move |_: &Request| Reply::json(200, &json!({"token": format!("t{}", given.fetch_add(1, Ordering::SeqCst))}))
    };
    // t0 dies after its first use.
    let uses = AtomicU64::new(0);
    let takes = move |token: &str| match token {
        "t0" if uses.fetch_add(1, Ordering::SeqCst) > 0 => Err("invalid_token"),
        _ => Ok(()),
    };
    let (tokens, registry) = pair(answer, takes, "");
    let host = kit::host(&registry);
    tags(&host).expect("in");
    tags(&host).expect("in with the second token");
    assert_eq!((tokens.count(), registry.count()), (2, 4));
}

#[test]
fn item_17_a_second_401_is_denied() {
    let (tokens, registry) = pair(token, |_| Err("invalid_token"), "");
    let host = kit::host(&registry);
    let error = tags(&host).expect_err("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!((tokens.count(), registry.count()), (1, 2));
    // The next question starts over, with a token of its own, and ends as soon.
    assert_eq!(tags(&host).expect_err("refused").kind(), Kind::Denied);
    assert!(tokens.count() <= 2 && registry.count() <= 4, "{} {}", tokens.count(), registry.count());
}

#[test]
fn item_18_insufficient_scope_is_denied_without_a_loop() {
    let (tokens, registry) = pair(token, |_| Err("insufficient_scope"), "registry:catalog:*");
    let error = catalog(&kit::host(&registry)).err().expect("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!((tokens.count(), registry.count()), (1, 2));
}

#[test]
fn item_18_another_scope_than_expected_is_asked_for_once() {
    let (tokens, registry) = pair(token, any, "repository:user/image:pull");
    let host = kit::host(&registry);
    tags(&host).expect("in");
    tags(&host).expect("in");
    assert_eq!((tokens.count(), registry.count()), (1, 3));
    assert_eq!(tokens.requests()[0].query_values("scope"), ["repository:user/image:pull"]);
}

#[test]
fn item_19_a_token_for_less_shows_at_the_registry_as_a_403() {
    let tokens = Server::start(token);
    let realm = tokens.url("/token");
    let registry = Server::start(move |request| match request.bearer() {
        Some(_) => Reply::error(403, "DENIED", "requested access to the resource is denied"),
        None => Reply::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\"")),
    });
    let error = tags(&kit::host(&registry)).expect_err("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!((tokens.count(), registry.count()), (1, 2));
}

#[test]
fn item_20_a_hundred_readers_cause_one_token_request() {
    let (tokens, registry) = pair(|request| token(request).delay(Duration::from_millis(200)), any, "");
    let host = kit::host(&registry);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| tags(&host).expect("in"));
        }
    });
    assert_eq!(tokens.count(), 1);
}

#[test]
fn item_20_a_hundred_readers_of_a_broken_realm_share_its_failure() {
    let (tokens, registry) = pair(|_| Reply::new(500).delay(Duration::from_millis(200)), any, "");
    let host = kit::host(&registry);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(tags(&host).expect_err("broken").kind(), Kind::Server));
        }
    });
    assert!(tokens.count() <= 3, "{}", tokens.count());
}

#[test]
fn item_20_tokens_are_per_credential() {
    let (tokens, registry) = pair(token, any, "");
    let machine = Machine::new();
    let host = kit::host_with(machine.config(), &registry);
    tags(&host).expect("in");
    machine.login(&[(&registry.host(), basic("me", "p"))]);
    tags(&kit::host_with(machine.config(), &registry)).expect("in");
    assert_eq!(tokens.count(), 2);
    assert!(tokens.requests()[1].basic().is_some());
}

#[test]
fn item_22_a_refresh_token_is_posted_to_the_realm() {
    let (tokens, registry) = pair(token, any, "repository:lib/x:pull repository:lib/y:pull");
    let machine = Machine::new();
    machine.login(&[(&registry.host(), json!({"identitytoken": "re+fresh"}))]);
    tags(&kit::host_with(machine.config(), &registry)).expect("in");
    let asked = &tokens.requests()[0];
    assert_eq!((asked.method.as_str(), asked.header("authorization")), ("POST", None));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&asked.body).into_owned().collect();
    let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!(value("grant_type"), Some("refresh_token"));
    assert_eq!(value("refresh_token"), Some("re+fresh"));
    assert_eq!(value("scope"), Some("repository:lib/x:pull repository:lib/y:pull"));
    assert_eq!(value("service"), Some("svc, with comma"));
    assert_eq!(value("access_type"), Some("offline"));
    assert!(value("client_id").is_some());
    assert!(!format!("{:?}", registry.requests()).contains("re+fresh"));
}

#[test]
fn item_22_realms_without_oauth2_are_asked_by_get() {
    for status in [404, 405, 400, 401] {
        let answer = move |request: &Request| match (request.method.as_str(), request.basic()) {
            ("POST", _) => Reply::new(status),
            (_, Some((user, password))) if user == "<token>" && password == "refresh" => token(request),
            _ => Reply::new(401),
        };
        let (tokens, registry) = pair(answer, any, "");
        let machine = Machine::new();
        machine.login(&[(&registry.host(), json!({"identitytoken": "refresh"}))]);
        tags(&kit::host_with(machine.config(), &registry)).expect("in");
        assert_eq!(tokens.count(), 2, "{status}");
    }
}

#[test]
fn item_22_a_password_is_posted_where_get_is_not_known() {
    let answer = |request: &Request| if request.method == "POST" { token(request) } else { Reply::new(405) };
    let (tokens, registry) = pair(answer, any, "");
    let machine = Machine::new();
    machine.login(&[(&registry.host(), basic("me", "p w"))]);
    tags(&kit::host_with(machine.config(), &registry)).expect("in");
    let form = String::from_utf8(tokens.requests()[1].body.clone()).expect("a form");
    assert!(form.contains("grant_type=password&username=me&password=p+w"), "{form}");
}

#[test]
fn item_24_a_stale_login_is_told() {
    for status in [401, 403] {
        let (_tokens, registry) = pair(move |_| Reply::error(status, "DENIED", "denied"), any, "");
        let machine = Machine::new();
        machine.login(&[(&registry.host(), basic("me", "old"))]);
        let config = machine.config();
        let journal = config.journal.clone();
        let error = tags(&kit::host_with(config, &registry)).expect_err("refused");
        assert_eq!(error.kind(), Kind::Denied);
        let words = error.to_string();
        assert!(words.contains("denied") && words.contains("config.json are refused"), "{words}");
        assert_eq!(journal.remotes()[&registry.host()].credentials, "refused");
    }
}

#[test]
fn item_61_a_realm_that_is_overloaded_is_asked_again_and_a_broken_one_is_not() {
    let times = AtomicU64::new(0);
    let answer = move |request: &Request| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(503),
        1 => Reply::new(429).header("Retry-After", "0"),
        _ => token(request),
    };
    let (tokens, registry) = pair(answer, any, "");
    tags(&kit::host(&registry)).expect("in");
    assert_eq!(tokens.count(), 3);
    let (tokens, registry) = pair(|_| Reply::new(500), any, "");
    assert_eq!(tags(&kit::host(&registry)).expect_err("broken").kind(), Kind::Server);
    assert_eq!(tokens.count(), 1);
}

#[test]
fn a_realm_that_is_not_there_says_nothing_of_what_was_asked_for() {
    let (_tokens, registry) = pair(|_| Reply::new(404), any, "");
    assert_eq!(tags(&kit::host(&registry)).expect_err("no realm").kind(), Kind::Protocol);
}

#[test]
fn a_realm_that_redirects_elsewhere_does_not_pass_on_the_password() {
    let thief = Server::start(token);
    let to = thief.url("/steal");
    let (_tokens, registry) = pair(move |_| Reply::redirect(302, to.clone()), any, "");
    let machine = Machine::new();
    machine.login(&[(&registry.host(), basic("me", "p"))]);
    let _ = tags(&kit::host_with(machine.config(), &registry));
    assert!(thief.requests().iter().all(|request| request.header("authorization").is_none()));
}
