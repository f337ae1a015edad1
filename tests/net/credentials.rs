//! Credentials from files and helper programs (protocols.md items 22, 24 and 25).

use crate::setup::{Setup, auth};
use regfs::error::{Error, Kind};
use regfs::net::credentials::{Credential, HELPER_DEADLINE, Secret, known_hosts, lookup};
use std::fs;
use std::time::{Duration, Instant};

fn found(setup: &Setup, host: &str, repository: Option<&str>) -> Option<Credential> {
    lookup(&setup.env, host, repository).expect("a lookup that works")
}

/// The user of the credential that is found.
fn user(setup: &Setup, host: &str) -> Option<String> {
    found(setup, host, None).map(|credential| match credential.secret {
        Secret::Basic { user, .. } => user,
        other => format!("{other:?}"),
    })
}

fn failure(setup: &Setup, host: &str) -> Error {
    lookup(&setup.env, host, None).expect_err("a lookup that fails")
}

#[test]
fn item_25_nothing_configured_is_anonymous() {
    assert_eq!(found(&Setup::new(), "r.io", Some("a/b")), None);
    assert_eq!(lookup(&Default::default(), "r.io", None).expect("works"), None);
}

#[test]
fn item_25_places_are_asked_in_podmans_order() {
    let mut setup = Setup::new();
    let run = setup.path("run");
    let file = |user: &str| format!(r#"{{"auths": {{"r.io": {}}}}}"#, auth(user, "p"));
    let legacy = format!(r#"{{"r.io": {}, "https://l.io/v1/": {}}}"#, auth("legacy", "p"), auth("legacy", "p"));
    setup.write("home/.dockercfg", legacy);
    assert_eq!(user(&setup, "r.io").as_deref(), Some("legacy"));
    assert_eq!(user(&setup, "l.io").as_deref(), Some("legacy"));
    setup.write("home/.docker/config.json", file("docker"));
    assert_eq!(user(&setup, "r.io").as_deref(), Some("docker"));
    setup.write("home/.config/containers/auth.json", file("config"));
    assert_eq!(user(&setup, "r.io").as_deref(), Some("config"));
    setup.write("root/run/containers/1000/auth.json", file("uid"));
    assert_eq!(user(&setup, "r.io").as_deref(), Some("uid"));
    setup.write("run/containers/auth.json", file("runtime"));
    setup.set("XDG_RUNTIME_DIR", &run);
    assert_eq!(user(&setup, "r.io").as_deref(), Some("runtime"));
    // What the first does not know, a later one may.
    assert_eq!(user(&setup, "l.io").as_deref(), Some("legacy"));
    let named = setup.write("named.json", file("named"));
    setup.set("REGISTRY_AUTH_FILE", &named);
    assert_eq!(user(&setup, "r.io").as_deref(), Some("named"));
    assert_eq!(user(&setup, "l.io"), None);
    assert_eq!(found(&setup, "r.io", None).expect("found").source, named.display().to_string());
}

#[test]
fn item_25_docker_config_and_xdg_config_home_move_files() {
    let mut setup = Setup::new();
    setup.write("home/.docker/config.json", r#"{"auths": {"r.io": {"registrytoken": "home"}}}"#);
    setup.write("d/config.json", format!(r#"{{"auths": {{"https://r.io": {}}}}}"#, auth("moved", "p")));
    let directory = setup.path("d");
    setup.set("DOCKER_CONFIG", &directory);
    assert_eq!(user(&setup, "r.io").as_deref(), Some("moved"));
    setup.write("c/containers/auth.json", format!(r#"{{"auths": {{"r.io": {}}}}}"#, auth("xdg", "p")));
    let directory = setup.path("c");
    setup.set("XDG_CONFIG_HOME", &directory);
    assert_eq!(user(&setup, "r.io").as_deref(), Some("xdg"));
}

#[test]
fn item_25_order_within_dockers_file() {
    let setup = Setup::new();
    setup.helper("own", r#"read h; [ "$h" = r.io ] && echo '{"Username":"own","Secret":"s"}' || { echo credentials not found in native keychain; exit 1; }"#);
    setup.helper("all", r#"read h; [ "$h" = nobody.io ] && { echo credentials not found in native keychain; exit 1; }; echo '{"ServerURL":"'$h'","Username":"all","Secret":"s"}'"#);
    setup.write(
        "home/.docker/config.json",
        format!(
            r#"{{"credHelpers": {{"r.io": "own", "s.io": "own"}}, "credsStore": "all",
                "auths": {{"r.io": {0}, "nobody.io": {0}, "else.io": {{}}}}}}"#,
            auth("file", "p")
        ),
    );
    assert_eq!(user(&setup, "r.io").as_deref(), Some("own"));
    assert_eq!(user(&setup, "s.io").as_deref(), Some("all"));
    assert_eq!(user(&setup, "else.io").as_deref(), Some("all"));
    assert_eq!(user(&setup, "nobody.io").as_deref(), Some("file"));
    assert_eq!(found(&setup, "r.io", None).expect("found").source, "helper own");
}

#[test]
fn item_25_helpers_are_given_the_host_and_the_hub_its_key() {
    let setup = Setup::new();
    let log = setup.path("log");
    let script = format!(
        "[ \"$1\" = get ] || exit 9; cat >> {0}; echo >> {0}; echo credentials not found; exit 1",
        log.display()
    );
    setup.helper("log", &script);
    setup.write("home/.docker/config.json", r#"{"credsStore": "log"}"#);
    assert_eq!(user(&setup, "https://Registry.example.com:5000/v2/"), None);
    assert_eq!(user(&setup, "registry-1.docker.io"), None);
    let asked = fs::read_to_string(log).expect("a log");
    let asked: Vec<_> = asked.lines().collect();
    assert_eq!(asked, ["registry.example.com:5000", "https://index.docker.io/v1/", "docker.io"]);
}

#[test]
fn item_22_a_helper_may_give_an_identity_token() {
    let setup = Setup::new();
    setup.helper("token", r#"cat > /dev/null; echo '{"ServerURL":"r.io","Username":"<token>","Secret":"refresh"}'"#);
    setup.write("home/.config/containers/auth.json", r#"{"credHelpers": {"r.io": "token"}}"#);
    let secret = found(&setup, "r.io", None).expect("found").secret;
    assert_eq!(secret, Secret::IdentityToken { token: "refresh".into() });
}

#[test]
fn item_25_an_empty_answer_is_anonymous() {
    let setup = Setup::new();
    setup.helper("empty", r#"echo '{"ServerURL":"","Username":"","Secret":""}'"#);
    setup.write("home/.docker/config.json", r#"{"credsStore": "empty"}"#);
    assert_eq!(found(&setup, "r.io", None), None);
}

#[test]
fn item_25_what_is_wrong_with_a_helper_is_told() {
    let setup = Setup::new();
    setup.write("home/.docker/config.json", r#"{"credsStore": "bad"}"#);
    let error = failure(&setup, "r.io");
    assert_eq!(error.to_string(), "credentials of r.io: credential helper bad: docker-credential-bad is not in $PATH");
    assert_eq!(error.kind(), Kind::Denied, "what was asked for may well be there");

    setup.helper("bad", "echo gpg: decryption failed: no secret key; exit 2");
    let words = failure(&setup, "r.io").to_string();
    assert!(
        words.contains("helper bad") && words.contains("status: 2") && words.contains("gpg: decryption"),
        "{words}"
    );

    setup.helper("bad", "echo 'locked \u{1b}[31m' >&2; exit 1");
    let words = failure(&setup, "r.io").to_string();
    assert!(words.contains("locked \\u{1b}[31m"), "{words}");

    for script in [
        r#"echo '{"Username":"u","Secret":"hunter2"}'; exit 1"#,
        r#"echo '{"Username":"u","Secret":["hunter2"]}'"#,
        r#"echo 'Secret=hunter2'"#,
        "echo 'Secret hunter2'; exit 1",
        "kill -9 $$",
        "head -c 10000000 /dev/zero",
        "true",
    ] {
        setup.helper("bad", script);
        let words = failure(&setup, "r.io").to_string();
        assert!(words.contains("credential helper bad") && words.contains("r.io"), "{script}: {words}");
        assert!(!words.contains("hunter2"), "{script}: {words}");
    }
    setup.write("home/.docker/config.json", r#"{"credsStore": "../../bin/sh"}"#);
    assert_eq!(failure(&setup, "r.io").kind(), Kind::Invalid);
}

#[test]
fn a_helper_that_hangs_is_ended_with_its_children() {
    let setup = Setup::new();
    let pids = setup.path("pids");
    setup.helper("slow", &format!("sleep 300 & echo $$ $! > {}; wait", pids.display()));
    setup.write("home/.docker/config.json", r#"{"credsStore": "slow"}"#);
    let start = Instant::now();
    let error = failure(&setup, "r.io");
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(start.elapsed() < HELPER_DEADLINE + Duration::from_secs(10), "{:?}", start.elapsed());
    let gone = |pid: &str| match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.contains(") Z"),
        Err(_) => true,
    };
    for pid in fs::read_to_string(pids).expect("pids").split_whitespace() {
        crate::support::wait_for("the helper's end", Duration::from_secs(5), || gone(pid).then_some(()));
    }
}

#[test]
fn a_helper_that_leaves_a_child_behind_holds_nobody_up() {
    let setup = Setup::new();
    setup.helper("agent", r#"sleep 20 & echo '{"Username":"u","Secret":"s"}'"#);
    setup.write("home/.docker/config.json", r#"{"credsStore": "agent"}"#);
    let start = Instant::now();
    assert_eq!(user(&setup, "r.io").as_deref(), Some("u"));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_helper_sees_the_environment_that_was_given() {
    let mut setup = Setup::new();
    setup.set("REGFS_TEST_USER", "from-env");
    setup.helper("env", r#"echo "{\"Username\":\"$REGFS_TEST_USER${CARGO_MANIFEST_DIR}\",\"Secret\":\"s\"}""#);
    setup.write("home/.docker/config.json", r#"{"credsStore": "env"}"#);
    assert_eq!(user(&setup, "r.io").as_deref(), Some("from-env"));
}

#[test]
fn files_that_cannot_be_used_are_errors_that_name_them() {
    let mut setup = Setup::new();
    let path = setup.write("home/.docker/config.json", "{\n\"auths\": hunter2}");
    let error = failure(&setup, "r.io");
    assert_eq!(error.to_string(), format!("credentials: {} line 2: not valid JSON", path.display()));
    assert_eq!(error.kind(), Kind::Invalid);

    fs::write(&path, "").expect("emptied");
    assert!(failure(&setup, "r.io").to_string().contains("line"), "an empty file is no JSON");

    fs::write(&path, vec![b' '; 2 << 20]).expect("grown");
    assert_eq!(failure(&setup, "r.io").kind(), Kind::TooBig);

    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a directory");
    assert_eq!(failure(&setup, "r.io").kind(), Kind::IsDir);
    fs::remove_dir(&path).expect("removed");

    let named = setup.path("none.json");
    setup.set("REGISTRY_AUTH_FILE", &named);
    let error = failure(&setup, "r.io");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("none.json"), "{error}");
}

#[test]
fn a_pipe_in_place_of_a_file_holds_nobody_up() {
    let setup = Setup::new();
    let path = setup.write("home/.docker/config.json", "");
    fs::remove_file(&path).expect("removed");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    assert_eq!(failure(&setup, "r.io").kind(), Kind::Invalid);
}

#[test]
fn registries_conf_may_name_helpers() {
    let setup = Setup::new();
    setup.helper("first", r#"read h; [ "$h" = r.io ] && { echo broken; exit 1; }; echo credentials not found; exit 1"#);
    setup.helper("last", r#"echo '{"Username":"last","Secret":"s"}'"#);
    setup.write("home/.config/containers/auth.json", format!(r#"{{"auths": {{"r.io": {}}}}}"#, auth("file", "p")));
    let conf = "root/etc/containers/registries.conf";
    setup.write(conf, r#"credential-helpers = ["first", "containers-auth.json", "last"]"#);
    assert_eq!(user(&setup, "r.io").as_deref(), Some("file"));
    assert_eq!(user(&setup, "s.io").as_deref(), Some("last"));
    setup.write(conf, r#"credential-helpers = ["first"]"#);
    assert!(failure(&setup, "r.io").to_string().contains("helper first"));
    assert_eq!(user(&setup, "s.io"), None);
}

#[test]
fn an_unreadable_file_is_not_anonymous() {
    let setup = Setup::new();
    let path = setup.write("home/.docker/config.json", "");
    fs::remove_file(&path).expect("removed");
    // Modes do not keep root out; a link to itself keeps everybody out.
    std::os::unix::fs::symlink("config.json", &path).expect("a link");
    let error = failure(&setup, "r.io");
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("config.json"), "{error}");
}

#[test]
fn known_hosts_are_of_every_file_once_and_normal() {
    let mut setup = Setup::new();
    setup.write(
        "home/.docker/config.json",
        r#"{"credHelpers": {"helped.io": "x"}, "auths": {"https://index.docker.io/v1/": {}, "https://R.io:5000/v2/": {}}}"#,
    );
    setup.write(
        "home/.config/containers/auth.json",
        r#"{"auths": {"docker.io": {}, "r.io:5000/ns/repo": {}, "*.bad": {}}}"#,
    );
    setup.write(
        "root/etc/containers/registries.conf",
        "unqualified-search-registries = [\"searched.io\"]\n[[registry]]\nprefix = \"*.wild.io\"\n[[registry]]\nprefix = \"conf.io/ns\"\n\
         [[registry]]\nprefix = \"blocked.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"mirror.io\"",
    );
    setup.write("root/etc/containerd/certs.d/contained.io_5000_/hosts.toml", "");
    setup.write("root/etc/containerd/certs.d/_default/hosts.toml", "");
    setup.write("root/etc/docker/certs.d/certified.io:5000/ca.crt", "");
    setup.write("root/etc/containers/certs.d/README", "not a directory");
    let hosts = known_hosts(&setup.env);
    assert_eq!(
        hosts,
        ["certified.io:5000", "conf.io", "contained.io:5000", "docker.io", "helped.io", "r.io:5000", "searched.io"]
    );
    // A file that is broken hides its own hosts only.
    setup.write("home/.docker/config.json", "{");
    setup.env.vars.insert("XDG_CONFIG_HOME".into(), "/nonexistent".into());
    let hosts = known_hosts(&setup.env);
    assert_eq!(hosts, ["certified.io:5000", "conf.io", "contained.io:5000", "searched.io"]);
}
