//! Bad days of a registry, seen through the mount: never a wrong byte, the errno of the table in the protocol's
//! checklist, the cause in `.regfs/errors`, and recovery without mounting again.

use crate::support::content::Content;
use crate::support::fake::{Auth, DigestHeader, Fault, Options, Ranges, Redirect, Registry, Rule, Tokens, What};
use crate::support::http::Cut;
use crate::support::image::Image;
use crate::support::mount::{Mount, Plan};
use crate::support::{seed, wait_for};
use std::time::{Duration, Instant};

/// Read whole before the first byte is served.
const SMALL: u64 = 300_000;
/// Over the size that is always checked first.
const LARGE: u64 = 20_000_000;

/// A registry with one image, mounted with short deadlines and short memories.
struct Scene {
    fake: Registry,
    mount: Mount,
    image: Image,
}

impl Scene {
    fn new(options: Options) -> Scene {
        Scene::with(options, &[])
    }

    fn with(options: Options, args: &[&str]) -> Scene {
        let fake = Registry::with(options);
        let image = Image::new([Content::random(1, SMALL), Content::random(2, LARGE)], "linux/amd64");
        fake.put("a/b", "v1", &image);
        let mount = Plan::new(&fake.host()).args(&["--timeout", "2", "--metadata-ttl", "1"]).args(args).mount();
        Scene { fake, mount, image }
    }

    fn layer(&self, number: usize) -> (String, Vec<u8>) {
        let layer = &self.image.layers()[number];
        (format!("a/b/blobs/{}", layer.digest), layer.content.to_vec())
    }

    /// Reads the layer: the right bytes, or the errno.
    fn read(&self, number: usize) -> Result<(), i32> {
        let (path, expected) = self.layer(number);
        match self.mount.read(&path) {
            Ok(bytes) => {
                assert!(bytes == expected, "wrong bytes of layer {number}: {} of them", bytes.len());
                Ok(())
            }
            Err(error) => Err(error.raw_os_error().expect("an errno")),
        }
    }

    /// Reads the manifest by its tag: the right bytes, or the errno.
    fn manifest(&self) -> Result<(), i32> {
        match self.mount.read("a/b/tags/v1/manifest.json") {
            Ok(bytes) => {
                assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&self.image.manifest));
                Ok(())
            }
            Err(error) => Err(error.raw_os_error().expect("an errno")),
        }
    }

    /// Ends the faults and waits for what is remembered of them to end too.
    fn recovers(&self, mut read: impl FnMut() -> Result<(), i32>) {
        self.fake.heal();
        wait_for("recovery", Duration::from_secs(10), || read().ok());
    }
}

/// What is struck.
#[derive(Clone, Copy, Debug)]
enum Read {
    Small,
    Large,
    Manifest,
}

fn case(name: &str, read: Read, rules: Vec<Rule>, expected: Result<(), i32>) {
    let scene = Scene::new(Options::default());
    let go = || match read {
        Read::Small => scene.read(0),
        Read::Large => scene.read(1),
        Read::Manifest => scene.manifest(),
    };
    for rule in rules {
        scene.fake.fault(rule);
    }
    let start = Instant::now();
    assert_eq!(go(), expected, "{name}, {read:?}\n{}", scene.mount.errors());
    assert!(start.elapsed() < Duration::from_secs(20), "{name}, {read:?} took {:?}", start.elapsed());
    if expected.is_err() {
        let errors = scene.mount.errors();
        let named = match read {
            Read::Manifest => "v1",
            Read::Small | Read::Large => "sha256:",
        };
        assert!(errors.lines().any(|line| line.contains(named)), "{name}: nothing told of {named}:\n{errors}");
        scene.recovers(go);
    }
}

/// What is on a rule for each kind of read.
fn on(read: Read, fault: &Fault) -> Rule {
    match read {
        Read::Small | Read::Large => Rule::on(What::Blob, fault.clone()),
        Read::Manifest => Rule::on(What::Manifest, fault.clone()),
    }
}

/// The same fault on a small blob, a large one and a manifest.
fn each(name: &str, rule: impl Fn(Read) -> Rule, expected: Result<(), i32>) {
    for read in [Read::Small, Read::Large, Read::Manifest] {
        case(name, read, vec![rule(read)], expected);
    }
}

