//! What merging is checked against: layers applied one after another to a map of paths, as image-spec tells it; and
//! random layers to check it with.

use crate::layer::entry::{Entry, Extent, Kind, Time};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) type Path = Vec<String>;

/// What a path is: who told of it (0 if nobody did), as uid and gid, and what a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) kind: Kind,
    pub(super) told: (u32, u32),
    pub(super) target: String,
}

/// Paths of files that are one are one number.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pub(super) paths: BTreeMap<Path, usize>,
    pub(super) things: Vec<Thing>,
}

impl Map {
    pub(super) fn thing(&self, path: &[String]) -> Option<&Thing> {
        self.paths.get(path).map(|n| &self.things[*n])
    }

    fn kind(&self, path: &[String]) -> Option<Kind> {
        if path.is_empty() { Some(Kind::Dir) } else { self.thing(path).map(|thing| thing.kind) }
    }

    fn put(&mut self, path: Path, thing: Thing) {
        self.remove(&path);
        self.things.push(thing);
        self.paths.insert(path, self.things.len() - 1);
    }

    fn remove(&mut self, path: &[String]) {
        self.paths.retain(|other, _| !other.starts_with(path));
    }

    /// Where the directory `path` is, links followed; made if `make`.
    fn dir(&mut self, path: &[String], make: bool, depth: usize) -> Option<Path> {
        let mut at = Path::new();
        for (n, part) in path.iter().enumerate() {
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(part.clone());
            match self.kind(&at) {
                None if make => {
                    self.put(at.clone(), Thing { kind: Kind::Dir, told: (0, 0), target: String::new() });
                }
                Some(Kind::Dir) => {}
                Some(Kind::Symlink) if depth < 40 => {
                    let target = self.thing(&at)?.target.clone();
                    at.pop();
                    let base = if target.starts_with('/') { Path::new() } else { at };
                    let whole = [base, split(&target), path[n + 1..].to_vec()].concat();
                    return self.dir(&whole, make, depth + 1);
                }
                _ => return None,
            }
        }
        Some(at)
    }

    /// One layer by itself.
    pub(super) fn extract(members: &[Entry]) -> Map {
        let mut map = Map::default();
        for member in members {
            let path = split(&text(&member.path));
            let Some((name, parents)) = path.split_last() else { continue };
            let Some(dir) = map.dir(parents, true, 0) else { continue };
            let at = [dir, vec![name.clone()]].concat();
            let told = (member.uid, member.gid);
            let thing = Thing { kind: member.kind, told, target: text(&member.target) };
            match member.kind {
                Kind::Dir if map.kind(&at) == Some(Kind::Dir) => {
                    let n = map.paths[&at];
                    map.things[n] = thing;
                }
                Kind::Hardlink => {
                    let target = split(&thing.target);
                    let (last, above) = target.split_last().expect("a target");
                    let white = target.iter().any(|part| part.starts_with(".wh."));
                    let found = map.dir(above, false, 0).map(|dir| [dir, vec![last.clone()]].concat());
                    match found.and_then(|found| map.paths.get(&found).copied()).filter(|_| !white) {
                        None => map.put(at, thing),
                        Some(n) if map.things[n].kind == Kind::Dir => {}
                        Some(n) => {
                            map.things[n].told = told;
                            map.remove(&at);
                            map.paths.insert(at, n);
                        }
                    }
                }
                _ => map.put(at, thing),
            }
        }
        map
    }

