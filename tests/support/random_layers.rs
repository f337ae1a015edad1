//! Random layers: small, valid (each could come from a tool), and full of what layers do to each other.

use super::archive::Member;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Names that meet each other often; one is as long as names may be in the first field of a header, one is not ASCII.
const NAMES: [&str; 7] =
    ["a", "b", "c", "d.txt", "ключ é", "-x y", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"];

/// A layer, and what its writer was free to do.
pub struct Layer {
    pub members: Vec<Member>,
    /// Whether it means the same without the layers below it: all parents told of, no links out of it.
    pub is_whole: bool,
}

/// Layers, bottom first, each of a few members; with hard links to files of layers below if `links_out`.
pub fn layers(rng: &mut Rng, count: usize, links_out: bool) -> Vec<Layer> {
    let mut state = BTreeMap::from([(String::new(), b'5')]);
    (0..count).map(|_| layer(rng, &mut state, links_out)).collect()
}

fn layer(rng: &mut Rng, state: &mut BTreeMap<String, u8>, links_out: bool) -> Layer {
    let mut draft = Draft {
        below: state.clone(),
        state,
        told: BTreeSet::new(),
        needed: BTreeSet::new(),
        members: Vec::new(),
        is_whole: rng.bool(),
        links_out,
    };
    for _ in 0..rng.usize(4..16) {
        match rng.u8(0..12) {
            0 | 1 => draft.whiteout(rng),
            2 => draft.opaque(rng),
            3 | 4 => draft.link(rng),
            _ => draft.add(rng),
        }
    }
    let Draft { mut members, is_whole, .. } = draft;
    // Whiteouts may stand anywhere.
    if members.is_empty() {
        members.push(Member::dir("a-dir-of-its-own"));
    }
    Layer { members, is_whole }
}

struct Draft<'a> {
    /// What the layers below show, and what they and this one do: paths and flags.
    below: BTreeMap<String, u8>,
    state: &'a mut BTreeMap<String, u8>,
    /// Paths that have a member.
    told: BTreeSet<String>,
    /// Paths that have to stay as they are.
    needed: BTreeSet<String>,
    members: Vec<Member>,
    is_whole: bool,
    links_out: bool,
}