#[test]
fn transient_answers_are_ridden_out() {
    for (name, fault) in [
        ("502 with HTML", Fault::Html(502)),
        ("503", Fault::Status(503)),
        ("504", Fault::Status(504)),
        ("429 with Retry-After", Fault::TooMany(Some("1"))),
        ("429 without", Fault::TooMany(None)),
        ("closed without an answer", Fault::Nothing(Cut::Fin)),
        ("reset without an answer", Fault::Nothing(Cut::Rst)),
    ] {
        each(name, |read| on(read, &fault).once(), Ok(()));
    }
}

#[test]
fn broken_bodies_are_mended() {
    for (name, fault) in [
        ("cut in order", Fault::Cut(100, Cut::Fin)),
        ("reset", Fault::Cut(100, Cut::Rst)),
        ("cut at once", Fault::Cut(0, Cut::Fin)),
    ] {
        each(name, |read| on(read, &fault).once().method("GET"), Ok(()));
    }
    // A blob goes on where it fell silent.
    for read in [Read::Small, Read::Large] {
        case("silence in the body", read, vec![on(read, &Fault::HangAfter(100)).once().method("GET")], Ok(()));
    }
}

#[test]
fn a_large_blob_survives_a_cut_in_every_answer() {
    let scene = Scene::new(Options::default());
    scene.fake.fault(Rule::on(What::Blob, Fault::Cut(700_000, Cut::Rst)).method("GET"));
    assert_eq!(scene.read(1), Ok(()), "{}", scene.mount.errors());
}

#[test]
fn refusals_have_their_errno() {
    use libc::{EACCES, EIO, EOPNOTSUPP};
    for (status, errno) in [(401, EACCES), (403, EACCES), (451, EACCES), (500, EIO), (501, EOPNOTSUPP), (505, EIO)] {
        let fault = Fault::Status(status);
        each(&status.to_string(), |read| on(read, &fault), Err(errno));
    }
    let fault = Fault::Error(403, "DENIED", "requested access to the resource is denied");
    each("DENIED", |read| on(read, &fault), Err(EACCES));
    each("502 for ever", |read| on(read, &Fault::Html(502)), Err(EIO));
}

#[test]
fn a_500_is_asked_once() {
    let scene = Scene::new(Options::default());
    scene.fake.forget();
    scene.fake.fault(Rule::on(What::Manifest, Fault::Status(500)));
    assert_eq!(scene.manifest(), Err(libc::EIO));
    assert!(scene.fake.count(What::Manifest) <= 2, "{:?}", scene.fake.requests());
    assert!(scene.mount.error_with("v1").contains("500"));
}

#[test]
fn a_429_for_ever_is_ebusy() {
    let scene = Scene::new(Options::default());
    scene.fake.fault(Rule::on(What::Blob, Fault::TooMany(Some("3600"))));
    assert_eq!(scene.read(0), Err(libc::EBUSY));
    scene.recovers(|| scene.read(0));
}

#[test]
fn silence_is_a_timeout() {
    each("hang", |read| on(read, &Fault::Hang), Err(libc::ETIMEDOUT));
    case(
        "hang in every body",
        Read::Small,
        vec![Rule::on(What::Blob, Fault::HangAfter(10)).method("GET")],
        Err(libc::ETIMEDOUT),
    );
}

#[test]
fn slow_but_steady_is_no_timeout() {
    let drip = Fault::Drip(30_000, Duration::from_millis(500));
    case("drip", Read::Small, vec![Rule::on(What::Blob, drip)], Ok(()));
}

#[test]
fn a_registry_that_is_gone_is_unreachable_until_it_is_back() {
    let scene = Scene::new(Options::default());
    assert_eq!(scene.manifest(), Ok(()));
    scene.fake.down();
    assert_eq!(scene.read(0), Err(libc::EHOSTUNREACH));
    assert_eq!(scene.read(1), Err(libc::EHOSTUNREACH));
    scene.mount.error_with("sha256:");
    scene.fake.up();
    scene.recovers(|| scene.read(0));
    scene.recovers(|| scene.read(1));
    // What was read needs no registry.
    scene.fake.down();
    assert_eq!((scene.read(0), scene.read(1)), (Ok(()), Ok(())));
}

