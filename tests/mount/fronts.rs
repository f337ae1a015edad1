//! docker-registry in its configurations, and nginx before it, read through the mount with the configuration files
//! that users have.

use crate::support::client::Ask;
use crate::support::content::Content;
use crate::support::image::{Image, tar};
use crate::support::mount::{Mount, Plan};
use crate::support::servers::docker::DockerAuth;
use crate::support::servers::{Authority, Docker, DockerRegistry, Nginx, TokenServer, docker_registry};
use crate::support::{push, wait_for};
use base64::Engine as _;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// A registry with one image, and the image.
fn origin() -> (DockerRegistry, Image) {
    let registry = DockerRegistry::plain();
    let image = Image::new([Content::random(1, 300_000), Content::random(2, 12_000_000)], "linux/amd64");
    push::by_http(&image, &registry.host(), "a/b", "v1");
    (registry, image)
}

#[track_caller]
fn all_right(mount: &Mount, image: &Image) {
    assert_eq!(mount.text("a/b/tags/v1/digest").trim(), image.digest.as_str());
    assert_eq!(mount.read("a/b/tags/v1/manifest.json").expect("read"), image.manifest);
    for blob in &image.blobs {
        let bytes = mount.read(&format!("a/b/blobs/{}", blob.digest));
        let bytes = bytes.unwrap_or_else(|error| panic!("read {}: {error}\n{}", blob.digest, mount.errors()));
        assert!(bytes == blob.content.to_vec(), "wrong bytes of {}", blob.digest);
    }
}

/// A docker configuration with one login; its directory.
fn login(host: &str, user: &str, password: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("tempdir");
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let config = json!({"auths": {host: {"auth": auth}}});
    std::fs::write(directory.path().join("config.json"), config.to_string()).expect("write a login");
    directory
}

fn with_login(host: &str, directory: &Path) -> Plan {
    Plan::new(host).env("DOCKER_CONFIG", directory)
}

#[test]
fn a_real_object_store_behind_redirects() {
    let (registry, image) = origin();
    let store = Nginx::files(registry.root());
    let front = docker_registry(Docker {
        root: Some(registry.root().to_owned()),
        redirect: Some(store.url("/")),
        ..Docker::default()
    });
    all_right(&Mount::new(&front.host(), &[]), &image);
    assert!(store.access_log().contains(" 206 "), "no part came from the store:\n{}", store.access_log());
}

#[test]
fn a_pull_through_cache() {
    let (registry, image) = origin();
    let cache = docker_registry(Docker { proxy: Some(registry.url("")), ..Docker::default() });
    let mount = Mount::new(&cache.host(), &["--metadata-ttl", "1"]);
    // It lists what was pulled only; what it lists is not all there is.
    assert!(mount.list("").is_empty());
    all_right(&mount, &image);
    wait_for("the cache's catalog", Duration::from_secs(15), || mount.list("").contains(&"a".to_owned()).then_some(()));
}

#[test]
fn a_registry_in_maintenance_is_read() {
    let (registry, image) = origin();
    let root = Some(registry.root().to_owned());
    let readonly = docker_registry(Docker { root, readonly: true, ..Docker::default() });
    all_right(&Mount::new(&readonly.host(), &[]), &image);
}

#[test]
fn a_front_that_compresses() {
    let (registry, image) = origin();
    let front = Nginx::gzip(&registry.host());
    all_right(&Mount::new(&front.host(), &[]), &image);
}

#[test]
fn a_front_that_limits_the_rate() {
    let (registry, image) = origin();
    for retry_after in [true, false] {
        let front = Nginx::limited(&registry.host(), 4, 3, retry_after);
        all_right(&Mount::new(&front.host(), &[]), &image);
        assert!(front.access_log().contains(" 429 "), "the limit was not met:\n{}", front.access_log());
    }
}

#[test]
fn a_front_with_tls_needs_its_authority() {
    let (registry, image) = origin();
    let authority = Authority::new();
    let front = Nginx::tls(&registry.host(), &authority);
    let https = format!("https://{}", front.host());
    let refused = Plan::new(&https).try_mount().err().expect("an authority that nobody knows");
    assert!(refused.contains("certificate"), "{refused}");
    all_right(&Plan::new(&https).args(&["--insecure"]).mount(), &image);
    // As podman: certs.d below the user's configuration.
    let config = tempfile::tempdir().expect("tempdir");
    let certs = config.path().join("containers/certs.d").join(front.host());
    std::fs::create_dir_all(&certs).expect("certs.d");
    std::fs::copy(authority.ca(), certs.join("ca.crt")).expect("copy the authority");
    all_right(&Plan::new(&https).env("XDG_CONFIG_HOME", config.path()).mount(), &image);
    // With a certificate of the client's own.
    let mutual = Nginx::mutual_tls(&registry.host(), &authority);
    let certs = config.path().join("containers/certs.d").join(mutual.host());
    std::fs::create_dir_all(&certs).expect("certs.d");
    let (certificate, key) = authority.client();
    for (from, to) in [(authority.ca(), "ca.crt"), (certificate, "client.cert"), (key, "client.key")] {
        std::fs::copy(from, certs.join(to)).expect("copy a certificate");
    }
    all_right(&Plan::new(&format!("https://{}", mutual.host())).env("XDG_CONFIG_HOME", config.path()).mount(), &image);
}

