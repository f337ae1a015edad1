//! Catalogs and tags, in every form that registries give them (protocols.md 28 to 38).

use crate::connect::{connect, repository, tag};
use crate::support::fake::{DigestHeader, Fault, Options, Paging, Registry, Rule, Tags, What};
use crate::support::http::{Reply, Request};
use crate::support::image::Image;
use regfs::error::Kind;
use regfs::name::Reference;
use regfs::remote::Registry as _;
use std::sync::Arc;

const DIALECTS: [Paging; 5] = [Paging::Linked, Paging::Docker, Paging::Quay, Paging::Ecr, Paging::Unescaped];

fn paging(paging: Paging, page: usize) -> Registry {
    Registry::with(Options { paging, page, ..Options::default() })
}

fn any_image() -> Image {
    Image::raw("application/vnd.oci.image.manifest.v1+json", r#"{"schemaVersion":2,"layers":[]}"#)
}

/// Every request for a page, and the largest page that was asked for.
fn pages(fake: &Registry, what: What) -> (usize, u64) {
    let requests = fake.requests_of(what);
    let size = |request: &Request| request.query_value("n").and_then(|n| n.parse().ok()).unwrap_or(0);
    (requests.len(), requests.iter().map(size).max().unwrap_or(0))
}

#[test]
fn catalogs_are_followed_to_their_end() {
    for dialect in DIALECTS {
        let fake = paging(dialect, 7);
        let mut names: Vec<String> = (0..50).map(|n| format!("team-{}/app.{n}", n % 3)).collect();
        names.iter().for_each(|name| fake.repository(name));
        names.sort();
        let listed = connect(&fake.host()).repositories().expect("catalog");
        assert_eq!(listed.partial, None, "{dialect:?}");
        assert_eq!(listed.names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), names, "{dialect:?}");
        let (count, largest) = pages(&fake, What::Catalog);
        assert!(largest <= 1000, "{dialect:?} was asked for {largest}");
        assert!(count <= 9, "{dialect:?}: {count} requests");
    }
}

#[test]
fn tags_are_followed_to_their_end_and_sorted() {
    for dialect in DIALECTS {
        let fake = paging(dialect, 7);
        let digest = fake.manifest("a/b", "application/x", "{}");
        let mut names: Vec<String> = (0..30).map(|n| format!("v{}", n * 7 % 30)).collect();
        names.iter().for_each(|name| fake.tag("a/b", name, &digest));
        names.sort();
        let listed = connect(&fake.host()).tags(&repository("a/b")).expect("tags");
        assert_eq!(listed.partial, None, "{dialect:?}");
        assert_eq!(listed.names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), names, "{dialect:?}");
    }
}

#[test]
fn listings_that_never_end_are_ended() {
    let fake = paging(Paging::Looping, 10);
    (0..20).for_each(|n| fake.repository(&format!("r{n:02}")));
    let listed = connect(&fake.host()).repositories().expect("catalog");
    assert_eq!(listed.names.len(), 10);
    assert!(listed.partial.expect("not whole").contains("without adding"));
    assert!(fake.count(What::Catalog) <= 4);

    let fake = paging(Paging::Endless, 1000);
    fake.repository("a");
    let listed = connect(&fake.host()).repositories().expect("catalog");
    assert_eq!(listed.names.len(), 200_000);
    assert!(listed.partial.expect("not whole").contains("200000 names, the limit"));

    // Tags that are left out would be taken for tags that are not there.
    let digest = fake.manifest("a", "application/x", "{}");
    fake.tag("a", "v1", &digest);
    let error = connect(&fake.host()).tags(&repository("a")).expect_err("endless");
    assert_eq!(error.kind(), Kind::TooBig);
    assert!(error.to_string().contains("200000 names, the limit"), "{error}");
}

#[test]
fn a_next_page_at_another_host_is_not_followed() {
    let fake = paging(Paging::Foreign, 10);
    (0..20).for_each(|n| fake.repository(&format!("r{n:02}")));
    let client = connect(&fake.host());
    let objects = fake.objects().count();
    let listed = client.repositories().expect("catalog");
    // The other host is the same address under another port: what is asked there would be asked here instead.
    assert_eq!(fake.objects().count(), objects, "nothing is asked elsewhere");
    assert_eq!(listed.names.len(), 20);
    let elsewhere = Fault::Header("Link", Some("<https://evil.example/v2/_catalog?n=1>; rel=\"next\"".to_owned()));
    fake.fault(Rule::on(What::Catalog, elsewhere));
    let listed = client.repositories().expect("catalog");
    assert_eq!(listed.names.len(), 10);
    assert!(listed.partial.expect("not whole").contains("evil.example"));
}

#[test]
fn a_page_that_is_too_large_is_halved() {
    let fake = Registry::start();
    (0..300).for_each(|n| fake.repository(&format!("r{n:03}")));
    let refuse = |request: &Request, reply: Reply| match request.query_value("n").and_then(|n| n.parse::<u64>().ok()) {
        Some(n) if n <= 100 => reply,
        _ => Reply::error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested"),
    };
    fake.fault(Rule::on(What::Catalog, Fault::Custom(Arc::new(refuse))));
    let listed = connect(&fake.host()).repositories().expect("catalog");
    assert_eq!((listed.names.len(), listed.partial), (300, None));
}

