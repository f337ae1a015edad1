//! SOCI indexes: written by the real flatbuffers, damaged, lying.

use super::*;
use crate::layer::entry::{self, Extent, Time};
use crate::span::Span;
use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, TableFinishedWIPOffset, Vector, WIPOffset};
use proptest::prelude::*;

/// A file of a zTOC under construction.
#[derive(Clone, Default)]
struct File {
    name: &'static [u8],
    kind: &'static str,
    offset: i64,
    size: i64,
    mtime: &'static str,
    major: i64,
    pax: Vec<(&'static [u8], &'static [u8])>,
}

/// A zTOC under construction; what it is when nothing is changed is valid.
#[derive(Clone)]
struct Made {
    version: &'static str,
    packed: i64,
    unpacked: i64,
    files: Vec<File>,
    algorithm: Option<i8>,
    max_span: i32,
    digests: Vec<String>,
    checkpoints: Vec<u8>,
}

type Offset<'a> = WIPOffset<TableFinishedWIPOffset>;

fn slot(id: u16) -> u16 {
    4 + id * 2
}

fn made() -> Made {
    let file = |name, kind, offset, size| File { name, kind, offset, size, ..File::default() };
    let mut special = file(b"bin/\xff", "reg", 9728, 272);
    special.mtime = "2024-02-29T12:00:00.000000001+01:00";
    special.pax = vec![(b"SCHILY.xattr.security.capability", b"\x01\0\n\xff"), (b"mtime", b"1.5")];
    let mut device = file(b"dev/null", "char", 10_752, 0);
    device.major = 1;
    Made {
        version: "0.9",
        packed: 5000,
        unpacked: 12_288,
        // in no order: places tell it
        files: vec![device, file(b"usr/", "dir", 512, 0), file(b"usr/a", "reg", 1024, 8000), special],
        algorithm: None,
        max_span: 1,
        digests: vec![crate::digest::Digest::of(b"0").to_string(), crate::digest::Digest::of(b"1").to_string()],
        checkpoints: checkpoints(2, &[(10, 0, 0), (2000, 6000, 3)]),
    }
}

fn checkpoints(count: i32, points: &[(u64, u64, u8)]) -> Vec<u8> {
    let mut bytes = [&count.to_le_bytes()[..], &4096i64.to_le_bytes()].concat();
    for (input, output, bits) in points {
        bytes.extend(input.to_le_bytes());
        bytes.extend(output.to_le_bytes());
        bytes.push(*bits);
        bytes.extend(vec![*bits; 32 << 10]);
    }
    bytes
}

impl Made {
    /// The bytes, written by the library that SOCI's is the sister of.
    fn bytes(&self) -> Bytes {
        let mut to = FlatBufferBuilder::new();
        let files: Vec<_> = self.files.iter().map(|made| file(&mut to, made)).collect();
        let files = to.create_vector(&files);
        let start = to.start_table();
        to.push_slot_always(slot(0), files);
        let toc = to.end_table(start);
        let digests: Vec<_> = self.digests.iter().map(|digest| to.create_string(digest)).collect();
        let digests: WIPOffset<Vector<'_, ForwardsUOffset<&str>>> = to.create_vector(&digests);
        let checkpoints = to.create_vector(&self.checkpoints);
        let start = to.start_table();
        if let Some(algorithm) = self.algorithm {
            to.push_slot_always(slot(0), algorithm);
        }
        to.push_slot_always(slot(1), self.max_span);
        to.push_slot_always(slot(2), digests);
        to.push_slot_always(slot(3), checkpoints);
        let info = to.end_table(start);
        let version = to.create_string(self.version);
        let start = to.start_table();
        to.push_slot_always(slot(0), version);
        to.push_slot_always(slot(2), self.packed);
        to.push_slot_always(slot(3), self.unpacked);
        to.push_slot_always(slot(4), toc);
        to.push_slot_always(slot(5), info);
        let root: Offset<'_> = to.end_table(start);
        to.finish_minimal(root);
        Bytes::copy_from_slice(to.finished_data())
    }
}

