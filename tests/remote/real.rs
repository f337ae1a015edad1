//! The suite over real registries in the configurations that change what a reader sees, the fake, and a layout.

use crate::connect::{connect, connect_as, repository, tag};
use crate::fixture::{Fixture, OTHER, REPOSITORY};
use crate::suite::{Remote, lists_odd_names};
use crate::support::fake;
use crate::support::seed;
use crate::support::servers::docker::{Docker, DockerAuth};
use crate::support::servers::{DockerRegistry, Ferro, Nginx, TokenServer};
use regfs::error::Kind;
use regfs::name::Reference;
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
    Remote::new(&*client).conforms(&fixture);
    lists_odd_names(&*client);
    // Blobs belong to a repository, a listing is not the truth, and an index is there though a part of it is not.
    let layer = &fixture.image.layers()[0];
    let elsewhere = client.blob_size(&repository(OTHER), &layer.digest);
    assert_eq!(elsewhere.expect_err("in another repository").kind(), Kind::NotFound);
    let child = &fixture.index.children[1];
    server.delete_manifest(REPOSITORY, child.digest.as_str());
    client.manifest(&repository(REPOSITORY), &Reference::Tag(tag("multi"))).expect("the index is there");
    let gone = client.manifest(&repository(REPOSITORY), &Reference::Digest(child.digest.clone()));
    assert_eq!(gone.expect_err("the platform is not").kind(), Kind::NotFound);
}

#[test]
fn docker_registry_with_passwords() {
    let fixture = Fixture::new();
    let (_open, server) = filled(&fixture, |_| Docker { auth: DockerAuth::basic(), ..Docker::default() });
    Remote::new(&*connect_as(&server.host(), "me", "pass:wo rd")).conforms(&fixture);
    let stranger = connect_as(&server.host(), "me", "wrong");
    assert_eq!(stranger.ping().expect_err("refused").kind(), Kind::Denied);
    assert_eq!(stranger.repositories().expect_err("refused as a whole").kind(), Kind::Denied);
    assert_eq!(connect(&server.host()).repositories().expect_err("no credentials").kind(), Kind::Denied);
}

#[test]
fn docker_registry_with_tokens() {
    let fixture = Fixture::new();
    let tokens = TokenServer::start();
    let (_open, server) = filled(&fixture, |_| Docker { auth: DockerAuth::bearer(&tokens), ..Docker::default() });
    Remote::new(&*connect_as(&server.host(), "me", "secret")).conforms(&fixture);
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
    Remote::new(&*connect(&server.host())).conforms(&fixture);
    assert!(objects.access_log().contains(" 206 "), "parts came from the object store");
}

#[test]
fn docker_registry_as_a_pull_through_cache() {
    let fixture = Fixture::new();
    let origin = DockerRegistry::plain();
    fixture.push(&origin.host(), false);
    let server = DockerRegistry::start(Docker { proxy: Some(origin.url("")), ..Docker::default() });
    let client = connect(&server.host());
    let remote = Remote { lists_all: false, ..Remote::new(&*client) };
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
    let client = connect(&front.host());
    Remote { tells_sizes: false, ..Remote::new(&*client) }.conforms(&fixture);
}

#[test]
fn ferro() {
    let fixture = Fixture::new();
    let server = Ferro::start();
    fixture.push(&server.host(), true);
    let client = connect(&server.host());
    Remote { knows_absence: false, ..Remote::new(&*client) }.conforms(&fixture);
    lists_odd_names(&*client);
}

/// The suite over the fake with a referrers API and these options.
macro_rules! fakes {
    ($($name:ident: $options:expr;)*) => {$(
        #[test]
        fn $name() {
            let fixture = Fixture::new();
            let change: fn(&mut fake::Options) = $options;
            let mut options = fake::Options { referrers: Some(10), ..fake::Options::default() };
            change(&mut options);
            let registry = fake::Registry::with(options);
            fixture.put(&registry);
            let client = connect(&registry.host());
            Remote::new(&*client).conforms(&fixture);
            lists_odd_names(&*client);
        }
    )*};
}

fakes! {
    fake_of_the_specification: |_| {};
    fake_without_ranges: |options| options.ranges = fake::Ranges::Ignored;
    fake_with_short_parts: |options| options.ranges = fake::Ranges::Short;
    fake_with_other_parts: |options| options.ranges = fake::Ranges::Shifted;
    fake_that_refuses_parts: |options| options.ranges = fake::Ranges::Refused;
    fake_with_an_object_store: |options| options.redirect = Some(fake::Redirect::default());
    fake_without_head: |options| options.head_status = Some(405);
    fake_without_digests: |options| (options.digest_header, options.etag) = (fake::DigestHeader::Absent, false);
    fake_of_quay: |options| (options.paging, options.page) = (fake::Paging::Quay, 1);
    fake_of_ecr: |options| (options.paging, options.page) = (fake::Paging::Ecr, 2);
}

/// Errors that pass, at any request, change nothing of what is read.
#[test]
fn fake_in_bad_weather() {
    let fixture = Fixture::new();
    let registry = fake::Registry::with(fake::Options { referrers: Some(10), ..fake::Options::default() });
    fixture.put(&registry);
    registry.weather(seed("weather"), 3);
    Remote::new(&*connect(&registry.host())).conforms(&fixture);
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
