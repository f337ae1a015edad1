//! Tables in memory and in files: the same answers, the rules of extraction, damage, limits.

mod beside;

use super::facts::{Facts, Format, Point};
use super::format::{CHECK, HEAD};
use super::record::{Record, SIZE, pair};
use super::{Growing, Index, Limits};
use crate::digest::Digest;
use crate::error::{Error, Kind as Fault, Result};
use crate::layer::entry::{Entry, Extent, Kind, Time};
use crate::layer::toc::{Attr, Node, Toc};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

type Path = Vec<u8>;

fn entry(kind: Kind, path: &str, target: &str) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: 0o640,
        uid: 7,
        gid: 8,
        mtime: Time { secs: -5, nanos: 999_999_999 },
        size: 0,
        extents: Vec::new(),
        target: target.into(),
        device: (8, 1),
        xattrs: Vec::new(),
    }
}

fn file(path: &str, size: u64, extents: &[(u64, u64, u64)]) -> Entry {
    let extents = extents.iter().map(|(at, offset, len)| Extent { at: *at, offset: *offset, len: *len }).collect();
    Entry { size, extents, ..entry(Kind::File, path, "") }
}

fn dir(path: &str) -> Entry {
    entry(Kind::Dir, path, "")
}

fn grown(entries: impl IntoIterator<Item = Entry>) -> Growing {
    let growing = Growing::new();
    for entry in entries {
        growing.add(entry).expect("add");
    }
    growing
}

fn layer() -> Digest {
    Digest::of(b"layer")
}

fn facts() -> Facts {
    Facts {
        layer: layer(),
        diff_id: Some(Digest::of(b"archive")),
        verified: true,
        compressed: 1000,
        uncompressed: 5000,
        format: Format::Gzip,
    }
}

fn points(windows: &[Vec<u8>]) -> Vec<Point<'_>> {
    windows
        .iter()
        .enumerate()
        .map(|(n, window)| Point {
            input: 10 + n as u64 * 100,
            bits: n as u8,
            output: n as u64 * 1000,
            window,
            check: [n as u8; 32],
        })
        .collect()
}

fn written(growing: &Growing, windows: &[Vec<u8>]) -> File {
    growing.complete().expect("complete");
    let mut file = tempfile::tempfile().expect("file");
    growing.write(&facts(), &points(windows), &mut file).expect("write");
    file
}

fn bytes(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().expect("metadata").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("read");
    bytes
}

/// All that a table answers, by path, nodes included; names asked for `limit` at a time.
type Answers = BTreeMap<Path, (Node, Attr, Vec<u8>, Vec<Extent>, Vec<(Vec<u8>, Vec<u8>)>)>;

fn answers(toc: &dyn Toc, limit: usize) -> Result<Answers> {
    let mut all = Answers::new();
    let mut todo = vec![(Path::new(), Node::ROOT)];
    while let Some((path, node)) = todo.pop() {
        let attr = toc.attr(node)?;
        let target = match attr.kind {
            Kind::Symlink | Kind::Hardlink => toc.target(node)?,
            _ => Vec::new(),
        };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let names = toc.list(node, after.as_deref(), limit)?;
            let short = names.len() < limit;
            for (name, child) in names {
                if toc.lookup(node, &name)? != Some(child) {
                    return Err(Error::new(Fault::Corrupt, "a name that is listed is another when looked up"));
                }
                todo.push(([&path[..], b"/", &name].concat(), child));
                after = Some(name);
            }
            if short {
                break;
            }
        }
        all.insert(path, (node, attr, target, toc.extents(node)?, toc.xattrs(node)?));
    }
    Ok(all)
}

fn paths(toc: &dyn Toc) -> Vec<String> {
    answers(toc, 3).expect("answers").into_keys().skip(1).map(|path| String::from_utf8(path).expect("utf-8")).collect()
}

fn at(toc: &dyn Toc, path: &str) -> Attr {
    toc.attr(node(toc, path)).expect("attr")
}

