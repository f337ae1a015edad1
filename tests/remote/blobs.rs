//! Blobs by Range from registries that lie, redirect, break off and compress (protocols.md 51 to 64).

use crate::connect::{Client, TIMEOUT, connect, descriptor, repository, with};
use crate::suite::{collect, reads_anywhere};
use crate::support::content::Content;
use crate::support::fake::{Fault, Options, Ranges, Redirect, Registry, Rule, What};
use crate::support::http::{Cut, Length, Reply, Request, Server};
use crate::support::{run, seed};
use regfs::digest::Digest;
use regfs::error::{Error, Kind};
use regfs::read_at::ReadAt;
use regfs::remote::Registry as _;
use regfs::remote::oci;
use regfs::span::Span;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIZE: u64 = 1_000_000;

struct Held {
    fake: Registry,
    client: Client,
    content: Content,
    digest: Digest,
    blob: Arc<dyn ReadAt>,
}

/// A fake that holds one blob of random bytes in `a`.
fn holding(options: Options) -> Held {
    let fake = Registry::with(options);
    let content = Content::random(7, SIZE);
    let digest = fake.blob("a", content.clone());
    let client = connect(&fake.host());
    let blob = client.blob(&repository("a"), &descriptor(digest.as_str(), SIZE));
    fake.forget();
    Held { fake, client, content, digest, blob }
}

impl Held {
    fn ranges(&self) -> Vec<String> {
        let asked = self.fake.requests_of(What::Blob);
        asked.iter().map(|request| request.header("range").unwrap_or("").to_owned()).collect()
    }

    fn read(&self, start: u64, end: u64) -> Result<Vec<u8>, Error> {
        let mut buf = vec![0; (end - start) as usize];
        let got = self.blob.read_at(&mut buf, start)?;
        buf.truncate(got);
        Ok(buf)
    }

    fn reads(&self, start: u64, end: u64) {
        assert!(self.read(start, end).expect("read") == self.content.slice(start, end).to_vec(), "{start}..{end}");
    }

    fn whole(&self) {
        assert!(collect(&*self.blob, Span::new(0, SIZE), SIZE) == self.content.to_vec(), "the whole blob");
    }

    fn fault(&self, fault: Fault) -> &Held {
        self.fake.fault(Rule::on(What::Blob, fault));
        self
    }
}

#[test]
fn parts_are_asked_for_exactly_and_wholes_without_range() {
    let held = holding(Options::default());
    assert_eq!(held.blob.len().expect("length"), SIZE);
    assert_eq!(held.fake.total(), 0, "nothing is asked before the first read");
    held.reads(100, 200);
    held.reads(SIZE - 5, SIZE + 100);
    held.whole();
    assert!(held.read(SIZE, SIZE + 10).expect("the end").is_empty());
    assert_eq!(held.ranges(), ["bytes=100-199", "bytes=999995-999999", ""]);
    let identity = held.fake.requests_of(What::Blob);
    assert!(identity.iter().all(|request| request.header("accept-encoding").is_none_or(|value| value == "identity")));
}

#[test]
fn an_empty_blob_costs_nothing() {
    let fake = Registry::start();
    let digest = fake.blob("a", "");
    let client = connect(&fake.host());
    fake.forget();
    let blob = client.blob(&repository("a"), &descriptor(digest.as_str(), 0));
    assert_eq!(blob.read_at(&mut [0; 10], 0).expect("empty"), 0);
    blob.stream(Span::new(0, 10), &mut |_, _| panic!("no bytes")).expect("empty");
    assert_eq!(fake.total(), 0);
    assert_eq!(client.blob_size(&repository("a"), &digest).expect("size"), 0);
}

