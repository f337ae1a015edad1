//! zstd:chunked and what it shares with eStargz: right tables, lying ones, damaged chunks.

use super::fixture::{Layer, text};
use super::*;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::layer::zstd::cache::Cache;
use crate::read_at::{ReadAt, read_all};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn layer(packing: Packing) -> Layer {
    let mut layer = Layer::new(packing);
    layer.records.push(json!({"type": "dir", "name": "etc/", "mode": 0o755}));
    layer.file("etc/a", &text(100), 4096);
    layer.file("etc/empty", b"", 1);
    layer.records.push(json!({"type": "reg", "name": "etc/empty"}));
    layer.file("etc/b", &text(10_000), 3000);
    layer.records.push(json!({"type": "symlink", "name": "etc/c", "linkName": "a"}));
    layer
}

/// The whole of a file, read through its chunks.
fn content(blob: Vec<u8>, toc: TocLayer, name: &str) -> Result<Vec<u8>> {
    let found = toc.entries.iter().find(|(entry, _)| entry.path == name.as_bytes()).expect("there").clone();
    let source = Source::new(Arc::new(blob), toc.packing, toc.chunks, Arc::new(Cache::new(1 << 20)));
    read_all(&source.file(found.1, found.0.size)?, 1 << 30)
}

/// The layer packed as containers/storage does it, with the annotations of a dialect.
fn finish(layer: &Layer, dialect: &str) -> (Vec<u8>, BTreeMap<String, String>) {
    let json = layer.json();
    let packed = zstd::bulk::compress(&json, 3).expect("zstd");
    let head = [&[0x50, 0x2a, 0x4d, 0x18][..], &(packed.len() as u32).to_le_bytes()].concat();
    let blob = [&layer.blob[..], &head, &packed, b"tar-split, footer"].concat();
    let position = format!("{}:{}:{}:1", layer.blob.len() + 8, packed.len(), json.len());
    let annotations = [("manifest-checksum", Digest::of(&packed).to_string()), ("manifest-position", position)];
    (blob, annotations.into_iter().map(|(name, value)| (format!("{dialect}{name}"), value)).collect())
}

#[test]
fn both_packings_are_read() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let layer = layer(packing);
        let toc = parse(&layer.json(), packing, layer.blob.len() as u64).expect("valid");
        assert_eq!(toc.entries.len(), 5);
        assert_eq!(toc.chunks.len(), 5);
        assert_eq!(toc.entries[4].0.target, b"a");
        for (name, len) in [("etc/a", 100), ("etc/b", 10_000), ("etc/empty", 0)] {
            assert!(content(layer.blob.clone(), toc.clone(), name).expect(name) == text(len), "{name}");
        }
    }
}

#[test]
fn both_dialects_are_opened() {
    for dialect in ["io.github.containers.zstd-chunked.", "io.containers.zstd-chunked."] {
        let (blob, annotations) = finish(&layer(Packing::Zstd), dialect);
        let position = detect(&annotations).expect("valid").expect("annotated");
        let toc = open(&blob, &position).expect("valid");
        assert!(content(blob, toc, "etc/b").expect("read") == text(10_000));
    }
    assert_eq!(detect(&BTreeMap::new()).expect("none"), None);
}

#[test]
fn any_damage_of_the_table_is_noticed() {
    let (blob, annotations) = finish(&layer(Packing::Zstd), "io.containers.zstd-chunked.");
    let position = detect(&annotations).expect("valid").expect("annotated");
    for at in position.span.start..position.span.end {
        let mut bent = blob.clone();
        bent[at as usize] ^= 4;
        assert_eq!(open(&bent, &position).expect_err("damaged").kind(), Kind::Corrupt);
    }
    for len in [position.len - 1, position.len + 1, 0] {
        let error = open(&blob, &Position { len, ..position.clone() }).expect_err("another length");
        assert_eq!(error.kind(), Kind::Corrupt);
    }
    let cut = blob[..position.span.end as usize - 1].to_vec();
    assert_eq!(open(&cut, &position).expect_err("cut").kind(), Kind::Corrupt);
}

