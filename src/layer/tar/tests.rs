//! The reader on archives made by hand: what Go's own tests ask, what other readers get wrong, and hostile ones.

use super::check::{Outcome, check, read};
use super::craft::{Member, archive, gnu_block, long, padded, pax};
use super::*;
use crate::layer::entry::{Extent, Kind as Type, Time};
use proptest::prelude::*;

/// The members of a good archive.
fn entries(parts: &[Vec<u8>]) -> Vec<Entry> {
    let bytes = archive(parts);
    check(&bytes);
    let Outcome { entries, end } = read(&bytes);
    end.expect("a good archive");
    entries
}

/// The only member of a good archive.
fn entry(parts: &[Vec<u8>]) -> Entry {
    let mut entries = entries(parts);
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

/// How an archive fails.
fn failure(bytes: &[u8]) -> (Kind, String) {
    check(bytes);
    read(bytes).end.expect_err("a bad archive")
}

fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.path.escape_ascii().to_string()).collect()
}

fn next() -> Vec<u8> {
    Member::file("next").content(b"more").bytes()
}

#[test]
fn a_member_of_each_kind() {
    let device = |flag, name| Member::of(flag, name).field(329, b"0000010\0").field(337, b"0000377\0").bytes();
    let file = Member::file("file").field(100, b"0104755\0").field(108, b"0001750\0").field(116, b"0000012\0");
    let found = entries(&[
        file.field(136, b"11111111111\0").content(&[7; 513]).bytes(),
        Member::of(b'1', "hard").link("file").bytes(),
        Member::of(b'2', "soft").link("/some where").bytes(),
        device(b'3', "char"),
        device(b'4', "block"),
        Member::of(b'5', "dir/").bytes(),
        Member::of(b'6', "fifo").bytes(),
        Member::of(b'7', "contiguous").content(b"x").bytes(),
    ]);
    use Type::*;
    let kinds: Vec<_> = found.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [File, Hardlink, Symlink, Char, Block, Dir, Fifo, File]);
    let first = &found[0];
    assert_eq!((first.mode, first.uid, first.gid, first.size), (0o4755, 1000, 10, 513));
    assert_eq!(first.mtime, Time { secs: 0o11111111111, nanos: 0 });
    assert_eq!(first.extents, [Extent { at: 0, offset: 512, len: 513 }]);
    assert_eq!((&found[1].target[..], &found[2].target[..]), (&b"file"[..], &b"/some where"[..]));
    assert_eq!((found[3].device, found[4].device, found[0].device), ((8, 255), (8, 255), (0, 0)));
    assert_eq!(found[7].extents, [Extent { at: 0, offset: 512 + 1024 + 7 * 512, len: 1 }]);
}

#[test]
fn types_without_content_have_none_whatever_their_size() {
    for flag in b'1'..=b'6' {
        for parts in [
            vec![Member::of(flag, "odd").size(12345).bytes(), next()],
            vec![pax(b'x', &[("size", b"12345")]), Member::of(flag, "odd").bytes(), next()],
            vec![Member::of(flag, "odd").field(124, &[0xff; 12]).bytes(), next()],
        ] {
            let found = entries(&parts);
            assert_eq!(names(&found), ["odd", "next"], "{}", char::from(flag));
            assert_eq!((found[0].size, found[0].extents.len(), found[1].size), (0, 0, 4));
        }
    }
}

#[test]
fn a_pax_sparse_map_and_a_pax_size_hide_nothing() {
    let data = [padded(b"2\n1\n5\n600\n3\n"), b"helloend".to_vec()].concat();
    let size = data.len().to_string();
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"real/name"),
        ("GNU.sparse.realsize", b"1000"),
        ("size", size.as_bytes()),
    ];
    // The header of its own may lie about the size: the record counts.
    for header in [Member::file("GNUSparseFile.0/name").content(&data), Member::file("x").content(&data).size(0)] {
        let found = entries(&[pax(b'x', records), header.bytes(), next()]);
        assert_eq!(names(&found), ["real/name", "next"]);
        assert_eq!(found[0].size, 1000);
        let offset = 2 * 512 + 512 + 512;
        let extents = [Extent { at: 1, offset, len: 5 }, Extent { at: 600, offset: offset + 5, len: 3 }];
        assert_eq!(found[0].extents, extents);
    }
}

