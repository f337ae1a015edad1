//! Mirrors: asked in order, helping where they can, never in the way.

use crate::kit::{self, Machine, ask, basic, blob, by_tag, catalog, get, ping, text};
use crate::support::http::{Cut, Reply, Server};
use regfs::error::Kind;
use regfs::net::http::{Config, Host};
use reqwest::Method;
use std::time::{Duration, Instant};

const BLOB: &str = "/v2/lib/x/blobs/sha256:0";

/// The origin with mirrors from hosts.toml, each with its capabilities.
fn mirrored(origin: &Server, mirrors: &[(&Server, &str)]) -> (Machine, Host) {
    let machine = Machine::new();
    let mut toml = String::new();
    for (mirror, capabilities) in mirrors {
        toml.push_str(&format!("[host.\"http://{}\"]\ncapabilities = [{capabilities}]\n", mirror.host()));
    }
    machine.write(&hosts_toml(origin), toml);
    let host = kit::host_with(Config { timeout: Duration::from_secs(4), ..machine.config() }, origin);
    (machine, host)
}

fn hosts_toml(origin: &Server) -> String {
    format!("root/etc/containerd/certs.d/{}/hosts.toml", origin.host())
}

const ALL: &str = "\"pull\", \"resolve\"";

fn of(host: &Host) -> String {
    text(ask(host, Method::GET, BLOB, blob, &[], &[404])).expect("an answer")
}

#[test]
fn item_9_a_mirror_is_asked_first_and_told_the_host_and_the_origin_is_not() {
    let (mirror, origin) = (Server::start(|_| Reply::ok("mirror")), Server::start(|_| Reply::ok("origin")));
    let (_machine, host) = mirrored(&origin, &[(&mirror, ALL)]);
    assert_eq!(of(&host), "mirror");
    assert_eq!(mirror.requests()[0].line(), format!("GET {BLOB}?ns={}", origin.host().replace(':', "%3A")));
    assert_eq!(origin.count(), 0);
    text(ping(&host)).expect("an answer");
    text(catalog(&host)).expect("an answer");
    assert_eq!(mirror.count(), 1, "what the registry is, only itself can say");
    assert!(origin.requests().iter().all(|request| !request.query.contains("ns=")));
}

#[test]
fn a_mirror_that_fails_in_any_way_falls_through() {
    for (name, reply) in [
        ("404", Reply::error(404, "BLOB_UNKNOWN", "not here")),
        ("401", Reply::new(401).header("WWW-Authenticate", "Basic realm=x")),
        ("403", Reply::new(403)),
        ("429", Reply::new(429).header("Retry-After", "1000")),
        ("500", Reply::new(500)),
        ("503", Reply::new(503)),
        ("416", Reply::new(416)),
        ("cut", Reply::nothing(Cut::Rst)),
        ("no HTTP", Reply::raw("nonsense\r\n\r\n")),
        ("a redirect to nowhere", Reply::redirect(307, "http://192.0.2.1/")),
        ("silence", Reply::hang()),
    ] {
        let mirror = Server::start(move |_| reply.clone());
        let (second, origin) = (Server::start(|_| Reply::new(404)), Server::start(|_| Reply::ok("origin")));
        let (_machine, host) = mirrored(&origin, &[(&mirror, ALL), (&second, ALL)]);
        let start = Instant::now();
        assert_eq!(of(&host), "origin", "{name}");
        assert_eq!((mirror.count(), second.count()), (1, 1), "{name}");
        assert!(start.elapsed() < Duration::from_secs(4), "{name}");
    }
}

#[test]
fn a_dead_mirror_is_not_asked_again_for_a_while_and_a_lacking_one_is() {
    let (dead, lacking) = (Server::start(|_| Reply::hang()), Server::start(|_| Reply::new(404)));
    let origin = Server::start(|_| Reply::ok("origin"));
    let (_machine, host) = mirrored(&origin, &[(&dead, ALL), (&lacking, ALL)]);
    for _ in 0..3 {
        assert_eq!(of(&host), "origin");
    }
    assert_eq!((dead.count(), lacking.count()), (1, 3));
}

#[test]
fn the_origin_has_the_last_word() {
    let (mirror, origin) = (Server::start(|_| Reply::new(500)), Server::start(|_| Reply::new(404).body("not here")));
    let (_machine, host) = mirrored(&origin, &[(&mirror, ALL)]);
    assert_eq!(of(&host), "not here");
    let error = ask(&host, Method::GET, BLOB, blob, &[], &[]).err().expect("404");
    assert_eq!(error.kind(), Kind::NotFound);
}

