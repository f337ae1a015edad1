//! What a mount costs: time to start, memory.

use crate::setting;
use crate::support::content::Content;
use crate::support::fake::Registry;
use crate::support::image::Image;
use crate::support::mount::{Mount, Plan};
use crate::support::run::{command, run, run_within};
use crate::table::{Row, bytes, median};
use std::time::{Duration, Instant};

/// From the command to the first listing.
pub(crate) fn start() -> Vec<Row> {
    let fake = Registry::start();
    fake.put("a/b", "v1", &Image::new([Content::random(5, 1000)], "linux/amd64"));
    let mut times: Vec<f64> = (0..setting("REGFS_BENCH_RUNS", 5) * 2)
        .map(|_| {
            let start = Instant::now();
            let mount = Mount::new(&fake.host(), &[]);
            assert_eq!(mount.list("a/b/tags"), ["v1"]);
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    let time = median(&mut times);
    vec![Row::aimed("mount to usable, loopback", format!("{time:.0} ms"), "under 100 ms", time < 100.0)]
}

/// Memory after a sequential gigabyte and 10,000 tags.
pub(crate) fn memory() -> Vec<Row> {
    let fake = Registry::start();
    let size = setting("REGFS_BENCH_MB", 1000).max(100) * 1_000_000;
    let image = Image::new([Content::random(6, 1000)], "linux/amd64");
    fake.put("bench/list", "v1", &image);
    for n in 0..10_000 {
        fake.tag("bench/list", &format!("t{n:05}"), &image.digest);
    }
    let digest = fake.blob("bench/big", Content::random(7, size));
    let mount = Plan::new(&fake.host()).mount();
    let blob = mount.path(&format!("bench/big/blobs/{digest}"));
    run_within(
        Duration::from_secs(600),
        command("dd").arg(format!("if={}", blob.display())).args(["of=/dev/null", "bs=1M"]),
    )
    .ok();
    run(command("ls").arg("-l").arg(mount.path("bench/list/tags"))).ok();
    let (now, peak) = mount.rss();
    vec![Row::aimed(
        format!("RSS after reading {} MB and listing 10,000 tags", size / 1_000_000),
        format!("{} (peak {})", bytes(now), bytes(peak)),
        "under 150 MiB",
        peak < 150 << 20,
    )]
}
