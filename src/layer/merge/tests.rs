//! Merging against applying layers one after another, at the end and on the way there.

use super::model::{Map, Path, Thing, layers, member, split, unique};
use super::*;
use crate::layer::entry::Entry;
use crate::layer::index::Growing;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn grown(members: &[Entry]) -> Growing {
    let growing = Growing::new();
    for member in members {
        growing.add(member.clone()).expect("add");
    }
    growing.complete().expect("complete");
    growing
}

fn tocs(layers: &[Growing]) -> Vec<&dyn Toc> {
    layers.iter().map(|layer| layer as &dyn Toc).collect()
}

fn thing(layers: &[&dyn Toc], at: At) -> Thing {
    let attr = layers[at.layer].attr(at.node).expect("attr");
    let target = match attr.kind {
        Kind::Symlink => layers[at.layer].target(at.node).expect("target"),
        _ => Vec::new(),
    };
    Thing { kind: attr.kind, told: (attr.uid, attr.gid), target: String::from_utf8(target).expect("utf-8") }
}

fn known<T>(known: Known<T>) -> T {
    match known {
        Known::Is(value) => value,
        Known::Unknown { layer } => panic!("layer {layer} is complete"),
    }
}

/// All paths by listing, a few names at a time, each looked up as well.
fn whole(layers: &[&dyn Toc], limit: usize) -> BTreeMap<Path, Thing> {
    let mut all = BTreeMap::new();
    let mut todo = vec![(Path::new(), root(layers))];
    while let Some((path, dir)) = todo.pop() {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let items = known(list(layers, &dir, after.as_deref(), limit).expect("list"));
            let short = items.len() < limit;
            for item in items {
                assert!(after < Some(item.name.clone()), "names ascend");
                assert_eq!(lookup(layers, &dir, &item.name).expect("lookup"), item.found);
                let mut path = path.clone();
                path.push(String::from_utf8(item.name.clone()).expect("utf-8"));
                assert_eq!(walk(layers, path.join("/").as_bytes()).expect("walk"), item.found);
                after = Some(item.name);
                match item.found {
                    Found::Leaf(at) => {
                        all.insert(path, thing(layers, at));
                    }
                    Found::Dir(dir) => {
                        all.insert(path.clone(), thing(layers, known(face(layers, &dir).expect("face"))));
                        todo.push((path, dir));
                    }
                    other => panic!("listed {other:?}"),
                }
            }
            if short {
                break;
            }
        }
    }
    all
}

/// The same as applying gives it; hard links have the names of what they are, symbolic links only keep targets.
fn expected(layers: &[Vec<Entry>]) -> BTreeMap<Path, Thing> {
    let mut map = Map::default();
    for members in layers {
        map.apply(&Map::extract(members));
    }
    let bare = |thing: &Thing| match thing.kind {
        Kind::Symlink => thing.clone(),
        _ => Thing { target: String::new(), ..thing.clone() },
    };
    map.paths.iter().map(|(path, n)| (path.clone(), bare(&map.things[*n]))).collect()
}

fn every_path() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut all = Vec::new();
    for _ in 0..4 {
        paths = paths.iter().flat_map(|path| ["a", "b", "c"].map(|name| format!("{path}/{name}"))).collect();
        all.extend(paths.clone());
    }
    all
}

