//! How failures end: the words on standard error, and the exit code.

use crate::support::fake::{Auth, Fault, Options, Rule, Tokens, What};
use crate::support::run::Ran;
use crate::world::{BIG, World};
use std::ffi::OsStr;
use std::time::Duration;

/// That it failed with this code, in one line that has all these words.
#[track_caller]
fn fails(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}\n{}", ran.line, ran.err);
    assert_eq!(ran.err.lines().count(), 1, "one line:\n{}", ran.err);
    assert!(ran.err.starts_with("regfs: "), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word} in: {}", ran.err);
    }
}

#[test]
fn wrong_usage() {
    let world = World::new();
    assert_eq!(world.run(["frobnicate"]).code, Some(2));
    assert_eq!(world.run(["cat"]).code, Some(2));
    assert_eq!(world.run(["ls", "--cache-size", "10X"]).code, Some(2));
    assert_eq!(world.run(["ls", "--platform", "linux"]).code, Some(2));
    assert_eq!(world.run::<&str>([]).code, Some(2));
    fails(&world.run(["ls", "ho st"]), 2, &["ls: ho st:", "is not a host"]);
    fails(&world.run(["ls", &world.at("team/app:-")]), 2, &["is not a tag"]);
    fails(&world.run(["ls", "./layout"]), 2, &["oci:./layout"]);
    let ran = world.run(["ls", "https://me:hunter2@registry.example.com/x"]);
    fails(&ran, 2, &["credentials do not belong in a source"]);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn sources_of_later_versions() {
    let world = World::new();
    for source in ["nuget:https://api.nuget.org/v3/index.json", "user@host:/srv", "storage:/var/lib/registry"] {
        fails(&world.run(["ls", source]), 1, &["not in this version"]);
    }
    fails(&world.run(["ls", "oci:/nowhere"]), 3, &["no OCI image layout"]);
}

#[test]
fn what_is_not_there() {
    let world = World::new();
    fails(&world.run(["cat", &world.at("team/app:v2/digest")]), 3, &["cat: ", "team/app:v2/digest: "]);
    fails(&world.run(["cat", &world.at("team/app:v1/nothing")]), 3, &["nothing"]);
    fails(&world.run(["cat", &world.at("team/app:v1")]), 1, &["is a directory"]);
    fails(&world.run(["ls", &world.at("team/app:v1/digest/x")]), 1, &["not a directory"]);
    let missing = format!("team/app@sha256:{}", "0".repeat(64));
    fails(&world.run(["ls", &world.at(&missing)]), 3, &["sha256:000"]);
    // What can be shown is shown all the same.
    let both = world.run(["cat", &world.at("team/app:v2/digest"), &world.at("team/app:v1/digest")]);
    assert_eq!((both.code, both.text()), (Some(3), format!("{}\n", world.image.digest)));
}

#[test]
fn listings_that_are_not_whole_say_so() {
    let refused = Some((401, "UNAUTHORIZED".to_owned(), "no catalog for you".to_owned()));
    let world = World::with(Options { catalog_refused: refused, ..Options::default() });
    let ran = world.run(["ls", &world.at("")]).ok();
    assert_eq!(ran.text(), "");
    assert!(ran.err.starts_with("regfs: note: ") && ran.err.contains("catalog"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    assert_eq!(world.run(["ls", &world.at("team/app/tags")]).ok().text(), "v1\n");

    let ran = world.run(["ls"]).ok();
    assert!(ran.err.contains("log in to one, or name one"), "{}", ran.err);
}

#[test]
fn a_host_that_does_not_exist() {
    let world = World::new();
    // .invalid never resolves (RFC 6761).
    fails(&world.run(["ls", "--timeout", "5", "registry.invalid"]), 5, &["registry.invalid"]);
    fails(&world.run(["ls", "--timeout", "5", "invalid"]), 5, &["docker.io/library/invalid"]);
}

#[test]
fn a_port_that_is_refused() {
    let world = World::new();
    world.registry.down();
    fails(&world.run(["ls", "--timeout", "5", &world.at("team/app/tags")]), 5, &["refused"]);
}

#[test]
fn a_registry_that_never_answers() {
    let world = World::new();
    world.registry.fault(Rule::on(What::Tags, Fault::Hang));
    let ran = world.run(["ls", "--timeout", "1", &world.at("team/app/tags")]);
    fails(&ran, 5, &["team/app"]);
    assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);
}

#[test]
fn credentials_that_are_refused() {
    let auth = Auth::Basic { user: "me".to_owned(), password: "right".to_owned() };
    let world = World::with(Options { auth, ..Options::default() });
    fails(&world.run(["ls", &world.at("team/app/tags")]), 4, &[]);

    let docker = world.path("home/.docker");
    std::fs::create_dir(&docker).expect("mkdir");
    let login = |password: &str| {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("me:{password}"));
        let config = serde_json::json!({"auths": {world.registry.host(): {"auth": auth}}});
        std::fs::write(docker.join("config.json"), config.to_string()).expect("write");
    };
    login("hunter2");
    let ran = world.run(["ls", &world.at("team/app/tags")]);
    fails(&ran, 4, &[]);
    assert!(!ran.err.contains("hunter2"));
    login("right");
    assert_eq!(world.run(["ls", &world.at("team/app/tags")]).ok().text(), "v1\n");
}

#[test]
fn tokens_are_fetched_without_being_asked_about() {
    let world = World::with(Options { auth: Auth::Bearer(Tokens::default()), ..Options::default() });
    assert_eq!(world.run(["ls", &world.at("team/app/tags")]).ok().text(), "v1\n");
}

#[test]
fn content_that_is_not_what_its_digest_says() {
    let world = World::new();
    let layers = world.image.layers();
    world.registry.corrupt(&layers[0].digest, 7);
    world.registry.corrupt(&layers[1].digest, BIG - 1);
    let small = world.run(["cat", &world.layer(0)]);
    fails(&small, 6, &["digest", layers[0].digest.short()]);
    assert!(small.out.is_empty(), "not a byte of it");
    let big = world.run(["cat", &world.layer(1)]);
    fails(&big, 6, &["digest", layers[1].digest.short()]);
    let strict = world.run(["cat", "--verify", "strict", "--cache-dir", "other", &world.layer(1)]);
    fails(&strict, 6, &["digest"]);
    assert!(strict.out.is_empty(), "not a byte of it");
}

#[test]
fn clear_http_stays_on_this_machine() {
    let world = World::new();
    // TEST-NET-1 (RFC 5737): nothing is there, and nothing must be sent there.
    let ran = world.run(["ls", "--timeout", "5", "http://192.0.2.1/team"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.err.contains("--insecure"), "{}", ran.err);
    assert!(ran.took < Duration::from_secs(3), "decided before anything is sent: {:?}", ran.took);
}

#[test]
fn a_log_in_json_is_json_alone() {
    let world = World::new();
    let parse = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON: {line}"))).collect()
    };
    let ran = world.run(["cat", "--log-format", "json", "--debug", &world.at("team/app:v2/digest")]);
    assert_eq!(ran.code, Some(3));
    let lines = parse(&ran.err);
    assert!(lines.iter().any(|line| line["level"] == "debug"), "{}", ran.err);
    assert!(
        lines.iter().any(|line| line["level"] == "error" && line["message"].as_str().is_some_and(|m| m.contains("v2")))
    );

    let args = ["cat", "--log-format", "json", "--log-file", "log", "--debug", &world.at("team/app:v2/digest")];
    fails(&world.run(args), 3, &["v2"]);
    let log = std::fs::read_to_string(world.path("log")).expect("the log");
    assert!(!parse(&log).is_empty());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(world.path("log")).expect("stat").permissions().mode() & 0o777, 0o600);
    fails(&world.run(["ls", "--log-file", "no/where", &world.at("")]), 3, &["log file no/where"]);
}

