//! http or https: what is spoken to whom; certificates; proxies.

use crate::kit::{self, Machine, get, text};
use crate::support::http::{Reply, Server};
use crate::support::servers::{Authority, Nginx};
use regfs::error::Kind;
use regfs::net::http::{Config, Http};
use std::time::{Duration, Instant};

#[test]
fn item_3_http_is_for_loopback_or_insecure() {
    let http = Http::new(kit::config()).expect("a wire");
    let error = http.host("http://registry.example.com").err().expect("clear");
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("--insecure"), "{error}");
    for name in
        ["http://localhost:1", "http://127.3.2.1:1", "http://[::1]:1", "https://registry.example.com", "docker.io"]
    {
        http.host(name).map(|_| ()).expect(name);
    }
    let http = Http::new(Config { insecure: true, ..kit::config() }).expect("a wire");
    assert_eq!(http.host("http://registry.example.com").expect("insecure").name(), "registry.example.com");
    assert_eq!(http.host("Index.Docker.io").expect("the hub").name(), "docker.io");
    for bad in ["", "a/b", "u:p@h", "a b", "ftp://x"] {
        assert_eq!(http.host(bad).err().expect(bad).kind(), Kind::Invalid);
    }
}

#[test]
fn item_3_a_loopback_host_without_tls_is_found_out_once() {
    let server = Server::start(|_| Reply::ok("clear"));
    let host = kit::named(kit::config(), &server.host());
    let start = Instant::now();
    assert_eq!(text(get(&host, "/v2/x")).expect("clear"), "clear");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let connections = server.connections();
    assert_eq!(text(get(&host, "/v2/x")).expect("clear"), "clear");
    assert_eq!(server.connections(), connections, "no second handshake");
}

#[test]
fn item_3_a_server_that_is_dumb_to_a_handshake_is_found_out_too() {
    use std::io::{BufRead, BufReader, Write};
    // Waits for a blank line, however long: the handshake never ends.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().take(3).flatten() {
            std::thread::spawn(move || {
                let lines = BufReader::new(&stream).lines();
                if lines.map_while(Result::ok).any(|line| line.is_empty()) {
                    let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclear");
                }
            });
        }
    });
    let host = kit::named(kit::config(), &address.to_string());
    assert_eq!(text(get(&host, "/v2/x")).expect("clear"), "clear");
}

#[test]
fn certificates_are_checked_and_what_is_wrong_is_said() {
    let authority = Authority::new();
    let origin = Server::start(|_| Reply::ok("secret"));
    let front = Nginx::tls(&origin.host(), &authority);
    let machine = Machine::new();
    // Though loopback: a peer that speaks TLS is not spoken to in clear.
    for name in [front.host(), format!("https://{}", front.host())] {
        let error = get(&kit::named(machine.config(), &name), "/v2/x").err().expect("untrusted");
        assert_eq!(error.kind(), Kind::Unreachable);
        let words = error.to_string();
        assert!(
            words.contains("unknown issuer") && words.contains("certs.d") && words.contains("--insecure"),
            "{words}"
        );
    }
    assert_eq!(origin.count(), 0);
    let insecure = Config { insecure: true, ..machine.config() };
    assert_eq!(text(get(&kit::named(insecure, &front.host()), "/v2/x")).expect("unchecked"), "secret");
    machine.write(
        &format!("root/etc/docker/certs.d/{}/ca.crt", front.host()),
        std::fs::read(authority.ca()).expect("the authority"),
    );
    assert_eq!(text(get(&kit::named(machine.config(), &front.host()), "/v2/x")).expect("trusted"), "secret");
}

#[test]
fn the_authorities_of_the_system_are_trusted() {
    let authority = Authority::new();
    let origin = Server::start(|_| Reply::ok("secret"));
    let front = Nginx::tls(&origin.host(), &authority);
    let mut machine = Machine::new();
    machine.env.vars.insert("SSL_CERT_FILE".into(), authority.ca().display().to_string());
    assert_eq!(text(get(&kit::named(machine.config(), &front.host()), "/v2/x")).expect("trusted"), "secret");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let origin = Server::start(|_| Reply::ok("secret"));
    let front = Nginx::tls(&origin.host(), &authority);
    let to = front.host().parse().expect("an address");
    let proxy = Server::start(move |_| Reply::tunnel(to));
    let mut machine = Machine::new();
    machine.env.vars.insert("SSL_CERT_FILE".into(), authority.ca().display().to_string());
    machine.env.vars.insert("https_proxy".into(), proxy.host());
    let error = get(&kit::named(machine.config(), "registry.test"), "/v2/x").err().expect("another name");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("is for another name"), "{error}");
    assert_eq!((origin.count(), proxy.count()), (0, 1), "a certificate does not get better");
}

#[test]
fn a_client_certificate_is_shown_where_it_is_configured() {
    let authority = Authority::new();
    let origin = Server::start(|_| Reply::ok("secret"));
    let front = Nginx::mutual_tls(&origin.host(), &authority);
    let machine = Machine::new();
    let certs = format!("root/etc/docker/certs.d/{}", front.host());
    machine.write(&format!("{certs}/ca.crt"), std::fs::read(authority.ca()).expect("the authority"));
    get(&kit::named(machine.config(), &front.host()), "/v2/x").err().expect("nobody");
    let (certificate, key) = authority.client();
    machine.write(&format!("{certs}/me.cert"), std::fs::read(certificate).expect("a certificate"));
    machine.write(&format!("{certs}/me.key"), std::fs::read(key).expect("a key"));
    assert_eq!(text(get(&kit::named(machine.config(), &front.host()), "/v2/x")).expect("known"), "secret");
}

#[test]
fn item_57_https_never_redirects_to_http() {
    let authority = Authority::new();
    let clear = Server::start(|_| Reply::ok("clear"));
    let to = clear.url("/x");
    let origin = Server::start(move |_| Reply::redirect(307, to.clone()));
    let front = Nginx::tls(&origin.host(), &authority);
    let config = Config { insecure: true, ..kit::config() };
    let error = get(&kit::named(config, &format!("https://{}", front.host())), "/v2/x").err().expect("a downgrade");
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(error.to_string().contains("from https"), "{error}");
    assert_eq!(clear.count(), 0);
}

#[test]
fn a_peer_that_speaks_no_http_is_said_to() {
    let server = Server::start(|_| Reply::raw("SSH-2.0-OpenSSH\r\n"));
    let error = get(&kit::host(&server), "/v2/x").err().expect("no HTTP");
    assert_eq!(error.kind(), Kind::Protocol, "{error}");
    assert!(error.to_string().contains("does not answer as HTTP"), "{error}");
}
