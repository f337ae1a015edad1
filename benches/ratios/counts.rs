//! Counts: what is asked of the registry, and how many bytes come, for what people do.

use crate::setting;
use crate::support::content::Content;
use crate::support::fake::{Registry, What};
use crate::support::image::Image;
use crate::support::mount::Mount;
use crate::support::run::{command, run};
use crate::table::{Row, bytes};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Random reads of 4 KiB in a blob that was never read.
pub(crate) fn random() -> Vec<Row> {
    const READS: u64 = 200;
    let size = setting("REGFS_BENCH_MB", 500) * 1_000_000;
    let fake = Registry::start();
    let digest = fake.blob("bench/random", Content::random(2, size));
    let mount = Mount::new(&fake.host(), &[]);
    let file = File::open(mount.path(&format!("bench/random/blobs/{digest}"))).expect("open the blob");
    let mut rng = fastrand::Rng::with_seed(setting("REGFS_SEED", 1));
    let mut buf = [0; 4096];
    // What opening costs is counted elsewhere.
    fake.forget();
    let (mut most, mut before) = (0, 0);
    for _ in 0..READS {
        file.read_exact_at(&mut buf, rng.u64(..size / 4096) * 4096).expect("read");
        let now = fake.body_bytes();
        most = most.max(now - before);
        before = now;
    }
    let mean = before / READS;
    vec![Row::aimed(
        format!("random 4 KiB reads in a cold blob, {READS} of them"),
        format!("{} each, at most {}", bytes(mean), bytes(most)),
        "at most 1 MiB each",
        most <= 1 << 20,
    )]
}

/// Requests and bytes of single commands, each on a new mount with an empty cache.
pub(crate) fn requests() -> Vec<Row> {
    let fake = Registry::start();
    let image = Image::new([Content::random(3, 100_000_000)], "linux/amd64");
    fake.put("bench/app", "v1", &image);
    for n in 0..1000 {
        fake.tag("bench/app", &format!("t{n:04}"), &image.digest);
    }
    fake.set(|options| options.page = 1000);
    let layer = format!("bench/app/blobs/{}", image.layers()[0].digest);
    let measured = |what: &str, line: &str, most: usize, why: &str| {
        let mount = Mount::new(&fake.host(), &[]);
        fake.forget();
        run(command("sh").arg("-c").arg(line).current_dir(mount.point())).ok();
        let requests = fake.total();
        Row::aimed(
            what,
            format!("{requests} requests, {}", bytes(fake.body_bytes())),
            &format!("{most}: {why}"),
            requests <= most,
        )
    };
    vec![
        // 1,001 tags, pages of 1,000.
        measured("ls of 1,001 tags", "ls bench/app/tags", 2, "two pages"),
        measured("ls -l of 1,001 tags", "ls -l bench/app/tags", 2, "two pages"),
        measured("cat digest", "cat bench/app/tags/v1/digest", 1, "the manifest, by HEAD or GET"),
        measured("cat config.json", "cat bench/app/tags/v1/config.json", 2, "manifest, config"),
        measured("first byte of a blob", &format!("head -c1 {layer}"), 2, "its size, its first part"),
    ]
}

/// 64 readers of one blob that was never read.
pub(crate) fn parallel() -> Vec<Row> {
    let size = 64_000_000;
    let fake = Registry::start();
    let content = Content::random(4, size);
    let digest = fake.blob("bench/many", content.clone());
    let mount = Mount::new(&fake.host(), &[]);
    let path = mount.path(&format!("bench/many/blobs/{digest}"));
    let expected = content.digest();
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let read = std::fs::read(&path).expect("read the blob");
                assert!(Content::from(read).digest() == expected, "a reader got other bytes");
            });
        }
    });
    let fetched = fake.body_bytes() as f64 / size as f64;
    let requests = fake.count(What::Blob);
    vec![Row::aimed(
        "64 readers of one cold blob: fetched / size",
        format!("{fetched:.2} ({requests} requests)"),
        "1",
        fetched < 1.01,
    )]
}
