//! 401 and what follows: which proof goes where.

use crate::kit::{self, Machine, basic, body, catalog, get, head, ping, text};
use crate::support::http::{Reply, Request, Server};
use regfs::error::Kind;
use serde_json::json;

/// A registry that takes Basic of `me`, and challenges as told.
fn basic_registry(challenge: &'static [&'static str]) -> Server {
    Server::start(move |request| match request.basic() {
        Some((user, password)) if user == "me" && password == "pass:wo rd" => Reply::ok("in"),
        _ => challenge.iter().fold(Reply::error(401, "UNAUTHORIZED", "authentication required"), |reply, challenge| {
            reply.header("WWW-Authenticate", *challenge)
        }),
    })
}

fn logged_in(server: &Server, auth: serde_json::Value) -> (Machine, regfs::net::http::Host) {
    let machine = Machine::new();
    machine.login(&[(&server.host(), auth)]);
    let host = kit::host_with(machine.config(), server);
    (machine, host)
}

#[test]
fn item_23_basic_with_a_password_of_colons_and_spaces_and_no_second_challenge() {
    let server = basic_registry(&["Basic realm=\"a realm, with comma\""]);
    let (_machine, host) = logged_in(&server, basic("me", "pass:wo rd"));
    assert_eq!(text(ping(&host)).expect("in"), "in");
    assert_eq!(server.count(), 2);
    assert!(server.requests()[0].header("authorization").is_none());
    // What is known is not asked for again.
    assert_eq!(text(get(&host, "/v2/lib/x/tags/list")).expect("in"), "in");
    assert_eq!(server.count(), 3);
}

#[test]
fn wrong_passwords_are_denied_once_and_named() {
    let server = basic_registry(&["Basic realm=x"]);
    let (machine, host) = logged_in(&server, basic("me", "wrong"));
    let error = ping(&host).err().expect("refused");
    assert_eq!(error.kind(), Kind::Denied);
    let words = error.to_string();
    assert!(words.contains("authentication required") && words.contains("config.json are refused"), "{words}");
    assert!(!words.contains("wrong"), "{words}");
    assert_eq!(server.count(), 2);
    // A new login takes effect at once.
    machine.login(&[(&server.host(), basic("me", "pass:wo rd"))]);
    assert_eq!(text(ping(&host)).expect("in"), "in");
}

#[test]
fn item_24_without_a_login_the_words_say_what_to_do() {
    let server = basic_registry(&["Basic realm=x"]);
    let error = ping(&kit::host(&server)).err().expect("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains(&format!("docker login {}", server.host())), "{error}");
    assert_eq!(server.count(), 1);
}

#[test]
fn item_2_every_request_may_be_challenged_for_itself() {
    let server = Server::start(|request: &Request| match (request.path.as_str(), request.basic()) {
        ("/v2/", _) | (_, Some(_)) => Reply::ok("in"),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
    });
    let (_machine, host) = logged_in(&server, basic("me", "x"));
    assert_eq!(text(ping(&host)).expect("open"), "in");
    assert_eq!(text(get(&host, "/v2/lib/x/tags/list")).expect("in"), "in");
}

#[test]
fn item_10_a_challenge_that_cannot_be_read_is_denied() {
    for challenge in [&[][..], &["Negotiate"], &["Bearer service=x"], &["%&"]] {
        let challenge: &'static [&'static str] = Box::leak(challenge.to_vec().into_boxed_slice());
        let server = basic_registry(challenge);
        let error = ping(&kit::host(&server)).err().expect("refused");
        assert_eq!(error.kind(), Kind::Denied, "{challenge:?}");
        assert_eq!(server.count(), 1);
    }
}