fn file<'a>(to: &mut FlatBufferBuilder<'a>, made: &File) -> Offset<'a> {
    let pax: Vec<_> = (made.pax.iter())
        .map(|(key, value)| {
            let (key, value) = (to.create_vector(key), to.create_vector(value));
            let start = to.start_table();
            to.push_slot_always(slot(0), key);
            to.push_slot_always(slot(1), value);
            to.end_table(start)
        })
        .collect();
    let pax = to.create_vector(&pax);
    let (name, kind, mtime) = (to.create_vector(made.name), to.create_string(made.kind), to.create_string(made.mtime));
    let start = to.start_table();
    to.push_slot_always(slot(0), name);
    to.push_slot_always(slot(1), kind);
    to.push_slot(slot(2), made.offset, 0);
    to.push_slot(slot(3), made.size, 0);
    to.push_slot(slot(5), 0o10_4755i64, 0);
    to.push_slot(slot(6), 7u32, 0);
    to.push_slot_always(slot(10), mtime);
    to.push_slot(slot(11), made.major, 0);
    to.push_slot_always(slot(13), pax);
    to.end_table(start)
}

#[test]
fn what_was_written_is_read() {
    let ztoc = parse(&made().bytes()).expect("valid");
    assert_eq!((ztoc.packed, ztoc.unpacked), (5000, 12_288));
    let places: Vec<_> = ztoc.entries.iter().map(|(entry, header)| (entry.path.as_slice(), *header)).collect();
    assert_eq!(places, [(&b"usr/"[..], 0), (b"usr/a", 512), (b"bin/\xff", 9216), (b"dev/null", 10_240)]);
    let entry = &ztoc.entries[2].0;
    assert_eq!((entry.kind, entry.mode, entry.uid, entry.size), (entry::Kind::File, 0o4755, 7, 272));
    assert_eq!(entry.mtime, Time { secs: 1_709_204_400, nanos: 1 });
    assert_eq!(entry.extents, [Extent { at: 0, offset: 9728, len: 272 }]);
    assert_eq!(entry.xattrs, [(b"security.capability".to_vec(), b"\x01\0\n\xff".to_vec())]);
    assert_eq!(ztoc.entries[3].0.device, (1, 0));
    let Points::Gzip(points) = ztoc.points else { panic!("gzip") };
    assert_eq!((points[0].span, points[1].span), (Span::new(10, 2000), Span::new(1999, 5000)));
    assert!(points[0].window.is_empty());
    assert_eq!(points[1].window, vec![3; 32 << 10]);
    assert_eq!((points[1].output, points[1].bits), (6000, 3));
}

#[test]
fn the_first_versions_left_a_point_out() {
    let first = Made { checkpoints: checkpoints(2, &[(2000, 6000, 3)]), ..made() };
    let Points::Gzip(points) = parse(&first.bytes()).expect("valid").points else { panic!("gzip") };
    assert_eq!((points[0].input, points[0].output, points[0].bits), (10, 0, 0));
    assert_eq!(points[1].input, 2000);
}

#[test]
fn plain_archives_have_no_points() {
    let plain = Made { algorithm: Some(2), checkpoints: vec![1, 2, 3], ..made() };
    assert_eq!(parse(&plain.bytes()).expect("valid").points, Points::Tar);
}