#[test]
fn item_27_a_mirror_without_resolve_is_not_asked_what_a_tag_means() {
    let (mirror, origin) = (Server::start(|_| Reply::ok("mirror")), Server::start(|_| Reply::ok("origin")));
    let (_machine, host) = mirrored(&origin, &[(&mirror, "\"pull\"")]);
    let tag = |host| text(ask(host, Method::GET, "/v2/lib/x/manifests/latest", by_tag, &[], &[])).expect("an answer");
    assert_eq!(tag(&host), "origin");
    assert_eq!(of(&host), "mirror");
    let (_machine, host) = mirrored(&origin, &[(&mirror, "\"resolve\"")]);
    assert_eq!(tag(&host), "mirror");
    assert_eq!(of(&host), "origin");
}

#[test]
fn credentials_are_those_of_the_mirror() {
    let mirror = Server::start(|request| match request.basic() {
        Some((user, _)) if user == "mirror-user" => Reply::ok("mirror"),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
    });
    let origin = Server::start(|_| Reply::ok("origin"));
    let (machine, host) = mirrored(&origin, &[(&mirror, ALL)]);
    machine.login(&[(&origin.host(), basic("origin-user", "p")), (&mirror.host(), basic("mirror-user", "p"))]);
    assert_eq!(of(&host), "mirror");
}

#[test]
fn item_26_repositories_are_renamed_and_links_of_a_mirror_stay_with_it() {
    let mirror = Server::start(|request| Reply::ok(request.line()));
    let machine = Machine::new();
    machine.write(
        "root/etc/containers/registries.conf",
        format!(
            "[[registry]]\nprefix = \"registry.test/lib\"\nlocation = \"registry.test/lib\"\n\
             [[registry.mirror]]\nlocation = \"{}/hub/library\"\ninsecure = true\n",
            mirror.host()
        ),
    );
    let host = kit::named(machine.config(), "registry.test");
    let answer = get(&host, "/v2/lib/x/tags/list?n=5").expect("an answer");
    assert_eq!(answer.url.as_str(), mirror.url("/v2/hub/library/x/tags/list?n=5"));
    let next = answer.url.join("/v2/hub/library/x/tags/list?last=b").expect("a url");
    assert_eq!(text(get(&host, next.as_str())).expect("a page"), "GET /v2/hub/library/x/tags/list?last=b");
}

#[test]
fn item_26_blocked_registries_are_denied_before_anything_is_sent() {
    let server = Server::start(|_| Reply::ok("x"));
    let machine = Machine::new();
    let conf = format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", server.host());
    machine.write("root/etc/containers/registries.conf", conf);
    let http = regfs::net::http::Http::new(machine.config()).expect("a wire");
    assert_eq!(http.host(&server.host()).err().expect("blocked").kind(), Kind::Denied);
    assert_eq!(server.count(), 0);
}

#[test]
fn item_27_configured_headers_go_to_their_endpoint_only() {
    let store = Server::start(|_| Reply::ok("store"));
    let to = store.url("/b");
    let mirror = Server::start(move |_| Reply::redirect(307, to.clone()));
    let origin = Server::start(|_| Reply::ok("origin"));
    let machine = Machine::new();
    let toml = format!(
        "[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n[host.\"http://{}\".header]\nx-key = \"hunter2\"\n",
        mirror.host(),
        mirror.host()
    );
    machine.write(&hosts_toml(&origin), toml);
    let host = kit::host_with(machine.config(), &origin);
    assert_eq!(of(&host), "store");
    assert_eq!(mirror.requests()[0].header("x-key"), Some("hunter2"));
    assert!(store.requests()[0].header("x-key").is_none());
}

#[test]
fn the_journal_tells_mirrors_apart() {
    let (mirror, origin) = (Server::start(|_| Reply::new(500)), Server::start(|_| Reply::ok("origin")));
    let machine = Machine::new();
    machine.write(&hosts_toml(&origin), format!("[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n", mirror.host()));
    let config = machine.config();
    let journal = config.journal.clone();
    let host = kit::host_with(config, &origin);
    assert_eq!(of(&host), "origin");
    let remotes = journal.remotes();
    assert_eq!(remotes.len(), 2);
    assert!(remotes[&mirror.host()].requests == 1 && remotes[&origin.host()].requests == 1);
}
