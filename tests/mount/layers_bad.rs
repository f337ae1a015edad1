//! Layers that are slow, wrong, damaged or hostile: what has come is served, nothing wrong is for long, and one bad
//! layer costs only what depends on it.

use crate::layered::{Gate, Layer, Pack, changed, files, image, layer, noise, pack, read, refused, status};
use crate::support::fake::Registry;
use crate::support::image::{Blob, OCI_LAYER_GZIP, tar};
use crate::support::mount::{Mount, Plan, within};
use crate::support::run::run;
use crate::support::{regfs, wait_for};
use regfs::digest::{Digest, Hasher};
use serde_json::{Value, json};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

/// Longer than any of this may take.
const SOON: Duration = Duration::from_secs(30);
/// What lies between the first file of a large layer and its last.
const FILLER: u64 = 20_000_000;
/// From here on a large layer can be held back; the first of its requests begin before.
const HELD: u64 = 4_000_000;

fn mounted(fake: &Registry, args: &[&str]) -> Mount {
    Plan::new(&fake.host()).args(&["--timeout", "20", "--metadata-ttl", "1"]).args(args).mount()
}

/// A large layer: a small file, a lot, another small file.
fn large(how: Pack, seed: u64) -> Layer {
    files(how, &[("early", b"early\n"), ("filler", &noise(seed, FILLER)), ("late", b"late\n")])
}

#[test]
fn what_is_known_is_served_before_the_layers_have_ended() {
    for how in [Pack::Gzip, Pack::Tar] {
        let fake = Registry::start();
        let (base, top) = (files(Pack::Gzip, &[("base", b"base\n")]), large(how, 1));
        fake.put("a/b", "v1", &image(&[&base, &top]));
        let gate = Gate::new(&fake, &top.0.digest, HELD);
        let mount = mounted(&fake, &[]);
        for path in ["rootfs/early", "layers/01/early", "layers/00/base"] {
            let bytes = read(&mount, &format!("a/b/tags/v1/{path}")).expect("what has come");
            assert!(bytes.ends_with(b"\n") && bytes.len() < 7, "{path}");
        }
        // Whether these are there, and what else, only the end of the layer tells.
        let waiting: Vec<_> = ["rootfs/base", "rootfs/late", "rootfs/nothing", "layers/01/late"]
            .map(|path| mount.path(&format!("a/b/tags/v1/{path}")))
            .into_iter()
            .map(|path| std::thread::spawn(move || std::fs::read(path).map_err(|error| error.raw_os_error())))
            .collect();
        let rootfs = mount.path("a/b/tags/v1/rootfs");
        let listing = std::thread::spawn(move || std::fs::read_dir(rootfs).map(Iterator::count));
        // How far it is, is told.
        let digest = top.0.digest.as_str();
        let told = wait_for("progress", SOON, || {
            let told = status(&mount)["indexing"][digest].clone();
            told["read"].as_u64().filter(|read| *read > 0).map(|_| told)
        });
        assert_eq!(told["size"], top.0.content.len());
        assert!(told["read"].as_u64() < told["size"].as_u64(), "{told}");
        assert!(mount.text(".regfs/metrics").contains(&format!("regfs_indexing_size_bytes{{layer=\"{digest}\"}}")));
        let said = run(Command::new(regfs()).arg("status").arg(mount.point())).ok().text();
        assert!(said.contains(&format!("indexing {digest}: ")), "{said}");
        std::thread::sleep(Duration::from_millis(100));
        assert!(
            waiting.iter().all(|reader| !reader.is_finished()) && !listing.is_finished(),
            "{how:?}: told too early"
        );
        gate.open();
        let got = within(SOON, "the rest of the layer", move || {
            let files: Vec<_> = waiting.into_iter().map(|reader| reader.join().expect("a reader")).collect();
            (files, listing.join().expect("a listing").expect("list"))
        });
        let right = [Ok(b"base\n".to_vec()), Ok(b"late\n".to_vec()), Err(Some(libc::ENOENT)), Ok(b"late\n".to_vec())];
        assert_eq!(got.0, right);
        assert_eq!(got.1, 4);
        wait_for("the end", SOON, || (status(&mount)["indexing"] == json!({})).then_some(()));
    }
}