#[test]
fn a_registry_that_refuses_its_catalog_has_an_empty_one() {
    let refusals = [
        (401, "UNAUTHORIZED", "authentication required"),
        (401, "DENIED", "unauthorized to list catalog"),
        (403, "DENIED", "requested access to the resource is denied"),
        (404, "UNSUPPORTED", "we don't support the _catalog endpoint"),
        (404, "NAME_UNKNOWN", "404 page not found"),
        (405, "UNSUPPORTED", "the operation is unsupported"),
        (400, "UNSUPPORTED", "no"),
    ];
    for (status, code, words) in refusals {
        let fake = Registry::with(Options {
            catalog_refused: Some((status, code.to_owned(), words.to_owned())),
            ..Options::default()
        });
        fake.put("a/b", "v1", &any_image());
        let client = connect(&fake.host());
        let listed = client.repositories().expect("not an error");
        assert!(listed.names.is_empty());
        let why = listed.partial.expect("why");
        assert!(why.contains(&fake.host()) && why.contains(&status.to_string()), "{why}");
        assert_eq!(client.tags(&repository("a/b")).expect("found by its name").names, [tag("v1")]);
    }
    let fake = Registry::start();
    fake.fault(Rule::on(What::Catalog, Fault::Body("<html>welcome</html>".into())));
    assert!(connect(&fake.host()).repositories().expect("not an error").partial.is_some());
}

#[test]
fn a_registry_that_fails_to_list_is_an_error() {
    let fake = Registry::start();
    let client = connect(&fake.host());
    fake.fault(Rule::on(What::Catalog, Fault::Status(500)));
    let error = client.repositories().expect_err("500");
    assert_eq!(error.kind(), Kind::Server, "{error}");
    fake.heal();
    client.repositories().expect("it recovered");
}

#[test]
fn a_refusal_in_the_middle_keeps_what_came_before() {
    let fake = paging(Paging::Linked, 10);
    (0..30).for_each(|n| fake.repository(&format!("r{n:02}")));
    fake.fault(Rule::on(What::Catalog, Fault::Error(403, "DENIED", "no more")).skip(1));
    let listed = connect(&fake.host()).repositories().expect("catalog");
    assert_eq!(listed.names.len(), 10);
    assert!(listed.partial.expect("not whole").contains("no more"));
}

#[test]
fn pages_that_break_off_are_asked_for_again() {
    let fake = paging(Paging::Linked, 10);
    (0..30).for_each(|n| fake.repository(&format!("r{n:02}")));
    fake.fault(Rule::on(What::Catalog, Fault::Cut(20, crate::support::http::Cut::Rst)).skip(1).once());
    fake.fault(Rule::on(What::Catalog, Fault::Gzip).skip(2));
    let listed = connect(&fake.host()).repositories().expect("catalog");
    assert_eq!((listed.names.len(), listed.partial), (30, None));
}

#[test]
fn names_off_grammar_are_left_out() {
    let fake = Registry::start();
    for name in ["good/name", "Upper/case", "../../etc", "a//b", "\u{1b}[31m", "a b", &"x".repeat(256)] {
        fake.repository(name);
    }
    let client = connect(&fake.host());
    assert_eq!(client.repositories().expect("catalog").names, [repository("good/name")]);
    let digest = fake.manifest("good/name", "application/x", "{}");
    for name in ["ok", "a/b", "..", "", "\u{1b}[31m", "sp ace", &"x".repeat(129)] {
        fake.tag("good/name", name, &digest);
    }
    assert_eq!(client.tags(&repository("good/name")).expect("tags").names, [tag("ok")]);
}

#[test]
fn tags_in_odd_forms() {
    for (form, expected) in [(Tags::Null, Ok(0)), (Tags::Missing, Ok(0)), (Tags::Unknown, Err(Kind::NotFound))] {
        let fake = Registry::with(Options { tags: form, ..Options::default() });
        fake.repository("a");
        let listed = connect(&fake.host()).tags(&repository("a"));
        let found = listed.map(|listed| listed.names.len()).map_err(|error| error.kind());
        assert_eq!(found, expected, "{form:?}");
    }
    let fake = Registry::start();
    fake.fault(Rule::on(What::Tags, Fault::Body("not json".into())));
    fake.repository("a");
    assert_eq!(connect(&fake.host()).tags(&repository("a")).expect_err("text").kind(), Kind::Protocol);
}

#[test]
fn tags_that_stand_for_referrers_are_hidden_and_still_found() {
    let fake = Registry::with(Options { digest_header: DigestHeader::Right, ..Options::default() });
    let image = any_image();
    let stem = image.digest.as_str().replace(':', "-");
    fake.put("a", "v1", &image);
    for end in ["", ".sig", ".att", ".sbom"] {
        fake.put("a", &format!("{stem}{end}"), &image);
    }
    let client = connect(&fake.host());
    assert_eq!(client.tags(&repository("a")).expect("tags").names, [tag("v1")]);
    let signature = tag(&format!("{stem}.sig"));
    assert_eq!(client.resolve(&repository("a"), &signature, None).expect("resolves").digest, image.digest);
    client.manifest(&repository("a"), &Reference::Tag(signature)).expect("reads");
}

#[test]
fn what_is_no_registry_is_said_so() {
    for status in [404, 500, 200] {
        let fake = Registry::start();
        let client = connect(&fake.host());
        fake.fault(Rule::on(What::Ping, Fault::Html(status)));
        match (status, client.ping()) {
            (200, result) => result.expect("the body does not matter"),
            (404, result) => {
                let error = result.expect_err("404");
                assert_eq!(error.kind(), Kind::Protocol);
                assert!(error.to_string().contains("is not a registry"), "{error}");
            }
            (_, result) => assert_eq!(result.expect_err("500").kind(), Kind::Server),
        }
    }
}
