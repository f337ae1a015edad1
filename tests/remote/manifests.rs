//! Manifests: what tags name, what digests say, what types mean (protocols.md 39 to 48).

use crate::connect::{Client, connect, repository, tag};
use crate::support::client::Ask;
use crate::support::fake::{DigestHeader, Fault, Options, Registry, Rule, What};
use crate::support::http::Cut;
use crate::support::image::{DOCKER_MANIFEST, Image, OCI_INDEX, OCI_MANIFEST};
use crate::support::push;
use crate::support::servers::DockerRegistry;
use regfs::digest::{self, Digest};
use regfs::error::{Kind, Result};
use regfs::manifest::{self, Document, MAX_MANIFEST, Manifest, media};
use regfs::name::Reference;
use regfs::remote::Registry as _;
use regfs::remote::oci::Oci;

const TEXT: &str = r#"{"schemaVersion":2,"layers":[]}"#;

fn image() -> Image {
    Image::raw(OCI_MANIFEST, TEXT)
}

/// A fake with one manifest, tagged `v1` in `a`.
fn holding(image: &Image, options: Options) -> (Registry, Client) {
    let fake = Registry::with(options);
    fake.put("a", "v1", image);
    let client = connect(&fake.host());
    fake.forget();
    (fake, client)
}

fn by_tag(client: &Oci) -> Result<Manifest> {
    client.manifest(&repository("a"), &Reference::Tag(tag("v1")))
}

fn by_digest(client: &Oci, digest: &Digest) -> Result<Manifest> {
    client.manifest(&repository("a"), &Reference::Digest(digest.clone()))
}

fn sha512(bytes: &[u8]) -> Digest {
    let like = format!("sha512:{}", "0".repeat(128)).parse().expect("digest");
    let mut hasher = digest::Hasher::like(&like).expect("known");
    hasher.update(bytes);
    hasher.finish()
}

fn methods(fake: &Registry) -> Vec<String> {
    fake.requests_of(What::Manifest).into_iter().map(|request| request.method).collect()
}

