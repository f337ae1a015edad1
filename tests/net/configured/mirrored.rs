//! Mirrors at work: order, fallback, and what they are never asked or told (protocols.md items 9, 26, 27).

use super::{DIGEST, SHORT, ask, config, get, host};
use crate::kit;
use crate::setup::{Setup, auth};
use crate::support::http::{Reply, Request, Server};
use crate::support::image::Image;
use crate::support::push;
use crate::support::servers::{Docker, DockerRegistry, free_port};
use regfs::error::Kind;
use regfs::net::http::{Http, What};
use std::time::Instant;

/// A server that answers everything with its name.
fn says(name: &'static str) -> Server {
    Server::start(move |_| Reply::ok(name))
}

fn not_found(_: &Request) -> Reply {
    Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
}

fn lines(server: &Server) -> Vec<String> {
    server.requests().iter().map(Request::line).collect()
}

fn clear(server: &Server) -> String {
    format!("http://{}", server.host())
}

/// `registries.conf` with mirrors of `origin`.
fn registries(setup: &Setup, origin: &Server, mirrors: &[String], more: &str) {
    let mut text = format!("[[registry]]\nlocation = \"{}\"\n{more}\n", origin.host());
    for mirror in mirrors {
        text += &format!("[[registry.mirror]]\nlocation = \"{mirror}\"\n");
    }
    setup.write("home/.config/containers/registries.conf", text);
}

/// The `hosts.toml` of `origin`.
fn hosts_toml(setup: &Setup, origin: &Server, text: &str) {
    setup.write(&format!("root/etc/containerd/certs.d/{}/hosts.toml", origin.host()), text);
}

#[test]
fn item_26_a_mirror_answers_under_its_own_names() {
    let (origin, mirror) = (says("origin"), says("mirror"));
    let setup = Setup::new();
    registries(&setup, &origin, &[format!("{}/hub", mirror.host())], "");
    let host = host(&setup, &clear(&origin));
    for path in ["manifests/latest", &format!("manifests/{DIGEST}"), &format!("blobs/{DIGEST}")] {
        assert_eq!(get(&host, "ns/repo", path).expect("an answer"), "mirror");
    }
    let asked: Vec<_> = lines(&mirror).into_iter().filter(|line| line.contains("/hub/")).collect();
    let blob = format!("GET /v2/hub/ns/repo/blobs/{DIGEST}");
    let manifest = format!("GET /v2/hub/ns/repo/manifests/{DIGEST}");
    assert_eq!(asked, ["GET /v2/hub/ns/repo/manifests/latest", &manifest, &blob]);
    assert_eq!(lines(&origin), [""; 0]);
}

#[test]
fn item_26_what_mirrors_cannot_answer_the_host_does() {
    let (origin, empty, broken, last) =
        (says("origin"), Server::start(not_found), Server::start(|_| Reply::new(500)), Server::start(not_found));
    let setup = Setup::new();
    let gone = format!("127.0.0.1:{}", free_port());
    registries(&setup, &origin, &[empty.host(), gone, broken.host(), last.host()], "");
    let host = host(&setup, &clear(&origin));
    assert_eq!(get(&host, "ns/repo", "manifests/latest").expect("an answer"), "origin");
    for server in [&empty, &broken, &last] {
        assert_eq!(server.requests_with("/manifests/latest").len(), 1);
    }
    assert_eq!(lines(&origin), ["GET /v2/ns/repo/manifests/latest"]);
}

#[test]
fn a_mirror_that_is_silent_leaves_the_host_its_time() {
    let (origin, silent) = (says("origin"), Server::start(|_| Reply::hang()));
    let setup = Setup::new();
    hosts_toml(&setup, &origin, &format!("server = \"{}\"\n[host.\"{}\"]", clear(&origin), clear(&silent)));
    let mut config = config(&setup);
    config.timeout = SHORT;
    let host = Http::new(config).expect("a wire").host(&clear(&origin)).expect("a host");
    let start = Instant::now();
    assert_eq!(get(&host, "ns/repo", "manifests/latest").expect("an answer"), "origin");
    assert!(start.elapsed() < SHORT, "{:?}", start.elapsed());
    // It is passed over for a while.
    let start = Instant::now();
    assert_eq!(get(&host, "ns/repo", "manifests/latest").expect("an answer"), "origin");
    assert!(start.elapsed() < SHORT / 3, "{:?}", start.elapsed());
    silent.release();
}

