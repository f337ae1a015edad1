//! Rates: cold against curl, warm and page-cached against a plain file on the same disk.

use crate::setting;
use crate::support::content::Content;
use crate::support::image::Image;
use crate::support::mount::{Mount, Plan};
use crate::support::push;
use crate::support::run::{command, run, run_within};
use crate::support::servers::{DockerRegistry, Nginx};
use crate::table::{Row, median};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Seconds of ours and of theirs, measured one after the other.
type Pairs = Vec<(f64, f64)>;

const LIMIT: Duration = Duration::from_secs(600);

/// A docker-registry with one image of one big layer.
pub(crate) struct Stage {
    registry: DockerRegistry,
    blob: String,
    digest: String,
    size: u64,
    directory: tempfile::TempDir,
}

impl Stage {
    /// Starts and fills it.
    pub(crate) fn new() -> Stage {
        let size = setting("REGFS_BENCH_MB", 500) * 1_000_000;
        let registry = DockerRegistry::plain();
        let image = Image::new([Content::random(1, size)], "linux/amd64");
        push::by_http(&image, &registry.host(), "bench/big", "v1");
        let digest = image.layers()[0].digest.to_string();
        let directory = tempfile::tempdir().expect("tempdir");
        std::fs::copy(registry.blob_file(&digest), directory.path().join("plain")).expect("a plain file");
        Stage { blob: format!("bench/big/blobs/{digest}"), digest, registry, size, directory }
    }
}

fn runs() -> u64 {
    setting("REGFS_BENCH_RUNS", 5)
}

/// How long `cat` takes for a file.
fn cat(file: &Path) -> f64 {
    cats(&[file])
}

/// How long `cat` takes for some files.
fn cats(files: &[&Path]) -> f64 {
    let start = Instant::now();
    let mut cat = command("cat");
    let status = cat.args(files).stdin(Stdio::null()).stdout(Stdio::null()).status().expect("run cat");
    assert!(status.success(), "cat {files:?} failed");
    start.elapsed().as_secs_f64()
}

