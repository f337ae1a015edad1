//! What is asked again, how often, and how long it waits.

use crate::kit::{self, body, get};
use crate::support::http::{Cut, Reply, Server};
use regfs::error::Kind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A server that answers `first` so many times, then well.
fn after(times: u64, first: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    let asked = AtomicU64::new(0);
    Server::start(move |_| if asked.fetch_add(1, Ordering::SeqCst) < times { first() } else { Reply::ok("well") })
}

#[test]
fn item_61_502_503_and_504_are_asked_again() {
    for status in [502, 503, 504] {
        let server = after(2, move || Reply::new(status));
        assert_eq!(body(&kit::host(&server), "/v2/x").expect("in the end"), b"well");
        assert_eq!(server.count(), 3);
    }
}

#[test]
fn item_61_they_end_after_bounded_tries_with_the_servers_words() {
    let server = after(u64::MAX, || Reply::new(503).body("<html><title>Down for maintenance</title></html>"));
    let start = Instant::now();
    let error = get(&kit::host(&server), "/v2/x").err().expect("never well");
    assert_eq!(error.kind(), Kind::Server);
    assert!(error.to_string().ends_with("503 Service Unavailable: Down for maintenance"), "{error}");
    assert_eq!(server.count(), 4);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn item_61_every_other_failure_is_exactly_one_request() {
    for status in [400, 403, 404, 405, 409, 410, 412, 413, 418, 451, 500, 501, 505, 507, 511, 520, 599] {
        let server = after(u64::MAX, move || Reply::new(status));
        get(&kit::host(&server), "/v2/x").err().expect("a failure");
        assert_eq!(server.count(), 1, "{status}");
    }
}

#[test]
fn item_61_connections_that_break_are_tried_again() {
    for cut in [Cut::Fin, Cut::Rst] {
        let server = after(2, move || Reply::nothing(cut));
        assert_eq!(body(&kit::host(&server), "/v2/x").expect("in the end"), b"well");
        let server = after(u64::MAX, move || Reply::nothing(cut));
        let error = get(&kit::host(&server), "/v2/x").err().expect("never");
        assert_eq!(error.kind(), Kind::Unreachable);
        assert_eq!(server.count(), 4);
    }
}

#[test]
fn a_connection_that_went_stale_while_idle_is_not_noticed() {
    let server = after(0, || Reply::new(500));
    let host = kit::host(&server);
    body(&host, "/v2/x").expect("well");
    server.disconnect();
    body(&host, "/v2/x").expect("well");
}

#[test]
fn item_61_a_refused_connection_is_unreachable_soon() {
    let server = after(0, || Reply::new(500));
    let host = kit::host(&server);
    let name = server.host();
    drop(server);
    let start = Instant::now();
    let error = get(&host, "/v2/x").err().expect("refused");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("refused") && error.to_string().contains(&name), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn item_61_an_unknown_name_is_unreachable() {
    let host = kit::named(kit::config(), "no-such-host.invalid");
    let error = get(&host, "/v2/x").err().expect("unknown");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("no-such-host.invalid is not known"), "{error}");
}

#[test]
fn item_61_retry_after_is_waited_for_in_seconds_or_as_a_date() {
    for status in [408, 429, 503] {
        let server = after(1, move || Reply::new(status).header("Retry-After", "1"));
        let start = Instant::now();
        assert_eq!(body(&kit::host(&server), "/v2/x").expect("well"), b"well");
        assert!((900..4000).contains(&(start.elapsed().as_millis() as u64)), "{:?}", start.elapsed());
    }
    let server = after(1, || Reply::new(429).header("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(body(&kit::host(&server), "/v2/x").expect("well"), b"well");
}

#[test]
fn item_61_a_429_without_retry_after_is_asked_again_too() {
    let server = after(1, || Reply::error(429, "TOOMANYREQUESTS", "slow down"));
    assert_eq!(body(&kit::host(&server), "/v2/x").expect("well"), b"well");
}

#[test]
fn item_61_a_wait_beyond_the_budget_is_busy_at_once() {
    for after_value in ["3600", "Sun, 06 Nov 2094 08:49:37 GMT"] {
        let server = after(u64::MAX, move || {
            Reply::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", after_value)
        });
        let start = Instant::now();
        let error = get(&kit::host(&server), "/v2/x").err().expect("busy");
        assert_eq!(error.kind(), Kind::Busy);
        assert_eq!(error.errno(), libc::EBUSY);
        assert!(error.to_string().contains("slow down"), "{error}");
        assert_eq!(server.count(), 1);
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