#[test]
fn annotations_that_lie() {
    let digest = Digest::of(b"");
    for (position, kind) in [
        ("", Kind::Corrupt),
        ("1:2:3", Kind::Corrupt),
        ("8:2:3:1:5", Kind::Corrupt),
        ("7:2:3:1", Kind::Corrupt),
        ("+8:2:3:1", Kind::Corrupt),
        ("-8:2:3:1", Kind::Corrupt),
        ("8:0:0:1", Kind::Corrupt),
        ("18446744073709551615:2:3:1", Kind::Corrupt),
        ("99999999999999999999:2:3:1", Kind::Corrupt),
        ("8:2:3:2", Kind::Unsupported),
        ("8:157286401:3:1", Kind::TooBig),
        ("8:2:157286401:1", Kind::TooBig),
    ] {
        let annotations = [("manifest-checksum", digest.as_str()), ("manifest-position", position)]
            .map(|(name, value)| (format!("io.github.containers.zstd-chunked.{name}"), value.to_owned()));
        assert_eq!(detect(&annotations.into()).expect_err(position).kind(), kind, "{position}");
    }
}

/// A change of one record, and what becomes of the table.
type Lie = (&'static str, fn(&mut Vec<Value>), Kind);

#[test]
fn tables_that_lie() {
    let lies: &[Lie] = &[
        ("a chunk past the data", |r| r[6]["offset"] = 1_000_000.into(), Kind::Corrupt),
        ("a negative offset", |r| r[1]["offset"] = (-1).into(), Kind::Corrupt),
        ("an offset out of range", |r| r[1]["offset"] = u64::MAX.into(), Kind::Corrupt),
        ("a fraction", |r| r[1]["offset"] = 1.5.into(), Kind::Corrupt),
        ("chunks in no order", |r| r.swap(4, 5), Kind::Corrupt),
        ("a chunk missing", |r| drop(r.remove(5)), Kind::Corrupt),
        ("the last chunk missing", |r| drop(r.remove(6)), Kind::Corrupt),
        ("the first chunk missing", |r| drop(r.remove(3)), Kind::Corrupt),
        ("chunks that overlap in the file", |r| r[4]["chunkOffset"] = 2999.into(), Kind::Corrupt),
        ("chunks that overlap in the blob", |r| r[5]["offset"] = r[4]["offset"].clone(), Kind::Corrupt),
        ("chunks backwards in the blob", |r| r[5]["offset"] = 1.into(), Kind::Corrupt),
        ("two files at one place", |r| r[3]["offset"] = r[1]["offset"].clone(), Kind::Corrupt),
        ("an end before the start", |r| r[1]["endOffset"] = 1.into(), Kind::Corrupt),
        ("an end past the data", |r| r[6]["endOffset"] = 1_000_000.into(), Kind::Corrupt),
        ("a huge chunk", |r| r[4]["chunkSize"] = i64::MAX.into(), Kind::Corrupt),
        ("a negative chunk", |r| r[4]["chunkSize"] = (-5).into(), Kind::Corrupt),
        ("a huge file", |r| r[1]["size"] = i64::MAX.into(), Kind::Corrupt),
        (
            "a huge file of one huge chunk",
            |r| {
                r[1]["size"] = i64::MAX.into();
                r[1]["chunkSize"] = 0.into();
            },
            Kind::TooBig,
        ),
        ("a huge inner offset", |r| r[1]["innerOffset"] = (1i64 << 40).into(), Kind::TooBig),
        ("a negative inner offset", |r| r[1]["innerOffset"] = (-1).into(), Kind::Corrupt),
        ("a chunk without a digest", |r| r[5]["chunkDigest"] = "".into(), Kind::Corrupt),
        ("a digest of another kind", |r| r[5]["chunkDigest"] = "md5:00".into(), Kind::Unsupported),
        ("a digest that is none", |r| r[5]["chunkDigest"] = "sha256:00".into(), Kind::Corrupt),
        ("a chunk of another file", |r| r[5]["name"] = "etc/a".into(), Kind::Corrupt),
        ("a chunk of a directory", |r| r.insert(1, json!({"type": "chunk", "name": "etc/"})), Kind::Corrupt),
        ("a type of chunk", |r| r[5]["chunkType"] = "holes".into(), Kind::Unsupported),
        ("a name twice", |r| r[7]["name"] = "./etc/a".into(), Kind::Corrupt),
        ("a record that is none", |r| r[0] = json!([1]), Kind::Corrupt),
    ];
    for packing in [Packing::Gzip, Packing::Zstd] {
        for (what, bend, kind) in lies {
            let mut layer = layer(packing);
            bend(&mut layer.records);
            let error = parse(&layer.json(), packing, layer.blob.len() as u64).expect_err(what);
            assert_eq!(error.kind(), *kind, "{what}: {error}");
        }
    }
}

#[test]
fn documents_that_are_no_table() {
    for (json, kind) in [
        ("", Kind::Corrupt),
        ("[]", Kind::Corrupt),
        (r#"{"version":1,"entries":[]"#, Kind::Corrupt),
        (r#"{"version":1,"entries":[]} x"#, Kind::Corrupt),
        (r#"{"version":1,"entries":[],"entries":[]}"#, Kind::Corrupt),
        (r#"{"version":1,"entries":{}}"#, Kind::Corrupt),
        (r#"{"entries":[]}"#, Kind::Corrupt),
        (r#"{"version":2,"entries":[]}"#, Kind::Unsupported),
    ] {
        assert_eq!(parse(json.as_bytes(), Packing::Gzip, 0).expect_err(json).kind(), kind, "{json}");
    }
    assert!(parse(br#"{"version":1,"entries":null}"#, Packing::Gzip, 0).expect("empty").entries.is_empty());
}

/// containers/storage: ends on the file's record, holes, a chunk without a digest where the file has one.
#[test]
fn holes_and_ends() {
    let (data, more) = (text(500), text(70));
    let mut layer = Layer::new(Packing::Zstd);
    let start = layer.pack(&data);
    let hole = layer.pack(&[0; 5000]);
    let after = layer.pack(&more);
    let end = layer.blob.len();
    let single = layer.pack(&data);
    layer.pack(b"the end of the archive");
    let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
    layer.records = vec![
        json!({"type": "reg", "name": "h", "size": 5570, "offset": start, "endOffset": end, "chunkSize": 500,
               "chunkDigest": digest(&data)}),
        json!({"type": "chunk", "name": "h", "offset": hole, "chunkOffset": 500, "chunkSize": 5000, "chunkType": "zeros",
               "chunkDigest": digest(&[0; 5000])}),
        json!({"type": "chunk", "name": "h", "offset": after, "chunkOffset": 5500, "chunkSize": 70,
               "chunkDigest": digest(&more)}),
        json!({"type": "reg", "name": "s", "size": 500, "offset": single, "endOffset": layer.blob.len(),
               "digest": digest(&data)}),
    ];
    let toc = parse(&layer.json(), Packing::Zstd, layer.blob.len() as u64).expect("valid");
    assert_eq!(toc.chunks[2].blob, Span::new(after, end as u64));
    assert_eq!((toc.chunks[1].check, toc.chunks[1].blob.is_empty()), (Check::Zeros, true));
    let expected = [&data[..], &[0; 5000], &more].concat();
    assert!(content(layer.blob.clone(), toc.clone(), "h").expect("read") == expected);
    assert!(content(layer.blob, toc, "s").expect("read") == data);
}

/// A hole of a terabyte costs no memory.
#[test]
fn a_huge_hole_is_made_as_it_is_read() {
    let json = br#"{"version":1,"entries":[{"type":"reg","name":"h","size":1099511627776,"chunkType":"zeros"}]}"#;
    let toc = parse(json, Packing::Zstd, 0).expect("valid");
    let source = Source::new(Arc::new(Vec::new()), toc.packing, toc.chunks, Arc::new(Cache::new(0)));
    let file = source.file(0..1, 1 << 40).expect("file");
    let mut buf = [7; 9];
    assert_eq!(file.read_at(&mut buf, (1 << 40) - 5).expect("read"), 5);
    assert_eq!(buf, [0, 0, 0, 0, 0, 7, 7, 7, 7]);
}

/// eStargz with small chunks: several files in one member.
#[test]
fn files_that_share_a_member() {
    let mut layer = Layer::new(Packing::Gzip);
    let start = layer.pack(&[&text(100)[..], b"header", b"second", b"header"].concat());
    let record = |name: &str, inner: u64, bytes: &[u8]| {
        json!({"type": "reg", "name": name, "size": bytes.len(), "offset": start, "innerOffset": inner,
               "chunkDigest": Digest::of(bytes).as_str()})
    };
    layer.records = vec![record("a", 0, &text(100)), record("b", 106, b"second")];
    let toc = parse(&layer.json(), Packing::Gzip, layer.blob.len() as u64).expect("valid");
    assert_eq!(content(layer.blob.clone(), toc, "b").expect("read"), b"second");
    layer.records[1]["innerOffset"] = 99.into();
    let error = parse(&layer.json(), Packing::Gzip, layer.blob.len() as u64).expect_err("overlap");
    assert_eq!(error.kind(), Kind::Corrupt);
}

/// A chunk that unpacks to more than it claims is not unpacked further; one of less is no chunk.
#[test]
fn claims_bound_what_is_unpacked() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let mut layer = Layer::new(packing);
        let start = layer.pack(&vec![0; 32 << 20]);
        let mut chunk = Chunk {
            at: 0,
            len: 1000,
            blob: Span::new(start, layer.blob.len() as u64),
            skip: 0,
            check: Check::Sha256([0; 32]),
        };
        assert_eq!(inflate(&layer.blob, packing, &chunk).expect_err("digest").kind(), Kind::Corrupt);
        chunk.len = MAX_CHUNK;
        let error = inflate(&layer.blob, packing, &chunk).expect_err("short");
        assert!(error.to_string().contains("33554432 bytes, not"), "{error}");
        chunk.len = MAX_CHUNK + 1;
        assert_eq!(inflate(&layer.blob, packing, &chunk).expect_err("limit").kind(), Kind::TooBig);
    }
}

#[test]
fn errors_of_the_blob_are_its_own() {
    struct Dead;
    impl ReadAt for Dead {
        fn len(&self) -> Result<u64> {
            Ok(1000)
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
            Err(Error::new(Kind::Timeout, "nothing came"))
        }
    }
    for packing in [Packing::Gzip, Packing::Zstd] {
        let chunk = Chunk { at: 0, len: 5, blob: Span::new(0, 50), skip: 0, check: Check::Sha256([0; 32]) };
        assert_eq!(inflate(&Dead, packing, &chunk).expect_err("dead").kind(), Kind::Timeout);
    }
}

#[test]
fn ranges_of_chunks_are_checked_again() {
    let layer = layer(Packing::Gzip);
    let toc = parse(&layer.json(), Packing::Gzip, layer.blob.len() as u64).expect("valid");
    let source = Source::new(Arc::new(layer.blob), toc.packing, toc.chunks, Arc::new(Cache::new(0)));
    for (range, size) in [(0..1, 99), (0..2, 3100), (1..4, 10_000), (2..5, 7000), (4..9, 1), (0..0, 1)] {
        assert_eq!(source.file(range, size).err().expect("bent").kind(), Kind::Corrupt);
    }
    assert_eq!(source.file(3..3, 0).expect("empty").len().expect("len"), 0);
}

proptest! {
    /// Any damage of the data is an error or does not matter.
    #[test]
    fn never_a_wrong_byte(at in any::<usize>(), bit in 0u8..8, gzip in any::<bool>()) {
        let packing = if gzip { Packing::Gzip } else { Packing::Zstd };
        let mut layer = layer(packing);
        let toc = parse(&layer.json(), packing, layer.blob.len() as u64).expect("valid");
        let at = at % layer.blob.len();
        layer.blob[at] ^= 1 << bit;
        match content(layer.blob, toc, "etc/b") {
            Ok(got) => prop_assert!(got == text(10_000)),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Corrupt),
        }
    }

    /// Any number in any record, any record left out: a table or an error, and what is read by it is right.
    #[test]
    fn any_table(
        index in 0usize..8,
        field in prop::sample::select(vec!["size", "offset", "endOffset", "chunkOffset", "chunkSize", "innerOffset"]),
        number in prop_oneof![any::<i64>(), -2i64..20_000],
        drop in prop::option::of(0usize..8),
    ) {
        let mut layer = layer(Packing::Zstd);
        layer.records[index][field] = number.into();
        if let Some(drop) = drop { layer.records.remove(drop); }
        if let Ok(toc) = parse(&layer.json(), Packing::Zstd, layer.blob.len() as u64) {
            for (entry, range) in toc.entries.clone() {
                if !range.is_empty() && let Ok(got) = content(layer.blob.clone(), toc.clone(), std::str::from_utf8(&entry.path).expect("utf-8")) {
                    prop_assert!(text(10_000).starts_with(&got));
                }
            }
        }
    }

    #[test]
    fn any_bytes(json in prop::collection::vec(any::<u8>(), 0..100), text in "[\\[\\]{}\":,a-z0-9]{0,100}") {
        let _ = parse(&json, Packing::Gzip, 100);
        let _ = parse(text.as_bytes(), Packing::Gzip, 100);
    }
}