    /// A layer over this one.
    pub(super) fn apply(&mut self, layer: &Map) {
        let below = self.clone();
        let hidden = |path: &[String]| path.iter().any(|part| part.starts_with(".wh."));
        for path in layer.paths.keys() {
            let (name, dir) = path.split_last().expect("not the root");
            if hidden(dir) {
                continue;
            }
            if name == ".wh..wh..opq" {
                self.paths.retain(|other, _| !(other.starts_with(dir) && other.len() > dir.len()));
            } else if let Some(name) = name.strip_prefix(".wh.") {
                self.remove(&[dir, &[name.to_owned()]].concat());
            }
        }
        let first = self.things.len();
        self.things.extend(layer.things.iter().cloned());
        for (path, n) in layer.paths.iter().filter(|(path, _)| !hidden(path)) {
            let thing = &layer.things[*n];
            let both = thing.kind == Kind::Dir && self.kind(path) == Some(Kind::Dir);
            if both && thing.told == (0, 0) {
                continue;
            }
            if !both {
                self.remove(path);
            }
            if thing.kind != Kind::Hardlink {
                self.paths.insert(path.clone(), first + n);
            } else if let Some(n) = below.paths.get(&split(&thing.target))
                && below.things[*n].kind != Kind::Dir
            {
                self.paths.insert(path.clone(), *n);
            }
        }
    }
}

pub(super) fn split(path: &str) -> Path {
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("utf-8")
}

/// A member; who tells of it is set by [`layer`].
pub(super) fn member(kind: Kind, path: &str, target: &str) -> Entry {
    let extents = if kind == Kind::File { vec![Extent { at: 0, offset: 512, len: 3 }] } else { Vec::new() };
    Entry {
        path: path.into(),
        kind,
        mode: 0o644,
        uid: 1,
        gid: 1,
        mtime: Time { secs: -1, nanos: 5 },
        size: 3,
        extents,
        target: target.into(),
        device: (1, 3),
        xattrs: Vec::new(),
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("a"), 3 => Just("b"), 2 => Just("c")]
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/"))
}

fn any_member() -> impl Strategy<Value = Entry> {
    let white = prop_oneof![
        4 => name().prop_map(|name| format!(".wh.{name}")),
        2 => Just(".wh..wh..opq".to_owned()),
        1 => Just(".wh.".to_owned()),
        1 => Just(".wh..".to_owned()),
        1 => Just(".wh...".to_owned()),
        1 => Just(".wh..wh.plnk".to_owned()),
    ];
    let target =
        prop_oneof![path(), path().prop_map(|path| format!("/{path}")), Just("..".to_owned()), Just("../b".to_owned())];
    prop_oneof![
        4 => path().prop_map(|path| member(Kind::File, &path, "")),
        4 => path().prop_map(|path| member(Kind::Dir, &path, "")),
        2 => (path(), target).prop_map(|(path, target)| member(Kind::Symlink, &path, &target)),
        3 => (path(), path()).prop_map(|(path, target)| member(Kind::Hardlink, &path, &target)),
        1 => path().prop_map(|path| member(Kind::Fifo, &path, "")),
        3 => (proptest::option::of(path()), white).prop_map(|(dir, white)| {
            member(Kind::File, &dir.map_or(white.clone(), |dir| format!("{dir}/{white}")), "")
        }),
        1 => (path(), path()).prop_map(|(path, target)| member(Kind::Hardlink, &path, &format!("{target}/.wh.a"))),
    ]
}

/// Layers of a few members, each of which tells who it is.
pub(super) fn layers(count: usize, members: usize) -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let layer = proptest::collection::vec(any_member(), 0..members);
    proptest::collection::vec(layer, 1..=count).prop_map(|mut layers| {
        for (layer, members) in layers.iter_mut().enumerate() {
            for (n, member) in members.iter_mut().enumerate() {
                (member.uid, member.gid) = (n as u32 + 1, layer as u32 + 1);
            }
        }
        layers
    })
}

/// The members that are the only ones of their names, as image-spec demands, and below no link.
pub(super) fn unique(members: &[Entry]) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::new();
    for member in members {
        let before = Map::extract(&kept);
        let path = split(&text(&member.path));
        let parents = (1..path.len()).all(|n| matches!(before.kind(&path[..n]), None | Some(Kind::Dir)));
        let fresh = match before.thing(&path) {
            None => true,
            Some(thing) => member.kind == Kind::Dir && thing.kind == Kind::Dir && thing.told == (0, 0),
        };
        if parents && fresh {
            kept.push(member.clone());
        }
    }
    kept
}
