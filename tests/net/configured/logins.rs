//! Logins at work: what is in the user's files and helpers gets the user in, and what is wrong with it is told
//! (protocols.md items 15 and 20 to 25).

use super::{ask, config, get, host};
use crate::setup::{Setup, auth};
use crate::support::fake::{Auth, Options, Registry, Tokens, What as Asked};
use crate::support::http::{Reply, Request, Server};
use crate::support::servers::docker::DockerAuth;
use crate::support::servers::{Docker, DockerRegistry, TokenServer};
use regfs::error::Kind;
use regfs::net::http::{Http, What};
use std::fs;
use std::time::{Duration, Instant};

/// A server that wants a user, any user, and answers with its name.
fn guarded() -> Server {
    Server::start(|request| match request.basic() {
        Some((user, _)) => Reply::ok(user),
        None => Reply::error(401, "UNAUTHORIZED", "who?").header("WWW-Authenticate", "Basic realm=\"r\""),
    })
}

fn url(host: &str) -> String {
    format!("http://{host}")
}

#[test]
fn item_23_a_helper_logs_in_at_a_real_registry() {
    let registry = DockerRegistry::start(Docker { auth: DockerAuth::basic(), ..Docker::default() });
    let setup = Setup::new();
    let log = setup.path("log");
    let script =
        format!(r#"cat >> {}; echo '{{"ServerURL":"x","Username":"me","Secret":"pass:wo rd"}}'"#, log.display());
    setup.helper("test", &script);
    setup.write("home/.docker/config.json", format!(r#"{{"credHelpers": {{"{}": "test"}}}}"#, registry.host()));
    let host = host(&setup, &registry.host());
    ask(&host, "/v2/", What::Base).expect("logged in");
    for repository in ["a", "b", "c/d"] {
        assert_eq!(get(&host, repository, "tags/list").expect_err("empty").kind(), Kind::NotFound);
    }
    // A helper is a program to run: once for the host, whatever is asked of it.
    assert_eq!(fs::read_to_string(log).expect("a log"), registry.host());
}

#[test]
fn item_13_podmans_file_logs_in_at_a_token_server() {
    let tokens = TokenServer::start();
    let registry = DockerRegistry::start(Docker { auth: DockerAuth::bearer(&tokens), ..Docker::default() });
    let mut setup = Setup::new();
    let run = setup.path("run");
    setup.set("XDG_RUNTIME_DIR", &run);
    // The catalog is for the owner only.
    let anonymous = ask(&host(&setup, &registry.host()), "/v2/_catalog", What::Catalog).expect_err("not allowed");
    assert_eq!(anonymous.kind(), Kind::Denied);
    assert!(anonymous.to_string().contains(&format!("docker login {}", registry.host())), "{anonymous}");
    let file = |password: &str| format!(r#"{{"auths": {{"{}": {}}}}}"#, registry.host(), auth("me", password));
    setup.write("run/containers/auth.json", file("secret"));
    ask(&host(&setup, &registry.host()), "/v2/_catalog", What::Catalog).expect("the owner's");
    // A stale password is told, with its place; nothing is asked anonymously instead.
    let path = setup.write("run/containers/auth.json", file("wrong"));
    let error = get(&host(&setup, &registry.host()), "a", "tags/list").expect_err("stale");
    assert_eq!(error.kind(), Kind::Denied);
    let words = error.to_string();
    assert!(words.contains(&path.display().to_string()) && !words.contains("wrong"), "{words}");
}

#[test]
fn item_22_an_identity_token_is_traded_at_the_realm() {
    let tokens = Tokens { anonymous: false, identity: Some("refresh me".into()), ..Tokens::default() };
    let registry = Registry::with(Options { auth: Auth::Bearer(tokens), ..Options::default() });
    registry.repository("a");
    let setup = Setup::new();
    setup.helper("test", r#"echo '{"ServerURL":"x","Username":"<token>","Secret":"refresh me"}'"#);
    setup.write("home/.docker/config.json", r#"{"credsStore": "test"}"#);
    get(&host(&setup, &registry.host()), "a", "tags/list").expect("an answer");
    let posts: Vec<_> = registry.tokens().requests().into_iter().filter(|request| request.method == "POST").collect();
    assert!(String::from_utf8_lossy(&posts[0].body).contains("refresh_token=refresh+me"), "{posts:?}");
    for request in registry.requests_of(Asked::Tags) {
        assert!(!format!("{request:?}").contains("refresh me"), "{request:?}");
    }
}

#[test]
fn item_25_a_registry_token_is_sent_as_it_is() {
    let server = Server::start(|request| match request.bearer() {
        Some("configured") => Reply::ok("in"),
        _ => Reply::error(401, "UNAUTHORIZED", "who?")
            .header("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/token\",service=\"s\""),
    });
    let setup = Setup::new();
    let text = format!(r#"{{"auths": {{"{}": {{"registrytoken": "configured"}}}}}}"#, server.host());
    setup.write("home/.docker/config.json", text);
    assert_eq!(get(&host(&setup, &url(&server.host())), "a", "tags/list").expect("an answer"), "in");
}

#[test]
fn item_25_each_namespace_has_its_own_login() {
    let server = guarded();
    let setup = Setup::new();
    let entries = [("", "host"), ("/ns", "ns"), ("/ns/repo", "repo")];
    let entries: Vec<_> =
        entries.iter().map(|(path, user)| format!("\"{}{path}\": {}", server.host(), auth(user, "p"))).collect();
    setup.write("home/.config/containers/auth.json", format!("{{\"auths\": {{{}}}}}", entries.join(",")));
    let host = host(&setup, &url(&server.host()));
    for (repository, user) in [("ns/repo", "repo"), ("ns/other", "ns"), ("x", "host"), ("ns/repo", "repo")] {
        assert_eq!(get(&host, repository, "tags/list").expect("an answer"), user, "{repository}");
    }
    assert_eq!(ask(&host, "/v2/", What::Base).expect("an answer"), "host");
}

#[test]
fn a_login_that_changes_takes_effect_without_a_new_mount() {
    let server = Server::start(|request| match request.basic() {
        Some((_, password)) if password == "new" => Reply::ok("in"),
        _ => Reply::error(401, "UNAUTHORIZED", "who?").header("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let setup = Setup::new();
    let file = |password: &str| format!(r#"{{"auths": {{"{}": {}}}}}"#, server.host(), auth("me", password));
    let path = setup.write("home/.docker/config.json", file("old"));
    let host = host(&setup, &url(&server.host()));
    let error = get(&host, "a", "tags/list").expect_err("stale");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    setup.write("home/.docker/config.json", file("new"));
    assert_eq!(get(&host, "a", "tags/list").expect("the new login"), "in");
}

#[test]
fn what_is_wrong_with_a_login_is_told_only_where_one_is_needed() {
    let (public, private) = (Server::start(|_| Reply::ok("public")), guarded());
    let setup = Setup::new();
    let path = setup.write("home/.docker/config.json", "{ hunter2");
    assert_eq!(get(&host(&setup, &url(&public.host())), "a", "tags/list").expect("no login needed"), "public");
    let error = get(&host(&setup, &url(&private.host())), "a", "tags/list").expect_err("malformed");
    let words = error.to_string();
    assert!(words.contains(&path.display().to_string()) && !words.contains("hunter2"), "{words}");

    setup.write("home/.docker/config.json", r#"{"credsStore": "locked"}"#);
    setup.helper("locked", "echo the key ring is locked; exit 1");
    let error = get(&host(&setup, &url(&private.host())), "a", "tags/list").expect_err("locked");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("helper locked") && error.to_string().contains("key ring is locked"), "{error}");
    assert!(private.requests().iter().all(|request| Request::basic(request).is_none()));

    // Nothing found is anonymous, and then the registry's word counts.
    setup.helper("locked", "echo credentials not found in native keychain; exit 1");
    let error = get(&host(&setup, &url(&private.host())), "a", "tags/list").expect_err("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("docker login"), "{error}");
}

#[test]
fn a_helper_that_hangs_does_not_outlive_the_request() {
    let private = guarded();
    let setup = Setup::new();
    let pids = setup.path("pids");
    setup.write("home/.docker/config.json", r#"{"credsStore": "slow"}"#);
    setup.helper("slow", &format!("sleep 300 & echo $$ $! > {}; wait", pids.display()));
    let mut config = config(&setup);
    config.timeout = Duration::from_secs(2);
    let host = Http::new(config).expect("a wire").host(&url(&private.host())).expect("a host");
    let start = Instant::now();
    let error = get(&host, "a", "tags/list").expect_err("no answer");
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains("docker-credential-slow gave no answer"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let lives = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    for pid in fs::read_to_string(pids).expect("pids").split_whitespace() {
        crate::support::wait_for("the helper's end", Duration::from_secs(3), || (!lives(pid)).then_some(()));
    }
}