#[test]
fn wrong_bytes_are_never_served() {
    for (name, fault) in [
        ("a flipped bit", Fault::Flip(77)),
        ("a short body", Fault::Shorten(10)),
        ("a long body", Fault::Lengthen(10)),
        ("another body", Fault::Body(Content::random(99, SMALL))),
        ("HTML with 200", Fault::Body(Content::from("<html>sign in</html>"))),
    ] {
        for read in [Read::Small, Read::Manifest] {
            case(name, read, vec![on(read, &fault).method("GET")], Err(libc::EIO));
        }
    }
}

#[test]
fn wrong_bytes_of_a_large_blob_end_in_eio_and_stay_so() {
    let scene = Scene::new(Options::default());
    let (path, expected) = scene.layer(1);
    scene.fake.corrupt(&scene.image.layers()[1].digest, LARGE - 5);
    // Lazily: what came before the check may have been right; a whole read must not look like one.
    assert!(scene.mount.read(&path).is_err(), "a whole read of wrong bytes succeeded");
    assert_eq!(scene.mount.read(&path).expect_err("poisoned").raw_os_error(), Some(libc::EIO));
    scene.mount.error_with(scene.image.layers()[1].digest.short());
    scene.fake.heal();
    // Other content of the same registry is not touched by it.
    assert_eq!(scene.read(0), Ok(()));
    drop(expected);
}

#[test]
fn strict_serves_nothing_of_a_large_blob_before_its_check() {
    let scene = Scene::with(Options::default(), &["--verify", "strict"]);
    scene.fake.corrupt(&scene.image.layers()[1].digest, LARGE - 5);
    let (path, _) = scene.layer(1);
    let path = scene.mount.path(&path);
    let first = crate::support::mount::within(Duration::from_secs(30), "a read", move || {
        use std::io::Read;
        let mut buf = [0; 100];
        std::fs::File::open(path).and_then(|mut file| file.read(&mut buf))
    });
    assert_eq!(first.expect_err("unchecked bytes").raw_os_error(), Some(libc::EIO));
}

#[test]
fn ranges_may_be_ignored_or_lied_about() {
    for (ranges, right) in [
        (Ranges::Ignored, true),
        (Ranges::Short, true),
        (Ranges::Shifted, false),
        (Ranges::Lying, false),
        (Ranges::WrongTotal, false),
        (Ranges::Refused, false),
    ] {
        let scene = Scene::new(Options { ranges, ..Options::default() });
        for number in [0, 1] {
            let read = scene.read(number);
            // A whole blob may be asked for without Range: then nothing is wrong.
            assert!(
                read == Ok(()) || (!right && read == Err(libc::EIO)),
                "{ranges:?}, layer {number}: {read:?}\n{}",
                scene.mount.errors()
            );
        }
    }
}

#[test]
fn random_reads_are_right_whatever_becomes_of_ranges() {
    use std::os::unix::fs::FileExt;
    for ranges in [Ranges::Honoured, Ranges::Ignored, Ranges::Short] {
        let scene = Scene::new(Options { ranges, ..Options::default() });
        let (path, expected) = scene.layer(1);
        let path = scene.mount.path(&path);
        crate::support::mount::within(Duration::from_secs(60), "random reads", move || {
            let file = std::fs::File::open(path).expect("open");
            let mut rng = fastrand::Rng::with_seed(9);
            for _ in 0..50 {
                let at = rng.usize(..expected.len() - 5000);
                let mut buf = [0; 5000];
                file.read_exact_at(&mut buf, at as u64).expect("read");
                assert!(buf[..] == expected[at..at + 5000], "wrong bytes at {at}");
            }
        });
    }
}

#[test]
fn unasked_compression_is_undone_or_refused() {
    let scene = Scene::new(Options::default());
    scene.fake.fault(Rule::any(Fault::Gzip).method("GET"));
    assert_eq!(scene.manifest(), Ok(()), "{}", scene.mount.errors());
    assert!(matches!(scene.read(0), Ok(()) | Err(libc::EIO)));
    scene.recovers(|| scene.read(0));
}

