//! The conformance suite: what every remote does, whatever it is reached by.

use crate::connect::{descriptor, repository, tag};
use crate::fixture::{ARTIFACT, Fixture, OTHER};
use crate::support::content::Content;
use crate::support::image::{Blob, Image};
use crate::support::seed;
use regfs::digest::Digest;
use regfs::error::Kind;
use regfs::manifest::{self, Document};
use regfs::name::{Reference, Repository, Tag};
use regfs::read_at::ReadAt;
use regfs::remote::Registry;
use regfs::span::Span;

/// What remotes may differ in.
pub(crate) struct Remote<'a> {
    pub(crate) registry: &'a dyn Registry,
    /// What the repository of the fixture is called there.
    pub(crate) repository: Repository,
    /// Every repository is listed. A pull-through cache lists what was pulled.
    pub(crate) lists_all: bool,
    /// A repository that does not exist is an error rather than one without tags.
    pub(crate) knows_absence: bool,
    /// Blobs come with their length, so that a wrong one is noticed before the first byte.
    pub(crate) tells_sizes: bool,
}

impl<'a> Remote<'a> {
    pub(crate) fn new(registry: &'a dyn Registry) -> Remote<'a> {
        let repository = repository(crate::fixture::REPOSITORY);
        Remote { registry, repository, lists_all: true, knows_absence: true, tells_sizes: true }
    }

    /// Runs all of it.
    pub(crate) fn conforms(&self, fixture: &Fixture) {
        assert!(!self.registry.name().is_empty());
        self.registry.ping().expect("ping");
        self.lists(fixture);
        self.resolves(fixture);
        self.has_manifests(fixture);
        self.has_platforms(fixture);
        self.has_referrers(fixture);
        for image in [&fixture.image, &fixture.docker, &fixture.artifact, &fixture.index.children[1]] {
            for blob in &image.blobs {
                self.has_blob(blob);
            }
        }
        self.lacks_blobs();
        self.notices_wrong_sizes(&fixture.image.layers()[0]);
    }

    fn lists(&self, fixture: &Fixture) {
        let listed = self.registry.repositories().expect("repositories");
        assert_eq!(listed.partial, None);
        assert!(listed.names.is_sorted());
        if self.lists_all {
            assert!(listed.names.contains(&self.repository), "{:?}", listed.names);
        }
        let tags = self.registry.tags(&self.repository).expect("tags");
        let expected: Vec<Tag> = fixture.tags().into_iter().map(|(name, _)| tag(name)).collect();
        assert_eq!((tags.names, tags.partial), (expected, None), "tags of {}", self.registry.name());
        let absent = self.registry.tags(&repository("no/such"));
        if self.knows_absence {
            assert_eq!(absent.expect_err("no such repository").kind(), Kind::NotFound);
        } else {
            assert_eq!(absent.expect("no tags").names, []);
        }
    }

    fn resolves(&self, fixture: &Fixture) {
        for (name, image) in fixture.tags() {
            let first = self.registry.resolve(&self.repository, &tag(name), None).expect(name);
            assert_eq!(first.digest, image.digest, "{name}");
            assert_eq!((first.size, &first.media_type), (image.manifest.len() as u64, &image.media_type), "{name}");
            let again = self.registry.resolve(&self.repository, &tag(name), Some(&first)).expect(name);
            assert_eq!(again, first, "unchanged {name}");
            let stale = descriptor(Digest::of(b"what it named before").as_str(), 20);
            let moved = self.registry.resolve(&self.repository, &tag(name), Some(&stale)).expect(name);
            assert_eq!(moved.digest, image.digest, "moved {name}");
        }
        let absent = self.registry.resolve(&self.repository, &tag("absent"), None).expect_err("no such tag");
        assert_eq!(absent.kind(), Kind::NotFound, "{absent}");
        assert!(absent.to_string().contains("absent"), "{absent}");
    }

    fn has_manifests(&self, fixture: &Fixture) {
        let mut asked: Vec<(Reference, &Image)> = Vec::new();
        for (name, image) in fixture.tags() {
            asked.push((Reference::Tag(tag(name)), image));
            asked.push((Reference::Digest(image.digest.clone()), image));
        }
        asked.push((Reference::Digest(fixture.artifact.digest.clone()), &fixture.artifact));
        for (reference, image) in asked {
            let found = self.registry.manifest(&self.repository, &reference);
            let found = found.unwrap_or_else(|error| panic!("{reference}: {error}"));
            assert_eq!(found.bytes, image.manifest, "{reference}: verbatim");
            assert_eq!(
                (found.digest, found.media_type),
                (image.digest.clone(), image.media_type.clone()),
                "{reference}"
            );
        }
        let kind = |reference| self.registry.manifest(&self.repository, &reference).expect_err("absent").kind();
        assert_eq!(kind(Reference::Tag(tag("absent"))), Kind::NotFound);
        assert_eq!(kind(Reference::Digest(Digest::of(b"absent"))), Kind::NotFound);
        assert_eq!(kind(Reference::Digest("blake3:abc".parse().expect("grammar"))), Kind::Unsupported);
    }

    fn has_platforms(&self, fixture: &Fixture) {
        let reference = Reference::Tag(tag("multi"));
        let index = self.registry.manifest(&self.repository, &reference).expect("index");
        let (_, document) = manifest::parse(&index.media_type, &index.bytes).expect("index");
        let Document::Index(index) = document else { panic!("{document:?} is no index") };
        assert_eq!(index.manifests.len(), 2);
        for (entry, child) in index.manifests.iter().zip(&fixture.index.children) {
            assert_eq!(entry.platform.as_ref().map(|platform| platform.show("/")), child.platform);
            let found = self.registry.manifest(&self.repository, &Reference::Digest(entry.digest.clone()));
            assert_eq!(found.expect("a platform's image").bytes, child.manifest);
        }
    }

    fn has_referrers(&self, fixture: &Fixture) {
        let found = self.registry.referrers(&self.repository, &fixture.image.digest).expect("referrers");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].digest, fixture.artifact.digest);
        assert_eq!(found[0].size, fixture.artifact.manifest.len() as u64);
        assert_eq!(found[0].artifact_type.as_deref(), Some(ARTIFACT));
        assert_eq!(found[0].annotations["org.example.kind"], "test");
        assert_eq!(self.registry.referrers(&self.repository, &fixture.docker.digest).expect("none"), []);
    }

    fn has_blob(&self, blob: &Blob) {
        let size = blob.content.len();
        assert_eq!(self.registry.blob_size(&self.repository, &blob.digest).expect("size"), size);
        let remote = self.registry.blob(&self.repository, &descriptor(blob.digest.as_str(), size));
        assert_eq!(remote.len().expect("length"), size);
        assert_eq!(collect(&*remote, Span::new(0, u64::MAX), size), blob.content.to_vec());
        reads_anywhere(&*remote, &blob.content);
    }

    fn lacks_blobs(&self) {
        let absent = Digest::of(b"absent");
        let error = self.registry.blob_size(&self.repository, &absent).expect_err("absent");
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        // Whoever reads it has seen its name: not ENOENT.
        let remote = self.registry.blob(&self.repository, &descriptor(absent.as_str(), 100));
        assert_eq!(remote.len().expect("as the descriptor says"), 100);
        let error = remote.read_at(&mut [0; 10], 0).expect_err("absent");
        assert_eq!(error.kind(), Kind::Io, "{error}");
        assert!(error.to_string().contains(absent.short()), "{error}");
        assert_eq!(remote.read_at(&mut [0; 10], 100).expect("the end needs no request"), 0);
    }

    fn notices_wrong_sizes(&self, blob: &Blob) {
        for size in [blob.content.len() + 1, blob.content.len() - 1, 1] {
            let remote = self.registry.blob(&self.repository, &descriptor(blob.digest.as_str(), size));
            for span in [Span::new(0, size), Span::new(0, size.min(10)), Span::new(size - 1, size)] {
                let mut delivered = 0;
                let result = remote.stream(span, &mut |_, bytes| {
                    delivered += bytes.len();
                    Ok(())
                });
                let error = result.expect_err("another size");
                assert_eq!(error.kind(), Kind::Corrupt, "{error}");
                assert!(delivered == 0 || !self.tells_sizes, "{delivered} bytes were delivered");
            }
        }
    }
}

