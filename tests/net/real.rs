//! Real servers as anchors: docker-registry with Basic, Bearer and a redirect to nginx, nginx before it.

use crate::kit::{self, Machine, ask, basic, catalog, get, head, metadata, ping, range, text};
use crate::support::content::Content;
use crate::support::image::{Blob, Image, OCI_MANIFEST};
use crate::support::push;
use crate::support::servers::docker::DockerAuth;
use crate::support::servers::{Docker, DockerRegistry, Nginx, TokenServer, docker_registry};
use regfs::error::Kind;
use regfs::net::http::{Config, Host};
use reqwest::Method;

/// A registry without authentication that holds `lib/x:1`, and its one layer.
fn filled() -> (DockerRegistry, Blob) {
    let registry = DockerRegistry::plain();
    let image = Image::new([Content::random(7, 1000)], "linux/amd64");
    let layer = image.layers()[0].clone();
    push::by_http(&image, &registry.host(), "lib/x", "1");
    (registry, layer)
}

/// The same content behind another configuration.
fn sharing(registry: &DockerRegistry, config: Docker) -> DockerRegistry {
    docker_registry(Docker { root: Some(registry.root().to_owned()), ..config })
}

fn named(machine: &Machine, registry: &DockerRegistry) -> Host {
    kit::named(machine.config(), &registry.host())
}

fn manifest(host: &Host) -> regfs::error::Result<String> {
    text(ask(host, Method::GET, "/v2/lib/x/manifests/1", kit::by_tag, &[("Accept", OCI_MANIFEST)], &[]))
}

#[test]
fn items_1_51_54_55_a_plain_registry() {
    let (registry, layer) = filled();
    let host = named(&Machine::new(), &registry);
    ping(&host).expect("a registry");
    assert!(manifest(&host).expect("a manifest").contains("\"layers\""));
    let path = format!("/v2/lib/x/blobs/{}", layer.digest);
    let bytes = layer.content.to_vec();
    let part = range(&host, &path, 10, 20).expect("a part");
    assert_eq!((part.status, part.headers["content-range"].to_str().expect("text")), (206, "bytes 10-19/1000"));
    assert_eq!(part.bytes(100).expect("a body"), bytes[10..20]);
    assert_eq!(range(&host, &path, 900, 5001).expect("a part").bytes(1000).expect("a body"), bytes[900..]);
    // Its answer lies about its own length and would be waited for.
    let beyond = range(&host, &path, 1000, 1001).expect("416");
    assert_eq!((beyond.status, beyond.headers["content-range"].to_str().expect("text")), (416, "bytes */1000"));
    assert_eq!(beyond.bytes(100).expect("no body").len(), 0);
    assert_eq!(head(&host, &path).expect("a head").headers["content-length"], "1000");
    assert_eq!(get(&host, "/v2/lib/none/tags/list").err().expect("404").kind(), Kind::NotFound);
    assert_eq!(get(&host, "/v2/LIB/x/tags/list").err().expect("404 in text").kind(), Kind::NotFound);
}

#[test]
fn items_10_23_basic_with_a_realm_of_commas() {
    let (plain, _) = filled();
    let registry = sharing(&plain, Docker { auth: DockerAuth::basic(), ..Docker::default() });
    let machine = Machine::new();
    let error = ping(&named(&machine, &registry)).err().expect("refused");
    assert_eq!(error.kind(), Kind::Denied);
    machine.login(&[(&registry.host(), basic("me", "pass:wo rd"))]);
    let host = named(&machine, &registry);
    ping(&host).expect("in");
    manifest(&host).expect("a manifest");
    machine.login(&[(&registry.host(), basic("me", "no"))]);
    assert_eq!(ping(&named(&machine, &registry)).err().expect("refused").kind(), Kind::Denied);
}

