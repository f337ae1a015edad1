//! Extended attributes as getxattr(2) and listxattr(2) give them.
//!
//! Programs ask every file for `security.selinux` and the like all day: what a node cannot have is answered without
//! asking it. A registry's nodes have attributes of ours (`user.`); files of an image, which are known by an owner of
//! their own, those that a file system stores without giving them a meaning.

use super::core::{Call, Place};
use super::reply;
use crate::error::{Error, Kind};
use crate::tree::Node;
use fuser::ReplyXattr;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The longest name (XATTR_NAME_MAX); the kernel bounds values and lists itself.
const MAX_NAME: usize = 255;

/// GETXATTR.
pub(super) fn get(call: Call, name: OsString, room: u32, reply: ReplyXattr) {
    let missing = |name: &OsStr| Error::new(Kind::NoData, format!("no attribute {}", crate::name::terminal(name)));
    let node = call.inode.node();
    if !is_shown(&node, &name) {
        return call.fail(reply, &missing(&name));
    }
    let place = node.clone();
    call.run(
        Place::Lane(place.lane()),
        reply,
        move |_| node.xattr(&name)?.ok_or_else(|| missing(&name)),
        move |_, reply, value| reply::xattr(reply, room, &value),
    );
}

/// LISTXATTR: the names, each ended by a NUL. Those that only root may read are named to root alone.
pub(super) fn list(call: Call, is_root: bool, room: u32, reply: ReplyXattr) {
    let node = call.inode.node();
    let place = node.clone();
    call.run(
        Place::Lane(place.lane()),
        reply,
        move |_| {
            let mut names = Vec::new();
            for (name, _) in node.xattrs()? {
                if is_shown(&node, &name) && (is_root || !name.as_bytes().starts_with(b"trusted.")) {
                    names.extend_from_slice(name.as_bytes());
                    names.push(0);
                }
            }
            Ok(names)
        },
        move |_, reply, names| reply::xattr(reply, room, &names),
    );
}

/// Whether the node may have an attribute of this name, and a program may be told of it.
fn is_shown(node: &Node, name: &OsStr) -> bool {
    let name = name.as_bytes();
    let spaces: &[&[u8]] =
        if node.attr().owner.is_some() { &[b"user.", b"security.", b"trusted."] } else { &[b"user."] };
    name.len() <= MAX_NAME
        && !name.contains(&0)
        && spaces.iter().any(|space| name.len() > space.len() && name.starts_with(space))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Attr, Link, Xattrs};

    #[test]
    fn what_a_node_cannot_have_is_not_asked_for() {
        let node = |owner| {
            let attr = Attr { owner, ..Attr::link(OsStr::new("x")) };
            Node::from(Link { target: "x".into(), attr, xattrs: Xattrs::default() })
        };
        let (ours, image) = (node(None), node(Some((0, 0))));
        let long = format!("user.{}", "x".repeat(251));
        for (name, is_ours, is_images) in [
            ("user.oci.digest", true, true),
            ("security.capability", false, true),
            ("trusted.x", false, true),
            ("system.posix_acl_access", false, false),
            ("user.", false, false),
            ("user.a\0b", false, false),
            ("", false, false),
            (&long, false, false),
        ] {
            let name = OsStr::new(name);
            assert_eq!((is_shown(&ours, name), is_shown(&image, name)), (is_ours, is_images), "{name:?}");
        }
    }
}