/// Every name listed, where a remote has repositories of names with all separators.
pub(crate) fn lists_odd_names(registry: &dyn Registry) {
    assert!(registry.repositories().expect("repositories").names.contains(&repository(OTHER)));
    assert_eq!(registry.tags(&repository(OTHER)).expect("tags").names, [tag("latest")]);
}

/// Streams `span` of a blob of `size` bytes; panics unless it comes in ascending runs that cover the span.
pub(crate) fn collect(remote: &dyn ReadAt, span: Span, size: u64) -> Vec<u8> {
    let span = Span::new(span.start.min(size), span.end.min(size));
    let mut got = vec![0; span.len() as usize];
    let mut at = 0;
    let mut covered = span.start;
    remote
        .stream(span, &mut |offset, bytes| {
            assert!(offset >= at, "byte {offset} after byte {at}");
            at = offset + bytes.len() as u64;
            assert!(at <= size, "byte {at} of {size}");
            let part = span.intersect(Span::new(offset, at));
            if !part.is_empty() {
                assert_eq!(part.start, covered, "a gap");
                covered = part.end;
                let from = (part.start - offset) as usize;
                got[(part.start - span.start) as usize..(part.end - span.start) as usize]
                    .copy_from_slice(&bytes[from..from + part.len() as usize]);
            }
            Ok(())
        })
        .expect("stream");
    assert_eq!(covered, span.end, "not all was delivered");
    got
}

/// Reads parts of every kind, and compares them with what is there.
pub(crate) fn reads_anywhere(remote: &dyn ReadAt, content: &Content) {
    let size = content.len();
    let mut rng = fastrand::Rng::with_seed(seed("parts of a blob"));
    let mut spans = vec![(0, 1), (0, size), (size / 2, size), (size.saturating_sub(1), size + 100), (size, size + 1)];
    spans.push((size + 1, size + 2));
    spans.push((u64::MAX - 1, u64::MAX));
    for _ in 0..4 {
        let start = rng.u64(..=size);
        spans.push((start, start + rng.u64(..=size)));
    }
    for (start, end) in spans {
        let mut buf = vec![0xee; (end - start) as usize];
        let got = remote.read_at(&mut buf, start).expect("read");
        let expected = content.slice(start, end).to_vec();
        assert_eq!(got, expected.len(), "bytes {start}..{end} of {size}");
        assert_eq!(&buf[..got], &expected[..], "bytes {start}..{end} of {size}");
        assert_eq!(collect(remote, Span::new(start, end), size), expected, "stream {start}..{end} of {size}");
    }
}