#[test]
fn a_known_tag_costs_one_head() {
    let image = image();
    let (fake, client) = holding(&image, Options::default());
    let first = client.resolve(&repository("a"), &tag("v1"), None).expect("resolves");
    assert_eq!(methods(&fake), ["HEAD"]);
    let again = client.resolve(&repository("a"), &tag("v1"), Some(&first)).expect("unchanged");
    assert_eq!((methods(&fake).len(), &again), (2, &first));
    let asked = fake.requests_of(What::Manifest);
    assert_eq!(asked[1].header("if-none-match"), Some(format!("\"{}\"", image.digest).as_str()));
    assert!(asked.iter().all(|request| request.header("range").is_none()));
    let moved = Image::raw(OCI_INDEX, r#"{"schemaVersion":2,"manifests":[]}"#);
    fake.put("a", "v1", &moved);
    let now = client.resolve(&repository("a"), &tag("v1"), Some(&first)).expect("moved");
    assert_eq!((now.digest, now.media_type.as_str()), (moved.digest, OCI_INDEX));
}

#[test]
fn head_that_does_not_tell_is_followed_by_get() {
    let image = image();
    for status in [400, 401, 403, 404, 405, 501] {
        let (fake, client) = holding(&image, Options { head_status: Some(status), ..Options::default() });
        let found = client.resolve(&repository("a"), &tag("v1"), None).expect("by GET");
        assert_eq!((found.digest, found.size), (image.digest.clone(), TEXT.len() as u64), "{status}");
        assert_eq!(methods(&fake).last().map(String::as_str), Some("GET"), "{status}");
    }
    for header in [DigestHeader::Absent, DigestHeader::Bare, DigestHeader::Sha512, DigestHeader::Right] {
        let (_fake, client) = holding(&image, Options { digest_header: header, ..Options::default() });
        let found = client.resolve(&repository("a"), &tag("v1"), None).expect("resolves");
        let expected = if header == DigestHeader::Sha512 { sha512(TEXT.as_bytes()) } else { image.digest.clone() };
        assert_eq!(found.digest, expected, "{header:?}");
        assert_eq!(by_tag(&client).expect("reads").digest, expected, "{header:?}");
    }
    let (_fake, client) =
        holding(&image, Options { manifest_type: Some("text/plain".to_owned()), ..Options::default() });
    let found = client.resolve(&repository("a"), &tag("v1"), None).expect("resolves");
    assert_eq!(found.media_type, OCI_MANIFEST, "told by its shape");
}

#[test]
fn by_digest_only_that_digest_counts_by_tag_the_registry_s_word() {
    let image = image();
    let (_fake, client) = holding(&image, Options { digest_header: DigestHeader::Wrong, ..Options::default() });
    assert_eq!(by_digest(&client, &image.digest).expect("its digest is right").bytes, TEXT);
    let error = by_tag(&client).expect_err("the registry contradicts itself");
    assert_eq!((error.kind(), error.errno()), (Kind::Corrupt, libc::EIO));
    let (fake, client) = holding(&image, Options::default());
    fake.corrupt(&image.digest, 3);
    for error in [by_tag(&client).expect_err("a bit"), by_digest(&client, &image.digest).expect_err("a bit")] {
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(error.to_string().contains("/a"), "{error}");
    }
    fake.heal();
    by_tag(&client).expect("it recovered");
}

#[test]
fn other_algorithms() {
    let (fake, client) = holding(&image(), Options::default());
    let long = sha512(TEXT.as_bytes());
    fake.manifest_as("a", long.as_str(), OCI_MANIFEST, TEXT);
    assert_eq!(by_digest(&client, &long).expect("sha512").digest, long);
    fake.forget();
    let unknown = "blake3:abc".parse().expect("grammar");
    let error = by_digest(&client, &unknown).expect_err("unknown");
    assert_eq!((error.errno(), fake.total()), (libc::EOPNOTSUPP, 0), "nothing is sent");
    fake.fault(Rule::on(What::Manifest, Fault::Header("Docker-Content-Digest", Some(unknown.to_string()))));
    assert_eq!(client.resolve(&repository("a"), &tag("v1"), None).expect("by GET").digest, image().digest);
    assert_eq!(by_tag(&client).expect("reads").digest, image().digest);
}

#[test]
fn types_by_header_by_field_by_shape() {
    let named =
        Image::raw(DOCKER_MANIFEST, format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_MANIFEST}","layers":[]}}"#));
    for header in ["", "text/plain; charset=utf-8", "application/json", "application/octet-stream"] {
        let options = Options { manifest_type: Some(header.to_owned()), ..Options::default() };
        let (_fake, client) = holding(&named, options);
        assert_eq!(by_tag(&client).expect(header).media_type, DOCKER_MANIFEST, "{header}");
    }
    let options = Options { manifest_type: Some(format!("{DOCKER_MANIFEST}; charset=utf-8")), ..Options::default() };
    let (_fake, client) = holding(&named, options);
    assert_eq!(by_tag(&client).expect("parameters").media_type, DOCKER_MANIFEST);
    // What could be taken for two things is refused (CVE-2021-41190).
    let (_fake, client) = holding(&named, Options { manifest_type: Some(OCI_INDEX.to_owned()), ..Options::default() });
    assert_eq!(by_tag(&client).expect_err("contradicts").errno(), libc::EIO);
    let both = Image::raw(OCI_MANIFEST, r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#);
    let (_fake, client) = holding(&both, Options::default());
    for found in [by_digest(&client, &both.digest), by_tag(&client)] {
        assert_eq!(found.expect("its bytes alone").bytes.as_ref(), both.manifest.as_slice());
    }
    let unknown = Image::raw("application/vnd.example.thing.v7+json", r#"{"anything":[1,2]}"#);
    let (_fake, client) = holding(&unknown, Options { strict_accept: false, ..Options::default() });
    let found = by_tag(&client).expect("shown as it is");
    assert_eq!((found.bytes.as_ref(), found.media_type), (unknown.manifest.as_slice(), unknown.media_type));
}

#[test]
fn hostile_bodies() {
    for body in ["", "[", "null", "7", "{\"layers\":7}", "<html>"] {
        let (fake, client) = holding(&image(), Options { digest_header: DigestHeader::Absent, ..Options::default() });
        fake.fault(Rule::on(What::Manifest, Fault::Body(body.into())));
        assert_eq!(by_tag(&client).expect_err(body).errno(), libc::EIO, "{body:?}");
    }
    let large = format!("{TEXT}{}", " ".repeat(5 << 20));
    let (_fake, client) = holding(&Image::raw(OCI_MANIFEST, large.clone()), Options::default());
    assert_eq!(by_tag(&client).expect("5 MiB are read").bytes.len(), large.len());
    let over = Image::raw(OCI_MANIFEST, format!("{TEXT}{}", " ".repeat(MAX_MANIFEST as usize)));
    let (fake, client) = holding(&over, Options::default());
    assert_eq!(by_tag(&client).expect_err("over the limit").errno(), libc::EFBIG);
    assert_eq!(client.resolve(&repository("a"), &tag("v1"), None).expect_err("over the limit").kind(), Kind::TooBig);
    fake.fault(Rule::on(What::Manifest, Fault::Gzip));
    assert_eq!(by_tag(&client).expect_err("over the limit once decoded").kind(), Kind::TooBig);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let (_fake, client) = holding(&Image::raw(OCI_MANIFEST, deep.clone()), Options::default());
    assert_eq!(by_tag(&client).expect("its bytes alone").bytes.as_ref(), deep.as_bytes());
    let unnamed = Options { digest_header: DigestHeader::Absent, ..Options::default() };
    let (_fake, client) = holding(&Image::raw(OCI_MANIFEST, deep), unnamed);
    assert_eq!(by_tag(&client).expect_err("no digest vouches for it").errno(), libc::EIO);
}

#[test]
fn answers_that_break_off_or_come_compressed() {
    let (fake, client) = holding(&image(), Options::default());
    fake.fault(Rule::on(What::Manifest, Fault::Cut(5, Cut::Rst)).once());
    fake.fault(Rule::on(What::Manifest, Fault::Cut(5, Cut::Fin)).once());
    assert_eq!(by_tag(&client).expect("asked again").bytes, TEXT);
    fake.heal();
    fake.fault(Rule::on(What::Manifest, Fault::Cut(5, Cut::Fin)));
    assert_eq!(by_tag(&client).expect_err("always").kind(), Kind::Io);
    fake.heal();
    fake.fault(Rule::on(What::Manifest, Fault::Gzip));
    assert_eq!(by_tag(&client).expect("decoded").bytes, TEXT);
    assert_eq!(client.resolve(&repository("a"), &tag("v1"), None).expect("resolves").size, TEXT.len() as u64);
}

/// docker-registry makes a signed schema1 manifest of any image for clients that know nothing newer.
#[test]
fn schema1_as_docker_registry_signs_it() {
    let server = DockerRegistry::plain();
    let layers = [crate::support::content::Content::random(1, 1000)];
    push::by_http(&Image::docker(layers, "linux/amd64"), &server.host(), "a", "v1");
    let signed = Ask::get(&server.url("/v2/a/manifests/v1")).header("Accept", media::SCHEMA1_SIGNED);
    let signed = signed.send().expect("schema1");
    assert_eq!((signed.status, signed.header("content-type")), (200, Some(media::SCHEMA1_SIGNED)), "{}", signed.text());
    let digest: Digest = signed.header("docker-content-digest").expect("digest").parse().expect("digest");
    assert_ne!(digest, Digest::of(&signed.body), "the digest is that of the payload");
    for header in [DigestHeader::Right, DigestHeader::Absent] {
        let fake = Registry::with(Options { digest_header: header, ..Options::default() });
        fake.manifest_as("a", digest.as_str(), media::SCHEMA1_SIGNED, signed.body.clone());
        fake.tag("a", "v1", &digest);
        let client = connect(&fake.host());
        for found in [by_tag(&client).expect("by tag"), by_digest(&client, &digest).expect("by digest")] {
            assert_eq!((&found.digest, found.bytes.as_ref()), (&digest, signed.body.as_slice()));
            let (_, document) = manifest::parse(&found.media_type, &found.bytes).expect("schema1");
            assert!(matches!(document, Document::Schema1 { layers } if !layers.is_empty()));
        }
        assert_eq!(client.resolve(&repository("a"), &tag("v1"), None).expect("resolves").digest, digest);
    }
}