#[test]
fn times_before_the_epoch_and_between_seconds() {
    let by_record = |time: &[u8]| entry(&[pax(b'x', &[("mtime", time)]), Member::file("f").bytes()]).mtime;
    assert_eq!(by_record(b"-1.5"), Time { secs: -2, nanos: 500_000_000 });
    assert_eq!(by_record(b"1350244992.023960108"), Time { secs: 1350244992, nanos: 23960108 });
    let by_header = |field| entry(&[Member::file("f").gnu().field(136, field).bytes()]).mtime;
    let minus_five = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb];
    assert_eq!(by_header(&minus_five), Time { secs: -5, nanos: 0 });
    for key in ["mtime", "atime", "ctime"] {
        let bad = archive(&[pax(b'x', &[(key, b"yesterday")]), Member::file("f").bytes()]);
        assert_eq!(failure(&bad).0, Kind::Corrupt, "{key}");
    }
}

#[test]
fn attributes_hold_newlines_and_nuls() {
    let value = b"\x01\0\0\x02\n\x20\0\n7 a=b\n\0";
    let found = entry(&[pax(b'x', &[("SCHILY.xattr.security.capability", value)]), Member::file("ping").bytes()]);
    assert_eq!(found.xattrs, [(b"security.capability".to_vec(), value.to_vec())]);
}

#[test]
fn before_types_a_slash_made_a_directory() {
    let kind = |parts: &[Vec<u8>]| entry(parts).kind;
    assert_eq!(kind(&[Member::of(0, "dir/").v7().size(700).bytes()]), Type::Dir);
    assert_eq!(kind(&[Member::of(0, "file").v7().bytes()]), Type::File);
    assert_eq!(kind(&[pax(b'x', &[("path", b"dir/")]), Member::of(0, "file").bytes()]), Type::Dir);
    assert_eq!(kind(&[long(b'L', "file"), Member::of(0, "dir/").bytes()]), Type::File);
    assert_eq!(kind(&[Member::of(b'0', "file/").bytes()]), Type::File, "a type is a type");
}

#[test]
fn names_of_names_of_names_and_sizes_over_sizes() {
    // GHSA-3cv2: the size of the record is the member's, not the long name's.
    let records = pax(b'x', &[("size", b"4"), ("path", b"by record")]);
    let file = Member::file("by header").content(b"data").size(0);
    let found = entries(&[records.clone(), long(b'L', "by long name"), file.bytes(), next()]);
    assert_eq!(names(&found), ["by long name", "next"]);
    assert_eq!(found[0].size, 4);
    // CVE-2025-62518: whose size counts decides what is a header.
    let hidden = Member::file("hidden").bytes();
    let records = pax(b'x', &[("size", hidden.len().to_string().as_bytes())]);
    let found = entries(&[records, Member::file("outer").bytes(), hidden, next()]);
    assert_eq!(names(&found), ["outer", "next"]);
}

#[test]
fn the_last_of_several_headers_counts() {
    let link = Member::of(b'2', "name").link("target").bytes();
    let found = entry(&[long(b'L', "one"), long(b'K', "two"), long(b'L', "three"), long(b'K', "four"), link.clone()]);
    assert_eq!((&found.path[..], &found.target[..]), (&b"three"[..], &b"four"[..]));
    let records: [&[(&str, &[u8])]; 2] = [&[("path", b"one"), ("uid", b"7")], &[("linkpath", b"two"), ("gid", b"8")]];
    let found = entry(&[pax(b'x', records[0]), pax(b'x', records[1]), link.clone()]);
    assert_eq!((&found.path[..], &found.target[..]), (&b"name"[..], &b"two"[..]));
    assert_eq!((found.uid, found.gid), (0, 8));
    let found = entry(&[pax(b'x', &[("path", b"one"), ("path", b"")]), link]);
    assert_eq!(found.path, b"name", "an empty value takes the record back");
}

#[test]
fn nothing_is_left_for_the_member_after() {
    let found = entries(&[pax(b'x', &[("path", b"one"), ("SCHILY.xattr.user.a", b"1")]), next(), next()]);
    assert_eq!(names(&found), ["one", "next"]);
    assert_eq!(found[1].xattrs, []);
    assert_eq!(names(&entries(&[long(b'L', "long"), next(), next()])), ["long", "next"]);
}