#[test]
fn basic_credentials_of_docker() {
    let (registry, image) = origin();
    let root = Some(registry.root().to_owned());
    let basic = docker_registry(Docker { root, auth: DockerAuth::basic(), ..Docker::default() });
    let right = login(&basic.host(), "me", "pass:wo rd");
    all_right(&with_login(&basic.host(), right.path()).mount(), &image);
    let wrong = login(&basic.host(), "me", "no");
    let said = with_login(&basic.host(), wrong.path()).try_mount().err().expect("wrong credentials");
    assert!(said.contains("docker") || said.contains("credentials"), "{said}");
    assert!(!said.contains(&base64::engine::general_purpose::STANDARD.encode("me:no")), "a secret: {said}");
    let said = Plan::new(&basic.host()).try_mount().err().expect("no credentials");
    assert!(said.contains("credentials") || said.contains("401") || said.contains("authentication"), "{said}");
}

#[test]
fn tokens_of_a_real_token_server() {
    let (registry, image) = origin();
    let tokens = TokenServer::start();
    let root = Some(registry.root().to_owned());
    let bearer = docker_registry(Docker { root, auth: DockerAuth::bearer(&tokens), ..Docker::default() });
    all_right(&Mount::new(&bearer.host(), &[]), &image);
    let right = login(&bearer.host(), "me", "secret");
    let mount = with_login(&bearer.host(), right.path()).args(&["--metadata-ttl", "1"]).mount();
    all_right(&mount, &image);
    let before = tokens.given();
    for _ in 0..20 {
        mount.list("a/b/tags");
    }
    assert!(tokens.given() <= before + 2, "{} tokens for 20 listings", tokens.given() - before);
    assert!(tokens.requests().iter().all(|request| request.query_values("service") == [tokens.service()]));
    // Tokens that are refused as expired are asked for anew once, and then it is a matter of permission.
    tokens.set_life(-61);
    let fresh = with_login(&bearer.host(), right.path()).args(&["--timeout", "5"]).try_mount();
    if let Ok(mount) = fresh {
        let error = mount.read("a/b/tags/v1/digest").expect_err("expired tokens");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{}", mount.errors());
    }
    tokens.set_life(300);
    all_right(&with_login(&bearer.host(), right.path()).mount(), &image);
}

#[test]
fn a_schema1_manifest_is_shown_as_it_was_signed() {
    let registry = DockerRegistry::plain();
    let image = Image::docker([Content::from(tar(&[("hello", b"world")]))], "linux/amd64");
    push::by_http(&image, &registry.host(), "a/old", "v1");
    // The registry converts for clients that accept nothing newer: such an answer is what old registries hold.
    let signed = Ask::get(&registry.url("/v2/a/old/manifests/v1"))
        .header("Accept", "application/vnd.docker.distribution.manifest.v1+prettyjws")
        .send()
        .expect("answer");
    let digest = signed.header("docker-content-digest").expect("a digest").to_owned();
    let fake = crate::support::fake::Registry::start();
    fake.manifest_as(
        "a/old",
        &digest,
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        signed.body.clone(),
    );
    fake.tag("a/old", "v1", &digest.parse().expect("a digest"));
    let mount = Mount::new(&fake.host(), &[]);
    assert_eq!(mount.text("a/old/tags/v1/digest").trim(), digest);
    assert_eq!(mount.read("a/old/tags/v1/manifest.json").expect("read"), signed.body);
    assert_eq!(mount.read(&format!("a/old/manifests/{digest}/manifest.json")).expect("read"), signed.body);
}

#[test]
fn a_registry_that_restarts_is_read_on() {
    let (mut registry, image) = origin();
    let mount = Plan::new(&registry.host()).args(&["--timeout", "3", "--metadata-ttl", "1"]).mount();
    assert_eq!(mount.text("a/b/tags/v1/digest").trim(), image.digest.as_str());
    registry.down();
    let layer = format!("a/b/blobs/{}", image.layers()[1].digest);
    assert_eq!(mount.read(&layer).expect_err("nobody there").raw_os_error(), Some(libc::EHOSTUNREACH));
    registry.up();
    wait_for("recovery", Duration::from_secs(15), || mount.read(&layer).ok());
    all_right(&mount, &image);
}
