//! eStargz: right tables and footers, lying ones, damaged ones.

use super::*;
use crate::layer::chunked::Source;
use crate::layer::chunked::fixture::{Layer, gzip, text};
use crate::layer::zstd::cache::Cache;
use crate::read_at::read_all;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A blob that counts how often it is asked.
struct Counted(Vec<u8>, AtomicUsize);

impl ReadAt for Counted {
    fn len(&self) -> Result<u64> {
        ReadAt::len(&self.0)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(buf, offset)
    }
}

/// The layer with its table and footer, and the digest of the table.
fn finish(layer: &Layer) -> (Vec<u8>, Digest) {
    let json = layer.json();
    let mut header = vec![0; 512];
    header[..17].copy_from_slice(b"stargz.index.json");
    header[124..136].copy_from_slice(format!("{:011o}\0", json.len()).as_bytes());
    let mut blob = layer.blob.clone();
    blob.extend(gzip(&[&header[..], &json, &[0; 1024]].concat()));
    blob.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
    blob.extend(format!("{:016x}STARGZ", layer.blob.len()).as_bytes());
    blob.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    (blob, Digest::of(&json))
}

fn layer() -> Layer {
    let mut layer = Layer::new(Packing::Gzip);
    layer.file(".prefetch.landmark", b"\x0f", 1);
    layer.file("usr/a", &text(50_000), 20_000);
    layer.file("usr/b", b"b", 1);
    layer
}

fn content(blob: Vec<u8>, toc: &TocLayer, name: &str) -> Result<Vec<u8>> {
    let (entry, range) = toc.entries.iter().find(|(entry, _)| entry.path == name.as_bytes()).expect("there");
    let cache = Arc::new(Cache::new(1 << 20));
    let source = Source::new(Arc::new(blob), toc.packing, toc.chunks.clone(), cache);
    read_all(&source.file(range.clone(), entry.size)?, 1 << 30)
}

#[test]
fn a_layer_is_opened_with_one_read() {
    let (blob, digest) = finish(&layer());
    let counted = Counted(blob.clone(), AtomicUsize::new(0));
    let toc = open(&counted, &digest).expect("valid");
    assert_eq!(counted.1.load(Ordering::Relaxed), 1);
    let names: Vec<_> = toc.entries.iter().map(|(entry, _)| entry.path.as_slice()).collect();
    assert_eq!(names, [&b"usr/a"[..], b"usr/b"]);
    assert!(content(blob.clone(), &toc, "usr/a").expect("read") == text(50_000));
    assert_eq!(content(blob, &toc, "usr/b").expect("read"), b"b");
}

#[test]
fn a_table_longer_than_the_tail_takes_another_read() {
    let mut layer = layer();
    // Random names do not compress.
    let mut random = 1u64;
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = Digest::of(&random.to_le_bytes());
        layer.records.push(serde_json::json!({"type": "dir", "name": name.encoded()}));
    }
    let (blob, digest) = finish(&layer);
    let counted = Counted(blob.clone(), AtomicUsize::new(0));
    let toc = open(&counted, &digest).expect("valid");
    assert_eq!(counted.1.load(Ordering::Relaxed), 2);
    assert_eq!(toc.entries.len(), 20_002);
    assert_eq!(content(blob, &toc, "usr/b").expect("read"), b"b");
}

#[test]
fn the_annotation_decides() {
    let annotate = |value: &str| BTreeMap::from([(ANNOTATION.to_owned(), value.to_owned())]);
    assert_eq!(detect(&BTreeMap::new()).expect("none"), None);
    let digest = Digest::of(b"");
    assert_eq!(detect(&annotate(digest.as_str())).expect("digest"), Some(digest));
    assert_eq!(detect(&annotate("sha256:xyz")).expect_err("malformed").kind(), Kind::Corrupt);
    let (blob, _) = finish(&layer());
    let error = open(&blob, &Digest::of(b"another")).expect_err("another table");
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[test]
fn what_is_no_estargz() {
    let digest = Digest::of(b"");
    for blob in [Vec::new(), vec![0; 50], gzip(&text(5000))] {
        assert_eq!(open(&blob, &digest).expect_err("none").kind(), Kind::Corrupt);
    }
    let (blob, digest) = finish(&layer());
    let digits = blob.len() - 51 + 16;
    for offset in [u64::MAX, blob.len() as u64, blob.len() as u64 - 51, 0] {
        let mut bent = blob.clone();
        bent[digits..digits + 16].copy_from_slice(format!("{offset:016x}").as_bytes());
        assert_eq!(open(&bent, &digest).expect_err("bent").kind(), Kind::Corrupt, "{offset}");
    }
}

proptest! {
    #[test]
    fn flips_and_cuts(at in any::<usize>(), bit in 0u8..8, cut in any::<bool>()) {
        let (mut blob, digest) = finish(&layer());
        let at = at % blob.len();
        if cut { blob.truncate(at) } else { blob[at] ^= 1 << bit }
        match open(&blob, &digest).and_then(|toc| content(blob, &toc, "usr/a")) {
            Ok(got) => prop_assert!(got == text(50_000)),
            Err(error) => prop_assert!(matches!(error.kind(), Kind::Corrupt | Kind::Unsupported), "{error}"),
        }
    }
}
