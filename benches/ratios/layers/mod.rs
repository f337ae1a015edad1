//! Inside images: the first file, all files, random reads and very many files, against what unpacks an image.

mod made;

use self::made::Layer;
use crate::setting;
use crate::support::fake::Registry;
use crate::support::mount::{Mount, Plan};
use crate::support::push;
use crate::support::run::{command, run, run_within};
use crate::support::servers::DockerRegistry;
use crate::table::{Row, bytes, median};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(600);
const IMAGE: &str = "bench/layers";
const ROOT: &str = "bench/layers/tags/v1/rootfs";

/// A docker-registry with an image of several gzip layers.
struct Stage {
    directory: tempfile::TempDir,
    registry: DockerRegistry,
    layers: Vec<Layer>,
}

impl Stage {
    fn new(make: impl FnOnce(&Path) -> Vec<Layer>) -> Stage {
        let directory = tempfile::tempdir().expect("tempdir");
        let layers = make(directory.path());
        let registry = DockerRegistry::plain();
        push::by_http(&made::image(&layers), &registry.host(), IMAGE, "v1");
        Stage { directory, registry, layers }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The mount, with a cache that stays.
    fn plan(&self) -> Plan {
        Plan::new(&self.registry.host()).cache(&self.directory.path().join("cache"))
    }
}

/// Seconds of a shell's line.
fn sh(line: &str) -> f64 {
    run_within(LIMIT, command("sh").args(["-c", line])).ok().took.as_secs_f64()
}

fn runs() -> u64 {
    setting("REGFS_BENCH_RUNS", 5).min(3)
}

/// An image as large as real ones.
pub(crate) fn image() -> Vec<Row> {
    let stage = Stage::new(made::of_this_machine);
    let mut rows = Vec::new();
    let unpacked = unpacked(&stage);
    rows.extend(first(&stage, unpacked.0));
    rows.extend(indexed(&stage));
    rows.extend(whole(&stage, unpacked));
    rows
}

/// Seconds of `skopeo copy` and `umoci unpack`, of the unpacking alone, and of `tar` of what came of it.
fn unpacked(stage: &Stage) -> (f64, f64, f64) {
    let (layout, bundle) = (stage.path("layout"), stage.path("bundle"));
    let source = format!("docker://{}/{IMAGE}:v1", stage.registry.host());
    let copied = sh(&format!("skopeo copy -q --src-tls-verify=false {source} oci:{layout}:v1"));
    let rootless = if run(command("id").arg("-u")).ok().text().trim() == "0" { "" } else { "--rootless" };
    let unpacked = sh(&format!("umoci unpack {rootless} --image {layout}:v1 {bundle}"));
    let taken = sh(&format!("tar c -C {bundle}/rootfs . | wc -c"));
    let _ = std::fs::remove_dir_all(bundle);
    let _ = std::fs::remove_dir_all(layout);
    (copied + unpacked, unpacked, taken)
}

/// The first file of an image of which nothing is known.
fn first(stage: &Stage, unpacked: f64) -> Vec<Row> {
    let sizes: Vec<String> = stage.layers.iter().map(|layer| bytes(layer.size())).collect();
    let largest = stage.layers.iter().max_by_key(|layer| layer.size()).expect("a layer");
    let digest = made::image(std::slice::from_ref(largest)).layers()[0].digest.clone();
    let url = stage.registry.url(&format!("/v2/{IMAGE}/blobs/{digest}"));
    let piped: Vec<f64> = (0..runs()).map(|_| sh(&format!("curl -sf {url} | gzip -dc | wc -c"))).collect();
    let piped = median(&mut piped.clone());
    let cold = |layer: &Layer| {
        let mut times: Vec<f64> = (0..runs())
            .map(|_| {
                let mount = Mount::new(&stage.registry.host(), &[]);
                cat(&mount.path(ROOT).join(layer.small_file()))
            })
            .collect();
        median(&mut times)
    };
    let base = cold(&stage.layers[0]);
    let top = cold(stage.layers.last().expect("a layer"));
    let what = format!("image of {} (gzip), cold: a file of the base", sizes.join(" + "));
    vec![
        Row::aimed(
            format!("{what}, against skopeo copy + umoci unpack"),
            format!("{:.3} ({base:.2} s, {unpacked:.1} s)", base / unpacked),
            "at most 0.2",
            base / unpacked <= 0.2,
        ),
        Row::aimed(
            "the same, against curl into gzip -dc of its largest layer",
            format!("{:.2} ({base:.2} s, {piped:.2} s)", base / piped),
            "at most 0.7",
            base / piped <= 0.7,
        ),
        Row::aimed(
            "cold: a file of the top layer, against skopeo copy + umoci unpack",
            format!("{:.3} ({:.0} ms)", top / unpacked, top * 1e3),
            "at most 0.2",
            top / unpacked <= 0.2,
        ),
    ]
}

fn cat(file: &Path) -> f64 {
    run_within(LIMIT, command("cat").arg(file)).ok().took.as_secs_f64()
}

/// With every layer's index at hand and nothing else: what is fetched.
fn indexed(stage: &Stage) -> Vec<Row> {
    let plan = stage.plan();
    let mount = plan.mount();
    run_within(LIMIT, command("find").arg(mount.path(ROOT))).ok();
    drop(mount);
    let size: u64 = files(&stage.directory.path().join("cache/v1/index")).iter().map(|(_, len)| len).sum();
    let uncompressed: u64 = stage.layers.iter().map(|layer| layer.uncompressed).sum();
    let share = size as f64 / uncompressed as f64;
    evict(stage);
    let fake = Registry::start();
    fake.put(IMAGE, "v1", &made::image(&stage.layers));
    let mount = Plan::new(&fake.host()).cache(&stage.directory.path().join("cache")).mount();
    run_within(LIMIT, command("ls").arg("-lR").arg(mount.path(ROOT))).ok();
    let listed = (fake.total(), fake.body_bytes());
    let (mut requests, mut fetched) = (0, 0);
    for layer in &stage.layers {
        fake.forget();
        cat(&mount.path(ROOT).join(layer.small_file()));
        (requests, fetched) = (requests.max(fake.total()), fetched.max(fake.body_bytes()));
    }
    vec![
        Row::aimed(
            "size of the indexes, of what is in the layers",
            format!("{:.2} % ({} of {})", share * 100.0, bytes(size), bytes(uncompressed)),
            "under 0.6 %",
            share < 0.006,
        ),
        Row::aimed(
            "index at hand, no data: ls -lR rootfs",
            format!("{} requests, {}", listed.0, bytes(listed.1)),
            "no layer data",
            listed.0 <= 3 && listed.1 < 64 << 10,
        ),
        Row::aimed(
            "index at hand, no data: a small file of each layer",
            format!("at most {requests} requests, {}", bytes(fetched)),
            "2 requests, 2 MiB",
            requests <= 2 && fetched <= 2 << 20,
        ),
    ]
}

/// Throws away what is cached of blobs.
fn evict(stage: &Stage) {
    for name in ["blobs", "parts"] {
        for (file, _) in files(&stage.directory.path().join("cache/v1").join(name)) {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Files below a directory, and their lengths.
fn files(directory: &Path) -> Vec<(PathBuf, u64)> {
    let (mut found, mut todo) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => todo.push(entry.path()),
                Ok(meta) => found.push((entry.path(), meta.len())),
                Err(_) => {}
            }
        }
    }
    found
}

/// All files, one after the other; then some at random.
fn whole(stage: &Stage, (copied, unpacked, taken): (f64, f64, f64)) -> Vec<Row> {
    let take = |mount: &Mount| sh(&format!("tar c -C {} . | wc -c", mount.path(ROOT).display()));
    evict(stage);
    let cold = take(&stage.plan().mount());
    let mut cached: Vec<f64> = (0..runs()).map(|_| take(&stage.plan().mount())).collect();
    let cached = median(&mut cached);
    let blobs: Vec<String> = stage.layers.iter().map(|layer| layer.file.display().to_string()).collect();
    let zcat = sh(&format!("zcat {} | wc -c", blobs.join(" ")));
    let theirs = unpacked + taken;
    let mib = stage.layers.iter().map(|layer| layer.uncompressed).sum::<u64>() as f64 / (1 << 20) as f64;
    let times = random(stage, &stage.plan().mount());
    vec![
        Row::aimed(
            "tar c rootfs, index at hand, no data: skopeo copy + umoci unpack + tar / ours",
            format!("{:.1} ({:.1} s, {cold:.1} s)", (copied + taken) / cold, copied + taken),
            "at least 3",
            (copied + taken) / cold >= 3.0,
        ),
        Row::aimed(
            "tar c rootfs, index and data at hand: umoci unpack + tar / ours",
            format!("{:.1} ({theirs:.1} s, {cached:.1} s, {:.0} MiB/s)", theirs / cached, mib / cached),
            "at least 2",
            theirs / cached >= 2.0,
        ),
        Row::aimed(
            "the same: zcat of the layers / ours",
            format!("{:.2} ({zcat:.1} s)", zcat / cached),
            "at least 1",
            zcat / cached >= 1.0,
        ),
        Row::aimed(
            "random 4 KiB reads in rootfs, data at hand",
            format!("p50 {:.2} ms, p90 {:.2} ms", times[times.len() / 2], times[times.len() * 9 / 10]),
            "p50 under 2 ms",
            times[times.len() / 2] < 2.0,
        ),
    ]
}

/// Milliseconds of random reads, ascending.
fn random(stage: &Stage, mount: &Mount) -> Vec<f64> {
    let mut rng = fastrand::Rng::with_seed(setting("REGFS_SEED", 1));
    let files: Vec<&(PathBuf, u64)> =
        stage.layers.iter().flat_map(|layer| &layer.files).filter(|(_, len)| *len >= 4096).collect();
    let mut buf = [0; 4096];
    let mut times: Vec<f64> = (0..1000)
        .map(|_| {
            let (path, len) = files[rng.usize(..files.len())];
            let file = File::open(mount.path(ROOT).join(path)).expect("open a file");
            let start = Instant::now();
            file.read_exact_at(&mut buf, rng.u64(..=len - 4096)).expect("read");
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// An image of a million files.
pub(crate) fn million() -> Vec<Row> {
    let count = (setting("REGFS_BENCH_MB", 500) * 2000).clamp(1000, 1_000_000) / 1000 * 1000;
    let stage = Stage::new(|directory| vec![made::many(directory, count)]);
    let mount = stage.plan().mount();
    let built = run_within(LIMIT, command("ls").arg(mount.path(ROOT))).ok().took.as_secs_f64();
    let (_, building) = mount.rss();
    drop(mount);
    let mount = stage.plan().mount();
    let found = run_within(LIMIT, command("find").arg(mount.path(ROOT)));
    let took = found.took.as_secs_f64();
    let lines = found.ok().out.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines as u64 > count, "find told of {lines} files");
    let rate = lines as f64 / took;
    let (_, peak) = mount.rss();
    let most = 200 << 20;
    vec![
        Row::aimed(
            format!("index of a layer of {count} files: built in"),
            format!("{built:.1} s, peak RSS {}", bytes(building)),
            "under 15 s, 200 MiB",
            built < 15.0 && building < most,
        ),
        Row::aimed(
            format!("find over {count} files"),
            format!("{rate:.0} entries a second"),
            "at least 100000",
            rate >= 100_000.0,
        ),
        Row::aimed("peak RSS after it", bytes(peak), "under 200 MiB", peak < most),
    ]
}