fn node(toc: &dyn Toc, path: &str) -> Node {
    let step = |dir, name: &str| toc.lookup(dir, name.as_bytes()).expect("lookup").unwrap_or_else(|| panic!("{path}"));
    path.split('/').fold(Node::ROOT, step)
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let name = prop_oneof![
        4 => "[abc]",
        1 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(String::new()),
        1 => "\\.wh\\.[ab]",
    ];
    let path = proptest::collection::vec(name, 1..5).prop_map(|parts| parts.join("/"));
    let kind = prop_oneof![
        3 => Just(Kind::File),
        3 => Just(Kind::Dir),
        2 => Just(Kind::Symlink),
        2 => Just(Kind::Hardlink),
        1 => Just(Kind::Char),
        1 => Just(Kind::Fifo),
    ];
    let xattrs = proptest::collection::vec(
        (prop_oneof![Just(b"user.a".to_vec()), Just(b"user.overlay.x".to_vec())], any::<[u8; 3]>().prop_map(Vec::from)),
        0..3,
    );
    let extents = proptest::collection::vec((0u64..3, 0u64..3, 1u64..9), 0..4);
    (path.clone(), kind, path, 0u64..9, extents, xattrs, any::<u32>()).prop_map(
        |(path, kind, target, more, gaps, xattrs, mode)| {
            let (mut size, mut offset, mut extents) = (0, 512, Vec::new());
            for (hole, skip, len) in gaps {
                extents.push(Extent { at: size + hole, offset: offset + skip, len });
                size += hole + len;
                offset += skip + len;
            }
            let extents = if kind == Kind::File { extents } else { Vec::new() };
            Entry { size: size + more, extents, xattrs, mode, ..entry(kind, &path, &target) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_file_answers_as_what_it_was_made_from(
        entries in proptest::collection::vec(any_entry(), 0..30),
        windows in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..4),
        limit in 1usize..5,
    ) {
        let growing = grown(entries);
        let before = answers(&growing, limit).expect("growing");
        let file = written(&growing, &windows);
        prop_assert_eq!(&answers(&growing, limit).expect("complete"), &before);
        let index = Index::open(file, &layer()).expect("open");
        prop_assert_eq!(&answers(&index, limit).expect("index"), &before);
        prop_assert_eq!(index.facts(), &facts());
        prop_assert_eq!(index.dropped(), growing.dropped());
        let read: Vec<_> = (0..index.points()).map(|n| index.point(n).expect("point")).collect();
        prop_assert_eq!(read, points(&windows));
        // Names are counted.
        let mut names: BTreeMap<Node, u32> = BTreeMap::new();
        before.values().for_each(|answer| *names.entry(answer.0).or_default() += 1);
        for (node, attr, ..) in before.values() {
            prop_assert_eq!(attr.nlink, names[node]);
        }
    }

    #[test]
    fn any_bytes_under_a_good_check_are_answers_or_damage(
        entries in proptest::collection::vec(any_entry(), 0..12),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = bytes(&written(&grown(entries), &[vec![1; 9], vec![2; 5]]));
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        if let Ok(index) = resealed(&bytes) {
            // Whatever it says, it ends.
            let _ = answers(&index, 3);
            for n in 0..index.points() {
                let _ = index.point(n);
            }
            let _ = index.point_at(1000);
        }
    }
}

/// The index that bytes are with a check that holds.
fn resealed(bytes: &[u8]) -> Result<Index> {
    let mut bytes = bytes.to_vec();
    bytes[CHECK].fill(0);
    let check = blake3::hash(&bytes);
    bytes[CHECK].copy_from_slice(check.as_bytes());
    opened(&bytes)
}

fn opened(bytes: &[u8]) -> Result<Index> {
    let mut file = tempfile::tempfile().expect("file");
    file.write_all(bytes).expect("write");
    Index::open(file, &layer())
}

#[test]
fn every_flipped_byte_is_noticed() {
    let growing = grown([dir("d"), file("d/f", 9, &[(0, 512, 4)]), entry(Kind::Symlink, "l", "d")]);
    let file = written(&growing, &[vec![3; 7], vec![]]);
    let whole = bytes(&file);
    for at in 0..whole.len() {
        file.write_all_at(&[whole[at] ^ 0x10], at as u64).expect("write");
        let error = Index::open(file.try_clone().expect("clone"), &layer()).map(|_| ()).expect_err("damaged");
        assert_eq!(error.kind(), Fault::Corrupt, "byte {at}");
        file.write_all_at(&whole[at..=at], at as u64).expect("write");
    }
    Index::open(file, &layer()).expect("whole again");
    for len in [0, 1, HEAD - 1, HEAD, whole.len() - 1] {
        assert_eq!(opened(&whole[..len]).map(|_| ()).expect_err("cut").kind(), Fault::Corrupt, "{len} bytes");
        assert!(resealed_cut(&whole, len).is_none_or(|kind| kind == Fault::Corrupt), "{len} bytes");
    }
    assert_eq!(opened(&[&whole[..], &[0]].concat()).map(|_| ()).expect_err("longer").kind(), Fault::Corrupt);
}

fn resealed_cut(whole: &[u8], len: usize) -> Option<Fault> {
    (len >= HEAD).then(|| resealed(&whole[..len]).map(|_| ()).expect_err("cut").kind())
}

#[test]
fn a_directory_within_itself_is_damage() {
    let growing = grown([dir("a"), dir("a/b")]);
    let whole = bytes(&written(&growing, &[]));
    assert_eq!(node(&growing, "a/b"), Node(2));
    // Its only name, b, is made to name the directory above: the record of node 2 becomes that of its parent's list.
    let mut bytes = whole.clone();
    let name = HEAD + 3 * SIZE + 8;
    assert_eq!(bytes[name + 4..name + 8], 2u32.to_le_bytes());
    bytes[name + 4..name + 8].copy_from_slice(&1u32.to_le_bytes());
    let index = resealed(&bytes).expect("opens");
    let error = index.lookup(Node(1), b"b").expect_err("a cycle");
    assert_eq!(error.kind(), Fault::Corrupt);
    assert_eq!(index.list(Node(1), None, 9).expect_err("a cycle").kind(), Fault::Corrupt);
    // A list of names that is not there.
    let mut bytes = whole;
    let mut record = Record::decode(bytes[HEAD..].first_chunk().expect("record")).expect("root");
    record.data = pair(u32::MAX, u32::MAX);
    bytes[HEAD..HEAD + SIZE].copy_from_slice(&record.encode());
    let index = resealed(&bytes).expect("opens");
    assert_eq!(index.list(Node::ROOT, None, usize::MAX).expect_err("no names").kind(), Fault::Corrupt);
    assert_eq!(index.attr(Node(u32::MAX)).expect_err("no node").kind(), Fault::Corrupt);
}

#[test]
fn other_layers_and_versions_are_refused() {
    let file = written(&grown([dir("a")]), &[]);
    let other = Digest::of(b"other");
    let whole = bytes(&file);
    assert_eq!(Index::open(file, &other).map(|_| ()).expect_err("another layer").kind(), Fault::Corrupt);
    let mut newer = whole;
    newer[8] = 9;
    assert_eq!(resealed(&newer).map(|_| ()).expect_err("version").kind(), Fault::Unsupported);
}

#[test]
fn points_are_found_by_output() {
    let growing = grown([]);
    let index = Index::open(written(&growing, &[vec![1], vec![2, 2], vec![]]), &layer()).expect("open");
    for (output, want) in [(0, 0), (999, 0), (1000, 1), (1999, 1), (2000, 2), (u64::MAX, 2)] {
        assert_eq!(index.point_at(output).expect("search"), Some(want));
    }
    assert_eq!(index.point(3).expect_err("past the last").kind(), Fault::Invalid);
    let empty = Index::open(written(&growing, &[]), &layer()).expect("open");
    assert_eq!(empty.point_at(5).expect("search"), None);
}

#[test]
fn writing_is_once_and_of_the_whole() {
    let growing = grown([dir("a")]);
    let mut file = tempfile::tempfile().expect("file");
    assert_eq!(growing.write(&facts(), &[], &mut file).expect_err("growing").kind(), Fault::Invalid);
    growing.complete().expect("complete");
    let windows = [vec![], vec![]];
    let mut backwards = points(&windows);
    backwards.reverse();
    assert_eq!(growing.write(&facts(), &backwards, &mut file).expect_err("order").kind(), Fault::Invalid);
    growing.write(&facts(), &[], &mut file).expect("write");
    assert_eq!(growing.write(&facts(), &[], &mut file).expect_err("twice").kind(), Fault::Invalid);
    assert_eq!(growing.add(dir("b")).expect_err("complete").kind(), Fault::Invalid);
    growing.complete().expect("again");
}

#[test]
fn names_are_normalised_and_hostile_ones_dropped() {
    let long = "n".repeat(256);
    let bad = ["", "../x", "a/../../x", "x\0y", &long, &"p/".repeat(2049)];
    let growing = grown(bad.map(|path| file(path, 0, &[])));
    assert_eq!(growing.dropped(), bad.len() as u64);
    growing.add(entry(Kind::Symlink, "s", "")).expect("add");
    growing.add(entry(Kind::Symlink, "s", "a\0b")).expect("add");
    growing.add(entry(Kind::Hardlink, "h", "../x")).expect("add");
    growing.add(entry(Kind::Hardlink, "h", "/")).expect("add");
    growing.add(file("/", 0, &[])).expect("add");
    assert_eq!(growing.dropped(), bad.len() as u64 + 5);
    assert_eq!(paths(&growing), [""; 0]);
    let growing = grown([dir("./"), file("./a//b/", 0, &[]), file("/c", 0, &[]), file("x/../y", 0, &[])]);
    assert_eq!(paths(&growing), ["/a", "/a/b", "/c", "/y"]);
    assert!(growing.attr(Node::ROOT).expect("root").explicit);
    assert_eq!(growing.attr(Node::ROOT).expect("root").mode, 0o640);
}

#[test]
fn missing_parents_are_implied_until_they_are_told_of() {
    let growing = grown([file("a/b/c", 0, &[])]);
    let implied = at(&growing, "a/b");
    assert_eq!((implied.explicit, implied.mode, implied.uid, implied.mtime), (false, 0o755, 0, Time::default()));
    let before = node(&growing, "a/b");
    growing.add(dir("a/b")).expect("add");
    let told = at(&growing, "a/b");
    assert_eq!((told.explicit, told.mode, told.uid), (true, 0o640, 7));
    assert_eq!(node(&growing, "a/b"), before);
    assert_eq!(paths(&growing), ["/a", "/a/b", "/a/b/c"]);
}

#[test]
fn the_last_of_a_name_counts() {
    let growing = grown([file("f", 3, &[(0, 512, 3)]), file("f", 4, &[(0, 1024, 4)]), dir("d"), file("d/x", 0, &[])]);
    assert_eq!(at(&growing, "f").size, 4);
    growing.add(file("d", 1, &[])).expect("over a directory");
    assert_eq!(paths(&growing), ["/d", "/f"]);
    growing.add(dir("d")).expect("over a file");
    assert_eq!(paths(&growing), ["/d", "/f"], "what was below does not come back");
    growing.add(file("f/x", 0, &[])).expect("below a file");
    assert_eq!((paths(&growing).len(), growing.dropped()), (2, 1));
}

#[test]
fn links_in_parents_are_followed_below_the_root() {
    let link = |path, target| entry(Kind::Symlink, path, target);
    let growing = grown([
        link("lib", "usr/lib"),
        file("lib/x", 0, &[]),
        link("up", "../../../etc"),
        file("up/y", 0, &[]),
        link("usr/abs", "/var/../etc/./"),
        file("usr/abs/z", 0, &[]),
        link("loop", "loop"),
        file("loop/q", 0, &[]),
        dir("lib/sub"),
        entry(Kind::Hardlink, "usr/h", "lib/x"),
    ]);
    let want = ["/etc", "/etc/y", "/etc/z", "/lib", "/loop", "/up", "/usr", "/usr/abs", "/usr/h", "/usr/lib"];
    assert_eq!(paths(&growing), [&want[..], &["/usr/lib/sub", "/usr/lib/x", "/var"]].concat());
    assert_eq!(growing.dropped(), 1);
    assert_eq!(at(&growing, "usr/h").nlink, 2);
    // A directory over a link takes its place.
    growing.add(dir("lib")).expect("add");
    assert_eq!(at(&growing, "lib").kind, Kind::Dir);
}

#[test]
fn hard_links_share_a_node() {
    let mut link = entry(Kind::Hardlink, "b", "./a");
    (link.size, link.uid) = (999, 42);
    let growing = grown([file("a", 3, &[(0, 512, 3)]), link]);
    assert_eq!(node(&growing, "a"), node(&growing, "b"));
    let attr = at(&growing, "a");
    assert_eq!((attr.nlink, attr.size, attr.uid, attr.kind), (2, 3, 42, Kind::File));
    growing.add(entry(Kind::Hardlink, "b", "a")).expect("the same again");
    growing.add(entry(Kind::Hardlink, "a", "a")).expect("itself");
    assert_eq!(at(&growing, "a").nlink, 2);
    growing.add(entry(Kind::Hardlink, "c", "/x//y/../later")).expect("to nothing yet");
    growing.add(file("x/later", 0, &[])).expect("add");
    assert_eq!(at(&growing, "c").kind, Kind::Hardlink);
    assert_eq!(growing.target(node(&growing, "c")).expect("target"), b"x/later");
    growing.add(entry(Kind::Hardlink, "e", "c")).expect("to a link");
    assert_eq!(node(&growing, "c"), node(&growing, "e"));
    growing.add(entry(Kind::Hardlink, "d", "x")).expect("to a directory");
    assert_eq!(growing.dropped(), 1);
    growing.add(file("b", 0, &[])).expect("replaced");
    assert_eq!(at(&growing, "a").nlink, 1);
    growing.add(file(".wh.w", 0, &[])).expect("whiteout");
    growing.add(entry(Kind::Hardlink, "w2", ".wh.w")).expect("add");
    assert_eq!(at(&growing, "w2").kind, Kind::Hardlink);
}

#[test]
fn contents_and_attributes_are_kept() {
    let mut cap = file("cap", 10, &[(0, 512, 10)]);
    let keep = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
    cap.xattrs = vec![
        keep(b"security.capability", b"\x01\n\0\xff"),
        keep(b"user.x", b"old"),
        keep(b"user.overlay.opaque", b"y"),
        keep(b"trusted.overlay.redirect", b"/"),
        keep(b"", b"x"),
        keep(&[b'u'; 256], b"x"),
        keep(b"user.long", &[0; 65_537]),
        keep(b"user.x", b""),
    ];
    let sparse = file("sparse", 1 << 40, &[(4096, 1024, 10), (1 << 39, 2048, 5)]);
    let growing = grown([
        cap.clone(),
        sparse,
        file("hole", 77, &[]),
        entry(Kind::Block, "dev", ""),
        entry(Kind::Symlink, "l", "x/y"),
    ]);
    let index = Index::open(written(&growing, &[]), &layer()).expect("open");
    let want = [keep(b"security.capability", b"\x01\n\0\xff"), keep(b"user.x", b"")];
    assert_eq!(index.xattrs(node(&index, "cap")).expect("xattrs"), want);
    assert_eq!(index.extents(node(&index, "cap")).expect("extents"), cap.extents);
    assert_eq!((at(&index, "sparse").size, at(&index, "sparse").stored), (1 << 40, 15));
    assert_eq!((at(&index, "hole").size, at(&index, "hole").stored), (77, 0));
    assert_eq!((at(&index, "dev").device, at(&index, "cap").device), ((8, 1), (0, 0)));
    assert_eq!((at(&index, "l").size, at(&index, "cap").mtime), (3, Time { secs: -5, nanos: 999_999_999 }));
    assert_eq!(index.target(node(&index, "cap")).expect_err("no link").kind(), Fault::Invalid);
    assert_eq!(index.lookup(node(&index, "cap"), b"x").expect("lookup"), None);
}

#[test]
fn extents_that_make_no_file_are_refused() {
    let growing = Growing::new();
    let bad: [&[_]; 5] =
        [&[(0, 0, 9)], &[(0, 0, 0)], &[(2, 0, 1), (1, 5, 1)], &[(0, 5, 2), (2, 6, 1)], &[(1, u64::MAX, 1)]];
    for extents in bad {
        assert_eq!(growing.add(file("f", 8, extents)).expect_err("no file").kind(), Fault::Corrupt, "{extents:?}");
    }
}

#[test]
fn each_limit_ends_a_layer() {
    let none = Limits { entries: 100, name_bytes: 100, target_bytes: 100, xattr_bytes: 100, extents: 100 };
    let fits = |make: &dyn Fn(u64) -> Entry| {
        let growing = Growing::within(none);
        let added = (0..1000).map(|n| growing.add(make(n))).find_map(|added| added.err());
        assert_eq!(added.expect("a limit").kind(), Fault::TooBig);
        growing.complete().expect("complete");
        answers(&growing, 9).expect("what was added").len()
    };
    assert_eq!(fits(&|_| file("f", 0, &[])), 2, "members");
    let deep = |n: u64| file(&format!("{}f", ["a/", "b/"][n as usize % 2].repeat(60)), 0, &[]);
    assert_eq!(fits(&deep), 101, "implied directories");
    assert_eq!(fits(&|n| file(&format!("{n:09}"), 0, &[])), 11, "names");
    assert_eq!(fits(&|n| entry(Kind::Symlink, &format!("{}", n % 9), &format!("{n:010}"))), 10, "targets");
    assert_eq!(fits(&|n| entry(Kind::Hardlink, &format!("{}", n % 9), &format!("{n:010}"))), 10, "targets");
    let with = |n: u64| Entry { xattrs: vec![(b"user.x".to_vec(), n.to_le_bytes().to_vec())], ..dir("d") };
    assert_eq!(fits(&with), 2, "extended attributes");
    assert_eq!(fits(&|_| file("f", 9, &[(1, 2, 3), (4, 5, 1)])), 2, "extents");
    let many = (0..2000).map(|n: u32| (n.to_string().into_bytes(), Vec::new())).collect();
    let error = Growing::new().add(Entry { xattrs: many, ..dir("d") }).expect_err("attributes of one file");
    assert_eq!(error.kind(), Fault::TooBig);
}