#[test]
fn items_10_11_13_15_20_bearer_with_a_service_of_commas() {
    let (plain, layer) = filled();
    let tokens = TokenServer::start();
    let registry = sharing(&plain, Docker { auth: DockerAuth::bearer(&tokens), ..Docker::default() });
    let machine = Machine::new();
    let host = named(&machine, &registry);
    ping(&host).expect("anonymous tokens");
    assert!(manifest(&host).expect("a manifest").contains("layers"));
    let path = format!("/v2/lib/x/blobs/{}", layer.digest);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| range(&host, &path, 0, 10).expect("a part").bytes(10).expect("a body"));
        }
    });
    assert_eq!(tokens.given(), 2, "one for /v2/, one for the repository");
    // The catalog is for its owner: another token server decides, the registry refuses.
    assert_eq!(catalog(&host).err().expect("refused").kind(), Kind::Denied);
    machine.login(&[(&registry.host(), basic("me", "secret"))]);
    assert!(text(catalog(&named(&machine, &registry))).expect("listed").contains("lib/x"));
    machine.login(&[(&registry.host(), basic("me", "stale"))]);
    let error = ping(&named(&machine, &registry)).err().expect("refused");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("incorrect username or password"), "{error}");
}

#[test]
fn item_17_a_token_that_is_dead_on_arrival_is_denied_and_a_new_one_mends_it() {
    let (plain, _) = filled();
    let tokens = TokenServer::start();
    let registry = sharing(&plain, Docker { auth: DockerAuth::bearer(&tokens), ..Docker::default() });
    let host = named(&Machine::new(), &registry);
    tokens.set_life(-61);
    assert_eq!(manifest(&host).expect_err("dead").kind(), Kind::Denied);
    assert_eq!(tokens.given(), 1);
    tokens.set_life(300);
    manifest(&host).expect("alive");
}

#[test]
fn items_57_58_59_a_redirect_to_another_server() {
    let (plain, layer) = filled();
    let store = Nginx::files(plain.root());
    let redirect = Some(format!("{}/", store.url("")));
    let registry = sharing(&plain, Docker { redirect, auth: DockerAuth::basic(), ..Docker::default() });
    let machine = Machine::new();
    machine.login(&[(&registry.host(), basic("me", "pass:wo rd"))]);
    let host = named(&machine, &registry);
    let path = format!("/v2/lib/x/blobs/{}", layer.digest);
    let bytes = layer.content.to_vec();
    for start in [0, 100, 500] {
        let part = range(&host, &path, start, start + 100).expect("a part");
        assert_eq!(part.status, 206);
        assert_eq!(part.bytes(100).expect("a body"), bytes[start as usize..start as usize + 100]);
    }
    assert_eq!(head(&host, &path).expect("a head").headers["content-length"], "1000");
    assert_eq!(store.access_log().lines().filter(|line| line.contains(" 206 ")).count(), 3);
}

#[test]
fn item_4_a_front_that_compresses_is_asked_not_to() {
    let (plain, layer) = filled();
    let front = Nginx::gzip(&plain.host());
    let host = kit::named(kit::config(), &front.host());
    let answer = ask(&host, Method::GET, "/v2/lib/x/tags/list", metadata, &[], &[]).expect("an answer");
    assert!(!answer.headers.contains_key("content-encoding"));
    assert!(text(Ok(answer)).expect("a list").contains("\"tags\""));
    let path = format!("/v2/lib/x/blobs/{}", layer.digest);
    assert_eq!(range(&host, &path, 5, 9).expect("a part").bytes(4).expect("a body"), layer.content.to_vec()[5..9]);
}

#[test]
fn item_61_a_front_that_limits_the_rate_is_waited_for() {
    let (plain, _) = filled();
    let front = Nginx::limited(&plain.host(), 2, 1, true);
    let config = Config { timeout: std::time::Duration::from_secs(20), ..kit::config() };
    let host = kit::named(config, &format!("http://{}", front.host()));
    for _ in 0..5 {
        get(&host, "/v2/lib/x/tags/list").expect("in the end");
    }
    assert!(front.access_log().contains(" 429 "));
}
