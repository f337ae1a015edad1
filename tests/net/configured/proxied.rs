//! Proxies at work: by scheme, with exceptions, with a password that nobody hears.

use super::{config, get};
use crate::setup::Setup;
use crate::support::http::{Reply, Server};
use crate::support::servers::{Authority, Nginx, free_port};
use regfs::error::{Kind, Result};
use regfs::net::http::Http;

/// What a user gets who allows clear HTTP: names of hosts that only a proxy can know are not loopback.
fn fetch(setup: &Setup, host: &str) -> Result<String> {
    let mut config = config(setup);
    config.insecure = true;
    config.timeout = super::SHORT;
    get(&Http::new(config)?.host(host)?, "ns/repo", "tags/list")
}

#[test]
fn clear_requests_go_to_the_proxy_whole() {
    let proxy = Server::start(|request| Reply::ok(request.target.clone()));
    let mut setup = Setup::new();
    setup.set("http_proxy", format!("http://me:hunter2@{}", proxy.host()));
    let answer = fetch(&setup, "http://registry.invalid:5000").expect("an answer");
    assert_eq!(answer, "http://registry.invalid:5000/v2/ns/repo/tags/list");
    let asked = &proxy.requests()[0];
    // me:hunter2
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6aHVudGVyMg=="));
    assert_eq!(asked.header("host"), Some("registry.invalid:5000"));
}

#[test]
fn tls_goes_through_a_tunnel() {
    let registry = Server::start(|_| Reply::ok("registry"));
    let front = Nginx::tls(&registry.host(), &Authority::new());
    let to = front.host().parse().expect("an address");
    let proxy = Server::start(move |request| match request.method.as_str() {
        "CONNECT" => Reply::tunnel(to),
        _ => Reply::new(500),
    });
    let mut setup = Setup::new();
    setup.set("HTTPS_PROXY", format!("http://me:hunter2@{}", proxy.host()));
    assert_eq!(fetch(&setup, "https://registry.invalid").expect("an answer"), "registry");
    let asked = &proxy.requests()[0];
    assert_eq!(asked.target, "registry.invalid:443");
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6aHVudGVyMg=="));
    assert!(registry.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[test]
fn exceptions_and_loopback_are_asked_directly() {
    let proxy = Server::start(|_| Reply::ok("proxy"));
    let registry = Server::start(|_| Reply::ok("registry"));
    let mut setup = Setup::new();
    setup.set("ALL_PROXY", format!("http://{}", proxy.host()));
    setup.set("NO_PROXY", "direct.invalid");
    assert_eq!(fetch(&setup, "http://registry.invalid").expect("an answer"), "proxy");
    assert_eq!(fetch(&setup, &format!("http://{}", registry.host())).expect("an answer"), "registry");
    assert_eq!(fetch(&setup, &registry.host()).expect("an answer"), "registry");
    let error = fetch(&setup, "http://a.direct.invalid").expect_err("a name that nobody knows");
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert_eq!(proxy.count(), 1);
}

#[test]
fn what_is_wrong_with_a_proxy_is_told_without_its_password() {
    let down = free_port();
    let refusing = Server::start(|_| Reply::new(407).header("Proxy-Authenticate", "Basic realm=\"p\""));
    for proxy in [format!("127.0.0.1:{down}"), refusing.host()] {
        for (variable, host) in [("HTTP_PROXY", "http://registry.invalid"), ("HTTPS_PROXY", "https://registry.invalid")]
        {
            let mut setup = Setup::new();
            setup.set(variable, format!("http://me:hunter2@{proxy}"));
            let words = fetch(&setup, host).expect_err("no way").to_string();
            assert!(words.to_lowercase().contains("proxy"), "{variable}: {words}");
            assert!(!words.contains("hunter2") && !words.contains("bWU6aHVudGVyMg"), "{words}");
        }
    }
    let mut setup = Setup::new();
    setup.set("HTTPS_PROXY", "http://me:hunter2@:x");
    let error = fetch(&setup, "https://registry.invalid").expect_err("no URL");
    assert!(error.to_string().contains("$HTTPS_PROXY") && !error.to_string().contains("hunter2"), "{error}");
}