#[test]
fn ztocs_that_lie() {
    type Lie = (&'static str, fn(&mut Made), Kind);
    let lies: &[Lie] = &[
        ("a version", |m| m.version = "1.0", Kind::Unsupported),
        ("no version", |m| m.version = "", Kind::Unsupported),
        ("a negative length", |m| m.packed = -1, Kind::Corrupt),
        ("an archive shorter than its files", |m| m.unpacked = 9000, Kind::Corrupt),
        ("a compression", |m| m.algorithm = Some(3), Kind::Unsupported),
        ("a span too many", |m| m.max_span = 2, Kind::Corrupt),
        ("a span too few", |m| m.max_span = -1, Kind::Corrupt),
        ("a digest too few", |m| m.digests.truncate(1), Kind::Corrupt),
        ("a digest that is none", |m| m.digests[1] = "sha256:0".into(), Kind::Corrupt),
        ("no points", |m| m.checkpoints.clear(), Kind::Corrupt),
        ("fewer points than none", |m| m.checkpoints = checkpoints(-1, &[]), Kind::Corrupt),
        ("points of none", |m| m.checkpoints = checkpoints(0, &[]), Kind::Corrupt),
        ("more points than there are", |m| m.checkpoints = checkpoints(i32::MAX, &[(10, 0, 0)]), Kind::Corrupt),
        ("half a point", |m| m.checkpoints.truncate(100), Kind::Corrupt),
        ("a first point that is not first", |m| m.checkpoints[20] = 1, Kind::Corrupt),
        ("points backwards", |m| m.checkpoints = checkpoints(2, &[(10, 0, 0), (9, 6000, 0)]), Kind::Corrupt),
        ("output backwards", |m| m.checkpoints = checkpoints(2, &[(10, 0, 0), (20, 0, 0)]), Kind::Corrupt),
        ("eight bits", |m| m.checkpoints = checkpoints(2, &[(10, 0, 0), (20, 6000, 8)]), Kind::Corrupt),
        ("bits before the first byte", |m| m.checkpoints = checkpoints(2, &[(0, 0, 3), (9, 9, 0)]), Kind::Corrupt),
        ("a point past the end", |m| m.checkpoints = checkpoints(2, &[(10, 0, 0), (5001, 6000, 0)]), Kind::Corrupt),
        ("files that overlap", |m| m.files[2].size = 8500, Kind::Corrupt),
        ("a file without a header", |m| m.files[1].offset = 0, Kind::Corrupt),
        ("a file between blocks", |m| m.files[2].offset = 1025, Kind::Corrupt),
        ("a negative offset", |m| m.files[2].offset = -512, Kind::Corrupt),
        ("a negative size", |m| m.files[2].size = -1, Kind::Corrupt),
        ("a huge size", |m| m.files[0].size = i64::MAX, Kind::Corrupt),
        ("a huge device", |m| m.files[0].major = 1 << 32, Kind::Corrupt),
        ("a type", |m| m.files[0].kind = "door", Kind::Corrupt),
        ("a time", |m| m.files[0].mtime = "noon", Kind::Corrupt),
        ("a sparse file", |m| m.files[2].pax = vec![(b"GNU.sparse.major", b"1")], Kind::Unsupported),
    ];
    for (what, bend, kind) in lies {
        let mut bent = made();
        bend(&mut bent);
        let error = parse(&bent.bytes()).expect_err(what);
        assert_eq!(error.kind(), *kind, "{what}: {error}");
    }
}

/// One file that is used again and again: a megabyte that would be gigabytes.
#[test]
fn parts_that_are_used_many_times_are_counted() {
    let mut to = FlatBufferBuilder::new();
    let long = to.create_vector(&vec![b'x'; 100_000]);
    let kind = to.create_string("dir");
    let start = to.start_table();
    to.push_slot_always(slot(0), long);
    to.push_slot_always(slot(1), kind);
    let file = to.end_table(start);
    let files = to.create_vector(&vec![file; 200_000]);
    let start = to.start_table();
    to.push_slot_always(slot(0), files);
    let toc = to.end_table(start);
    let version = to.create_string("0.9");
    let start = to.start_table();
    to.push_slot_always(slot(0), version);
    to.push_slot_always(slot(4), toc);
    to.push_slot_always(slot(5), toc);
    let root = to.end_table(start);
    to.finish_minimal(root);
    let error = parse(&Bytes::copy_from_slice(to.finished_data())).expect_err("bomb");
    assert!(error.to_string().contains("more than it holds"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Damage is found or makes another table; it never panics. The windows, which are most of it, are left alone.
    #[test]
    fn flips_and_cuts(at in any::<usize>(), byte in any::<u8>(), cut in any::<bool>()) {
        let small = Made { algorithm: Some(2), checkpoints: Vec::new(), ..made() };
        let mut bytes = small.bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let _ = parse(&bytes.into());
    }

    #[test]
    fn flips_in_points(at in 0usize..300, byte in any::<u8>()) {
        let mut bent = made();
        bent.checkpoints[at] = byte;
        let _ = parse(&bent.bytes());
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes.into());
    }
}