#[test]
fn a_server_without_ranges_delivers_what_it_must_and_is_remembered() {
    let held = holding(Options { ranges: Ranges::Ignored, ..Options::default() });
    let mut at = 0;
    held.blob
        .stream(Span::new(500_000, 500_100), &mut |offset, bytes| {
            assert_eq!(offset, at, "from the first byte, without a gap");
            assert!(bytes == held.content.slice(offset, offset + bytes.len() as u64).to_vec());
            at += bytes.len() as u64;
            Ok(())
        })
        .expect("stream");
    assert_eq!(at, SIZE, "all of it may be kept");
    held.reads(10, 20);
    assert_eq!(held.ranges(), ["bytes=500000-500099", ""], "asked for parts once");
    held.fake.repository("b");
    let other = held.fake.blob("b", held.content.clone());
    let blob = held.client.blob(&repository("b"), &descriptor(other.as_str(), SIZE));
    let mut buf = [0; 10];
    blob.read_at(&mut buf, 5).expect("read");
    assert_eq!(held.ranges().last().map(String::as_str), Some("bytes=5-14"), "another repository may differ");
}

#[test]
fn answers_that_are_not_what_was_asked_are_not_used() {
    for ranges in [Ranges::Shifted, Ranges::Refused] {
        let held = holding(Options { ranges, ..Options::default() });
        held.reads(300, 400);
        reads_anywhere(&*held.blob, &held.content);
    }
    for header in [None, Some("bytes 0-99/1000000"), Some("bytes */1000000"), Some("lines 300-399/1000000")] {
        let held = holding(Options::default());
        let fault = Fault::Header("Content-Range", header.map(str::to_owned));
        held.fake.fault(Rule::on(What::Blob, fault));
        held.reads(300, 400);
    }
    let held = holding(Options { ranges: Ranges::Short, ..Options::default() });
    held.reads(100, 200_000);
    let held = holding(Options { ranges: Ranges::WrongTotal, ..Options::default() });
    let error = held.read(300, 400).expect_err("another total");
    assert_eq!((error.kind(), error.errno()), (Kind::Corrupt, libc::EIO));
    assert!(error.to_string().contains("1000001"), "{error}");
}

