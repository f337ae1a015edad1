//! The rules of the source that no compiler checks: which floor may see which, who may say what, how long a file is.
//!
//! Reads `src`, `tests` and `benches` as text, comments and literals taken out, and names file and line of what is wrong.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor, lowest first; a room sees lower floors and itself. The words are the files of `src` itself.
const FLOORS: [&[&str]; 6] = [&["words"], &["net"], &["layer", "remote", "store"], &["tree"], &["fuse"], &["cli"]];
/// The rooms that may touch the machine: all but the words.
const ALL: &[&str] = &["layer", "net", "remote", "store", "tree", "fuse", "cli", "top"];
/// The longest file, in lines.
const MAX_LINES: usize = 500;

/// A source file, with its code: comments and what stands in literals blanked, lines kept.
struct Source {
    /// From the top of the repository: `src/net/mod.rs`.
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned(), code: code(text) }
    }

    /// Its room, if it is a file of `src`: a folder, `words`, or `top` for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        Some(match below.split_once('/') {
            Some((folder, _)) => folder,
            None if matches!(below, "lib.rs" | "main.rs") => "top",
            None => "words",
        })
    }

    fn at(&self, offset: usize, what: impl std::fmt::Display) -> String {
        let line = 1 + self.code[..offset].matches('\n').count();
        format!("{}:{line}: {what}", self.path)
    }

    /// Where a word or path stands in the code, not as a part of a longer word.
    fn places<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).map(|(at, _)| at).filter(move |at| {
            let before = self.code[..*at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            !(word.starts_with(part) && before.is_some_and(part) || word.ends_with(part) && after.is_some_and(part))
        })
    }
}

/// The text with comments, and what stands between quotes, blanked.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let blank = |out: &mut String, part: &str| out.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before = out.chars().next_back().unwrap_or(' ');
        let in_word = before.is_alphanumeric() || before == '_';
        let hashes =
            rest.trim_start_matches(['b', 'c']).strip_prefix('r').map(|r| r.len() - r.trim_start_matches('#').len());
        let raw = hashes.filter(|n| !in_word && rest.trim_start_matches(['b', 'c'])[1 + n..].starts_with('"'));
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            end_of_comment(rest)
        } else if let Some(hashes) = raw {
            let open = rest.find('"').map_or(rest.len(), |at| at + 1);
            let close = format!("\"{}", "#".repeat(hashes));
            rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len())
        } else if first == '"' {
            end_of_string(rest)
        } else if first == '\'' {
            // A character, or a lifetime, which has no end.
            match rest[1..].chars().next() {
                Some('\\') => rest[3..].find('\'').map_or(rest.len(), |at| at + 4),
                Some(c) if rest[1 + c.len_utf8()..].starts_with('\'') => 2 + c.len_utf8(),
                _ => 0,
            }
        } else {
            0
        };
        if end == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            blank(&mut out, &rest[..end]);
            rest = &rest[end..];
        }
    }
    out
}

fn end_of_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// What a path names first after `crate::` or the like: `{a, b}` names both.
fn named(code: &str) -> Vec<&str> {
    let word = |text: &str| -> usize { text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()) };
    let Some(group) = code.strip_prefix('{') else { return vec![&code[..word(code)]] };
    let (mut depth, mut start, mut names) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                names.push(&group[at..at + word(&group[at..])]);
                start = false;
            }
            _ => {}
        }
    }
    names
}

/// A file sees lower floors and its own room only.
fn imports(source: &Source) -> Vec<String> {
    let Some(room) = source.room().filter(|room| *room != "top") else { return Vec::new() };
    let Some(own) = floor(room) else {
        return vec![source.at(0, format_args!("{room} has no place in FLOORS of tests/floors.rs"))];
    };
    let mut wrong = Vec::new();
    for path in ["crate::", "regfs::", "super::"] {
        for at in source.places(path) {
            for name in named(&source.code[at + path.len()..]) {
                // Whatever is not a room is a word, or below `super` something of the room's own.
                let seen = floor(name).unwrap_or(0);
                if name != room && seen >= own && seen > 0 && (path != "super::" || own_module(source, name).is_none())
                {
                    wrong.push(source.at(at, format_args!("{room} (floor {own}) sees {name} (floor {seen})")));
                }
            }
        }
    }
    wrong
}

/// A file or folder of the same room that has the name of another room: `tree/remote.rs`.
fn own_module(source: &Source, name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&source.path);
    let folder = folder.parent()?;
    [folder.join(format!("{name}.rs")), folder.join(name)].into_iter().find(|path| path.exists())
}

/// Words that only some rooms may say.
fn words(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let rules: [(&[&str], &[&str]); 4] = [
        (&["tokio", "reqwest", "async", ".await"], &["net"]),
        (&["fuser"], &["fuse"]),
        (&["println!", "print!", "eprintln!", "eprint!", "dbg!", "io::stdout", "io::stderr"], &["cli", "top"]),
        (&["fs::read", "fs::write", "File::open", "OpenOptions", "TcpStream", "Command::new", "thread::spawn"], ALL),
    ];
    let mut wrong = Vec::new();
    for (words, rooms) in rules {
        for word in words.iter().filter(|_| !rooms.contains(&room)) {
            wrong.extend(source.places(word).map(|at| source.at(at, format_args!("{room} may not say {word}"))));
        }
    }
    wrong
}

