//! zstd layers as programs write them: the zstd command line, pzstd, skopeo; and an eStargz that Python wrote.

use regfs::error::{Kind, Result};
use regfs::layer::chunked::Source;
use regfs::layer::format::{self, Format};
use regfs::layer::zstd::cache::Cache;
use regfs::layer::zstd::rechunk::{Rechunked, Writer};
use regfs::layer::zstd::{Framed, Frames, Scanner};
use regfs::layer::{chunked, estargz};
use regfs::read_at::{ReadAt, read_all};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Lines that compress and differ.
fn text(len: usize) -> Vec<u8> {
    (0..)
        .flat_map(|line: u32| format!("{line}: {}\n", line.wrapping_mul(2_654_435_761)).into_bytes())
        .take(len)
        .collect()
}

/// What a shell command writes in a directory; it has to succeed within a minute.
fn run(dir: &Path, script: &str) -> Vec<u8> {
    let output = Command::new("timeout").args(["60", "sh", "-ec", script]).current_dir(dir).output().expect("sh");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What a shell command makes of `content`, which it finds in the file `x`.
fn made(content: &[u8], script: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("directory");
    std::fs::write(dir.path().join("x"), content).expect("write");
    run(dir.path(), script)
}

fn scan(blob: &[u8], out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Frames> {
    let mut scanner = Scanner::new()?;
    for part in blob.chunks(10_007) {
        scanner.feed(part, out)?;
    }
    scanner.finish()
}

/// The content of a blob by its first pass, and that it can be read at random: by frames or from a copy.
fn check(blob: Vec<u8>, content: &[u8], seekable: bool) -> Frames {
    assert_eq!(format::detect(&blob[..format::HEAD.min(blob.len())]).expect("known"), Format::Zstd);
    let file = tempfile::tempfile().expect("file");
    let mut copy = Writer::new(file.try_clone().expect("clone")).expect("copy");
    let mut got = Vec::new();
    let frames = scan(&blob, &mut |part| {
        got.extend_from_slice(part);
        copy.push(part)
    })
    .expect("valid");
    assert!(got == content);
    assert_eq!(frames.is_seekable(), seekable);
    let cache = Arc::new(Cache::new(16 << 20));
    let copy = Rechunked::new(file, Arc::new(copy.finish().expect("copy")), cache.clone());
    assert!(read_all(&copy, 1 << 30).expect("read") == content);
    if seekable {
        let frames = Arc::new(Frames::from_bytes(&frames.to_bytes()).expect("table"));
        let framed = Framed::new(Arc::new(blob), frames, cache).expect("framed");
        for at in (0..content.len()).step_by(50_021) {
            let mut buf = [0; 3000];
            let count = framed.read_at(&mut buf, at as u64).expect("read");
            assert_eq!(count, (content.len() - at).min(3000));
            assert!(buf[..count] == content[at..at + count]);
        }
    }
    frames
}

#[test]
fn frames_that_cat_put_together() {
    let content = text(3_000_000);
    let blob = made(&content, "split -b 300000 x p.; zstd -q p.*; cat p.*.zst");
    assert_eq!(check(blob, &content, true).pieces().len(), 10);
}

#[test]
fn pzstd_puts_skippable_frames_first() {
    let content = text(30_000_000);
    let blob = made(&content, "pzstd -q -1 -p 4 -c x");
    assert!(blob[1..4] == [0x2a, 0x4d, 0x18], "a skippable frame comes first");
    let seekable = scan(&blob, &mut |_| Ok(())).expect("valid").is_seekable();
    assert!(check(blob, &content, seekable).pieces().len() > 1);
}

#[test]
fn one_frame_without_a_size() {
    let content = text(9_000_000);
    assert_eq!(check(made(&content, "zstd -q -c < x"), &content, false).pieces().len(), 1);
    check(made(&content, "zstd -q -c --no-check < x"), &content, false);
    check(made(&content[..1_000_000], "zstd -q -19 -c < x"), &content[..1_000_000], true);
}

#[test]
fn windows_up_to_128_mib() {
    let content = text(1_000_000);
    check(made(&content, "zstd -q --long=27 -c < x"), &content, true);
    let blob = made(&content, "zstd -q --long=28 -c < x");
    let error = scan(&blob, &mut |_| Ok(())).expect_err("over the limit");
    assert_eq!(error.kind(), Kind::TooBig);
    assert!(error.to_string().contains("window of 268435456 bytes, over the limit of 128 MiB"), "{error}");
}

#[test]
fn damage_is_noticed() {
    let mut blob = made(&text(500_000), "zstd -q -c < x");
    *blob.last_mut().expect("not empty") ^= 0x10;
    assert_eq!(scan(&blob, &mut |_| Ok(())).expect_err("checksum").kind(), Kind::Corrupt);
    blob.truncate(blob.len() - 1);
    assert_eq!(scan(&blob, &mut |_| Ok(())).expect_err("cut").kind(), Kind::Corrupt);
}

#[test]
fn other_formats_are_named() {
    for (program, name) in [("bzip2", "bzip2"), ("xz", "xz")] {
        let blob = made(&text(1000), &format!("{program} -c x"));
        assert!(format::detect(&blob).expect_err(name).to_string().contains(name));
    }
    assert_eq!(format::detect(&made(b"x", "gzip -c x")).expect("gzip"), Format::Gzip);
    for kind in ["gnu", "ustar", "v7", "posix"] {
        let tar = made(b"x", &format!("tar -c --format={kind} x"));
        assert_eq!(format::detect(&tar[..format::HEAD]).expect(kind), Format::Tar);
    }
}

#[test]
fn a_layer_of_skopeo() {
    let dir = tempfile::tempdir().expect("directory");
    let script = "mkdir f; head -c 3000000 /dev/urandom > f/a; yes text | head -c 3000000 > f/b
        umoci init --layout l >&2; umoci new --image l:t >&2; umoci insert --image l:t f /f >&2
        skopeo copy -q --dest-decompress oci:l:t dir:d
        skopeo copy -q --dest-compress-format zstd dir:d oci:z:t
        find d z/blobs -type f -size +1M";
    let found = String::from_utf8(run(dir.path(), script)).expect("names");
    let read = |top: &str| {
        let name = found.lines().find(|name| name.starts_with(top)).expect(top);
        std::fs::read(dir.path().join(name)).expect("read")
    };
    let (tar, blob) = (read("d/"), read("z/"));
    assert_eq!(format::detect(&tar[..format::HEAD]).expect("tar"), Format::Tar);
    check(blob, &tar, true);
}

/// Writes an eStargz of two files, the first in two chunks, and prints the digest of its table.
const ESTARGZ: &str = r#"
import gzip, hashlib, io, json, struct, sys, tarfile
data = open("x", "rb").read()
sha = lambda b: "sha256:" + hashlib.sha256(b).hexdigest()
blob = io.BytesIO()
entries = []
def header(name, size):
    info = tarfile.TarInfo(name); info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)
pending = b""
for name, content, step in [("dir/a", data, 400000), ("b", b"short", 100)]:
    blob.write(gzip.compress(pending + header(name, len(content))))
    for at in range(0, len(content), step):
        part = content[at:at + step]
        entry = {"name": name, "type": "chunk" if at else "reg", "offset": blob.tell(), "chunkOffset": at,
                 "chunkSize": len(part), "chunkDigest": sha(part)}
        if not at:
            entry.update(size=len(content), digest=sha(content), modtime="2020-02-02T02:02:02Z", mode=0o644)
        entries.append(entry)
        blob.write(gzip.compress(part))
    pending = b"\0" * (-len(content) % 512)
blob.write(gzip.compress(pending))
toc = json.dumps({"version": 1, "entries": entries}, indent=1).encode()
place = blob.tell()
table = io.BytesIO()
with tarfile.open(fileobj=table, mode="w", format=tarfile.USTAR_FORMAT) as tar:
    info = tarfile.TarInfo("stargz.index.json"); info.size = len(toc)
    tar.addfile(info, io.BytesIO(toc))
blob.write(gzip.compress(table.getvalue()))
field = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % place
blob.write(b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", len(field)) + field + b"\x01\0\0\xff\xff" + b"\0" * 8)
open("blob", "wb").write(blob.getvalue())
print(sha(toc), end="")
"#;

#[test]
fn an_estargz_of_python() {
    let dir = tempfile::tempdir().expect("directory");
    let content = text(1_000_000);
    std::fs::write(dir.path().join("x"), &content).expect("write");
    std::fs::write(dir.path().join("make.py"), ESTARGZ).expect("write");
    let digest = String::from_utf8(run(dir.path(), "python3 make.py; zcat blob > /dev/null")).expect("digest");
    let blob = std::fs::read(dir.path().join("blob")).expect("read");
    let annotations = [("containerd.io/snapshot/stargz/toc.digest".to_owned(), digest)].into();
    let digest = estargz::detect(&annotations).expect("valid").expect("annotated");
    let toc = estargz::open(&blob, &digest).expect("valid");
    assert_eq!(chunked::detect(&annotations).expect("valid"), None);
    assert_eq!(toc.chunks.len(), 4);
    let source = Source::new(Arc::new(blob), toc.packing, toc.chunks, Arc::new(Cache::new(1 << 20)));
    for ((entry, range), expected) in toc.entries.into_iter().zip([&content[..], b"short"]) {
        let file = source.file(range, entry.size).expect("file");
        assert!(read_all(&file, 1 << 30).expect("read") == expected);
        assert_eq!((entry.mode, entry.mtime.secs), (0o644, 1_580_608_922));
    }
}
