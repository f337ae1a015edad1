//! From a path to a node, as the kernel would walk it: for frontends that have no kernel in front of them.
//!
//! Promises: nothing outside the root is ever reached, through `..` or links; links are followed [`MAX_LINKS`] times.

use super::{Dir, Node};
use crate::error::{Error, Kind, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The most links followed on one walk; what Linux allows.
pub const MAX_LINKS: usize = 40;
/// The longest path, in bytes; what Linux allows.
pub const MAX_PATH: usize = 4096;

/// What a walk does with a link at the end of the path; links before the end are always followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Follows it, as stat(2).
    Follow,
    /// Gives the link itself, as lstat(2).
    Keep,
}

/// The node at `path` below `root`. Empty components and `.` stand for the directory itself, `..` for its parent.
///
/// `NotFound` and `NotDir` as from the kernel; `Invalid` for a path or link that leaves the root, or too many links;
/// `NameTooLong` over [`MAX_PATH`]. The errors name what failed, not `path`, which the caller knows.
pub fn walk(root: &Arc<dyn Dir>, path: &OsStr, last: Last) -> Result<Node> {
    if path.len() > MAX_PATH {
        return Err(Error::new(
            Kind::NameTooLong,
            format!("path of {} bytes is over the limit of {MAX_PATH}", path.len()),
        ));
    }
    // The directories walked through, the root first; and what is still to be walked, the next part last.
    let mut above = vec![root.clone()];
    let mut parts = split(path);
    let mut end: Option<Node> = None;
    let mut links = 0;
    while let Some(part) = parts.pop() {
        match end.take() {
            Some(Node::Dir(dir)) => above.push(dir),
            Some(_) => return Err(Error::new(Kind::NotDir, "not a directory")),
            None => {}
        }
        let Some(dir) = above.last() else { return Err(leaves()) };
        match part.as_bytes() {
            b"" | b"." => continue,
            b".." if above.len() == 1 => return Err(leaves()),
            b".." => {
                above.pop();
                continue;
            }
            _ => {}
        }
        match dir.lookup(&part)? {
            Node::Link(link) if !parts.is_empty() || last == Last::Follow => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Error::new(Kind::Invalid, format!("more than {MAX_LINKS} links on the way")));
                }
                if link.target.as_bytes().starts_with(b"/") {
                    return Err(leaves());
                }
                parts.extend(split(&link.target));
            }
            node => end = Some(node),
        }
    }
    match (end, above.pop()) {
        (Some(node), _) => Ok(node),
        (None, Some(dir)) => Ok(Node::Dir(dir)),
        (None, None) => Err(leaves()),
    }
}

/// The parts of a path, the first last.
fn split(path: &OsStr) -> Vec<OsString> {
    path.as_bytes().split(|byte| *byte == b'/').rev().map(|part| OsStr::from_bytes(part).to_owned()).collect()
}

fn leaves() -> Error {
    Error::new(Kind::Invalid, "leaves the tree")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Attr, Entry, File, Handle, Link, Xattrs, not_found};
    use std::collections::BTreeMap;

    struct Names(BTreeMap<&'static str, Node>);

    fn attr() -> Attr {
        Attr::dir()
    }

    impl Dir for Names {
        fn attr(&self) -> Attr {
            attr()
        }
        fn list(&self) -> Result<Vec<Entry>> {
            Ok(self.0.iter().map(|(name, node)| Entry { name: (*name).into(), node: node.clone() }).collect())
        }
        fn lookup(&self, name: &OsStr) -> Result<Node> {
            name.to_str().and_then(|name| self.0.get(name)).cloned().ok_or_else(|| not_found(name))
        }
    }

    struct Plain(&'static str);

    impl File for Plain {
        fn attr(&self) -> Attr {
            Attr { size: self.0.len() as u64, ..attr() }
        }
        fn open(&self) -> Result<Arc<dyn Handle>> {
            Err(Error::new(Kind::Unsupported, "not here"))
        }
    }

    fn link(target: &str) -> Node {
        Link { target: target.into(), attr: attr(), xattrs: Xattrs::default() }.into()
    }

    fn root() -> Arc<dyn Dir> {
        let file = Node::File(Arc::new(Plain("hello")));
        let inner: BTreeMap<_, _> = [
            ("file", file.clone()),
            ("up", link("../top")),
            ("out", link("../../x")),
            ("host", link("/etc/passwd")),
            ("round", link("round")),
            ("dir", link(".")),
        ]
        .into();
        Arc::new(Names([("top", file), ("a", Node::Dir(Arc::new(Names(inner)))), ("b", link("a/"))].into()))
    }

    fn size(path: &str) -> Result<u64> {
        walk(&root(), OsStr::new(path), Last::Follow).map(|node| node.attr().size)
    }

    #[test]
    fn walks_as_the_kernel_does() {
        for path in
            ["top", "/top", "./a/../top", "a/file", "a//file", "b/file", "a/up", "a/dir/dir/up", "b/dir/../a/up"]
        {
            assert_eq!(size(path).expect(path), 5, "{path}");
        }
        for path in ["", "/", "a", "a/", "a/dir", "b", "b/."] {
            assert!(matches!(walk(&root(), OsStr::new(path), Last::Follow), Ok(Node::Dir(_))), "{path}");
        }
        assert!(matches!(walk(&root(), OsStr::new("b"), Last::Keep), Ok(Node::Link(_))));
        assert!(matches!(walk(&root(), OsStr::new("b/file"), Last::Keep), Ok(Node::File(_))));
    }

    #[test]
    fn nothing_outside_is_reached() {
        for path in ["..", "a/../..", "a/out", "a/host", "a/round"] {
            assert_eq!(size(path).expect_err(path).kind(), Kind::Invalid, "{path}");
        }
        assert_eq!(size("a/nothing").expect_err("absent").kind(), Kind::NotFound);
        assert_eq!(size("top/x").expect_err("a file").kind(), Kind::NotDir);
        assert_eq!(size("top/").expect_err("a file").kind(), Kind::NotDir);
        assert_eq!(size(&"a".repeat(MAX_PATH + 1)).expect_err("long").kind(), Kind::NameTooLong);
    }
}
