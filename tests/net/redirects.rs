//! Redirects: where they are followed, what is sent along, and links that expire.

use crate::kit::{self, Machine, ask, basic, blob, body, get, head, range, text};
use crate::support::http::{Reply, Request, Server};
use regfs::error::Kind;
use reqwest::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOB: &str = "/v2/lib/x/blobs/sha256:0";

#[test]
fn item_57_every_kind_of_redirect_is_followed_ten_times_and_not_more() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start(move |request| match request.path.rsplit('/').next() {
            Some("0") => Reply::ok("there"),
            Some(n) => Reply::redirect(status, format!("/hop/{}", n.parse::<u32>().unwrap_or(1) - 1)).body("moved"),
            None => Reply::new(500),
        });
        let host = kit::host(&server);
        assert_eq!(body(&host, "/v2/10").expect("ten"), b"there");
        let error = get(&host, "/v2/11").err().expect("eleven");
        assert_eq!(error.kind(), Kind::Protocol);
        assert!(error.to_string().contains("more than 10"), "{error}");
        assert!(server.requests().iter().all(|request| request.method == "GET"));
        assert!(server.connections() < 12, "the bodies of redirects are read: connections are used again");
    }
}

/// A store at another port and a registry with Basic that redirects to it.
fn store_and_registry(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (Server, Server, Machine) {
    let store = Server::start(answer);
    let to = store.url("/store?sig=secret");
    let registry = Server::start(move |request| match request.basic() {
        Some(_) => Reply::redirect(307, to.clone()),
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
    });
    let machine = Machine::new();
    machine.login(&[(&registry.host(), basic("me", "p"))]);
    (store, registry, machine)
}

#[test]
fn item_57_another_port_is_another_origin_and_gets_range_and_accept_only() {
    let (store, registry, machine) =
        store_and_registry(|_| Reply::new(206).header("Content-Range", "bytes 2-5/10").body("2345"));
    let host = kit::host_with(machine.config(), &registry);
    assert_eq!(text(range(&host, BLOB, 2, 6)).expect("a part"), "2345");
    let headers = [("Accept", "application/x"), ("If-None-Match", "\"a\""), ("Cookie", "c=1"), ("X-Own", "y")];
    ask(&host, Method::GET, "/v2/lib/x/manifests/1", kit::metadata, &headers, &[]).expect("an answer");
    let names = |request: &Request| {
        let mut names: Vec<_> = request.headers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&store.requests()[0]), "accept accept-encoding host range user-agent");
    assert_eq!(store.requests()[0].header("range"), Some("bytes=2-5"));
    assert_eq!(names(&store.requests()[1]), "accept accept-encoding host user-agent");
    assert_eq!(store.requests()[1].header("accept"), Some("application/x"));
    let registry = registry.requests();
    assert!(registry.iter().any(|request| request.header("x-own").is_some() && request.basic().is_some()));
}

#[test]
fn item_57_the_same_origin_keeps_its_credentials_and_a_detour_loses_them() {
    let detour = Arc::new(std::sync::Mutex::new(String::new()));
    let to = Arc::clone(&detour);
    let registry = Server::start(move |request: &Request| match (request.path.as_str(), request.basic()) {
        ("/v2/open", basic) => Reply::ok(if basic.is_some() { "known" } else { "unknown" }),
        (_, None) => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
        ("/v2/straight", _) => Reply::redirect(302, "/v2/open"),
        _ => Reply::redirect(302, to.lock().expect("lock").clone()),
    });
    let back = registry.url("/v2/open");
    let elsewhere = Server::start(move |_| Reply::redirect(302, back.clone()));
    *detour.lock().expect("lock") = elsewhere.url("/");
    let machine = Machine::new();
    machine.login(&[(&registry.host(), basic("me", "p"))]);
    let host = kit::host_with(machine.config(), &registry);
    assert_eq!(body(&host, "/v2/straight").expect("an answer"), b"known");
    assert_eq!(body(&host, "/v2/round").expect("an answer"), b"unknown");
}

#[test]
fn item_57_user_and_password_in_a_location_are_not_sent() {
    let store = Server::start(|_| Reply::ok("there"));
    let to = format!("http://user:password@{}/x", store.host());
    let registry = Server::start(move |_| Reply::redirect(307, to.clone()));
    assert_eq!(body(&kit::host(&registry), "/v2/x").expect("an answer"), b"there");
    assert!(store.requests()[0].header("authorization").is_none());
}

