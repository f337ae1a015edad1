//! Two directories compared as whole trees: what `ls -lnR`, `getfattr` and `sha256sum` tell of every file.

use super::content::Content;
use super::run::{command, run};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is told of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Facts {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    /// Seconds and nanoseconds.
    mtime: (i64, i64),
    /// Of files and links.
    size: u64,
    rdev: u64,
    /// A link's target, a file's digest.
    content: String,
    /// The first of the names that are this file, if there are several.
    group: Option<PathBuf>,
    /// `user.*` and `security.capability`, values in hexadecimal; none that are regfs's own words.
    xattrs: BTreeMap<String, String>,
}

impl fmt::Debug for Facts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { kind, mode, owner: (uid, gid), mtime: (secs, nanos), size, rdev, content, group, xattrs } = self;
        write!(out, "{kind} {mode:04o} {uid}:{gid} {secs}+{nanos} {size} rdev {rdev:x} {content}")?;
        write!(out, " {group:?} {xattrs:?}")
    }
}

/// Everything below `root`, by path. The root itself is not told of: nobody agrees on its attributes.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut all = BTreeMap::new();
    let mut inodes: BTreeMap<(u64, u64), Vec<PathBuf>> = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("list {}: {e}", directory.display())) {
            let path = entry.expect("an entry").path();
            let meta = path.symlink_metadata().unwrap_or_else(|e| panic!("stat {}: {e}", path.display()));
            let name = path.strip_prefix(root).expect("below the root").to_owned();
            let file_type = meta.file_type();
            let (mut size, mut content) = (0, String::new());
            let kind = if file_type.is_dir() {
                "dir"
            } else if file_type.is_symlink() {
                size = meta.size();
                content = path.read_link().expect("read a link").to_string_lossy().into_owned();
                "link"
            } else if file_type.is_char_device() {
                "char"
            } else if file_type.is_block_device() {
                "block"
            } else if file_type.is_fifo() {
                "fifo"
            } else {
                assert!(file_type.is_file(), "{} is nothing known", path.display());
                size = meta.size();
                content = Content::file(&path).digest().to_string();
                // Neither du nor tar may be told nonsense. A block may hold attributes.
                assert!(meta.blocks() <= size.div_ceil(4096) * 8 + 8, "{}: {} blocks", path.display(), meta.blocks());
                "file"
            };
            if kind == "dir" {
                todo.push(path.clone());
            } else {
                inodes.entry((meta.dev(), meta.ino())).or_default().push(name.clone());
            }
            let facts = Facts {
                kind,
                mode: meta.mode() & 0o7777,
                owner: (meta.uid(), meta.gid()),
                mtime: (meta.mtime(), meta.mtime_nsec()),
                size,
                rdev: if matches!(kind, "char" | "block") { meta.rdev() } else { 0 },
                content,
                group: None,
                xattrs: BTreeMap::new(),
            };
            all.insert(name, facts);
        }
    }
    for mut names in inodes.into_values().filter(|names| names.len() > 1) {
        names.sort();
        for name in &names {
            all.get_mut(name).expect("seen").group = names.first().cloned();
        }
    }
    for (path, name, value) in xattrs(root) {
        // What changes while it is looked at is not compared.
        if let Some(facts) = all.get_mut(&path).filter(|_| !name.starts_with("user.regfs.")) {
            facts.xattrs.insert(name, value);
        }
    }
    all
}

/// Every extended attribute below `root` that an unprivileged reader may see.
fn xattrs(root: &Path) -> Vec<(PathBuf, String, String)> {
    let mut getfattr = command("getfattr");
    getfattr.args(["-R", "-P", "-h", "-d", "-e", "hex", "-m", r"^(user\.|security\.capability$)", "."]);
    let text = run(getfattr.current_dir(root)).ok().text();
    let (mut path, mut found) = (PathBuf::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# file: ") {
            path = unescaped(name);
        } else if let Some((name, value)) = line.split_once('=') {
            found.push((path.clone(), name.to_owned(), value.to_owned()));
        }
    }
    found
}

/// A name as getfattr writes it, other bytes than ASCII as `\ooo`.
fn unescaped(name: &str) -> PathBuf {
    let (mut out, mut rest) = (Vec::new(), name.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        match code.filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// Where two trees differ, one line for each side of each path; empty if nowhere.
pub fn differences(expected: &BTreeMap<PathBuf, Facts>, found: &BTreeMap<PathBuf, Facts>) -> String {
    let mut lines = String::new();
    let paths: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for path in paths {
        let (left, right) = (expected.get(path), found.get(path));
        if left != right {
            let shown: String = path.as_os_str().as_bytes().escape_ascii().to_string().chars().take(120).collect();
            lines.push_str(&format!("{shown}:\n  expected {left:?}\n  found    {right:?}\n"));
        }
    }
    lines
}

/// Forgets which names are one file.
pub fn ungroup(tree: &mut BTreeMap<PathBuf, Facts>) {
    tree.values_mut().for_each(|facts| facts.group = None);
}

/// Takes from `found` the times of directories that `expected` has from when it was made: what is extracted last into
/// or out of a directory leaves its own time there, where the extracting program does not mend it.
pub fn untimed(expected: &mut BTreeMap<PathBuf, Facts>, found: &BTreeMap<PathBuf, Facts>, made: SystemTime) {
    let made = made.duration_since(SystemTime::UNIX_EPOCH).expect("the clock").as_secs();
    for (path, facts) in expected.iter_mut().filter(|(_, facts)| facts.kind == "dir") {
        let recent = u64::try_from(facts.mtime.0).is_ok_and(|secs| (made..made + 600).contains(&secs));
        if let Some(found) = found.get(path).filter(|_| recent) {
            facts.mtime = found.mtime;
        }
    }
}

/// Panics unless the two directories hold the same.
#[track_caller]
pub fn same(what: &str, expected: &Path, found: &Path) {
    let (expected, found) = (tree(expected), tree(found));
    assert!(!expected.is_empty(), "{what}: there is nothing to compare with");
    let differences = differences(&expected, &found);
    assert!(differences.is_empty(), "{what}:\n{differences}");
}
