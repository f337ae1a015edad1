//! Statuses and error bodies: what they mean to who reads (protocols.md 1.11), and what is an answer.

use crate::kit::{self, ask, get, metadata, ping};
use crate::support::http::{Length, Reply, Server};
use regfs::error::Kind;
use reqwest::Method;
use std::io::Write;

#[test]
fn the_table_of_1_11_as_reads_see_it() {
    for (status, code, kind) in [
        (404, "BLOB_UNKNOWN", Kind::NotFound),
        (404, "MANIFEST_UNKNOWN", Kind::NotFound),
        (404, "NAME_UNKNOWN", Kind::NotFound),
        (400, "NAME_INVALID", Kind::NotFound),
        (400, "TAG_INVALID", Kind::NotFound),
        (400, "DIGEST_INVALID", Kind::NotFound),
        (400, "MANIFEST_INVALID", Kind::Protocol),
        (400, "MANIFEST_UNVERIFIED", Kind::Unverified),
        (403, "DENIED", Kind::Denied),
        (404, "DENIED", Kind::Denied),
        (405, "UNSUPPORTED", Kind::Unsupported),
        (400, "UNSUPPORTED", Kind::Unsupported),
        (400, "PAGINATION_NUMBER_INVALID", Kind::Invalid),
        (400, "UNKNOWN", Kind::Protocol),
        (500, "UNKNOWN", Kind::Server),
        (451, "NEW_CODE", Kind::Denied),
    ] {
        let server = Server::start(move |_| Reply::error(status, code, "words of the server"));
        let error = get(&kit::host(&server), "/v2/x").err().expect(code);
        assert_eq!(error.kind(), kind, "{status} {code}");
        assert!(error.to_string().contains("words of the server"), "{error}");
    }
}

#[test]
fn item_7_an_endless_or_lying_error_body_is_cut() {
    let server = Server::start(|request| match request.path.as_str() {
        "/v2/big" => Reply::new(404).body(vec![b'x'; 1 << 20]),
        _ => Reply::new(404).body("short").length(Length::Claimed(1000)),
    });
    let host = kit::host(&server);
    for path in ["/v2/big", "/v2/lying"] {
        let error = get(&host, path).err().expect(path);
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().len() < 1000);
    }
}

#[test]
fn item_4_an_error_that_comes_compressed_is_read() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(br#"{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}"#).expect("gzip");
    let packed = encoder.finish().expect("gzip");
    let server = Server::start(move |_| Reply::new(400).header("Content-Encoding", "gzip").body(packed.clone()));
    let error = get(&kit::host(&server), "/v2/x").err().expect("an error");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("not here"), "{error}");
}

#[test]
fn item_1_what_is_no_registry_is_told_by_its_status() {
    let server = Server::start(|_| Reply::new(404).body("<html><title>Welcome</title></html>"));
    let error = ping(&kit::host(&server)).err().expect("no registry");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().ends_with("/v2/: 404 Not Found: Welcome"), "{error}");
}

#[test]
fn statuses_that_the_caller_takes_are_answers() {
    let server = Server::start(|request| {
        Reply::new(request.path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(500)).body("x")
    });
    let host = kit::host(&server);
    for status in [404, 405, 416] {
        let path = format!("/v2/{status}");
        let answer = ask(&host, Method::GET, &path, metadata, &[], &[404, 405, 416]).expect("an answer");
        assert_eq!(answer.status, status);
        ask(&host, Method::GET, &path, metadata, &[], &[]).err().expect("an error");
    }
    assert_eq!(ask(&host, Method::GET, "/v2/304", metadata, &[], &[]).expect("an answer").status, 304);
}

#[test]
fn only_reads_are_sent() {
    let server = Server::start(|_| Reply::ok("x"));
    let error = ask(&kit::host(&server), Method::DELETE, "/v2/x", metadata, &[], &[]).err().expect("refused");
    assert_eq!(error.kind(), Kind::Unsupported);
    assert_eq!(server.count(), 0);
}

#[test]
fn item_8_warnings_are_logged_once() {
    use std::sync::Mutex;
    static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    struct Logger;
    impl log::Log for Logger {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() <= log::Level::Warn
        }
        fn log(&self, record: &log::Record<'_>) {
            if record.level() <= log::Level::Warn {
                LOGGED.lock().expect("lock").push(record.args().to_string());
            }
        }
        fn flush(&self) {}
    }
    static LOGGER: Logger = Logger;
    log::set_logger(&LOGGER).expect("the only logger of this binary");
    log::set_max_level(log::LevelFilter::Warn);
    let server = Server::start(|_| {
        Reply::ok("x").header("Warning", "299 - \"retired \\\"soon\\\"\"").header("Warning", "199 - \"other\"")
    });
    let host = kit::host(&server);
    for _ in 0..3 {
        get(&host, "/v2/x").expect("an answer");
    }
    let mine: Vec<_> =
        LOGGED.lock().expect("lock").iter().filter(|line| line.contains(&server.host())).cloned().collect();
    assert_eq!(mine, [format!("{} warns: retired \"soon\"", server.host())]);
}

#[test]
fn no_cookies_are_kept() {
    let server = Server::start(|_| Reply::ok("x").header("Set-Cookie", "a=b"));
    let host = kit::host(&server);
    get(&host, "/v2/x").expect("an answer");
    get(&host, "/v2/x").expect("an answer");
    assert!(server.requests().iter().all(|request| request.header("cookie").is_none()));
}