#[test]
fn strict_shows_nothing_of_a_layer_before_its_digest_matched() {
    let fake = Registry::start();
    let top = large(Pack::Gzip, 2);
    fake.put("a/b", "v1", &image(&[&top]));
    let gate = Gate::new(&fake, &top.0.digest, HELD);
    let mount = mounted(&fake, &["--verify", "strict"]);
    let paths = ["rootfs/early", "layers/00/early"].map(|path| mount.path(&format!("a/b/tags/v1/{path}")));
    let readers = paths.map(|path| std::thread::spawn(move || std::fs::read(path)));
    wait_for("the layer to be asked for", SOON, || (status(&mount)["indexing"] != json!({})).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    assert!(readers.iter().all(|reader| !reader.is_finished()), "served before it was checked");
    gate.open();
    for reader in readers {
        let bytes = within(SOON, "a reader", move || reader.join().expect("a reader"));
        assert_eq!(bytes.expect("checked"), b"early\n");
    }
}

/// A layer and another of the same length, with other files in another order.
fn right_and_wrong(how: Pack) -> (Layer, Vec<u8>) {
    let filler = noise(3, FILLER);
    let right = files(how, &[("a", b"right"), ("b", b"bbbbb"), ("filler", &filler), ("late", b"late\n")]);
    let wrong = tar(&[("evil", b"worse"), ("a", b"wrong"), ("filler", &filler), ("late", b"late\n")]);
    let wrong = pack(how, &wrong);
    assert_eq!(wrong.len() as u64, right.0.content.len(), "the lie has the length of the truth");
    (right, wrong)
}

#[test]
fn what_was_wrong_is_read_no_more_and_the_truth_is_once_the_registry_is_mended() {
    for how in [Pack::Stored, Pack::Tar] {
        let fake = Registry::start();
        let (right, wrong) = right_and_wrong(how);
        fake.put("a/b", "v1", &image(&[&right]));
        let gate = Gate::new(&fake, &right.0.digest, HELD).lying(wrong);
        let mount = mounted(&fake, &[]);
        let paths = ["rootfs", "layers/00"].map(|tree| format!("a/b/tags/v1/{tree}"));
        let mut open = Vec::new();
        for path in &paths {
            // Lazily: nobody can know better as yet.
            assert_eq!(read(&mount, &format!("{path}/a")).expect("unchecked"), b"wrong");
            assert_eq!(read(&mount, &format!("{path}/evil")).expect("unchecked"), b"worse");
            open.push(std::fs::File::open(mount.path(&format!("{path}/evil"))).expect("open"));
        }
        gate.open();
        for path in &paths {
            assert_eq!(refused(&mount, &format!("{path}/late")), libc::EIO, "{how:?}");
            assert_eq!(refused(&mount, &format!("{path}/a")), libc::EIO, "{how:?}");
        }
        mount.error_with(right.0.digest.short());
        for file in &open {
            let file = file.try_clone().expect("another handle");
            let again = within(SOON, "a read", move || file.read_at(&mut [0; 5], 0));
            assert_eq!(again.expect_err("wrong bytes").raw_os_error(), Some(libc::EIO), "{how:?}");
        }
        gate.lies(None);
        for path in &paths {
            wait_for("recovery", SOON, || read(&mount, &format!("{path}/late")).ok());
            assert_eq!(read(&mount, &format!("{path}/a")).expect("right"), b"right", "{how:?}");
            assert_eq!(read(&mount, &format!("{path}/b")).expect("right"), b"bbbbb", "{how:?}");
            assert_eq!(refused(&mount, &format!("{path}/evil")), libc::ENOENT, "{how:?}");
            assert_eq!(mount.list(path), ["a", "b", "filler", "late"]);
        }
        for file in open {
            let again = within(SOON, "a read", move || file.read_at(&mut [0; 5], 0));
            assert_eq!(again.expect_err("wrong bytes").raw_os_error(), Some(libc::EIO), "{how:?}");
        }
    }
}

#[test]
fn strict_tells_of_wrong_bytes_alone() {
    let fake = Registry::start();
    let (right, wrong) = right_and_wrong(Pack::Stored);
    fake.put("a/b", "v1", &image(&[&right]));
    let gate = Gate::new(&fake, &right.0.digest, u64::MAX).lying(wrong);
    let mount = mounted(&fake, &["--verify", "strict"]);
    for name in ["a", "evil", "nothing"] {
        assert_eq!(refused(&mount, &format!("a/b/tags/v1/rootfs/{name}")), libc::EIO, "{name}");
    }
    mount.error_with(right.0.digest.short());
    gate.lies(None);
    let got = wait_for("recovery", SOON, || read(&mount, "a/b/tags/v1/rootfs/a").ok());
    assert_eq!(got, b"right");
}

#[test]
fn a_bad_layer_costs_what_depends_on_it_alone() {
    let fake = Registry::start();
    let good = files(Pack::Gzip, &[("fine", b"fine\n"), ("dir/", b"")]);
    fake.put("good", "v1", &image(&[&good]));
    let archive = tar(&[("a", &noise(4, 100_000)), ("b", b"b")]);
    let raw = |bytes: Vec<u8>| -> Layer { (Blob::new(OCI_LAYER_GZIP, bytes), Digest::of(&archive)) };
    let cut = |how, by: usize| {
        let mut bytes = pack(how, &archive);
        bytes.truncate(bytes.len() - by);
        raw(bytes)
    };
    let flipped = |how, back: usize| {
        let mut bytes = pack(how, &archive);
        let at = bytes.len() - back;
        bytes[at] ^= 4;
        raw(bytes)
    };
    let mut bzip2 = b"BZh91AY&SY".to_vec();
    bzip2.extend(noise(5, 5000));
    let lying = |size: i64| {
        let layer = files(Pack::Gzip, &[("a", &noise(6, 9_000))]);
        let image = image(&[&layer, &good]);
        changed(image, |manifest| {
            let told = &mut manifest["layers"][0]["size"];
            *told = json!(told.as_i64().expect("a size") + size);
        })
    };
    let of = |layer: Layer| image(&[&layer, &good]);
    let mut other_diff_id = layer(Pack::Gzip, &archive);
    other_diff_id.1 = Digest::of(b"something else");
    let cases = [
        ("cut-gzip", of(cut(Pack::Gzip, 200)), libc::EIO),
        ("cut-gzip-trailer", of(cut(Pack::Gzip, 3)), libc::EIO),
        ("cut-zstd", of(cut(Pack::Zstd, 200)), libc::EIO),
        ("cut-tar", of(cut(Pack::Tar, 1024 + 512 + 512 + 1000)), libc::EIO),
        ("flipped-gzip-crc", of(flipped(Pack::Gzip, 7)), libc::EIO),
        ("flipped-gzip", of(flipped(Pack::Gzip, 50_000)), libc::EIO),
        ("flipped-zstd", of(flipped(Pack::Zstd, 50_000)), libc::EIO),
        ("bzip2", of(raw(bzip2)), libc::EOPNOTSUPP),
        ("random", of(raw(noise(7, 5000))), libc::EOPNOTSUPP),
        ("diff-id", of(other_diff_id), libc::EIO),
        ("larger", lying(1), libc::EIO),
        ("smaller", lying(-1), libc::EIO),
    ];
    for (name, image, _) in &cases {
        fake.put("bad", name, image);
    }
    let mount = mounted(&fake, &[]);
    for (name, _, errno) in &cases {
        let path = format!("bad/tags/{name}");
        for above in ["rootfs/fine", "layers/01/fine"] {
            assert_eq!(read(&mount, &format!("{path}/{above}")), Ok(b"fine\n".to_vec()), "{name}: {above}");
        }
        for below in ["rootfs/nothing", "layers/00/nothing"] {
            assert_eq!(refused(&mount, &format!("{path}/{below}")), *errno, "{name}: {below}\n{}", mount.errors());
        }
        let listed = mount.try_list(&format!("{path}/rootfs")).expect_err("half a listing").raw_os_error();
        assert_eq!(listed, Some(*errno), "{name}");
        assert!(
            mount.errors().lines().any(|line| line.contains(*name) && line.contains("layer ")),
            "{}",
            mount.errors()
        );
        assert_eq!(read(&mount, "good/tags/v1/rootfs/fine"), Ok(b"fine\n".to_vec()), "after {name}");
    }
    assert!(mount.error_with("bad/tags/bzip2").contains("bzip2"));
    assert!(mount.error_with("bad/tags/diff-id").contains("config"));
}

#[test]
fn a_config_that_lies_of_a_layer_costs_other_images_nothing() {
    let fake = Registry::start();
    let layer = files(Pack::Gzip, &[("a", b"a")]);
    let lied = (layer.0.clone(), Digest::of(b"something else"));
    fake.put("a/b", "honest", &image(&[&layer]));
    fake.put("a/b", "lying", &image(&[&lied]));
    let plan = Plan::new(&fake.host());
    let cache = tempfile::tempdir().expect("tempdir");
    let mount = plan.clone().cache(cache.path()).mount();
    assert_eq!(read(&mount, "a/b/tags/honest/rootfs/a"), Ok(b"a".to_vec()));
    assert_eq!(refused(&mount, "a/b/tags/lying/rootfs/a"), libc::EIO);
    drop(mount);
    let kept = || std::fs::read_dir(cache.path().join("v1/index/sha256")).map(Iterator::count).unwrap_or(0);
    let before = kept();
    assert!(before > 0, "no index is kept");
    let mount = plan.cache(cache.path()).mount();
    assert_eq!(refused(&mount, "a/b/tags/lying/rootfs/a"), libc::EIO);
    assert_eq!(kept(), before, "the index of the honest image is gone");
    assert_eq!(read(&mount, "a/b/tags/honest/rootfs/a"), Ok(b"a".to_vec()));
}

#[test]
fn tables_that_lie_are_passed_by() {
    let digest = Digest::of(b"no such table");
    let annotations: [(&str, Value); 3] = [
        ("estargz", json!({"containerd.io/snapshot/stargz/toc.digest": digest.as_str()})),
        (
            "chunked",
            json!({
                "io.github.containers.zstd-chunked.manifest-checksum": digest.as_str(),
                "io.github.containers.zstd-chunked.manifest-position": "100:50:90:1",
            }),
        ),
        (
            "far",
            json!({
                "io.github.containers.zstd-chunked.manifest-checksum": digest.as_str(),
                "io.github.containers.zstd-chunked.manifest-position": "18446744073709551615:9999999999:9999999999:1",
            }),
        ),
    ];
    let fake = Registry::start();
    for (name, annotation) in &annotations {
        for how in [Pack::Gzip, Pack::Zstd] {
            let image = image(&[&files(how, &[("a", b"plain"), ("b", &noise(8, 50_000))])]);
            let image = changed(image, |manifest| manifest["layers"][0]["annotations"] = annotation.clone());
            fake.put("a/b", &format!("{name}-{how:?}"), &image);
        }
    }
    let mount = mounted(&fake, &[]);
    for tag in mount.list("a/b/tags") {
        assert_eq!(read(&mount, &format!("a/b/tags/{tag}/rootfs/a")), Ok(b"plain".to_vec()), "{tag}");
        assert_eq!(read(&mount, &format!("a/b/tags/{tag}/rootfs/b")), Ok(noise(8, 50_000)), "{tag}");
    }
}

#[test]
fn bombs_take_bounded_memory_and_time() {
    const ZEROS: u64 = 512 << 20;
    const PART: usize = 16 << 20;
    let fake = Registry::start();
    let zeros = vec![0; PART];
    // A header that announces all of it, then the zeros, each part a member or frame of its own.
    let mut header = tar(&[("zeros", b"")])[..512].to_vec();
    header[124..136].copy_from_slice(format!("{ZEROS:011o} ").as_bytes());
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let rest = tar(&[("after", b"after\n")]);
    let mut hasher = Hasher::like(&Digest::of(b"")).expect("sha256");
    hasher.update(&header);
    (0..ZEROS / PART as u64).for_each(|_| hasher.update(&zeros));
    hasher.update(&rest);
    let diff_id = hasher.finish();
    for how in [Pack::Gzip, Pack::Zstd] {
        let part = pack(how, &zeros);
        let parts = part.repeat((ZEROS / PART as u64) as usize);
        let blob = [pack(how, &header), parts, pack(how, &rest)].concat();
        fake.put("a/b", &format!("{how:?}"), &image(&[&(Blob::new(OCI_LAYER_GZIP, blob), diff_id.clone())]));
    }
    let mount = mounted(&fake, &[]);
    for how in [Pack::Gzip, Pack::Zstd] {
        let root = format!("a/b/tags/{how:?}/rootfs");
        assert_eq!(read(&mount, &format!("{root}/after")), Ok(b"after\n".to_vec()), "{how:?}");
        let path = mount.path(&format!("{root}/zeros"));
        within(SOON, "reads of zeros", move || {
            let file = std::fs::File::open(path).expect("open");
            assert_eq!(file.metadata().expect("stat").len(), ZEROS);
            let mut buffer = [1; 100];
            file.read_exact_at(&mut buffer, ZEROS - 100).expect("the end");
            assert_eq!(buffer, [0; 100]);
        });
    }
    let (_, peak) = mount.rss();
    assert!(peak < 400 << 20, "{peak} bytes of memory");
}

#[test]
fn a_pax_header_without_end_is_refused() {
    let fake = Registry::start();
    let mut archive = tar(&[("pax", b"")])[..512].to_vec();
    archive[156] = b'x';
    archive[124..136].copy_from_slice(b"77777777777 ");
    archive[148..156].copy_from_slice(b"        ");
    let sum: u32 = archive.iter().map(|byte| u32::from(*byte)).sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(vec![b'9'; 4 << 20]);
    fake.put("a/b", "v1", &image(&[&layer(Pack::Gzip, &archive)]));
    let mount = mounted(&fake, &[]);
    let errno = refused(&mount, "a/b/tags/v1/rootfs/a");
    assert!([libc::EIO, libc::EFBIG].contains(&errno), "{errno}");
    mount.error_with("layer ");
}

#[test]
fn names_that_lead_elsewhere_lead_nowhere() {
    let fake = Registry::start();
    let long = "n".repeat(99);
    let archive = tar(&[
        ("../../etc/passwd", b"up"),
        ("/etc/absolute", b"abs"),
        ("a/../../b", b"up"),
        (".//./dot", b"dot"),
        (&long, b"long"),
        ("new\nline\x1b", b"odd"),
        ("fine", b"fine"),
    ]);
    fake.put("a/b", "v1", &image(&[&layer(Pack::Gzip, &archive)]));
    let mount = mounted(&fake, &[]);
    let names = mount.list("a/b/tags/v1/rootfs");
    assert!(!names.iter().any(|name| name.contains('/') || name == ".." || name == "passwd"), "{names:?}");
    for (name, content) in
        [("etc/absolute", "abs"), ("dot", "dot"), (&long, "long"), ("new\nline\x1b", "odd"), ("fine", "fine")]
    {
        assert_eq!(read(&mount, &format!("a/b/tags/v1/rootfs/{name}")), Ok(content.as_bytes().to_vec()), "{name:?}");
    }
}

#[test]
fn a_directory_of_200_000_entries_is_listed() {
    const MANY: usize = 200_000;
    let fake = Registry::start();
    let names: Vec<String> = (0..MANY).map(|n| format!("many/{n:06}")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    fake.put("a/b", "v1", &image(&[&files(Pack::Gzip, &members)]));
    let mount = mounted(&fake, &[]);
    assert_eq!(mount.list("a/b/tags/v1/rootfs/many").len(), MANY);
    let mut byte = [0; 1];
    let mut file = std::fs::File::open(mount.path("a/b/tags/v1/rootfs/many/123456")).expect("open");
    assert_eq!(file.read(&mut byte).expect("read"), 0);
}
