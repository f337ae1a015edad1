//! Listings in every form that registries send, as directories.

use crate::support::content::Content;
use crate::support::fake::{Fault, Options, Paging, Registry, Rule, Tags, What};
use crate::support::image::Image;
use crate::support::mount::{Mount, Plan};

fn filled(options: Options, tags: usize, repositories: usize) -> Registry {
    let fake = Registry::with(options);
    let image = Image::new([Content::from("layer")], "linux/amd64");
    for n in 0..tags {
        fake.put("a/list", &format!("t{n:04}"), &image);
    }
    for n in 0..repositories {
        fake.put(&format!("many/r{n:04}"), "v1", &image);
    }
    fake
}

#[test]
fn every_form_of_pages_gives_every_name() {
    for paging in [Paging::Linked, Paging::Docker, Paging::Quay, Paging::Ecr, Paging::Unescaped] {
        for page in [7, 100, 1000] {
            let fake = filled(Options { paging, page, ..Options::default() }, 210, 205);
            let mount = Mount::new(&fake.host(), &[]);
            let tags: Vec<String> = (0..210).map(|n| format!("t{n:04}")).collect();
            assert_eq!(mount.list("a/list/tags"), tags, "{paging:?}, pages of {page}");
            assert_eq!(mount.list("many").len(), 205, "{paging:?}, pages of {page}");
            assert_eq!(mount.list(""), ["a", "many"]);
        }
    }
}

#[test]
fn tags_that_are_null_missing_or_unknown_are_an_empty_directory() {
    for tags in [Tags::Null, Tags::Missing, Tags::Unknown] {
        let fake = filled(Options { tags, ..Options::default() }, 1, 0);
        let mount = Mount::new(&fake.host(), &[]);
        // The catalog names the repository: that is why it is there at all.
        assert_eq!(mount.list("a"), ["list"]);
        assert_eq!(mount.list("a/list/tags"), Vec::<String>::new(), "{tags:?}");
        assert!(mount.text("a/list/tags/t0000/digest").starts_with("sha256:"), "a tag that is not listed is found");
    }
}

#[test]
fn a_registry_that_refuses_to_list_is_looked_up() {
    for (status, code) in [(401, "UNAUTHORIZED"), (403, "DENIED"), (404, "UNSUPPORTED"), (405, "UNSUPPORTED")] {
        let refused = Some((status, code.to_owned(), "no catalog here".to_owned()));
        let fake = filled(Options { catalog_refused: refused, ..Options::default() }, 1, 0);
        let mount = Mount::new(&fake.host(), &[]);
        assert_eq!(mount.list(""), Vec::<String>::new(), "{status}");
        assert_eq!(mount.list("a/list/tags"), ["t0000"], "{status}");
        // What was looked up is known from then on.
        assert_eq!(mount.list(""), ["a"], "{status}");
    }
}

#[test]
fn a_listing_that_breaks_is_an_error_and_recovers() {
    let fake = filled(Options { page: 10, ..Options::default() }, 35, 0);
    let mount = Plan::new(&fake.host()).args(&["--timeout", "2", "--metadata-ttl", "1"]).mount();
    // The third page fails: half a listing must not look like a whole one.
    fake.fault(Rule::on(What::Tags, Fault::Status(500)).skip(2));
    let error = mount.try_list("a/list/tags").expect_err("a listing that broke off");
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    mount.error_with("a/list");
    fake.heal();
    let names =
        crate::support::wait_for("recovery", std::time::Duration::from_secs(10), || mount.try_list("a/list/tags").ok());
    assert_eq!(names.len(), 35);
}

#[test]
fn referrers_by_the_api_and_by_the_fallback_tag() {
    let subject = Image::new([Content::from("layer")], "linux/amd64");
    let artifacts: Vec<Image> =
        (0..5).map(|n| Image::artifact(&subject, "application/x-sbom", format!("sbom {n}"))).collect();
    for referrers in [Some(2), None] {
        let fake = Registry::with(Options { referrers, ..Options::default() });
        fake.put("a/b", "v1", &subject);
        for artifact in &artifacts {
            fake.put_untagged("a/b", artifact);
        }
        if referrers.is_none() {
            let index = Image::index(artifacts.clone());
            fake.put("a/b", &format!("sha256-{}", subject.digest.encoded()), &index);
        }
        let mount = Mount::new(&fake.host(), &[]);
        let kinds = mount.list("a/b/tags/v1/referrers");
        assert_eq!(kinds.len(), 1, "{referrers:?}: {kinds:?}");
        let listed = mount.list(&format!("a/b/tags/v1/referrers/{}", kinds[0]));
        assert_eq!(listed.len(), 5, "{referrers:?}: {listed:?}");
        let digest = &artifacts[3].digest;
        let found = listed.iter().find(|name| name.contains(digest.encoded())).expect("an artifact");
        let manifest = mount.read(&format!("a/b/tags/v1/referrers/{}/{found}/manifest.json", kinds[0])).expect("read");
        assert_eq!(manifest, artifacts[3].manifest);
    }
}
