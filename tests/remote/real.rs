//! The suite over real registries in the configurations that change what a reader sees, the fake, and a layout.

use crate::connect::{connect, connect_as};
use crate::fixture::Fixture;
use crate::suite::{Remote, lists_odd_names};
use crate::support::fake;
use crate::support::servers::docker::{Docker, DockerAuth};
use crate::support::servers::{DockerRegistry, Ferro, Nginx, TokenServer};
use regfs::error::Kind;
use regfs::remote::Registry;
use regfs::remote::layout::{self, Layout};

/// A docker-registry that was filled while it was open to all, then started anew as `config` says.
fn filled(fixture: &Fixture, config: impl FnOnce(&DockerRegistry) -> Docker) -> (DockerRegistry, DockerRegistry) {
    let open = DockerRegistry::plain();
    fixture.push(&open.host(), false);
    let config = Docker { root: Some(open.root().to_owned()), ..config(&open) };
    let closed = DockerRegistry::start(config);
    (open, closed)
}

#[test]
fn docker_registry() {
    let fixture = Fixture::new();
    let server = DockerRegistry::plain();
    fixture.push(&server.host(), false);
    let client = connect(&server.host());
    Remote::new(&client).conforms(&fixture);
    lists_odd_names(&client);
}

#[test]
fn docker_registry_with_passwords() {
    let fixture = Fixture::new();
    let (_open, server) = filled(&fixture, |_| Docker { auth: DockerAuth::basic(), ..Docker::default() });
    Remote::new(&connect_as(&server.host(), "me", "pass:wo rd")).conforms(&fixture);
    let stranger = connect_as(&server.host(), "me", "wrong");
    assert_eq!(stranger.ping().expect_err("refused").kind(), Kind::Denied);
    let listed = stranger.repositories().expect("a listing that is refused is empty");
    assert!(listed.names.is_empty() && listed.partial.is_some(), "{listed:?}");
}

#[test]
fn docker_registry_with_tokens() {
    let fixture = Fixture::new();
    let tokens = TokenServer::start();
    let (_open, server) = filled(&fixture, |_| Docker { auth: DockerAuth::bearer(&tokens), ..Docker::default() });
    Remote::new(&connect_as(&server.host(), "me", "secret")).conforms(&fixture);
}

#[test]
fn docker_registry_that_redirects_to_an_object_store() {
    let fixture = Fixture::new();
    let root = tempfile::tempdir().expect("tempdir");
    let open = DockerRegistry::start(Docker { root: Some(root.path().to_owned()), ..Docker::default() });
    fixture.push(&open.host(), false);
    let objects = Nginx::files(root.path());
    let server = DockerRegistry::start(Docker {
        root: Some(root.path().to_owned()),
        redirect: Some(objects.url("/")),
        ..Docker::default()
    });
    Remote::new(&connect(&server.host())).conforms(&fixture);
    assert!(objects.access_log().contains(" 206 "), "parts came from the object store");
}

#[test]
fn docker_registry_as_a_pull_through_cache() {
    let fixture = Fixture::new();
    let origin = DockerRegistry::plain();
    fixture.push(&origin.host(), false);
    let server = DockerRegistry::start(Docker { proxy: Some(origin.url("")), ..Docker::default() });
    let client = connect(&server.host());
    let remote = Remote { lists_all: false, ..Remote::new(&client) };
    // Cold, then with what the first run left in the cache.
    remote.conforms(&fixture);
    remote.conforms(&fixture);
}

#[test]
fn docker_registry_behind_a_front_that_compresses() {
    let fixture = Fixture::new();
    let server = DockerRegistry::plain();
    fixture.push(&server.host(), false);
    let front = Nginx::gzip(&server.host());
    Remote::new(&connect(&front.host())).conforms(&fixture);
}

#[test]
fn ferro() {
    let fixture = Fixture::new();
    let server = Ferro::start();
    fixture.push(&server.host(), true);
    let client = connect(&server.host());
    Remote { knows_absence: false, ..Remote::new(&client) }.conforms(&fixture);
    lists_odd_names(&client);
}

#[test]
fn fakes_of_every_dialect() {
    let fixture = Fixture::new();
    let modern = fake::Options { referrers: Some(10), ..fake::Options::default() };
    let variants = [
        ("modern", modern.clone()),
        ("no ranges", fake::Options { ranges: fake::Ranges::Ignored, ..modern.clone() }),
        ("short parts", fake::Options { ranges: fake::Ranges::Short, ..modern.clone() }),
        ("other parts", fake::Options { ranges: fake::Ranges::Shifted, ..modern.clone() }),
        ("refused parts", fake::Options { ranges: fake::Ranges::Refused, ..modern.clone() }),
        ("object store", fake::Options { redirect: Some(fake::Redirect::default()), ..modern.clone() }),
        ("no HEAD", fake::Options { head_status: Some(405), ..modern.clone() }),
        ("no digests", fake::Options { digest_header: fake::DigestHeader::Absent, etag: false, ..modern.clone() }),
        ("Quay", fake::Options { paging: fake::Paging::Quay, page: 1, ..modern.clone() }),
        ("ECR", fake::Options { paging: fake::Paging::Ecr, page: 2, ..modern.clone() }),
    ];
    for (name, options) in variants {
        let registry = fake::Registry::with(options);
        fixture.put(&registry);
        let client = connect(&registry.host());
        println!("dialect: {name}");
        Remote::new(&client).conforms(&fixture);
        lists_odd_names(&client);
    }
}

#[test]
fn an_image_layout() {
    let fixture = Fixture::new();
    let directory = tempfile::tempdir().expect("tempdir");
    fixture.write(directory.path());
    let layout = Layout::open(directory.path()).expect("layout");
    let remote = Remote { repository: layout::repository().expect("name"), ..Remote::new(&layout) };
    remote.conforms(&fixture);
}