impl Draft<'_> {
    fn pick(&self, rng: &mut Rng, fits: impl Fn(&str, u8) -> bool) -> Option<String> {
        let all: Vec<&String> =
            self.state.iter().filter(|(path, flag)| fits(path, **flag)).map(|(path, _)| path).collect();
        rng.choice(all).cloned()
    }

    /// A path for a new member: in a directory that is there.
    fn place(&mut self, rng: &mut Rng) -> Option<String> {
        let parent = self.pick(rng, |path, flag| flag == b'5' && path.matches('/').count() < 3)?;
        let path = join(&parent, rng.choice(NAMES)?);
        let clash = |other: &String| *other == path || below(other, &path);
        if self.told.contains(&path) || self.needed.iter().any(clash) {
            return None;
        }
        Some(path)
    }

    /// The directories above are told of before what is in them.
    fn parents(&mut self, rng: &mut Rng, path: &str) {
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        for end in ends {
            let parent = &path[..end];
            if self.is_whole && self.told.insert(parent.to_owned()) {
                self.members.push(dressed(rng, Member::dir(&format!("{parent}/"))));
            }
            self.needed.insert(parent.to_owned());
        }
    }

    fn put(&mut self, rng: &mut Rng, path: String, member: Member) {
        self.parents(rng, &path);
        if member.flag != b'5' || self.state.get(&path) != Some(&b'5') {
            self.state.retain(|other, _| !below(other, &path));
        }
        self.state.insert(path.clone(), if member.flag == b'1' { b'0' } else { member.flag });
        self.told.insert(path.clone());
        self.needed.insert(path);
        self.members.push(member);
    }

    fn add(&mut self, rng: &mut Rng) {
        let Some(path) = self.place(rng) else { return };
        let member = match rng.u8(0..12) {
            0..=3 => Member::dir(&format!("{path}/")),
            4 | 5 => Member::symlink(&path, rng.choice(["nowhere", "../a", "/b/c", "лежит"]).expect("some")),
            6 => Member::new(&path, b'6', 0o600),
            7 => Member { device: (rng.u32(1..200), rng.u32(..256)), ..Member::new(&path, rng.u8(b'3'..=b'4'), 0o640) },
            _ => {
                let len = rng.choice([0, 1, 511, 512, 3000, 9000]).expect("some");
                Member::file(&path, (0..len).map(|_| rng.u8(b'a'..b'e')).collect::<Vec<u8>>())
            }
        };
        let member = dressed(rng, member);
        self.put(rng, path, member);
    }

    /// A hard link to a file of this layer, or of one below.
    fn link(&mut self, rng: &mut Rng) {
        let own: Vec<Member> =
            self.members.iter().filter(|member| member.flag == b'0' && !is_mark(member)).cloned().collect();
        let out = self.pick(rng, |path, flag| flag == b'0' && !self.told.contains(path));
        let Some(path) = self.place(rng) else { return };
        let target = match (rng.choice(own), out) {
            (Some(own), _) if self.is_whole || !self.links_out || rng.bool() => own,
            (_, Some(out)) if self.links_out && !self.is_whole && out != path && !below(&out, &path) => {
                self.needed.insert(out.clone());
                Member::file(&out, "")
            }
            _ => return,
        };
        if below(&target.path, &path) {
            return;
        }
        let link = Member::link(&path, &target);
        self.put(rng, path, link);
    }

    fn whiteout(&mut self, rng: &mut Rng) {
        let free =
            |path: &str, _| !path.is_empty() && !self.needed.iter().any(|other| other == path || below(other, path));
        let Some(path) = self.pick(rng, free) else { return };
        self.parents(rng, &path);
        self.state.retain(|other, _| *other != path && !below(other, &path));
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        self.members.push(Member::file(&join(parent, &format!(".wh.{name}")), ""));
        // It may come back as something else, after it is gone.
        if rng.bool() {
            self.told.insert(path.clone());
        }
    }

    fn opaque(&mut self, rng: &mut Rng) {
        let Some(path) = self.pick(rng, |path, flag| flag == b'5' && !path.is_empty()) else { return };
        let hides = self.below.keys().filter(|other| below(other, &path) && self.state.contains_key(*other));
        let hides: Vec<String> = hides.filter(|other| !self.told.contains(*other)).cloned().collect();
        if !self.is_whole
            || self.told.contains(&join(&path, "."))
            || hides.iter().any(|path| self.needed.contains(path))
        {
            return;
        }
        self.told.insert(join(&path, "."));
        let mark = join(&path, ".wh..wh..opq");
        self.parents(rng, &mark);
        self.members.push(Member::file(&mark, ""));
        self.state.retain(|other, _| !hides.contains(other));
    }
}

/// With attributes of its own.
fn dressed(rng: &mut Rng, mut member: Member) -> Member {
    member.owner = (rng.u32(0..3) * 1000, rng.u32(0..3) * 7);
    member.mtime = match rng.u8(0..6) {
        0 => (-rng.i64(1..2_000_000_000), rng.u32(0..1_000_000_000)),
        1 => (rng.i64(0..4_000_000_000), rng.u32(0..1_000_000_000)),
        _ => (rng.i64(0..4_000_000_000), 0),
    };
    if member.flag != b'2' {
        member.mode = rng.choice([0o755, 0o644, 0o600, 0o4755, 0o2711, 0o1777, 0o000]).expect("some");
    }
    if matches!(member.flag, b'0' | b'5') && rng.u8(0..4) == 0 {
        member.xattrs.push(("user.key".to_owned(), (0..rng.usize(1..40)).map(|_| rng.u8(..)).collect()));
    }
    if member.flag == b'0' && rng.u8(0..6) == 0 {
        // cap_net_raw+ep, as setcap writes it
        let value = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        member.xattrs.push(("security.capability".to_owned(), value));
    }
    member
}

fn is_mark(member: &Member) -> bool {
    member.path.rsplit('/').next().is_some_and(|name| name.starts_with(".wh."))
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

fn below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}
