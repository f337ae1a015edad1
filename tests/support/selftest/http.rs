//! The scripted server does what it is told, seen from a plain socket.

use crate::support::content::Content;
use crate::support::http::{Cut, Length, Reply, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn ask(server: &Server, head: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    stream.write_all(format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).expect("send");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map(|_| all)
}

fn body(answer: &[u8]) -> &[u8] {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    &answer[at + 4..]
}

#[test]
fn answers_and_remembers() {
    let server = Server::start(|request| Reply::ok(format!("{}|{}", request.path, request.query)).header("X-Y", "z"));
    let answer = ask(&server, "GET /a/b?c=d%20e HTTP/1.1\r\nRange: bytes=3-9").expect("answer");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\nX-Y: z\r\nContent-Length: 12\r\n"));
    assert_eq!(body(&answer), b"/a/b|c=d%20e");
    let request = server.requests().remove(0);
    assert_eq!(request.range(), Some((3, Some(9))));
    assert_eq!(request.query_value("c").as_deref(), Some("d e"));
    assert_eq!((server.count(), server.connections(), server.body_bytes()), (1, 1, 12));
    let head = ask(&server, "HEAD /a HTTP/1.1").expect("answer");
    assert_eq!(body(&head), b"");
}

#[test]
fn keeps_connections_alive() {
    let server = Server::start(|_| Reply::ok("x"));
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
        let mut answer = [0; 39];
        stream.read_exact(&mut answer).expect("answer");
        assert!(answer.ends_with(b"\r\n\r\nx"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!((server.count(), server.connections()), (3, 1));
}

#[test]
fn lies_about_lengths_and_cuts() {
    let server = Server::start(|request| match request.path.as_str() {
        "/lie" => Reply::ok("abc").length(Length::Claimed(1000)),
        "/chunked" => Reply::ok("abc").length(Length::Chunked),
        "/omitted" => Reply::ok("abc").length(Length::Omitted),
        "/fin" => Reply::ok("abcdef").cut_after(2, Cut::Fin),
        "/rst" => Reply::ok("abcdef").cut_after(2, Cut::Rst),
        "/nothing" => Reply::nothing(Cut::Fin),
        _ => Reply::raw("garbage"),
    });
    let lie = ask(&server, "GET /lie HTTP/1.1").expect("answer");
    assert!(String::from_utf8_lossy(&lie).contains("Content-Length: 1000\r\n"));
    assert_eq!(body(&lie), b"abc");
    assert_eq!(body(&ask(&server, "GET /chunked HTTP/1.1").expect("answer")), b"3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(body(&ask(&server, "GET /omitted HTTP/1.1").expect("answer")), b"abc");
    assert_eq!(body(&ask(&server, "GET /fin HTTP/1.1").expect("answer")), b"ab");
    assert_eq!(ask(&server, "GET /rst HTTP/1.1").expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert_eq!(ask(&server, "GET /nothing HTTP/1.1").expect("end"), b"");
    assert_eq!(ask(&server, "GET /raw HTTP/1.1").expect("answer"), b"garbage");
}

#[test]
fn hangs_until_released_or_dropped() {
    let server = Server::start(|request| match request.path.as_str() {
        "/head" => Reply::hang(),
        _ => Reply::ok("abcdef").hang_after(3),
    });
    let start = Instant::now();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(&server, "GET /head HTTP/1.1"));
        std::thread::sleep(Duration::from_millis(100));
        server.release();
        assert_eq!(first.join().expect("thread").expect("end"), b"");
    });
    let mut stream = TcpStream::connect(server.address()).expect("connect");
    stream.write_all(b"GET /body HTTP/1.1\r\n\r\n").expect("send");
    let mut answer = [0; 41];
    stream.read_exact(&mut answer).expect("head and three bytes");
    assert!(answer.ends_with(b"abc"));
    drop(server);
    assert!(matches!(stream.read(&mut answer), Ok(0) | Err(_)));
    assert!(start.elapsed() < Duration::from_secs(5), "ended late");
}

#[test]
fn content_is_the_same_wherever_it_is_read() {
    let content = Content::random(7, 300_001);
    let all = content.to_vec();
    assert_eq!(Content::from(all.clone()).digest(), content.digest());
    let mut part = vec![0; 70_000];
    content.slice(65_530, 300_000).fill(1, &mut part);
    assert_eq!(part, all[65_531..135_531]);
    assert_eq!(content.flipped(299_999).to_vec()[299_999], all[299_999] ^ 1);
    assert_ne!(Content::random(8, 300_001).to_vec(), all);
}