/// Empties the kernel's page cache; where that is not allowed (not root), asks it to forget these files.
fn drop_page_cache(files: &[&Path]) {
    run(&mut command("sync"));
    if std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
        return;
    }
    for file in files {
        let of = format!("of={}", file.display());
        run(command("dd").args([&of, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"]));
    }
}

fn ratio(what: &str, target: Option<f64>, size: u64, mut pairs: Pairs, other: &str) -> Row {
    pairs.retain(|(ours, theirs)| *ours > 0.0 && *theirs > 0.0);
    let rate = |seconds: f64| size as f64 / 1e6 / seconds;
    let ratio = median(&mut pairs.iter().map(|(ours, theirs)| theirs / ours).collect::<Vec<_>>());
    let ours = median(&mut pairs.iter().map(|(ours, _)| rate(*ours)).collect::<Vec<_>>());
    let theirs = median(&mut pairs.iter().map(|(_, theirs)| rate(*theirs)).collect::<Vec<_>>());
    let figure = format!("{ratio:.2} ({ours:.0} MB/s, {other} {theirs:.0} MB/s)");
    let aim = target.map_or(String::new(), |target| format!("at least {target}"));
    Row::aimed(what, figure, &aim, target.is_none_or(|target| ratio >= target))
}

/// Through a new mount with an empty cache, against curl from the same registry: as fast as loopback goes, where
/// the processor is what limits, and over a link of 1 Gbit/s.
pub(crate) fn cold(stage: &Stage) -> Vec<Row> {
    let link = Nginx::start(
        "http",
        "",
        &format!(
            "location / {{ proxy_pass http://{}; proxy_http_version 1.1; limit_rate 125m; }}",
            stage.registry.host()
        ),
    );
    let name = format!("cold sequential read, {} MB blob", stage.size / 1_000_000);
    let (loopback, stored) = cold_from(stage, &stage.registry.host());
    let (gigabit, _) = cold_from(stage, &link.host());
    vec![
        ratio(&format!("{name}, loopback"), Some(0.8), stage.size, loopback, "curl"),
        // regfs keeps what it reads: this is what that costs anybody here.
        ratio("the same, against curl that writes a file", None, stage.size, stored, "curl -o"),
        ratio(&format!("{name}, 1 Gbit/s a connection"), Some(0.8), stage.size, gigabit, "curl"),
    ]
}

/// Pairs of seconds: ours and those of curl to /dev/null, ours and those of curl to a file.
fn cold_from(stage: &Stage, host: &str) -> (Pairs, Pairs) {
    let url = format!("http://{host}/v2/bench/big/blobs/{}", stage.digest);
    let copy = stage.directory.path().join("copy").display().to_string();
    let curl = |to: &str| run_within(LIMIT, command("curl").args(["-sf", "-o", to, &url])).ok().took.as_secs_f64();
    // The registry's own file is in the page cache for all.
    cat(&stage.registry.blob_file(&stage.digest));
    let (mut pairs, mut stored) = (Vec::new(), Vec::new());
    for _ in 0..runs() {
        let theirs = curl("/dev/null");
        touch_memory(stage);
        let mount = Mount::new(host, &[]);
        let ours = cat(&mount.path(&stage.blob));
        drop(mount);
        touch_memory(stage);
        let kept = curl(&copy);
        let _ = std::fs::remove_file(&copy);
        run(&mut command("sync"));
        pairs.push((ours, theirs));
        stored.push((ours, kept));
    }
    (pairs, stored)
}

/// A virtual machine's memory is slow when it is touched for the first time, or for the first time since a host that
/// is told of free pages took them back (some seconds): whoever fills pages pays for that, and curl fills none. So
/// enough of it is touched just before, and free again.
fn touch_memory(stage: &Stage) {
    let file = stage.directory.path().join("touch");
    let count = format!("count={}", stage.size / 1_000_000 * 3);
    run(command("dd").arg("if=/dev/zero").arg(format!("of={}", file.display())).args(["bs=1M", &count]));
    let _ = std::fs::remove_file(file);
}

fn filled(stage: &Stage) -> Plan {
    let plan = Plan::new(&stage.registry.host()).cache(&stage.directory.path().join("cache"));
    cat(&plan.mount().path(&stage.blob));
    plan
}

/// From the disk cache, the page cache empty, against a plain file.
pub(crate) fn warm(stage: &Stage) -> Vec<Row> {
    let plain = stage.directory.path().join("plain");
    let plan = filled(stage);
    let mut pairs = Vec::new();
    for _ in 0..runs() {
        drop_page_cache(&[&plain]);
        let theirs = cat(&plain);
        // A new mount: what the kernel held of the file went with the old one.
        let mount = plan.mount();
        drop_page_cache(&cached_files(mount.cache()).iter().map(|file| &**file).collect::<Vec<_>>());
        pairs.push((cat(&mount.path(&stage.blob)), theirs));
    }
    vec![ratio("warm read from the disk cache, page cache empty", Some(0.8), stage.size, pairs, "plain file")]
}

/// In the kernel's page cache, against a plain file there: with passthrough where this process may, and without.
pub(crate) fn cached(stage: &Stage) -> Vec<Row> {
    let plain = stage.directory.path().join("plain");
    let plan = filled(stage);
    let measured = |held: bool| {
        let mount = plan.mount();
        let blob = mount.path(&stage.blob);
        // Passthrough begins with the first open after the check of the digest, and the kernel does not mix it with
        // handles of the other kind: one that was opened before keeps it away.
        let _held = held.then(|| File::open(&blob).expect("open the blob"));
        cat(&blob);
        // How pages came into the cache decides how large they are, and so how fast: both are read in alike.
        drop_page_cache(&[&plain]);
        cat(&plain);
        cat(&blob);
        cat(&blob);
        // Several times in a row: it is over so soon that starting cat would be half of it.
        let often = |file: &Path| cats(&[file; 5]) / 5.0;
        (0..runs().max(9)).map(|_| (often(&blob), often(&plain))).collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    if run(command("id").arg("-u")).ok().text().trim() == "0" {
        rows.push(ratio("page-cached read, passthrough (root)", Some(0.9), stage.size, measured(false), "plain file"));
    }
    rows.push(ratio("page-cached read, no passthrough", Some(0.4), stage.size, measured(true), "plain file"));
    rows
}

fn cached_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { todo.push(path) } else { files.push(path) }
        }
    }
    files
}
