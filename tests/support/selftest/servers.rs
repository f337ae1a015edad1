//! Real servers start in each configuration and behave as the protocol's checklist says.

use crate::support::client::Ask;
use crate::support::content::Content;
use crate::support::http::Server;
use crate::support::image::{DOCKER_MANIFEST, Image};
use crate::support::push;
use crate::support::run::{command, run};
use crate::support::servers::docker::DockerAuth;
use crate::support::servers::{Authority, Docker, DockerRegistry, Ferro, Nginx, TokenServer, docker_registry};

fn image() -> Image {
    Image::index([Image::new([Content::random(1, 200_000)], "linux/amd64")])
}

fn inspect(host: &str, more: &[&str]) -> Option<String> {
    let ran = run(command("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .args(more)
        .arg(format!("docker://{host}/a/b:v1")));
    (ran.code == Some(0)).then(|| ran.text())
}

#[test]
fn docker_registry_plain_and_down_and_up() {
    let mut registry = DockerRegistry::plain();
    let image = image();
    push::by_skopeo(&image, &registry.host(), "a/b", "v1", None);
    assert_eq!(inspect(&registry.host(), &[]).expect("a manifest").as_bytes(), image.manifest);
    let layer = &image.children[0].layers()[0];
    assert_eq!(std::fs::read(registry.blob_file(layer.digest.as_str())).expect("a blob"), layer.content.to_vec());
    registry.down();
    assert_eq!(inspect(&registry.host(), &[]), None);
    registry.up();
    assert!(inspect(&registry.host(), &[]).is_some());
    let url = registry.url(&format!("/v2/a/b/blobs/{}", layer.digest));
    let part = Ask::get(&url).header("Range", "bytes=10-19").send().expect("answer");
    assert_eq!((part.status, part.body), (206, layer.content.to_vec()[10..20].to_vec()));
}

#[test]
fn docker_registry_asks_for_credentials() {
    let plain = DockerRegistry::plain();
    push::by_http(&image(), &plain.host(), "a/b", "v1");
    let root = Some(plain.root().to_owned());
    let basic = docker_registry(Docker { root: root.clone(), auth: DockerAuth::basic(), ..Docker::default() });
    assert_eq!(inspect(&basic.host(), &["--no-creds"]), None);
    assert!(inspect(&basic.host(), &["--creds", "me:pass:wo rd"]).is_some());
    let challenge = Ask::get(&basic.url("/v2/")).send().expect("answer");
    assert_eq!(challenge.header("www-authenticate"), Some("Basic realm=\"a realm, with comma\""));
    let tokens = TokenServer::start();
    let bearer = docker_registry(Docker { root, auth: DockerAuth::bearer(&tokens), ..Docker::default() });
    assert!(inspect(&bearer.host(), &["--creds", "me:secret"]).is_some());
    assert!(inspect(&bearer.host(), &["--no-creds"]).is_some());
    assert_eq!(inspect(&bearer.host(), &["--creds", "me:wrong"]), None);
    tokens.set_life(-61);
    assert_eq!(inspect(&bearer.host(), &["--creds", "me:secret"]), None);
    assert!(tokens.given() >= 3);
}

#[test]
fn docker_registry_in_its_other_modes() {
    let origin = DockerRegistry::plain();
    let image = image();
    push::by_http(&image, &origin.host(), "a/b", "v1");
    let proxy = docker_registry(Docker { proxy: Some(origin.url("")), ..Docker::default() });
    assert!(inspect(&proxy.host(), &[]).is_some());
    let root = Some(origin.root().to_owned());
    let readonly = docker_registry(Docker { root: root.clone(), readonly: true, ..Docker::default() });
    let refused = Ask::new("POST", &readonly.url("/v2/a/b/blobs/uploads/")).send().expect("answer");
    assert_eq!(refused.status, 405);
    let store = Nginx::files(origin.root());
    let redirecting = docker_registry(Docker { root, redirect: Some(store.url("/")), ..Docker::default() });
    let layer = &image.children[0].layers()[0];
    let found = Ask::get(&redirecting.url(&format!("/v2/a/b/blobs/{}", layer.digest))).send().expect("answer");
    assert_eq!(found.status, 307);
    let location = found.header("location").expect("a location");
    let part = Ask::get(location).header("Range", "bytes=5-8").send().expect("answer");
    assert_eq!((part.status, part.body), (206, layer.content.to_vec()[5..9].to_vec()));
    // A live schema1 manifest of a Docker image.
    let old = Image::docker([Content::from(crate::support::image::tar(&[]))], "linux/amd64");
    assert_eq!(old.media_type, DOCKER_MANIFEST);
    push::by_http(&old, &origin.host(), "a/old", "v1");
    let answer = Ask::get(&origin.url("/v2/a/old/manifests/v1"))
        .header("Accept", "application/vnd.docker.distribution.manifest.v1+prettyjws")
        .send()
        .expect("answer");
    assert_eq!((answer.status, answer.json()["schemaVersion"].as_u64()), (200, Some(1)), "{}", answer.text());
}

#[test]
fn nginx_in_its_modes() {
    let back = Server::start(|request| {
        crate::support::http::Reply::ok("x".repeat(10_000)).header("ETag", format!("\"{}\"", request.path))
    });
    let gzip = Nginx::gzip(&back.host());
    let answer = Ask::get(&gzip.url("/a")).header("Accept-Encoding", "gzip").send().expect("answer");
    assert_eq!((answer.header("content-encoding"), answer.header("etag")), (Some("gzip"), Some("W/\"/a\"")));
    let authority = Authority::new();
    let tls = Nginx::tls(&back.host(), &authority);
    let curl = |more: &[&str]| run(command("curl").args(["-s", "-m", "10", &tls.url("/")]).args(more)).code;
    let ca = authority.ca().display().to_string();
    assert_eq!((curl(&[]), curl(&["--cacert", &ca])), (Some(60), Some(0)));
    let mutual = Nginx::mutual_tls(&back.host(), &authority);
    let (certificate, key) = authority.client();
    let mut with = command("curl");
    with.args(["-sf", "-m", "10", "--cacert", &ca, &mutual.url("/")]);
    assert_eq!(run(&mut with).code, Some(22));
    run(with.arg("--cert").arg(certificate).arg("--key").arg(key)).ok();
    for retry_after in [false, true] {
        let limited = Nginx::limited(&back.host(), 1, 2, retry_after);
        let answers: Vec<_> = (0..5).map(|_| Ask::get(&limited.url("/")).send().expect("answer")).collect();
        let refused = answers.iter().find(|answer| answer.status == 429).expect("a 429");
        assert_eq!(refused.header("retry-after"), retry_after.then_some("1"));
    }
}

#[test]
fn ferro_serves_what_was_pushed() {
    let ferro = Ferro::start();
    let image = image();
    push::by_http(&image, &ferro.host(), "a/b", "v1");
    assert_eq!(inspect(&ferro.host(), &[]).expect("a manifest").as_bytes(), image.manifest);
    let layer = &image.children[0].layers()[0];
    let url = ferro.url(&format!("/v2/a/b/blobs/{}", layer.digest));
    let part = Ask::get(&url).header("Range", "bytes=10-19").send().expect("answer");
    assert_eq!((part.status, part.body.len()), (200, 200_000));
}