#[test]
fn global_records_count_for_nothing() {
    let global = || pax(b'g', &[("path", b"everywhere"), ("comment", b"0123abcd"), ("mtime", b"bad")]);
    let found = entries(&[global(), next(), pax(b'x', &[("path", b"dropped")]), long(b'L', "too"), global(), next()]);
    assert_eq!(names(&found), ["next", "next"]);
    let bad = Member::of(b'g', "g").content(b"no record").bytes();
    assert_eq!(failure(&archive(&[bad, next()])).0, Kind::Corrupt);
}

#[test]
fn long_names_end_at_a_nul() {
    let name = Member::of(b'L', "././@LongLink").gnu().content(b"0123456789\0rest").bytes();
    assert_eq!(entry(&[name, Member::file("f").bytes()]).path, b"0123456789");
    let empty = Member::of(b'L', "././@LongLink").gnu().bytes();
    assert_eq!(entry(&[empty, Member::file("f").bytes()]).path, b"f");
    let name = "\u{263a}/".repeat(400) + "\u{263b}";
    assert_eq!(entry(&[long(b'L', &name), Member::file("f").bytes()]).path, name.as_bytes());
    assert_eq!(entry(&[pax(b'x', &[("path", b"hi\x80\xffbye")]), Member::file("f").bytes()]).path, b"hi\x80\xffbye");
}

#[test]
fn old_gnu_sparse_files() {
    let parts: Vec<(u64, u64)> = (0..4 + 21 + 3).map(|n| (n * 10, 2)).collect();
    let file = |size: u64, parts: &[(u64, u64)], more| Member::file("sparse").size(size).sparse(1000, parts, more);
    let data = padded(&[7; 56]);
    let blocks = [gnu_block(&parts[4..25], true), gnu_block(&parts[25..], false)].concat();
    let found = entries(&[file(56, &parts[..4], true).bytes(), blocks.clone(), data.clone(), next()]);
    assert_eq!(names(&found), ["sparse", "next"]);
    assert_eq!((found[0].kind, found[0].size, found[0].extents.len()), (Type::File, 1000, 28));
    assert_eq!(found[0].extents[27], Extent { at: 270, offset: 1536 + 54, len: 2 });
    let hole = entry(&[file(0, &[(1000, 0)], false).bytes()]);
    assert_eq!((hole.size, hole.extents), (1000, vec![]));
    let parts = &parts[..4];
    for bad in [
        file(9, parts, false).bytes(),
        file(7, parts, false).bytes(),
        file(8, &[(0, 2), (10, 6), (10, 0)], false).bytes(),
        file(8, &[(0, 4), (998, 4)], false).bytes(),
        file(8, parts, false).field(483, b"9999").bytes(),
        file(8, parts, false).v7().bytes(),
        file(8, parts, false).field(257, b"ustar\x0000").bytes(),
    ] {
        assert_eq!(failure(&archive(&[bad, data.clone(), next()])).0, Kind::Corrupt);
    }
    let cut = [file(56, parts, true).bytes(), blocks[..700].to_vec()].concat();
    assert_eq!(failure(&cut).0, Kind::Corrupt);
}

#[test]
fn only_files_are_sparse_and_their_map_is_in_their_data() {
    let listed: &[(&str, &[u8])] = &[("GNU.sparse.numblocks", b"1"), ("GNU.sparse.map", b"0,4")];
    let found = entries(&[pax(b'x', listed), next(), next()]);
    assert_eq!(found[0].extents, [Extent { at: 0, offset: 1536, len: 4 }]);
    assert_eq!(failure(&archive(&[pax(b'x', listed), Member::of(b'5', "dir").bytes()])).0, Kind::Corrupt);
    let in_data: &[(&str, &[u8])] = &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")];
    for (content, size) in [(&b"0\n"[..], 2), (b"5", 512), (b"200\n", 512), (b"", 0)] {
        let file = Member::file("f").content(&padded(content)).size(size).bytes();
        assert_eq!(failure(&archive(&[pax(b'x', in_data), file, next()])).0, Kind::Corrupt, "{content:?}");
    }
    let exact = Member::file("f").content(&padded(b"0\n")).bytes();
    assert_eq!(names(&entries(&[pax(b'x', in_data), exact, next()])), ["f", "next"]);
}