#[test]
fn item_12_bearer_goes_before_basic_and_the_password_to_the_realm_only() {
    let tokens = Server::start(|request| match request.basic() {
        Some((user, password)) if user == "me" && password == "p" => Reply::json(200, &json!({"token": "good"})),
        _ => Reply::new(401),
    });
    let realm = tokens.url("/token");
    let server = Server::start(move |request| match request.bearer() {
        Some("good") => Reply::ok("in"),
        _ => Reply::new(401)
            .header("WWW-Authenticate", "Basic realm=\"x\"")
            .header("WWW-Authenticate", format!("bEaReR realm=\"{realm}\", service=s")),
    });
    let (_machine, host) = logged_in(&server, basic("me", "p"));
    assert_eq!(body(&host, "/v2/lib/x/tags/list").expect("in"), b"in");
    assert!(server.requests().iter().all(|request| request.basic().is_none()));
    assert_eq!(tokens.count(), 1);
}

#[test]
fn item_21_a_401_to_head_has_no_body() {
    let server = basic_registry(&["Basic realm=x"]);
    let (_machine, host) = logged_in(&server, basic("me", "pass:wo rd"));
    assert_eq!(head(&host, "/v2/lib/x/blobs/sha256:0").expect("in").status, 200);
}

#[test]
fn item_22_a_refresh_token_is_not_a_password_for_the_registry() {
    let server = basic_registry(&["Basic realm=x"]);
    let (_machine, host) = logged_in(&server, json!({"identitytoken": "refresh"}));
    assert_eq!(ping(&host).err().expect("refused").kind(), Kind::Denied);
    assert!(server.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn item_25_a_registry_token_is_sent_as_it_is() {
    let server = Server::start(|request| match request.bearer() {
        Some("configured") => Reply::ok("in"),
        _ => Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/none\""),
    });
    let (_machine, host) = logged_in(&server, json!({"registrytoken": "configured"}));
    assert_eq!(text(ping(&host)).expect("in"), "in");
    let (_machine, host) = logged_in(&server, json!({"registrytoken": "old"}));
    let error = ping(&host).err().expect("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("registry token"), "{error}");
}

#[test]
fn a_realm_in_clear_elsewhere_gets_nothing() {
    let server =
        Server::start(|_| Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"http://192.0.2.1/token\""));
    let (_machine, host) = logged_in(&server, basic("me", "p"));
    let error = ping(&host).err().expect("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("not https"), "{error}");
}

#[test]
fn a_realm_that_is_a_file_is_said_to_be_one() {
    let server = Server::start(|_| Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"file:///etc/passwd\""));
    let (_machine, host) = logged_in(&server, basic("me", "p"));
    let error = ping(&host).err().expect("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("is no http(s) URL"), "{error}");
    assert!(!error.to_string().contains("--insecure"), "{error}");
}

#[test]
fn item_32_a_catalog_that_takes_basic_only() {
    let server = Server::start(|request: &Request| match (request.path.as_str(), request.basic()) {
        ("/v2/_catalog", Some(_)) => Reply::ok("list"),
        ("/v2/_catalog", None) => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"harbor\""),
        _ => Reply::ok("open"),
    });
    let (_machine, host) = logged_in(&server, basic("admin", "p"));
    assert_eq!(text(catalog(&host)).expect("listed"), "list");
}

#[test]
fn the_state_of_credentials_is_told_in_words() {
    let server = basic_registry(&["Basic realm=x"]);
    let machine = Machine::new();
    machine.login(&[(&server.host(), basic("me", "pass:wo rd"))]);
    let config = machine.config();
    let journal = config.journal.clone();
    let host = kit::host_with(config, &server);
    text(ping(&host)).expect("in");
    let health = &journal.remotes()[&server.host()];
    assert!(health.credentials.starts_with("basic (") && health.credentials.contains("config.json"));
    machine.login(&[(&server.host(), basic("me", "no"))]);
    let host = kit::host_with(kit::Machine::config(&machine), &server);
    ping(&host).err().expect("refused");
    let debug = format!("{:?}", journal.requests());
    assert!(!debug.contains("wo rd") && !debug.contains("bWU6"), "{debug}");
}
