//! A real image: over 100 MB of this machine's own files in three layers, an index of two platforms, pushed by skopeo
//! into docker-registry, read through the mount by skopeo, umoci and tar, which know nothing of regfs.

use crate::support::content::Content;
use crate::support::image::{Blob, Image, OCI_LAYER, OCI_LAYER_GZIP};
use crate::support::mount::Mount;
use crate::support::push;
use crate::support::run::{command, run, run_within};
use crate::support::servers::DockerRegistry;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// Regular files, directories and links below `from`, about `budget` bytes of them, in a stable order.
fn some_files(from: &str, budget: u64) -> String {
    let mut list = String::new();
    let mut total = 0;
    let mut todo = vec![PathBuf::from(from)];
    while let Some(directory) = todo.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&directory).into_iter().flatten().flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::path);
        for entry in entries {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            // One huge file would be the whole layer.
            if total > budget || meta.len() > budget / 2 || path.to_str().is_none_or(|path| path.contains('\n')) {
                continue;
            }
            if meta.is_dir() {
                todo.push(path);
            } else if (meta.is_file() && std::fs::File::open(&path).is_ok()) || meta.is_symlink() {
                total += meta.len();
                list.push_str(&path.to_string_lossy()[1..]);
                list.push('\n');
            }
        }
    }
    list
}

/// A layer of files below `from`: the tar, and its list of names.
fn layer(directory: &Path, name: &str, from: &str, budget: u64) -> PathBuf {
    let list = directory.join(format!("{name}.list"));
    std::fs::write(&list, some_files(from, budget)).expect("write a list");
    let tar = directory.join(format!("{name}.tar"));
    run_within(
        LIMIT,
        command("tar")
            .args(["-C", "/", "--no-recursion", "--numeric-owner", "--sort=name", "-cf"])
            .arg(&tar)
            .arg("-T")
            .arg(&list),
    )
    .ok();
    tar
}

fn plain(tar: &Path) -> (Blob, regfs::digest::Digest) {
    let blob = Blob::new(OCI_LAYER, Content::file(tar));
    let digest = blob.digest.clone();
    (blob, digest)
}

fn gzipped(tar: &Path) -> (Blob, regfs::digest::Digest) {
    let gz = tar.with_extension("tar.gz");
    run_within(LIMIT, command("sh").arg("-c").arg(format!("gzip -1 -n -c {} > {}", tar.display(), gz.display()))).ok();
    (Blob::new(OCI_LAYER_GZIP, Content::file(&gz)), Content::file(tar).digest())
}

/// Every file below a directory: path, and digest of its bytes or target of its link.
fn contents(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(&directory).expect("list").flatten() {
            let path = entry.path();
            let meta = path.symlink_metadata().expect("stat");
            let name = path.strip_prefix(root).expect("below the root").to_owned();
            if meta.is_dir() {
                todo.push(path);
            } else if meta.is_symlink() {
                all.insert(name, format!("-> {}", path.read_link().expect("link").display()));
            } else {
                all.insert(name, Content::file(&path).digest().to_string());
            }
        }
    }
    all
}

#[test]
fn a_real_image_is_the_same_through_the_mount() {
    let work = tempfile::tempdir().expect("tempdir");
    let base = plain(&layer(work.path(), "base", "/usr/bin", 110_000_000));
    let tars = ["base", "share", "etc"].map(|name| work.path().join(format!("{name}.tar")));
    let share = gzipped(&layer(work.path(), "share", "/usr/share", 40_000_000));
    let etc = gzipped(&layer(work.path(), "etc", "/etc", 5_000_000));
    let amd64 = Image::compressed(vec![base, share.clone(), etc.clone()], "linux/amd64");
    let arm64 = Image::compressed(vec![share, etc], "linux/arm64/v8");
    let index = Image::index([amd64.clone(), arm64.clone()]);
    let total: u64 = amd64.blobs.iter().map(|blob| blob.content.len()).sum();
    assert!(total > 100_000_000, "the image has {total} bytes only");

    let registry = DockerRegistry::plain();
    push::by_skopeo(&index, &registry.host(), "real/system", "v1", None);
    let mount = Mount::new(&registry.host(), &["--platform", "linux/amd64"]);
    let tag = mount.path("real/system/tags/v1");
    assert_eq!(mount.text("real/system/tags/v1/digest"), format!("{}\n", index.digest));
    assert_eq!(mount.list("real/system/tags/v1/platforms"), ["linux-amd64", "linux-arm64-v8"]);

    // Every blob by sha256sum, through the links of the layers.
    let sums = run_within(LIMIT, command("sh").arg("-c").arg("sha256sum layers/0*.*").current_dir(&tag)).ok().text();
    let sums: Vec<&str> = sums.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(sums, amd64.layers().iter().map(|layer| layer.digest.encoded()).collect::<Vec<_>>());

    // The whole index by skopeo: into a directory, every byte compared by name.
    let copied = work.path().join("copied");
    run_within(
        LIMIT,
        command("skopeo")
            .args(["copy", "--all"])
            .arg(format!("oci:{}:v1", tag.display()))
            .arg(format!("dir:{}", copied.display())),
    )
    .ok();
    assert_eq!(std::fs::read(copied.join("manifest.json")).expect("manifest"), index.manifest);
    for blob in amd64.blobs.iter().chain(&arm64.blobs) {
        let copy = Content::file(&copied.join(blob.digest.encoded()));
        assert_eq!(copy.digest(), blob.digest);
    }

    // One platform by umoci, unpacked: the files are those that tar takes from the layers.
    let bundle = work.path().join("bundle");
    let image = tag.join("platforms/linux-amd64");
    run_within(
        LIMIT,
        command("umoci").args(["unpack", "--rootless", "--image"]).arg(format!("{}:v1", image.display())).arg(&bundle),
    )
    .ok();
    let expected = work.path().join("expected");
    std::fs::create_dir(&expected).expect("create a directory");
    for tar in &tars {
        run_within(LIMIT, command("tar").arg("-C").arg(&expected).args(["--no-same-owner", "-xf"]).arg(tar)).ok();
    }
    let (unpacked, expected) = (contents(&bundle.join("rootfs")), contents(&expected));
    assert!(expected.len() > 1000, "only {} files", expected.len());
    assert!(unpacked == expected, "the unpacked image differs");

    // And back into a registry: the digest is what it was.
    let other = DockerRegistry::plain();
    run_within(
        LIMIT,
        command("skopeo")
            .args(["copy", "--all", "--preserve-digests", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:v1", tag.display()))
            .arg(format!("docker://{}/copy/system:v1", other.host())),
    )
    .ok();
    let raw = run(command("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{}/copy/system:v1", other.host())))
    .ok();
    assert_eq!(raw.out, index.manifest);
    assert_eq!(mount.errors(), "", "something went wrong on the way");
}