/// What nobody may say or leave out.
fn manners(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for word in ["todo!", "unimplemented!", "#[ignore"] {
        wrong.extend(source.places(word).map(|at| source.at(at, format_args!("{word} is unfinished work"))));
    }
    for at in source.places("unsafe") {
        let line = source.code[..at].matches('\n').count();
        let above: Vec<&str> = source.text.lines().take(line + 1).collect();
        let explained = above.iter().rev().take(8).any(|line| line.trim_start().starts_with("// SAFETY:"));
        if !explained || !source.code.contains("allow(unsafe_code)") {
            wrong.push(source.at(at, "unsafe without allow(unsafe_code) and a // SAFETY: right above"));
        }
    }
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        wrong.push(source.at(0, format_args!("{lines} lines are over the limit of {MAX_LINES}")));
    }
    if !source.text.starts_with("//!") {
        wrong.push(source.at(0, "does not begin with //! what it is"));
    }
    wrong
}

/// Every Rust file below a folder of the repository.
fn sources(folder: &str) -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![top.join(folder)]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(top).expect("below the top").to_string_lossy().into_owned();
                found.push(Source::new(&name, &fs::read_to_string(&path).expect("a source file")));
            }
        }
    }
    found
}

#[track_caller]
fn holds(rule: fn(&Source) -> Vec<String>, sources: &[Source]) {
    assert!(sources.len() > 1, "no source files found");
    let mut wrong: Vec<String> = sources.iter().flat_map(rule).collect();
    wrong.sort();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn floors_see_only_what_is_below() {
    holds(imports, &sources("src"));
}

#[test]
fn words_stay_in_their_rooms() {
    holds(words, &sources("src"));
}

#[test]
fn files_have_manners() {
    holds(manners, &[sources("src"), sources("tests"), sources("benches")].into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn modules_with_parts_are_folders() {
    let all: BTreeMap<String, Source> =
        sources("src").into_iter().map(|source| (source.path.clone(), source)).collect();
    for path in all.keys().filter_map(|path| path.strip_suffix(".rs")) {
        assert!(!all.keys().any(|other| other.starts_with(&format!("{path}/"))), "{path}.rs and {path}/");
    }
}

#[test]
fn the_rules_can_be_broken() {
    let broken = |rule: fn(&Source) -> Vec<String>, path: &str, text: &str| rule(&Source::new(path, text)).len();
    for (path, text, count) in [
        ("src/store/x.rs", "use crate::remote::Registry;", 1),
        ("src/net/x.rs", "fn f() { crate::tree::f() }", 1),
        ("src/net/x.rs", "use crate::{digest::Digest, store::{self, x}, cli};", 2),
        ("src/name.rs", "use crate::net::http;", 1),
        ("src/net/mod.rs", "use super::store;", 1),
        ("src/tree/x.rs", "use regfs::fuse;", 1),
        ("src/new/x.rs", "", 1),
        ("src/tree/x.rs", "use crate::{store, remote::oci, tree::y, digest};\nuse super::registry;", 0),
        ("src/cli/x.rs", "// crate::cli\nuse crate::fuse;", 0),
        ("src/main.rs", "use regfs::cli;", 0),
        ("src/net/x.rs", "/* /* */ crate::cli */ const A: &str = \"crate::cli\"; // crate::cli", 0),
        (
            "src/net/x.rs",
            "const A: &str = r#\"\" crate::cli\"#; const B: char = '\"'; use crate::store; const C: char = '\"';",
            1,
        ),
        ("src/net/x.rs", "fn f<'a>(x: &'a str) -> &'a str { crate::cli::f(\"\\\\\") }", 1),
    ] {
        assert_eq!(broken(imports, path, text), count, "{path}: {text}");
    }
    for (path, text, count) in [
        ("src/store/x.rs", "use tokio::sync;\nasync fn f() { g().await }", 3),
        ("src/store/x.rs", "fn f() { fuser::mount(); println!(); }", 2),
        ("src/name.rs", "fn f() { std::fs::read(p); File::open(p) }", 2),
        ("src/net/x.rs", "async fn f() { g().await }", 0),
        ("src/cli/x.rs", "fn f() { println!() }", 0),
        ("src/store/x.rs", "// async\nfn asynchronous() { x.awaited() }", 0),
    ] {
        assert_eq!(broken(words, path, text), count, "{path}: {text}");
    }
    let long = format!("//! x\n{}", "\n".repeat(MAX_LINES));
    for (text, count) in [
        ("fn f() {}", 1),
        ("//! x\nfn f() { todo!() }", 1),
        ("//! x\n#[ignore]\nfn f() {}", 1),
        ("//! x\n#[ignore = \"slow\"]\nfn f() {}", 1),
        ("//! x\nfn f() { unsafe { g() } }", 1),
        ("//! x\n#[allow(unsafe_code)]\nfn f() {\n// SAFETY: it is\nunsafe { g() } }", 0),
        ("//! x\n// todo! unsafe\nfn f() {}", 0),
        (long.as_str(), 1),
    ] {
        assert_eq!(broken(manners, "src/net/x.rs", text), count, "{text}");
    }
}
