//! Nothing waits for ever: silence, stuck bodies, many readers; and what the journal knows meanwhile.

use crate::kit::{self, body, get, range};
use crate::support::http::{Length, Reply, Server};
use regfs::error::Kind;
use regfs::net::http::Config;
use std::time::{Duration, Instant};

fn hasty() -> Config {
    Config { timeout: Duration::from_millis(900), ..kit::config() }
}

#[test]
fn a_remote_that_never_answers_times_out_once() {
    let server = Server::start(|_| Reply::hang());
    let config = hasty();
    let journal = config.journal.clone();
    let host = kit::host_with(config, &server);
    let start = Instant::now();
    let error = get(&host, "/v2/lib/x/tags/list").err().expect("silence");
    assert_eq!(error.kind(), Kind::Timeout);
    let words = format!("get http://{}/v2/lib/x/tags/list: no answer in 0.9 s", server.host());
    assert_eq!(error.to_string(), words);
    assert!((800..2000).contains(&(start.elapsed().as_millis() as u64)), "{:?}", start.elapsed());
    assert_eq!(server.count(), 1);
    let health = &journal.remotes()[&server.host()];
    assert_eq!((health.in_flight, health.requests), (0, 1));
    assert!(health.failure.as_ref().is_some_and(|(_, words)| words.contains("no answer in 0.9 s")), "{health:?}");
}

#[test]
fn a_connection_that_nobody_accepts_times_out() {
    // A listener whose queue is full swallows handshakes, as a dead network does.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    socket2::SockRef::from(&listener).listen(0).expect("a short queue");
    let _fill: Vec<_> =
        (0..8).filter_map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok()).collect();
    let host = kit::named(hasty(), &format!("http://{address}"));
    let start = Instant::now();
    let error = get(&host, "/v2/x").err().expect("no connection");
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn retries_share_the_deadline() {
    let server = Server::start(|_| Reply::new(503).delay(Duration::from_millis(500)));
    let start = Instant::now();
    let error = get(&kit::host_with(hasty(), &server), "/v2/x").err().expect("down");
    assert!(matches!(error.kind(), Kind::Server | Kind::Timeout), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_token_server_that_never_answers_is_within_the_deadline() {
    let tokens = Server::start(|_| Reply::hang());
    let realm = tokens.url("/token");
    let server = Server::start(move |_| {
        Reply::new(401)
            .header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
            .delay(Duration::from_millis(300))
    });
    let start = Instant::now();
    let error = get(&kit::host_with(hasty(), &server), "/v2/x").err().expect("silence");
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains("/token"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn stuck_blobs_do_not_starve_metadata_and_all_end_in_time() {
    let server = Server::start(|request| match request.path.contains("/blobs/") {
        true => Reply::hang(),
        false => Reply::ok("{}"),
    });
    let host = kit::host_with(Config { timeout: Duration::from_secs(2), ..kit::config() }, &server);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let stuck: Vec<_> = (0..64)
            .map(|_| scope.spawn(|| range(&host, "/v2/lib/x/blobs/sha256:0", 0, 9).err().expect("stuck")))
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        let asked = Instant::now();
        body(&host, "/v2/lib/x/tags/list").expect("at once");
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        for thread in stuck {
            assert_eq!(thread.join().expect("ended").kind(), Kind::Timeout);
        }
    });
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert!(server.requests_with("/blobs/").len() <= 32 + 32);
}

#[test]
fn bodies_in_flight_are_bounded() {
    let server = Server::start(|_| Reply::ok(vec![0; 10]));
    let host = kit::host_with(hasty(), &server);
    let held: Vec<_> = (0..32).map(|_| range(&host, "/v2/lib/x/blobs/sha256:0", 0, 9).expect("a body")).collect();
    let error = range(&host, "/v2/lib/x/blobs/sha256:0", 0, 9).err().expect("one too many");
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains("stuck"), "{error}");
    drop(held);
    range(&host, "/v2/lib/x/blobs/sha256:0", 0, 9).expect("a body");
}

#[test]
fn offline_sends_nothing() {
    let server = Server::start(|_| Reply::ok("x"));
    let host = kit::host_with(Config { offline: true, ..kit::config() }, &server);
    let error = get(&host, "/v2/x").err().expect("offline");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("--offline"), "{error}");
    assert_eq!(server.count(), 0);
}