#[test]
fn digest_headers_come_in_every_form() {
    for (form, expected) in [
        (DigestHeader::Absent, Ok(())),
        (DigestHeader::Bare, Ok(())),
        (DigestHeader::Sha512, Ok(())),
        (DigestHeader::Wrong, Err(libc::EIO)),
    ] {
        let scene = Scene::new(Options { digest_header: form, ..Options::default() });
        assert_eq!(scene.manifest(), expected, "{form:?}\n{}", scene.mount.errors());
    }
}

#[test]
fn presigned_urls_that_expire_are_asked_for_again() {
    let scene = Scene::new(Options {
        redirect: Some(Redirect { uses: Some(1), hops: 2, ..Redirect::default() }),
        ..Options::default()
    });
    assert_eq!(scene.read(1), Ok(()), "{}", scene.mount.errors());
    assert!(scene.fake.requests_of(What::Object).iter().all(|request| request.header("authorization").is_none()));
    // An object store that refuses for ever is the remote's failure, not the user's credentials'.
    scene.fake.fault(Rule::on(What::Object, Fault::Status(403)));
    assert!(matches!(scene.read(0), Err(libc::EIO | libc::EACCES)));
    scene.recovers(|| scene.read(0));
}

#[test]
fn expired_and_revoked_tokens_are_renewed() {
    let tokens = Tokens { life: Duration::from_millis(1500), ..Tokens::default() };
    let scene = Scene::new(Options { auth: Auth::Bearer(tokens), ..Options::default() });
    assert_eq!(scene.manifest(), Ok(()));
    scene.fake.revoke_tokens();
    assert_eq!(scene.read(0), Ok(()), "{}", scene.mount.errors());
    std::thread::sleep(Duration::from_millis(1600));
    assert_eq!(scene.read(1), Ok(()), "{}", scene.mount.errors());
}

#[test]
fn credentials_that_are_refused_are_eacces_until_they_are_right() {
    let scene = Scene::new(Options::default());
    scene.fake.set(|options| options.auth = Auth::Basic { user: "me".into(), password: "secret".into() });
    assert_eq!(scene.read(0), Err(libc::EACCES));
    scene.mount.error_with("sha256:");
    scene.fake.set(|options| options.auth = Auth::None);
    scene.recovers(|| scene.read(0));
}

#[test]
fn a_blob_that_vanishes_is_enoent_and_what_was_read_stays() {
    let scene = Scene::new(Options::default());
    assert_eq!(scene.read(0), Ok(()));
    for number in [0, 1] {
        scene.fake.remove("a/b", &scene.image.layers()[number].digest);
    }
    assert_eq!(scene.read(0), Ok(()), "what is in the cache needs no registry");
    assert!(matches!(scene.read(1), Err(libc::ENOENT | libc::EIO)));
}

#[test]
fn a_tag_that_moves_shows_and_an_open_file_stays() {
    use std::io::Read;
    let scene = Scene::new(Options::default());
    let mut open = std::fs::File::open(scene.mount.path("a/b/tags/v1/manifest.json")).expect("open");
    let next = Image::new([Content::random(3, 1000)], "linux/amd64");
    scene.fake.put("a/b", "v1", &next);
    wait_for("the moved tag", Duration::from_secs(10), || {
        (scene.mount.text("a/b/tags/v1/digest").trim() == next.digest.as_str()).then_some(())
    });
    assert_eq!(scene.mount.read("a/b/tags/v1/manifest.json").expect("read"), next.manifest);
    let mut old = Vec::new();
    open.read_to_end(&mut old).expect("read");
    assert_eq!(old, scene.image.manifest);
}

#[test]
fn bad_weather_never_makes_a_wrong_byte() {
    let seed = seed("bad weather");
    let scene =
        Scene::new(Options { redirect: Some(Redirect { uses: Some(3), ..Redirect::default() }), ..Options::default() });
    scene.fake.weather(seed, 15);
    let mut failed = 0;
    for _ in 0..6 {
        for number in [0, 1] {
            // A run of bad luck may end in an error, never in other bytes; what was got is kept.
            failed += usize::from(scene.read(number).is_err());
        }
        failed += usize::from(scene.manifest().is_err());
    }
    scene.recovers(|| scene.read(0).and(scene.read(1)).and(scene.manifest()));
    assert!(failed < 9, "{failed} of 18 reads failed, seed {seed}\n{}", scene.mount.errors());
}
