//! What refers to a manifest: the API, its pages, and the tag that stands in for it (protocols.md 49).

use crate::connect::{connect, repository};
use crate::fixture::Fixture;
use crate::support::fake::{Fault, Options, Registry, Rule, What};
use crate::support::image::{Image, OCI_INDEX};
use regfs::error::Kind;
use regfs::remote::Registry as _;

#[test]
fn the_api_is_followed_to_its_last_page() {
    let fixture = Fixture::new();
    let fake = Registry::with(Options { referrers: Some(3), ..Options::default() });
    let artifacts: Vec<Image> =
        (0..10).map(|n| Image::artifact(&fixture.image, "application/vnd.example", format!("{n}"))).collect();
    artifacts.iter().for_each(|artifact| fake.put_untagged("a", artifact));
    let client = connect(&fake.host());
    fake.forget();
    let mut found: Vec<_> = client.referrers(&repository("a"), &fixture.image.digest).expect("referrers");
    found.sort_by(|a, b| a.digest.cmp(&b.digest));
    let mut expected: Vec<_> = artifacts.iter().map(|artifact| artifact.digest.clone()).collect();
    expected.sort();
    assert_eq!(found.iter().map(|found| found.digest.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(found[0].artifact_type.as_deref(), Some("application/vnd.example"));
    assert_eq!((fake.count(What::Referrers), fake.total()), (4, 4));
}

#[test]
fn without_the_api_a_tag_stands_in() {
    let fixture = Fixture::new();
    let (tag, index) = fixture.fallback();
    // As docker-registry refuses it, and as others do.
    let refusals = [None, Some(Fault::Status(400)), Some(Fault::Status(405)), Some(Fault::Status(501))];
    for fault in refusals.into_iter().chain([Some(Fault::Html(200))]) {
        let fake = Registry::start();
        fake.put("a", &tag, &index);
        let says = format!("{fault:?}");
        if let Some(fault) = fault {
            fake.fault(Rule::on(What::Referrers, fault));
        }
        let client = connect(&fake.host());
        let found = client.referrers(&repository("a"), &fixture.image.digest).expect("by the tag");
        assert_eq!(found.len(), 1, "{says}");
        assert_eq!(found[0].digest, fixture.artifact.digest, "{says}");
        assert_eq!(client.referrers(&repository("a"), &fixture.docker.digest).expect("none"), [], "{says}");
    }
}

#[test]
fn what_only_looks_like_the_tag_refers_to_nothing() {
    let fixture = Fixture::new();
    let fake = Registry::start();
    fake.put("a", &fixture.fallback().0, &fixture.image);
    assert_eq!(connect(&fake.host()).referrers(&repository("a"), &fixture.image.digest).expect("none"), []);
}

#[test]
fn failures_are_not_taken_for_absence() {
    let fixture = Fixture::new();
    let fake = Registry::with(Options { referrers: Some(3), ..Options::default() });
    let client = connect(&fake.host());
    fake.fault(Rule::on(What::Referrers, Fault::Status(500)));
    let error = client.referrers(&repository("a"), &fixture.image.digest).expect_err("500");
    assert_eq!(error.kind(), Kind::Server, "{error}");
    fake.heal();
    fake.fault(Rule::on(What::Referrers, Fault::Error(403, "DENIED", "no")));
    assert_eq!(client.referrers(&repository("a"), &fixture.image.digest).expect_err("403").kind(), Kind::Denied);
}

#[test]
fn hostile_lists_are_bounded() {
    let fake = Registry::with(Options { referrers: Some(3), ..Options::default() });
    let client = connect(&fake.host());
    let digest = regfs::digest::Digest::of(b"x");
    // A page that always leads to another one, with nothing new.
    let link = format!("</v2/a/referrers/{digest}?from=0>; rel=\"next\"");
    fake.fault(Rule::on(What::Referrers, Fault::Header("Link", Some(link))));
    assert_eq!(client.referrers(&repository("a"), &digest).expect("ended"), []);
    assert!(fake.count(What::Referrers) <= 4);
    fake.heal();
    let entry = |n: usize| {
        format!(r#"{{"mediaType":"m","size":1,"digest":"{}"}}"#, regfs::digest::Digest::of(&n.to_le_bytes()))
    };
    let entries: Vec<String> = (0..10_001).map(entry).collect();
    let body = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, entries.join(","));
    fake.fault(Rule::on(What::Referrers, Fault::Body(body.into())));
    assert_eq!(client.referrers(&repository("a"), &digest).expect_err("over the limit").kind(), Kind::TooBig);
}