/// Whether an answer given early is what the final one says, or part of it.
fn holds(early: &Found, last: &Found) -> bool {
    match (early, last) {
        (Found::Unknown { .. }, _) => true,
        (Found::Dir(early), Found::Dir(last)) => match early.rest {
            None => early == last,
            Some(_) => last.parts.starts_with(&early.parts),
        },
        _ => early == last,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_applying_one_after_another(layers in layers(4, 9), limit in 1usize..4) {
        let grown: Vec<Growing> = layers.iter().map(|members| grown(members)).collect();
        let tocs = tocs(&grown);
        let want = expected(&layers);
        prop_assert_eq!(whole(&tocs, limit), want.clone());
        for path in every_path() {
            let found = walk(&tocs, path.as_bytes()).expect("walk");
            prop_assert_eq!(found != Found::Absent, want.contains_key(&split(&path)), "{}", path);
        }
    }

    #[test]
    fn early_answers_stay_true(all in layers(3, 8), steps in proptest::collection::vec(0usize..3, 0..24)) {
        let all: Vec<Vec<Entry>> = all.iter().map(|members| unique(members)).collect();
        let growing: Vec<Growing> = all.iter().map(|_| Growing::new()).collect();
        let tocs = tocs(&growing);
        let mut left: Vec<_> = all.iter().map(|members| members.iter()).collect();
        let mut early = Vec::new();
        for step in steps {
            let n = step % growing.len();
            match left[n].next() {
                Some(member) => growing[n].add(member.clone()).expect("add"),
                None => growing[n].complete().expect("complete"),
            }
            for path in every_path() {
                let found = walk(&tocs, path.as_bytes()).expect("walk");
                let (face, listed) = match &found {
                    Found::Dir(dir) => (face(&tocs, dir).ok(), list(&tocs, dir, None, 99).ok()),
                    _ => (None, None),
                };
                early.push((path, found, face, listed));
            }
        }
        for (n, members) in left.into_iter().enumerate() {
            for member in members {
                growing[n].add(member.clone()).expect("add");
            }
            growing[n].complete().expect("complete");
        }
        for (path, found, early_face, early_list) in early {
            let last = walk(&tocs, path.as_bytes()).expect("walk");
            prop_assert!(holds(&found, &last), "{path}: {found:?}, then {last:?}");
            let Found::Dir(dir) = last else { continue };
            if let Some(Known::Is(at)) = early_face {
                prop_assert_eq!(at, known(face(&tocs, &dir).expect("face")), "{}", path);
            }
            if let Some(Known::Is(items)) = early_list {
                prop_assert_eq!(items, known(list(&tocs, &dir, None, 99).expect("list")), "{}", path);
            }
        }
    }
}

fn merged(all: &[&[(Kind, &str, &str)]]) -> Vec<String> {
    let layers: Vec<Growing> = all
        .iter()
        .map(|members| {
            let members: Vec<Entry> = members.iter().map(|(kind, path, target)| member(*kind, path, target)).collect();
            grown(&members)
        })
        .collect();
    whole(&tocs(&layers), 2).into_keys().map(|path| path.join("/")).collect()
}

use Kind::{Dir as D, File as F, Hardlink as H, Symlink as S};

#[test]
fn whiteouts_hide_lower_layers_only() {
    let base: &[_] = &[(D, "d", ""), (F, "d/x", ""), (F, "d/y", ""), (F, "f", "")];
    assert_eq!(merged(&[base, &[(F, ".wh.f", "")]]), ["d", "d/x", "d/y"]);
    assert_eq!(merged(&[base, &[(F, "d/.wh.x", ""), (F, "d/z", "")]]), ["d", "d/y", "d/z", "f"]);
    assert_eq!(merged(&[base, &[(F, "d/z", ""), (F, "d/.wh..wh..opq", "")]]), ["d", "d/z", "f"]);
    assert_eq!(merged(&[base, &[(F, ".wh..wh..opq", "")]]), [""; 0]);
    // A name beside its whiteout: the name, and nothing below it.
    assert_eq!(merged(&[base, &[(D, "d", ""), (F, "d/z", ""), (F, ".wh.d", "")]]), ["d", "d/z", "f"]);
    // Whiteouts that name nothing, or what has no business to be named.
    let odd: &[_] = &[(F, ".wh.", ""), (F, "d/.wh..", ""), (F, "d/.wh...", ""), (F, ".wh..wh.plnk", "")];
    assert_eq!(merged(&[base, odd]), ["d", "d/x", "d/y", "f"]);
    // Two layers up, and a whiteout of what is already gone.
    assert_eq!(merged(&[base, &[(F, ".wh.f", "")], &[(F, ".wh.f", "")], &[(F, "f", "")]]), ["d", "d/x", "d/y", "f"]);
}

#[test]
fn other_kinds_replace() {
    let base: &[_] = &[(D, "d", ""), (F, "d/x", ""), (S, "l", "d")];
    assert_eq!(merged(&[base, &[(F, "d", "")]]), ["d", "l"]);
    // What was below a file that was a directory before does not come back.
    assert_eq!(merged(&[base, &[(F, "d", "")], &[(F, "d/z", "")]]), ["d", "d/z", "l"]);
    // A directory over a link of a lower layer shadows it.
    assert_eq!(merged(&[base, &[(F, "l/z", "")]]), ["d", "d/x", "l", "l/z"]);
    // Within a layer, the link is followed.
    assert_eq!(merged(&[&[(S, "l", "d"), (F, "l/z", "")]]), ["d", "d/z", "l"]);
}

#[test]
fn hard_links_lead_below() {
    let base: &[_] = &[(F, "f", ""), (D, "d", "")];
    assert_eq!(merged(&[base, &[(H, "g", "f")]]), ["d", "f", "g"]);
    assert_eq!(
        merged(&[base, &[(H, "g", "f"), (F, ".wh.f", "")]]),
        ["d", "g"],
        "its own layer's whiteouts are not below"
    );
    assert_eq!(merged(&[base, &[(F, ".wh.f", "")], &[(H, "g", "f")]]), ["d"], "gone below");
    assert_eq!(merged(&[base, &[(H, "g", "d")]]), ["d", "f"], "no link to a directory");
    assert_eq!(merged(&[base, &[(H, "g", "f")], &[(H, "h", "g")]]), ["d", "f", "g", "h"], "one through another");
    assert_eq!(merged(&[base, &[(H, "f", "f")]]), ["d", "f"], "itself");
}

#[test]
fn links_that_lead_nowhere_cost_one_way_down() {
    let links: &[_] = &[(H, "a", "b"), (H, "b", "a")];
    assert_eq!(merged(&vec![links; 100]), [""; 0]);
}

#[test]
fn a_file_is_served_before_its_layer_is_whole() {
    let (base, top) = (Growing::new(), Growing::new());
    let tocs: [&dyn Toc; 2] = [&base, &top];
    top.add(member(D, "d", "")).expect("add");
    top.add(member(F, "d/f", "")).expect("add");
    assert!(matches!(walk(&tocs, b"d/f").expect("walk"), Found::Leaf(At { layer: 1, .. })));
    assert_eq!(walk(&tocs, b"d/g").expect("walk"), Found::Unknown { layer: 1 });
    top.complete().expect("complete");
    assert_eq!(walk(&tocs, b"d/g").expect("walk"), Found::Unknown { layer: 0 });
    base.add(member(F, "d/g", "")).expect("add");
    assert!(matches!(walk(&tocs, b"d/g").expect("walk"), Found::Leaf(At { layer: 0, .. })));
    let Found::Dir(dir) = walk(&tocs, b"d").expect("walk") else { panic!("a directory") };
    assert_eq!(list(&tocs, &dir, None, 9).expect("list"), Known::Unknown { layer: 0 });
}

#[test]
fn odd_names_are_absent() {
    let layer = grown(&[member(F, "a", ""), member(F, ".wh.b", "")]);
    let tocs: [&dyn Toc; 1] = [&layer];
    let root = root(&tocs);
    for name in [&b""[..], b".", b"..", b".wh.b", b"a/b", b"/", b"\0", &[b'x'; 4096]] {
        assert_eq!(lookup(&tocs, &root, name).expect("lookup"), Found::Absent);
    }
    assert_eq!(walk(&tocs, b"a/..").expect("walk"), Found::Absent);
    assert!(matches!(walk(&tocs, b"/./a/").expect("walk"), Found::Leaf(_)));
    assert_eq!(walk(&tocs, b"").expect("walk"), Found::Dir(root));
}