#[test]
fn item_57_clear_http_to_a_stranger_and_nonsense_are_refused() {
    for (location, words) in [
        ("http://192.0.2.7/x", "--insecure"),
        ("ftp://127.0.0.1/x", "another protocol"),
        ("file:///etc/passwd", "another protocol"),
        ("http://", "no URL"),
    ] {
        let server = Server::start(move |_| Reply::redirect(307, location));
        let error = get(&kit::host(&server), "/v2/x").err().expect(location);
        assert_eq!(error.kind(), Kind::Protocol);
        assert!(error.to_string().contains(words), "{error}");
    }
    let server = Server::start(|_| Reply::new(302));
    assert_eq!(get(&kit::host(&server), "/v2/x").err().expect("nowhere").kind(), Kind::Protocol);
}

#[test]
fn item_58_head_follows_the_redirect_to_learn_the_size() {
    let (store, registry, machine) = store_and_registry(|_| Reply::ok(vec![0; 1234]));
    let answer = head(&kit::host_with(machine.config(), &registry), BLOB).expect("an answer");
    assert_eq!(answer.headers["content-length"], "1234");
    assert_eq!(store.requests()[0].method, "HEAD");
}

#[test]
fn item_58_a_head_that_the_store_refuses_is_unsupported() {
    for status in [400, 403] {
        let (_store, registry, machine) = store_and_registry(move |_| Reply::new(status));
        let error = head(&kit::host_with(machine.config(), &registry), BLOB).err().expect("refused");
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    }
}

#[test]
fn item_59_the_target_of_a_blob_is_kept_until_it_fails() {
    let good = Arc::new(AtomicU64::new(0));
    let store = {
        let good = Arc::clone(&good);
        Server::start(move |request| {
            if request.query != format!("sig={}", good.load(Ordering::SeqCst)) {
                return Reply::new(403).body("<Error><Message>Request has expired</Message></Error>");
            }
            Reply::new(206).header("Content-Range", "bytes 0-3/10").body("0123")
        })
    };
    let registry = {
        let (good, to) = (Arc::clone(&good), store.url("/b"));
        Server::start(move |_| Reply::redirect(307, format!("{to}?sig={}", good.load(Ordering::SeqCst))))
    };
    let host = kit::host(&registry);
    for _ in 0..5 {
        assert_eq!(text(range(&host, BLOB, 0, 4)).expect("a part"), "0123");
    }
    assert_eq!((registry.count(), store.count()), (1, 5));
    // The link expires: whoever reads notices nothing, and of many one asks anew.
    good.store(1, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(text(range(&host, BLOB, 0, 4)).expect("a part"), "0123"));
        }
    });
    assert_eq!(registry.count(), 2);
    // Another question has its own.
    text(range(&host, "/v2/lib/x/blobs/sha256:1", 0, 4)).expect("a part");
    assert_eq!(registry.count(), 3);
}

#[test]
fn item_59_a_fresh_link_that_is_refused_is_asked_for_once_more() {
    for status in [400, 401, 403, 410] {
        let times = AtomicU64::new(0);
        let (store, registry, machine) = store_and_registry(move |_| match times.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::new(status),
            _ => Reply::ok("there"),
        });
        let host = kit::host_with(machine.config(), &registry);
        assert_eq!(text(range(&host, BLOB, 0, 5)).expect("there"), "there");
        assert_eq!(store.count(), 2);
    }
}

#[test]
fn item_59_a_store_that_refuses_for_ever_is_no_denial() {
    let (store, registry, machine) =
        store_and_registry(|_| Reply::new(403).body("<Error><Message>no</Message></Error>"));
    let error = range(&kit::host_with(machine.config(), &registry), BLOB, 0, 5).err().expect("refused");
    assert_eq!(error.kind(), Kind::Server, "{error}");
    assert!(error.to_string().contains("storage") && !error.to_string().contains("secret"), "{error}");
    assert_eq!(store.count(), 2);
}

#[test]
fn item_59_a_403_of_the_registry_is_denied_at_once() {
    let server = Server::start(|_| Reply::error(403, "DENIED", "no"));
    assert_eq!(range(&kit::host(&server), BLOB, 0, 5).err().expect("refused").kind(), Kind::Denied);
    assert_eq!(server.count(), 1);
}

#[test]
fn item_59_a_store_that_is_down_is_asked_for_anew_at_the_registry() {
    let store = Server::start(|_| Reply::ok("there"));
    let to = Arc::new(std::sync::Mutex::new(store.url("/b")));
    let registry = {
        let to = Arc::clone(&to);
        Server::start(move |_| Reply::redirect(307, to.lock().expect("lock").clone()))
    };
    let host = kit::host(&registry);
    text(ask(&host, Method::GET, BLOB, blob, &[], &[])).expect("there");
    drop(store);
    let store = Server::start(|_| Reply::ok("moved"));
    *to.lock().expect("lock") = store.url("/c");
    assert_eq!(text(ask(&host, Method::GET, BLOB, blob, &[], &[])).expect("moved"), "moved");
}
