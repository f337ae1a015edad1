//! Certificates at work: authorities and client certificates from every place that users put them.

use super::{config, get, host};
use crate::setup::Setup;
use crate::support::http::{Reply, Server};
use crate::support::run::{command, run};
use crate::support::servers::{Authority, Nginx};
use regfs::error::Kind;
use regfs::net::http::Http;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

fn registry() -> Server {
    Server::start(|_| Reply::ok("registry"))
}

fn read(path: std::path::PathBuf) -> String {
    fs::read_to_string(path).expect("a file of the authority")
}

/// What the user gets from the front: the body, or the words of the error.
fn outcome(setup: &Setup, front: &str) -> Result<String, String> {
    let host = Http::new(config(setup)).and_then(|http| http.host(front)).map_err(|error| error.to_string())?;
    get(&host, "ns/repo", "tags/list").map_err(|error| {
        assert!(matches!(error.kind(), Kind::Unreachable | Kind::Invalid | Kind::Protocol), "{error:?}");
        error.to_string()
    })
}

#[test]
fn an_authority_is_taken_from_wherever_users_put_it() {
    let (registry, authority) = (registry(), Authority::new());
    let front = Nginx::tls(&registry.host(), &authority);
    let name = front.host();
    let ca = read(authority.ca());
    let url = format!("https://{name}");

    let words = outcome(&Setup::new(), &url).expect_err("nobody vouches for it");
    assert!(words.contains("unknown issuer") && words.contains(&format!("certs.d/{name}")), "{words}");
    // Loopback may be spoken to in clear, but not where TLS is spoken and does not hold.
    let words = outcome(&Setup::new(), &name).expect_err("nobody vouches for it");
    assert!(words.contains("unknown issuer"), "{words}");
    assert_eq!(registry.count(), 0);

    let places = [
        format!("root/etc/docker/certs.d/{name}/ca.crt"),
        format!("root/etc/containers/certs.d/{name}/any-name.crt"),
        format!("home/.config/containers/certs.d/{name}/ca.crt"),
        format!("home/.config/docker/certs.d/{name}/ca.crt"),
        format!("root/etc/containerd/certs.d/{name}/ca.crt"),
        "root/etc/ssl/certs/ca-certificates.crt".to_owned(),
    ];
    for place in &places {
        let setup = Setup::new();
        setup.write(place, &ca);
        assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"), "{place}");
        assert_eq!(outcome(&setup, &name).as_deref(), Ok("registry"), "{place}");
    }
    let mut setup = Setup::new();
    setup.set("SSL_CERT_FILE", authority.ca());
    assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"));
    let setup = Setup::new();
    let text = format!("server = \"{url}\"\nca = \"{}\"", authority.ca().display());
    setup.write(&format!("root/etc/containerd/certs.d/{name}/hosts.toml"), text);
    assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"));

    // One that vouches for somebody else does not help.
    let setup = Setup::new();
    setup.write(&places[0], read(Authority::new().ca()));
    assert!(outcome(&setup, &url).expect_err("the wrong authority").contains("certificate"));
}

/// A front whose certificate vouches for itself, as `openssl req -x509` makes them; and the certificate.
fn self_signed(to: &str, name: &str) -> (Nginx, String) {
    let authority = Authority::new();
    let (cert, key) = (authority.server().0, authority.server().1);
    run(command("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=registry", "-addext", &format!("subjectAltName=IP:{name}")])
        .args(["-out".as_ref(), cert.as_os_str(), "-keyout".as_ref(), key.as_os_str()]))
    .ok();
    let text = read(cert);
    (Nginx::tls(to, &authority), text)
}

