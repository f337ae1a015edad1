//! skopeo is asked what the user's files mean, and regfs has to understand them alike.

use crate::setup::{Setup, auth};
use crate::support::http::{Reply, Request, Server};
use crate::support::run::{command, run_within};
use regfs::net::credentials::{Secret, lookup};
use regfs::net::mirrors::Mirrors;
use std::time::Duration;

/// Runs `skopeo inspect` of an image as the setup's user. It fails, as no server here has one: what it asks counts.
fn inspect(setup: &Setup, image: &str) {
    let mut skopeo = command("skopeo");
    skopeo.env_clear().envs(&setup.env.vars).env("HOME", setup.env.home.as_ref().expect("a home"));
    skopeo.args(["inspect", "--tls-verify=false", "--raw", &format!("docker://{image}")]);
    run_within(Duration::from_secs(30), &mut skopeo).failed();
}

/// A machine that skopeo sees as regfs does: without what belongs to the one that tests run on.
fn setup() -> Setup {
    let mut setup = Setup::new();
    setup.write("home/.config/containers/policy.json", r#"{"default": [{"type": "insecureAcceptAnything"}]}"#);
    setup.write("home/.config/containers/registries.conf", "");
    setup.write("run/containers/x", "");
    let run = setup.path("run");
    setup.set("XDG_RUNTIME_DIR", &run);
    setup
}

fn not_found(request: &Request) -> Reply {
    match request.path.as_str() {
        "/v2/" => Reply::ok("{}"),
        _ => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

#[test]
fn item_25_credentials_are_those_of_skopeo() {
    let server = Server::start(|request| match request.basic() {
        Some(_) => not_found(request),
        None => Reply::error(401, "UNAUTHORIZED", "who?").header("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let host = server.host();
    let files = |text: &str| text.replace("HOST", &host);
    let entries = |keys: &[&str], user: &str| {
        let entries: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(i, key)| format!("\"{key}\": {}", auth(&format!("{user}{i}"), "p:q")))
            .collect();
        files(&format!("{{\"auths\": {{{}}}}}", entries.join(", ")))
    };
    let podman = "home/.config/containers/auth.json";
    let docker = "home/.docker/config.json";
    let helper = r#"{"credHelpers": {"HOST": "test"}}"#;
    let cases: Vec<Vec<(&str, String)>> = vec![
        vec![(docker, entries(&["HOST"], "docker"))],
        vec![(docker, entries(&["https://HOST", "other.io"], "docker"))],
        vec![(docker, entries(&["http://HOST/v1/", "other.io"], "docker"))],
        vec![(docker, entries(&["https://HOST/v2/"], "docker"))],
        vec![(docker, entries(&["HOST"], "docker")), (podman, entries(&["HOST"], "podman"))],
        vec![(docker, entries(&["HOST"], "docker")), (podman, entries(&["other.io"], "podman"))],
        vec![(podman, entries(&["HOST", "HOST/ns", "HOST/ns/repo", "HOST/ns/repo/more"], "path"))],
        vec![(podman, entries(&["HOST", "HOST/ns", "HOST/n"], "path"))],
        vec![(podman, entries(&["HOST/other", "HOST"], "path"))],
        vec![("run/containers/auth.json", entries(&["HOST"], "run")), (podman, entries(&["HOST/ns/repo"], "podman"))],
        vec![("home/.dockercfg", files(&format!("{{\"https://HOST/v1/\": {}}}", auth("legacy", "p"))))],
        vec![(podman, files(helper)), (docker, entries(&["HOST"], "docker"))],
    ];
    for case in cases {
        let setup = setup();
        for (path, text) in &case {
            setup.write(path, text);
        }
        setup.helper("test", r#"cat > /dev/null; echo '{"ServerURL":"x","Username":"helped","Secret":"s"}'"#);
        server.forget();
        inspect(&setup, &format!("{host}/ns/repo:1"));
        let theirs = server.requests().iter().find_map(Request::basic).expect("skopeo sends its credentials");
        let ours = lookup(&setup.env, &host, Some("ns/repo")).expect("a lookup").expect("credentials");
        let Secret::Basic { user, password } = ours.secret else { panic!("{case:?}: {ours:?}") };
        assert_eq!((user, password), theirs, "{case:?}");
    }
}

#[test]
fn item_26_mirrors_are_those_of_skopeo() {
    let servers = [Server::start(not_found), Server::start(not_found), Server::start(not_found)];
    let [a, b, c] = [0, 1, 2].map(|i| servers[i].host());
    let mirrors = format!(
        "[[registry]]\nlocation = \"{a}\"\n[[registry.mirror]]\nlocation = \"{b}/hub\"\n[[registry.mirror]]\nlocation = \"{c}\"\n"
    );
    let moved = format!("[[registry]]\nprefix = \"{a}/ns\"\nlocation = \"{b}/other/place\"\n");
    let exact = format!("[[registry]]\nprefix = \"{a}/ns/repo\"\nlocation = \"{c}/x\"\n");
    let wild = format!(
        "[[registry]]\nprefix = \"*.example.com\"\nlocation = \"{a}\"\n[[registry.mirror]]\nlocation = \"{b}/m\"\n"
    );
    let digests = mirrors.replacen("[[registry.mirror]]", "mirror-by-digest-only = true\n[[registry.mirror]]", 1);
    let tags = mirrors.replacen("/hub\"", "/hub\"\npull-from-mirror = \"tag-only\"", 1);
    let digest = format!("sha256:{}", "0".repeat(64));
    let at_a = |rest: &str| (a.clone(), rest.to_owned());
    let cases = [
        (mirrors.clone(), at_a("ns/repo"), "1"),
        (mirrors.clone(), at_a("repo"), digest.as_str()),
        (moved.clone(), at_a("ns/repo"), "1"),
        (moved.clone(), at_a("nsx/repo"), "1"),
        (moved.clone() + &mirrors, at_a("ns/repo"), "1"),
        (moved.clone() + &mirrors, at_a("other"), "1"),
        (moved + &mirrors + &exact, at_a("ns/repo"), "1"),
        (exact, at_a("ns/repo/more"), "1"),
        (wild, ("deep.down.example.com".to_owned(), "ns/repo".to_owned()), "1"),
        (digests.clone(), at_a("repo"), "1"),
        (digests, at_a("repo"), digest.as_str()),
        (tags.clone(), at_a("repo"), "1"),
        (tags, at_a("repo"), digest.as_str()),
    ];
    for (text, (host, repository), reference) in cases {
        let setup = setup();
        setup.write("home/.config/containers/registries.conf", &text);
        servers.iter().for_each(Server::forget);
        let (separator, by_tag) = if reference.contains(':') { ("@", false) } else { (":", true) };
        inspect(&setup, &format!("{host}/{repository}{separator}{reference}"));
        let mut theirs: Vec<_> = servers
            .iter()
            .flat_map(|server| server.requests_with("/manifests/").into_iter().map(|r| (r.at, server.url(&r.path))))
            .collect();
        theirs.sort();
        let mut theirs: Vec<_> = theirs.into_iter().map(|(_, url)| url).collect();
        theirs.dedup();

        let route = Mirrors::load(&setup.env).expect("configuration").route(&host, Some(&repository)).expect("a route");
        let path = format!("/v2/{repository}/manifests/{reference}");
        let ours: Vec<_> = route
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.answers(by_tag))
            .map(|endpoint| endpoint.url(&path, Some(&repository)).to_string().replacen("https", "http", 1))
            .collect();
        assert_eq!(ours, theirs, "{text}\n{host}/{repository}{separator}{reference}");
    }
}