#[test]
fn ids_that_no_kernel_has_are_nobodys() {
    let found = |uid: &[u8]| entry(&[pax(b'x', &[("uid", uid), ("gid", uid)]), Member::file("f").bytes()]);
    for (id, shown) in [
        ("4294967294", u32::MAX - 1),
        ("2147483648", 1 << 31),
        ("4294967295", 65534),
        ("4294967296", 65534),
        ("-1", 65534),
        ("9223372036854775807", 65534),
    ] {
        assert_eq!((found(id.as_bytes()).uid, found(id.as_bytes()).gid), (shown, shown), "{id}");
    }
    let large = Member::file("f").gnu().field(108, &[0x80, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
    assert_eq!(entry(&[large.bytes()]).uid, 0x12345678);
    for bad in [&b"root"[..], b"9223372036854775808", b"1.0"] {
        assert_eq!(failure(&archive(&[pax(b'x', &[("uid", bad)]), next()])).0, Kind::Corrupt);
    }
}

#[test]
fn large_sizes_are_large_and_impossible_ones_refused() {
    let size = |size: &[u8]| [pax(b'x', &[("size", size)]), Member::file("f").bytes()].concat();
    // Unfed content is missing content.
    let Outcome { entries, end } = read(&size(b"8589934592"));
    assert_eq!((entries[0].size, end.expect_err("cut").0), (1 << 33, Kind::Corrupt));
    for bad in [&b"-1"[..], b"9223372036854775807", b"9223372036854775808", b"12k"] {
        let Outcome { entries, end } = read(&size(bad));
        assert_eq!((entries.len(), end.expect_err("refused").0), (0, Kind::Corrupt));
    }
    let binary = Member::file("f").gnu().field(124, &[0x80, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0]);
    assert_eq!(read(&binary.bytes()).entries[0].size, 0x20 << 32);
    assert_eq!(failure(&Member::file("f").field(124, &[0xff; 12]).bytes()).0, Kind::Corrupt);
}

#[test]
fn special_headers_have_a_limit() {
    for flag in *b"xgLK" {
        let claim = Member::of(flag, "x").size(MAX_SPECIAL as u64 + 1).bytes();
        assert_eq!(read(&claim).end.expect_err("over").0, Kind::TooBig);
    }
    let full = "n".repeat(MAX_SPECIAL - 1);
    let bytes = archive(&[long(b'L', &full), next()]);
    assert_eq!(read(&bytes).entries[0].path.len(), full.len());
}

#[test]
fn types_that_nobody_extracts_are_told() {
    for flag in *b"VMDNAEX8\xff" {
        let (kind, what) = failure(&archive(&[next(), Member::of(flag, "odd").bytes()]));
        assert_eq!(kind, Kind::Unsupported);
        assert!(what.starts_with("tar header at byte 1024: members of type"), "{what}");
    }
}

#[test]
fn an_archive_ends_where_go_says() {
    let file = Member::file("f").content(&[7; 684]).bytes();
    let trash = vec![b'g'; 512];
    let (zeros, pax) = (vec![0; 512], pax(b'x', &[("path", b"x")]));
    let cases: &[(Vec<u8>, usize, bool)] = &[
        (vec![], 0, true),
        (file[..511].to_vec(), 0, false),
        (file[..512].to_vec(), 1, false),
        (file[..1195].to_vec(), 1, false),
        (file[..1196].to_vec(), 1, true),
        (file[..1535].to_vec(), 1, true),
        (file.clone(), 1, true),
        ([&file[..], &trash[..1]].concat(), 1, false),
        ([&file[..], &trash].concat(), 1, false),
        ([&file[..], &zeros].concat(), 1, true),
        ([&file[..], &zeros, &trash[..1]].concat(), 1, false),
        ([&file[..], &zeros, &trash].concat(), 1, false),
        ([&file[..], &zeros, &file].concat(), 1, false),
        ([&file[..], &zeros, &zeros[..511]].concat(), 1, false),
        ([&file[..], &zeros, &zeros].concat(), 1, true),
        ([&file[..], &zeros, &zeros, &trash].concat(), 1, true),
        ([&file[..], &zeros, &zeros, &file, &trash[..1]].concat(), 1, true),
        (pax[..512].to_vec(), 0, false),
        (pax[..520].to_vec(), 0, false),
        (pax[..530].to_vec(), 0, true),
        (pax.clone(), 0, true),
        ([&pax[..], &trash[..1]].concat(), 0, false),
    ];
    for (at, (bytes, count, good)) in cases.iter().enumerate() {
        check(bytes);
        let outcome = read(bytes);
        assert_eq!((outcome.entries.len(), outcome.end.is_ok()), (*count, *good), "case {at}: {:?}", outcome.end);
        assert!(outcome.end.err().is_none_or(|(kind, _)| kind == Kind::Corrupt), "case {at}");
    }
}

#[test]
fn what_found_fails_with_is_the_end() {
    let mut reader = Reader::new();
    let bytes = archive(&[next(), next()]);
    let error = reader.feed(&bytes, &mut |_| Err(Error::new(Kind::NoSpace, "full"))).expect_err("fails");
    assert_eq!(error.kind(), Kind::NoSpace);
    assert_eq!(reader.feed(&bytes, &mut |_| Ok(())).expect_err("for good").kind(), Kind::NoSpace);
    assert_eq!(reader.finish().expect_err("for good").kind(), Kind::NoSpace);
}

#[test]
fn content_may_be_passed_over_but_not_be_missing() {
    let file = Member::file("f").size(1 << 33).bytes();
    let mut reader = Reader::new();
    reader.feed(&file, &mut |_| Ok(())).expect("header");
    assert_eq!(reader.skippable(), (1 << 33) - 1);
    reader.skip(u64::MAX);
    assert_eq!((reader.position(), reader.skippable()), (512 + (1 << 33) - 1, 0));
    assert_eq!(reader.finish().expect_err("the last byte").kind(), Kind::Corrupt);
    reader.feed(&[0], &mut |_| Ok(())).expect("the last byte");
    reader.finish().expect("whole");
    reader.feed(&[0; 1024], &mut |_| Ok(())).expect("trailer");
    assert!(reader.ended());
}

/// Members of all formats, to be mutated.
fn sample() -> Vec<u8> {
    let map = [padded(b"2\n1\n5\n600\n3\n"), b"helloend".to_vec()].concat();
    let in_data: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1000")];
    let listed: &[(&str, &[u8])] =
        &[("GNU.sparse.size", b"99"), ("GNU.sparse.numblocks", b"1"), ("GNU.sparse.map", b"9,4")];
    let xattrs: &[(&str, &[u8])] =
        &[("mtime", b"-1.5"), ("SCHILY.xattr.user.a", b"\0\n"), ("LIBARCHIVE.xattr.user.b", b"YQ")];
    archive(&[
        pax(b'x', xattrs),
        Member::file("file").content(&[1; 600]).bytes(),
        long(b'L', "long/name"),
        long(b'K', "long/link"),
        Member::of(b'2', "link").gnu().bytes(),
        pax(b'x', in_data),
        Member::file("sparse").content(&map).bytes(),
        pax(b'x', listed),
        next(),
        Member::file("old").size(12).sparse(1000, &[(0, 2), (10, 2), (20, 2), (30, 2)], true).bytes(),
        gnu_block(&[(40, 2), (50, 2)], false),
        padded(&[7; 12]),
        Member::of(b'3', "device").bytes(),
    ])
}

#[test]
fn the_sample_is_good_and_bad_wherever_it_is_cut() {
    let bytes = sample();
    let whole = read(&bytes);
    assert_eq!((whole.entries.len(), whole.end), (6, Ok(())));
    for end in (0..bytes.len()).step_by(37) {
        check(&bytes[..end]);
        assert!(whole.entries.starts_with(&read(&bytes[..end]).entries), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_the_same_in_all_ways(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        check(&bytes);
    }

    #[test]
    fn any_mutation_of_an_archive_is_read_the_same_in_all_ways(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check(&bytes);
    }

    /// Blocks shuffled and repeated: headers meet what is not theirs.
    #[test]
    fn any_order_of_blocks_is_read_the_same_in_all_ways(
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let bytes = sample();
        let blocks = bytes.as_chunks::<BLOCK>().0;
        check(&order.iter().flat_map(|at| blocks[at.index(blocks.len())]).collect::<Vec<u8>>());
    }
}