#[test]
fn status_without_a_mount() {
    let world = World::new();
    let ran = world.run(["status", world.path("home").to_str().expect("UTF-8")]);
    fails(&ran, 3, &["is not a mount of regfs"]);
}

#[test]
fn a_cache_that_cannot_be_written_is_no_failure() {
    let world = World::new();
    // /proc takes no directories, from root neither.
    let ran = world.run(["cat", "--cache-dir", "/proc/regfs", &world.layer(0)]).ok();
    assert_eq!(ran.out, world.image.layers()[0].content.to_vec());
    let ran = world.run(["cat", "--cache-size", "0", &world.layer(1)]).ok();
    assert_eq!(ran.out.len() as u64, BIG);
    assert!(!world.path("home/.cache").exists());
}

#[test]
fn a_repository_that_is_not_there_is_not_found() {
    let world = World::new();
    for command in ["ls", "tree"] {
        let ran = world.run([command, &world.at("nope")]);
        assert_eq!(ran.code, Some(3), "{command}: {}", ran.err);
    }
    let point = world.path("point");
    std::fs::create_dir(&point).expect("a mountpoint");
    let ran = world.run([OsStr::new("mount"), OsStr::new(&world.at("nope")), point.as_os_str()]);
    assert!(ran.code != Some(0) && ran.err.contains("has no repository nope"), "{:?} {}", ran.code, ran.err);
}

#[test]
fn listing_without_credentials_is_denied() {
    let auth = Auth::Basic { user: "me".to_owned(), password: "secret".to_owned() };
    let world = World::with(Options { auth, ..Options::default() });
    fails(&world.run(["ls", &world.at("")]), 4, &["401", "regfs: ls: "]);
    fails(&world.run(["ls", &world.at("team")]), 4, &["401"]);
    assert_ne!(world.run(["ls", &world.at("team/app/tags")]).code, Some(0));
}

#[test]
fn a_registry_that_refuses_its_catalog_to_all_lists_nothing_without_failing() {
    // As the Hub: everything takes a token, everybody gets one, and the catalog is refused all the same.
    let refused = Some((401, "UNAUTHORIZED".to_owned(), "authentication required".to_owned()));
    let world =
        World::with(Options { auth: Auth::Bearer(Tokens::default()), catalog_refused: refused, ..Options::default() });
    assert_eq!(world.run(["ls", &world.at("")]).ok().text(), "");
    assert_eq!(world.run(["ls", &world.at("team/app/tags")]).ok().text(), "v1\n");
    assert_eq!(world.run(["ls", &world.at("")]).ok().text(), "team\n", "what is known now");
}

#[test]
fn a_local_path_is_told_from_a_registry() {
    let world = World::new();
    std::fs::create_dir_all(world.path("mounted/lib")).expect("a directory");
    fails(&world.run(["ls", "--offline", "mounted/lib/app/tags"]), 5, &["local directory", "plain ls"]);
    let other = world.run(["ls", "--offline", "elsewhere/lib/app/tags"]);
    assert!(!other.err.contains("local directory"), "{}", other.err);
}