#[test]
fn item_26_digest_only_and_tag_only() {
    let (origin, mirror) = (says("origin"), says("mirror"));
    let cases = [("digest-only", "origin", "mirror"), ("tag-only", "mirror", "origin"), ("all", "mirror", "mirror")];
    for (pull, tag, digest) in cases {
        let setup = Setup::new();
        let mirrors = [format!("{}\"\npull-from-mirror = \"{pull}", mirror.host())];
        registries(&setup, &origin, &mirrors, "");
        let host = host(&setup, &clear(&origin));
        assert_eq!(get(&host, "r", "manifests/latest").expect("an answer"), tag, "{pull}");
        assert_eq!(get(&host, "r", &format!("manifests/{DIGEST}")).expect("an answer"), digest, "{pull}");
        assert_eq!(get(&host, "r", &format!("blobs/{DIGEST}")).expect("an answer"), digest, "{pull}");
    }
}

#[test]
fn mirrors_are_not_asked_what_the_registry_is_or_lists() {
    let (origin, mirror) = (says("origin"), says("mirror"));
    let setup = Setup::new();
    registries(&setup, &origin, &[mirror.host()], "");
    let host = host(&setup, &clear(&origin));
    assert_eq!(ask(&host, "/v2/", What::Base).expect("an answer"), "origin");
    assert_eq!(ask(&host, "/v2/_catalog", What::Catalog).expect("an answer"), "origin");
    assert_eq!(mirror.count(), 0);
}

#[test]
fn what_a_repository_has_the_host_says_and_a_mirror_only_where_it_is_down() {
    let (origin, mirror) = (says("origin"), says("mirror"));
    let setup = Setup::new();
    registries(&setup, &origin, &[mirror.host()], "");
    assert_eq!(get(&host(&setup, &clear(&origin)), "r", "tags/list").expect("an answer"), "origin");
    assert_eq!(mirror.count(), 0);
    let down = host(&setup, &clear(&origin));
    drop(origin);
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(get(&down, "r", "tags/list").expect("an answer"), "mirror");
    }
    assert!(start.elapsed() < kit::PATIENT / 2, "{:?}", start.elapsed());

    let (lacking, empty) =
        (Server::start(|_| Reply::error(404, "NAME_UNKNOWN", "the host's word")), Server::start(not_found));
    registries(&setup, &lacking, &[empty.host()], "");
    let error = get(&host(&setup, &clear(&lacking)), "r", "tags/list").expect_err("nowhere");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("the host's word"), "{error}");
}

#[test]
fn item_26_a_location_moves_and_a_block_denies() {
    let (origin, moved) = (says("origin"), says("moved"));
    let setup = Setup::new();
    let text = format!(
        "[[registry]]\nprefix = \"{0}/ns\"\nlocation = \"{1}/other\"\n[[registry]]\nprefix = \"{0}/evil\"\nblocked = true",
        origin.host(),
        moved.host()
    );
    setup.write("root/etc/containers/registries.conf.d/x.conf", text);
    let host = host(&setup, &clear(&origin));
    assert_eq!(get(&host, "ns/repo", "manifests/1").expect("an answer"), "moved");
    assert!(lines(&moved).contains(&"GET /v2/other/repo/manifests/1".to_owned()), "{:?}", lines(&moved));
    assert_eq!(get(&host, "nsx/repo", "manifests/1").expect("an answer"), "origin");
    let error = get(&host, "evil/repo", "manifests/1").expect_err("blocked");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("is blocked by") && error.to_string().contains("x.conf"), "{error}");
    assert!(!lines(&origin).iter().any(|line| line.contains("evil")));
}

#[test]
fn item_27_mirrors_are_told_the_host_and_the_headers_that_are_theirs() {
    let elsewhere = says("elsewhere");
    let target = elsewhere.url("/blob?sig=1");
    let mirror = Server::start(move |request| match request.path.contains("/blobs/") {
        true => Reply::redirect(307, target.clone()),
        false => Reply::ok("mirror"),
    });
    let origin = Server::start(|request| match request.path.contains("/only-here/") {
        true => Reply::ok("origin"),
        false => not_found(request),
    });
    let setup = Setup::new();
    let text = format!(
        "server = \"{}\"\n[host.\"{}/api/v2\"]\n[host.\"{}/api/v2\".header]\nx-key = \"hunter2\"\nx-many = [\"a\", \"b\"]\n",
        clear(&origin),
        clear(&mirror),
        clear(&mirror)
    );
    hosts_toml(&setup, &origin, &text);
    let host = host(&setup, &clear(&origin));
    assert_eq!(get(&host, "ns/repo", "manifests/v1?n=1").expect("an answer"), "mirror");
    assert_eq!(get(&host, "ns/repo", &format!("blobs/{DIGEST}")).expect("an answer"), "elsewhere");
    let asked = mirror.requests();
    assert_eq!(asked[0].path, "/api/v2/ns/repo/manifests/v1");
    assert_eq!(asked[0].query_values("n"), ["1"]);
    assert_eq!(asked[0].query_values("ns"), [origin.host()]);
    let many: Vec<_> = asked[0].headers.iter().filter(|(name, _)| name == "x-many").map(|(_, v)| v.as_str()).collect();
    assert_eq!((asked[0].header("x-key"), many), (Some("hunter2"), vec!["a", "b"]));
    // Nobody else sees them, nor does the host hear of itself.
    assert_eq!(elsewhere.requests()[0].header("x-key"), None);
    drop(mirror);
    assert_eq!(get(&host, "only-here/x", "tags/list").expect("an answer"), "origin");
    assert!(
        origin.requests().iter().all(|request| request.header("x-key").is_none() && !request.query.contains("ns="))
    );
}