#[test]
fn the_journal_knows_every_attempt_without_secrets() {
    let times = std::sync::atomic::AtomicU64::new(0);
    let server = Server::start(move |_| match times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Reply::new(503),
        _ => Reply::ok("12345"),
    });
    let config = kit::config();
    let journal = config.journal.clone();
    let host = kit::host_with(config, &server);
    let answer = get(&host, "/v2/lib/x/tags/list?last=secret").expect("an answer");
    assert_eq!(journal.remotes()[&server.host()].in_flight, 1);
    answer.bytes(100).expect("a body");
    let requests = journal.requests();
    let outcomes: Vec<_> = requests.iter().map(|request| (request.outcome.as_str(), request.bytes)).collect();
    assert_eq!(outcomes, [("503", 0), ("200", 5)]);
    assert!(requests.iter().all(|request| request.url == format!("http://{}/v2/lib/x/tags/list", server.host())));
    let health = &journal.remotes()[&server.host()];
    assert_eq!((health.requests, health.in_flight, health.bytes), (2, 0, 5));
    assert_eq!(health.credentials, "anonymous");
    assert!(health.answered.is_some() && health.failure.is_none());
    drop(server);
    get(&host, "/v2/x").err().expect("down");
    let health = &journal.remotes()[host.name()];
    assert!(health.failure.as_ref().is_some_and(|(_, words)| words.contains("refused")), "{health:?}");
    assert!(!format!("{:?}", journal.requests()).contains("secret"));
}

#[test]
fn senseless_timeouts_are_bounded() {
    let server = Server::start(|_| Reply::ok("x").delay(Duration::from_millis(200)));
    let host = kit::host_with(Config { timeout: Duration::MAX, ..kit::config() }, &server);
    body(&host, "/v2/x").expect("an answer");
    let host = kit::host_with(Config { timeout: Duration::ZERO, ..kit::config() }, &server);
    assert_eq!(get(&host, "/v2/x").err().expect("no time").kind(), Kind::Timeout);
}

#[test]
fn a_byte_now_and_then_holds_nobody_up() {
    let server = Server::start(|request| {
        let reply = Reply::ok(vec![b' '; 4000]).drip(1, Duration::from_millis(100));
        if request.path.contains("tags") { reply.length(Length::Chunked) } else { reply }
    });
    let host = kit::host_with(hasty(), &server);
    let start = Instant::now();
    let error = body(&host, "/v2/lib/x/tags/list").expect_err("a drip");
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains("only ") && error.to_string().contains(" bytes in "), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let start = Instant::now();
    let mut answer = range(&host, "/v2/lib/x/blobs/sha256:0", 0, 4000).expect("a head");
    let error = loop {
        match answer.chunk() {
            Ok(chunk) => assert!(chunk.is_some(), "it does not end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains(" bytes in 0.9 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_slow_line_is_waited_for() {
    // 8 KiB/s, for three times the timeout.
    let server = Server::start(|_| Reply::ok(vec![b' '; 24_000]).drip(800, Duration::from_millis(100)));
    let host = kit::host_with(hasty(), &server);
    assert_eq!(body(&host, "/v2/lib/x/tags/list").expect("slow").len(), 24_000);
    let mut answer = range(&host, "/v2/lib/x/blobs/sha256:0", 0, 24_000).expect("a head");
    let mut got = 0;
    while let Some(chunk) = answer.chunk().expect("slow") {
        got += chunk.len();
    }
    assert_eq!(got, 24_000);
}