#[test]
fn an_unsatisfied_range_does_not_wait_for_a_body_that_never_comes() {
    let held = holding(Options { ranges: Ranges::Refused, ..Options::default() });
    let start = Instant::now();
    held.reads(300, 400);
    assert!(start.elapsed() < TIMEOUT / 2, "{:?}", start.elapsed());
    // The registry holds less than the descriptor says.
    let blob = held.client.blob(&repository("a"), &descriptor(held.digest.as_str(), SIZE + 1000));
    let error = blob.read_at(&mut [0; 10], SIZE + 10).expect_err("behind its end");
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[test]
fn bodies_that_break_off_are_taken_up_where_they_broke() {
    for cut in [Cut::Fin, Cut::Rst] {
        let held = holding(Options::default());
        held.fake.fault(Rule::on(What::Blob, Fault::Cut(300_000, cut)).times(2));
        held.whole();
        let asked = held.ranges();
        assert_eq!((asked.len(), asked[0].as_str()), (3, ""), "{asked:?}");
        assert!(asked[1].starts_with("bytes=") && asked[1].ends_with("-999999"), "{asked:?}");
        held.fake.forget();
        held.fake.heal();
        held.fake.fault(Rule::on(What::Blob, Fault::Cut(1000, cut)).once());
        held.reads(100_000, 200_000);
        assert_eq!(held.ranges().len(), 2);
    }
    let held = holding(Options { chunked: true, ..Options::default() });
    held.fake.fault(Rule::on(What::Blob, Fault::Cut(300_000, Cut::Fin)).times(2));
    held.whole();
}

#[test]
fn a_resume_that_begins_anew_goes_on_where_it_was() {
    let held = holding(Options { ranges: Ranges::Ignored, ..Options::default() });
    held.fake.fault(Rule::on(What::Blob, Fault::Cut(300_000, Cut::Rst)).once());
    held.whole();
    held.fake.heal();
    held.fake.fault(Rule::on(What::Blob, Fault::Cut(600_000, Cut::Fin)).times(2));
    held.reads(700_000, 800_000);
}

#[test]
fn a_registry_that_sends_half_of_what_is_asked_is_asked_on() {
    let held = holding(Options::default());
    let half = |_: &Request, reply: Reply| {
        let length = reply.content().len();
        reply.cut_after(length.div_ceil(2), Cut::Fin)
    };
    held.fake.fault(Rule::on(What::Blob, Fault::Custom(Arc::new(half))));
    held.whole();
    held.reads(300_000, 700_000);
}

#[test]
fn what_never_gets_on_is_given_up() {
    let held = holding(Options::default());
    // A reset may overtake the head of the answer.
    for (fault, kinds) in
        [(Fault::Cut(0, Cut::Rst), &[Kind::Io, Kind::Unreachable][..]), (Fault::Cut(0, Cut::Fin), &[Kind::Io])]
    {
        held.fake.heal();
        held.fake.forget();
        held.fault(fault);
        let error = held.read(0, 1000).expect_err("never a byte");
        assert!(kinds.contains(&error.kind()), "{error}");
        assert!(held.fake.total() <= 20, "{} requests", held.fake.total());
    }
    // A byte at a time is progress, and still not worth a million requests.
    held.fake.heal();
    held.fake.forget();
    held.fault(Fault::Cut(1, Cut::Fin));
    held.read(0, 1000).expect_err("a byte at a time");
    assert!(held.fake.total() <= 60, "{} requests", held.fake.total());
    // One that begins anew each time.
    held.fake.heal();
    held.fake.set(|options| options.ranges = Ranges::Ignored);
    held.fake.forget();
    held.fault(Fault::Cut(900_000, Cut::Fin));
    held.read(950_000, 951_000).expect_err("never that far");
    assert!(held.fake.total() <= 10, "{} requests", held.fake.total());
    held.fake.heal();
    held.reads(0, 1000);
}

#[test]
fn silence_is_waited_out_once() {
    let fake = Registry::start();
    let content = Content::random(7, SIZE);
    let digest = fake.blob("a", content.clone());
    let timeout = Duration::from_secs(1);
    let client = with(&fake.host(), None, oci::Options::default(), timeout);
    let blob = client.blob(&repository("a"), &descriptor(digest.as_str(), SIZE));
    fake.fault(Rule::on(What::Blob, Fault::HangAfter(100_000)).once());
    assert!(collect(&*blob, Span::new(0, SIZE), SIZE) == content.to_vec(), "taken up after the silence");
    fake.fault(Rule::on(What::Blob, Fault::HangAfter(0)));
    let start = Instant::now();
    let error = blob.read_at(&mut [0; 10], 0).expect_err("silence");
    assert_eq!((error.kind(), error.errno()), (Kind::Timeout, libc::ETIMEDOUT), "{error}");
    assert!(start.elapsed() < 5 * timeout, "{:?}", start.elapsed());
}

#[test]
fn lengths_that_differ_deliver_nothing() {
    for fault in [Fault::Shorten(1), Fault::Lengthen(1), Fault::Claim(SIZE + 1), Fault::Claim(SIZE - 1)] {
        let held = holding(Options::default());
        let says = format!("{fault:?}");
        held.fault(fault);
        let result = held.blob.stream(Span::new(0, SIZE), &mut |_, _| panic!("nothing may be delivered"));
        let error = result.expect_err("another length");
        assert_eq!((error.kind(), error.errno()), (Kind::Corrupt, libc::EIO), "{says}: {error}");
        assert!(error.to_string().contains(held.digest.short()), "{error}");
    }
    // Without a length the end tells.
    for fault in [Fault::Shorten(1000), Fault::Lengthen(1000)] {
        let held = holding(Options { chunked: true, ranges: Ranges::Ignored, ..Options::default() });
        held.fault(fault.clone());
        let error = held.blob.stream(Span::new(0, SIZE), &mut |_, _| Ok(())).expect_err("another length");
        assert_eq!(error.errno(), libc::EIO, "{fault:?}: {error}");
    }
}

#[test]
fn a_part_of_another_length_is_not_used() {
    for fault in [Fault::Shorten(1), Fault::Lengthen(1)] {
        let held = holding(Options::default());
        held.fake.fault(Rule::on(What::Blob, fault).once());
        held.reads(300, 400);
    }
}

#[test]
fn bodies_compressed_though_asked_not_to() {
    let held = holding(Options::default());
    held.fault(Fault::Gzip);
    held.whole();
    // The offsets of an encoded part are of something else.
    held.reads(300, 400);
    let fake = Registry::with(Options { ranges: Ranges::Ignored, ..Options::default() });
    let text = Content::from("the same again and again\n".repeat(40_000));
    let digest = fake.blob("a", text.clone());
    fake.fault(Rule::on(What::Blob, Fault::Gzip));
    let client = connect(&fake.host());
    let blob = client.blob(&repository("a"), &descriptor(digest.as_str(), text.len()));
    reads_anywhere(&*blob, &text);
    assert_eq!(client.blob_size(&repository("a"), &digest).expect_err("no length").errno(), libc::EIO);
    // More than the descriptor says, once decoded.
    let blob = client.blob(&repository("a"), &descriptor(digest.as_str(), 1000));
    assert_eq!(blob.stream(Span::new(0, 1000), &mut |_, _| Ok(())).expect_err("more").kind(), Kind::Corrupt);
}

#[test]
fn a_blob_that_is_labelled_as_encoded_and_is_not() {
    let held = holding(Options::default());
    held.fault(Fault::Header("Content-Encoding", Some("gzip".to_owned())));
    held.whole();
    held.reads(300, 400);
}

#[test]
fn a_server_that_chokes_on_ranges_is_asked_without() {
    let held = holding(Options::default());
    let choke = |request: &Request, reply: Reply| match request.header("range") {
        Some(_) => Reply::new(400).body("Bad Request"),
        None => reply,
    };
    held.fault(Fault::Custom(Arc::new(choke)));
    held.reads(300, 400);
    held.reads(500, 600);
    assert_eq!(held.ranges(), ["bytes=300-399", "", ""]);
}

#[test]
fn redirects_to_an_object_store() {
    for status in [301, 302, 303, 307, 308] {
        let held =
            holding(Options { redirect: Some(Redirect { status, ..Redirect::default() }), ..Options::default() });
        held.reads(300, 400);
        held.whole();
        assert_eq!(held.client.blob_size(&repository("a"), &held.digest).expect("HEAD is refused there"), SIZE);
        let asked = held.fake.requests_of(What::Object);
        assert!(asked.iter().all(|request| request.header("authorization").is_none()));
        assert!(asked.iter().any(|request| request.header("range") == Some("bytes=300-399")));
    }
}

#[test]
fn presigned_urls_that_expire_are_renewed() {
    let redirect = Redirect { uses: Some(1), no_head: false, ..Redirect::default() };
    let held = holding(Options { redirect: Some(redirect), ..Options::default() });
    for start in [0, 1000, 500_000] {
        held.reads(start, start + 100);
    }
    held.fake.fault(Rule::on(What::Object, Fault::Cut(1000, Cut::Rst)).once());
    held.reads(100_000, 200_000);
    held.fake.fault(Rule::on(What::Object, Fault::Status(403)).once());
    held.reads(300_000, 300_010);
}

#[test]
fn refusals_of_the_registry_itself() {
    for (fault, errno) in [
        (Fault::Error(403, "DENIED", "no"), libc::EACCES),
        (Fault::Error(404, "BLOB_UNKNOWN", "no"), libc::EIO),
        (Fault::Status(500), libc::EIO),
        (Fault::Status(501), libc::EOPNOTSUPP),
    ] {
        let held = holding(Options::default());
        held.fault(fault.clone());
        let error = held.read(0, 10).expect_err("refused");
        assert_eq!(error.errno(), errno, "{fault:?}: {error}");
        assert!(error.to_string().contains(&held.fake.host()), "{error}");
        held.fake.heal();
        held.reads(0, 10);
    }
}

#[test]
fn sizes_where_head_does_not_tell() {
    let held = holding(Options::default());
    let size = || held.client.blob_size(&repository("a"), &held.digest);
    for fault in [
        Fault::Header("Content-Length", Some("0".to_owned())),
        Fault::Status(405),
        Fault::Status(403),
        Fault::Status(501),
        Fault::Status(400),
    ] {
        held.fake.heal();
        held.fake.fault(Rule::on(What::Blob, fault.clone()).method("HEAD"));
        held.fake.forget();
        assert_eq!(size().expect("by GET"), SIZE, "{fault:?}");
        assert!(held.fake.body_bytes() < 100_000, "{fault:?}: {} bytes", held.fake.body_bytes());
    }
    held.fake.heal();
    held.fault(Fault::Error(403, "DENIED", "no"));
    assert_eq!(size().expect_err("denied").kind(), Kind::Denied);
    held.fake.heal();
    held.fault(Fault::Error(404, "BLOB_UNKNOWN", "no"));
    assert_eq!(size().expect_err("absent").kind(), Kind::NotFound);
}

#[test]
fn foreign_layers_only_where_the_user_wants_them() {
    let content = Content::random(9, 100_000);
    let served = content.clone();
    let elsewhere = Server::start(move |request: &Request| match request.range() {
        Some((first, Some(last))) => Reply::new(206)
            .header("Content-Range", format!("bytes {first}-{last}/{}", served.len()))
            .body(served.slice(first, last + 1)),
        _ => Reply::ok(served.clone()).length(Length::Known),
    });
    let fake = Registry::start();
    fake.repository("a");
    let mut layer = descriptor(content.digest().as_str(), content.len());
    layer.urls = vec!["ftp://nowhere/x".to_owned(), "not a url".to_owned(), elsewhere.url("/layer")];
    let error = connect(&fake.host()).blob(&repository("a"), &layer).read_at(&mut [0; 10], 0).expect_err("not enabled");
    assert_eq!(error.errno(), libc::EIO);
    assert!(error.to_string().contains("foreign") && error.to_string().contains("not enabled"), "{error}");
    assert_eq!(elsewhere.count(), 0, "nothing is asked elsewhere");
    let client = with(&fake.host(), None, oci::Options { foreign_urls: true }, TIMEOUT);
    reads_anywhere(&*client.blob(&repository("a"), &layer), &content);
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
    layer.urls.clear();
    let error = client.blob(&repository("a"), &layer).read_at(&mut [0; 10], 0).expect_err("nowhere");
    assert_eq!(error.kind(), Kind::Io);
}

#[test]
fn the_sink_ends_a_stream_with_its_own_words() {
    let held = holding(Options::default());
    let mut calls = 0;
    let error = held.blob.stream(Span::new(0, SIZE), &mut |_, _| {
        calls += 1;
        Err(Error::new(Kind::NoSpace, "enough"))
    });
    let error = error.expect_err("ended");
    assert_eq!((error.kind(), error.to_string().as_str(), calls), (Kind::NoSpace, "enough", 1));
    assert_eq!(held.fake.total(), 1);
}

#[test]
fn bad_weather_is_ridden_out() {
    let seed = seed("weather");
    let held = holding(Options::default());
    held.fake.weather(seed, 5);
    let start = Instant::now();
    for _ in 0..15 {
        held.whole();
        held.reads(1000, 300_000);
    }
    assert!(start.elapsed() < run::LIMIT, "{:?}", start.elapsed());
}