#[test]
fn item_27_a_mirror_that_may_not_resolve_is_not_asked_for_tags() {
    let (origin, mirror) = (says("origin"), says("mirror"));
    let setup = Setup::new();
    let text = format!(
        "server = \"{}\"\n[host.\"{}/flat\"]\ncapabilities = [\"pull\"]\noverride_path = true",
        clear(&origin),
        clear(&mirror)
    );
    hosts_toml(&setup, &origin, &text);
    let host = host(&setup, &clear(&origin));
    assert_eq!(get(&host, "r", "manifests/latest").expect("an answer"), "origin");
    assert_eq!(get(&host, "r", &format!("manifests/{DIGEST}")).expect("an answer"), "mirror");
    assert_eq!(mirror.requests()[0].path, format!("/flat/r/manifests/{DIGEST}"));
}

#[test]
fn item_27_a_broken_hosts_toml_is_told_at_once() {
    let origin = says("origin");
    let setup = Setup::new();
    hosts_toml(&setup, &origin, "server = \"https://x\"\n[host");
    let error = Http::new(config(&setup)).expect("a wire").host(&clear(&origin)).err().expect("broken");
    assert!(error.to_string().contains("hosts.toml line 2"), "{error}");
}

#[test]
fn nobody_gets_the_credentials_of_another() {
    let guarded = || {
        Server::start(|request| match request.basic() {
            Some((user, _)) => Reply::ok(user),
            None => Reply::error(401, "UNAUTHORIZED", "who?").header("WWW-Authenticate", "Basic realm=\"r\""),
        })
    };
    let (origin, known, unknown) = (guarded(), guarded(), guarded());
    let setup = Setup::new();
    setup.write(
        "home/.config/containers/auth.json",
        format!(
            r#"{{"auths": {{"{}": {}, "{}/cache/ns": {}}}}}"#,
            origin.host(),
            auth("of-origin", "p"),
            known.host(),
            auth("of-mirror", "p")
        ),
    );
    registries(&setup, &origin, &[unknown.host(), format!("{}/cache", known.host())], "");
    let host = host(&setup, &clear(&origin));
    // The mirror's are found by the name that the repository has there.
    assert_eq!(get(&host, "ns/repo", "manifests/1").expect("an answer"), "of-mirror");
    assert_eq!(get(&host, "other/repo", "manifests/1").expect("an answer"), "of-origin");
    assert!(unknown.requests().iter().all(|request| request.header("authorization").is_none()));
    let users: Vec<_> = known.requests().iter().filter_map(Request::basic).map(|(user, _)| user).collect();
    assert_eq!(users, ["of-mirror"]);
}

#[test]
fn a_real_registry_serves_as_the_mirror_of_one_that_is_down() {
    let registry = DockerRegistry::start(Docker::default());
    let image = Image::new([crate::support::content::Content::random(1, 100_000)], "linux/amd64");
    push::by_http(&image, &registry.host(), "cache/lib/x", "v1");
    let down = format!("127.0.0.1:{}", free_port());
    let setup = Setup::new();
    let text = format!(
        "[[registry]]\nprefix = \"{down}/lib\"\nlocation = \"{down}/lib\"\n[[registry.mirror]]\nlocation = \"{}/cache/lib\"",
        registry.host()
    );
    setup.write("root/etc/containers/registries.conf", text);
    let host = host(&setup, &down);
    let list = get(&host, "lib/x", "tags/list").expect("an answer");
    assert!(list.contains("\"v1\""), "{list}");
    let layer = image.layers()[0].descriptor();
    let blob = get(&host, "lib/x", &format!("blobs/{}", layer["digest"].as_str().expect("a digest")));
    blob.expect("the layer");
    assert_eq!(get(&host, "other/x", "tags/list").expect_err("down").kind(), Kind::Unreachable);
}
