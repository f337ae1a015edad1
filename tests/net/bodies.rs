//! Bodies: whole, in chunks, cut short, silent, compressed, too large.

use crate::kit::{self, body, get, range};
use crate::support::http::{Cut, Reply, Server};
use regfs::error::Kind;
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn a_plain_get_end_to_end() {
    let server = Server::start(|request| match request.path.as_str() {
        "/v2/lib/x/tags/list" => Reply::ok("{}"),
        _ => Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry"),
    });
    let host = kit::host(&server);
    assert_eq!(host.name(), server.host());
    assert_eq!(body(&host, "/v2/lib/x/tags/list?n=5").expect("a body"), b"{}");
    let sent = &server.requests()[0];
    assert_eq!(sent.line(), "GET /v2/lib/x/tags/list?n=5");
    assert_eq!(sent.header("user-agent"), Some(concat!("regfs/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(sent.header("accept-encoding"), Some("identity"));
    let error = get(&host, "/v2/no/tags/list").err().expect("404");
    assert_eq!(error.kind(), Kind::NotFound);
    let words = format!(
        "get http://{}/v2/no/tags/list: 404 Not Found: repository name not known to registry (NAME_UNKNOWN)",
        server.host()
    );
    assert_eq!(error.to_string(), words);
}

#[test]
fn item_51_one_range_is_asked_for_inclusively() {
    let server = Server::start(|_| Reply::new(206).header("Content-Range", "bytes 5-9/100").body("56789"));
    let answer = range(&kit::host(&server), "/v2/lib/x/blobs/sha256:0", 5, 10).expect("206");
    assert_eq!((answer.status, &answer.bytes(10).expect("a body")[..]), (206, &b"56789"[..]));
    assert_eq!(server.requests()[0].header("range"), Some("bytes=5-9"));
}

#[test]
fn item_54_the_body_of_a_416_is_never_read() {
    let lie =
        "HTTP/1.1 416 Requested Range Not Satisfiable\r\nContent-Range: bytes */7\r\nContent-Length: 1000\r\n\r\nshort";
    let server = Server::start(move |_| Reply::raw(lie).hang_after(u64::MAX));
    let start = Instant::now();
    let mut answer = range(&kit::host(&server), "/v2/lib/x/blobs/sha256:0", 5, 10).expect("416");
    assert_eq!(answer.status, 416);
    assert_eq!(answer.headers["content-range"], "bytes */7");
    assert_eq!(answer.chunk().expect("no body"), None);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn item_60_a_body_that_breaks_off_is_an_error_of_the_chunk() {
    for cut in [Cut::Fin, Cut::Rst] {
        let server = Server::start(move |_| Reply::ok(vec![7; 100_000]).cut_after(50_000, cut));
        let mut answer = get(&kit::host(&server), "/v2/x").expect("a head");
        let mut got = 0;
        let error = loop {
            match answer.chunk() {
                Ok(Some(chunk)) => got += chunk.len(),
                Ok(None) => panic!("a short body passed for a whole one"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), Kind::Io, "{error}");
        assert!(got <= 50_000);
    }
}

#[test]
fn a_body_that_falls_silent_times_out_and_slow_ones_do_not() {
    let mut config = kit::config();
    config.timeout = Duration::from_millis(600);
    let server = Server::start(|request| match request.path.as_str() {
        "/v2/silent" => Reply::ok(vec![7; 1000]).hang_after(10),
        _ => Reply::ok(vec![7; 20]).drip(1, Duration::from_millis(60)),
    });
    let host = kit::host_with(config, &server);
    assert_eq!(body(&host, "/v2/slow").expect("slow but steady").len(), 20);
    let start = Instant::now();
    let error = body(&host, "/v2/silent").expect_err("silence");
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains("no byte in 0.6 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn item_4_a_body_compressed_unasked_is_decoded_with_its_cap_on_the_decoded_size() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b'x'; 1 << 20]).expect("gzip");
    let packed = encoder.finish().expect("gzip");
    let short = packed[..packed.len() - 9].to_vec();
    let server = Server::start(move |request| {
        let gzip = Reply::ok(packed.clone()).header("Content-Encoding", "gzip");
        match request.path.as_str() {
            "/v2/whole" => gzip,
            "/v2/short" => gzip.body(short.clone()),
            "/v2/junk" => gzip.body("this is not gzip at all"),
            "/v2/brotli" => Reply::ok("?").header("Content-Encoding", "br"),
            _ => gzip.status(206).header("Content-Range", "bytes 0-9/10"),
        }
    });
    let host = kit::host(&server);
    let answer = get(&host, "/v2/whole").expect("a head");
    assert!(!answer.headers.contains_key("content-encoding") && !answer.headers.contains_key("content-length"));
    assert_eq!(answer.bytes(1 << 20).expect("decoded"), vec![b'x'; 1 << 20]);
    let error = get(&host, "/v2/whole").expect("a head").bytes((1 << 20) - 1).expect_err("over the limit");
    assert_eq!(error.kind(), Kind::TooBig);
    for path in ["/v2/short", "/v2/junk"] {
        assert_eq!(get(&host, path).expect("a head").bytes(1 << 21).expect_err(path).kind(), Kind::Protocol);
    }
    assert_eq!(get(&host, "/v2/brotli").err().expect("brotli").kind(), Kind::Protocol);
    assert_eq!(range(&host, "/v2/part", 0, 10).err().expect("an encoded part").kind(), Kind::Protocol);
}

#[test]
fn bodies_are_capped() {
    let server = Server::start(|request| match request.path.as_str() {
        "/v2/known" => Reply::ok(vec![0; 100]),
        _ => Reply::ok(vec![0; 100]).length(crate::support::http::Length::Chunked).drip(30, Duration::from_millis(5)),
    });
    let host = kit::host(&server);
    for path in ["/v2/known", "/v2/chunked"] {
        assert_eq!(get(&host, path).expect("a head").bytes(99).expect_err(path).kind(), Kind::TooBig);
        assert_eq!(get(&host, path).expect("a head").bytes(100).expect(path).len(), 100);
    }
}