#[test]
fn a_certificate_that_vouches_for_itself_is_trusted_where_the_user_says_so() {
    let registry = registry();
    let (front, certificate) = self_signed(&registry.host(), "127.0.0.1");
    let (name, url) = (front.host(), format!("https://{}", front.host()));
    let words = outcome(&Setup::new(), &url).expect_err("nobody vouches for it");
    assert!(!words.contains("CaUsed") && !words.contains("Other"), "{words}");
    let setup = Setup::new();
    setup.write(&format!("root/etc/docker/certs.d/{name}/ca.crt"), &certificate);
    assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"));
    let mut setup = Setup::new();
    let file = setup.write("own.pem", &certificate);
    setup.set("SSL_CERT_FILE", file);
    assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"));

    // Another's, though as self-made, does not help; and the name is still checked.
    let (other, theirs) = self_signed(&registry.host(), "192.0.2.1");
    let setup = Setup::new();
    setup.write(&format!("root/etc/docker/certs.d/{name}/ca.crt"), &theirs);
    outcome(&setup, &url).expect_err("another's");
    let setup = Setup::new();
    setup.write(&format!("root/etc/docker/certs.d/{}/ca.crt", other.host()), &theirs);
    let words = outcome(&setup, &format!("https://{}", other.host())).expect_err("another name");
    assert!(words.contains("for another name"), "{words}");
}

#[test]
fn checks_are_skipped_where_the_user_says_so_and_only_there() {
    let (registry, authority) = (registry(), Authority::new());
    let front = Nginx::tls(&registry.host(), &authority);
    let url = format!("https://{}", front.host());
    let other = Nginx::tls(&registry.host(), &authority);

    let setup = Setup::new();
    let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true", front.host());
    setup.write("root/etc/containers/registries.conf", text);
    assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"));
    outcome(&setup, &format!("https://{}", other.host())).expect_err("not this one");

    let setup = Setup::new();
    let text = format!("server = \"{url}\"\nskip_verify = true");
    setup.write(&format!("root/etc/containerd/certs.d/{}/hosts.toml", front.host()), text);
    assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"));

    let mut config = config(&Setup::new());
    config.insecure = true;
    let host = Http::new(config).expect("a wire").host(&url).expect("a host");
    assert_eq!(get(&host, "r", "tags/list").expect("an answer"), "registry");
}

#[test]
fn a_client_certificate_is_shown_where_it_belongs() {
    let (registry, authority) = (registry(), Authority::new());
    let front = Nginx::mutual_tls(&registry.host(), &authority);
    let name = front.host();
    let url = format!("https://{name}");
    let (cert, key) = authority.client();
    let directory = format!("root/etc/docker/certs.d/{name}");

    let mut setup = Setup::new();
    setup.write(&format!("{directory}/ca.crt"), read(authority.ca()));
    let host = host(&setup, &url);
    let error = get(&host, "ns/repo", "tags/list").expect_err("no certificate");
    assert!(error.to_string().contains("400"), "{error}");
    assert_eq!(registry.count(), 0);

    setup.write(&format!("{directory}/me.cert"), read(cert.clone()));
    let words = outcome(&setup, &url).expect_err("half a pair");
    assert!(words.contains("me.cert has no") && words.contains("me.key"), "{words}");
    setup.write(&format!("{directory}/me.key"), read(key.clone()));
    assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"));
    setup.write(&format!("{directory}/me.key"), read(Authority::new().client().1));
    let words = outcome(&setup, &url).expect_err("the key of another");
    assert!(words.contains("me.cert"), "{words}");

    let pair = format!("client = [[\"{}\", \"{}\"]]", cert.display(), key.display());
    setup = Setup::new();
    let both = setup.write("both.pem", read(cert) + &read(key));
    for client in [pair, format!("client = \"{}\"", both.display())] {
        let text = format!("server = \"{url}\"\nca = \"{}\"\n{client}", authority.ca().display());
        setup.write(&format!("root/etc/containerd/certs.d/{name}/hosts.toml"), text);
        assert_eq!(outcome(&setup, &url).as_deref(), Ok("registry"), "{client}");
    }
}

#[test]
fn a_peer_that_hangs_up_on_tls_is_asked_in_clear_on_loopback() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let name = listener.local_addr().expect("an address").to_string();
    // Serves until the test's last connection is done; a connection that begins with a handshake is dropped.
    std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.expect("a connection");
            let mut first = [0];
            if stream.read(&mut first).is_ok() && first != [0x16] {
                let mut rest = [0; 4096];
                let _ = stream.read(&mut rest);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nclear");
            }
        }
    });
    assert_eq!(outcome(&Setup::new(), &name).as_deref(), Ok("clear"));
}
