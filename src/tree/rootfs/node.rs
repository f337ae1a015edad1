//! A file of a layer as a node of the tree: kinds, attributes, extended attributes.

use super::file::LayerNode;
use crate::digest::Digest;
use crate::error::Result;
use crate::layer::entry::{Kind, Time};
use crate::layer::toc::{self, Toc};
use crate::tree::content::identity;
use crate::tree::layers::Layer;
use crate::tree::{Attr, FOREVER, Link, Node, Special, SpecialKind, Xattrs};
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A node of a layer's table.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) node: toc::Node,
    /// Which table.
    pub(super) generation: u64,
}

impl Place {
    /// In the words of [`Layer::node`].
    pub(super) fn dir(self) -> (toc::Node, u64) {
        (self.node, self.generation)
    }
}

/// The node of anything but a directory. `toc` is the table of `layer` as it is now, `settled` whether for good; `tree`
/// is what it is a part of: the same file in two trees is two inodes.
pub(super) fn leaf(
    layer: &Arc<Layer>,
    toc: &dyn Toc,
    place: Place,
    settled: bool,
    tree: &Digest,
    lane: &str,
) -> Result<Node> {
    let Place { node, .. } = place;
    let told = toc.attr(node)?;
    let attr = attr(&told, settled, of(layer.digest(), place, tree));
    let xattrs = || -> Result<Xattrs> { xattrs(layer, toc, node).map(Into::into) };
    let special = |kind| -> Result<Node> {
        Ok(Special { kind, device: told.device, attr: attr.clone(), xattrs: xattrs()? }.into())
    };
    match told.kind {
        Kind::Symlink => {
            let target = OsString::from_vec(toc.target(node)?);
            Ok(Link { target, attr: attr.clone(), xattrs: xattrs()? }.into())
        }
        Kind::Char => special(SpecialKind::Char),
        Kind::Block => special(SpecialKind::Block),
        Kind::Fifo => special(SpecialKind::Fifo),
        // A hard link out of its layer is shown so where layers are shown on their own: as an empty file.
        Kind::File | Kind::Dir | Kind::Hardlink => {
            Ok(Node::File(Arc::new(LayerNode { layer: layer.clone(), place, attr, lane: lane.into() })))
        }
    }
}

/// The attributes of a node of a layer.
pub(super) fn attr(told: &toc::Attr, settled: bool, identity: u64) -> Attr {
    Attr {
        mode: (told.mode & 0o7777) as u16,
        size: if told.kind == Kind::Hardlink { 0 } else { told.size },
        stored: Some(told.stored).filter(|stored| told.kind == Kind::File && *stored != told.size),
        nlink: if told.kind == Kind::Dir { 1 } else { told.nlink.max(1) },
        mtime: Some(time(told.mtime)),
        owner: Some((told.uid, told.gid)),
        ttl: if settled { FOREVER } else { Duration::ZERO },
        identity,
    }
}

/// What tells a file of a layer in one tree from every other.
fn of(layer: &Digest, place: Place, tree: &Digest) -> u64 {
    let mut hasher = DefaultHasher::new();
    (identity(layer), place.node, identity(tree)).hash(&mut hasher);
    // What the kernel keeps of a table that came to nothing is of other inodes.
    if place.generation > 0 {
        place.generation.hash(&mut hasher);
    }
    hasher.finish()
}

/// The extended attributes of a file of a layer: its own, and where it comes from.
pub(super) fn xattrs(layer: &Layer, toc: &dyn Toc, node: toc::Node) -> Result<Vec<(OsString, Vec<u8>)>> {
    let own = toc.xattrs(node)?.into_iter().map(|(name, value)| (OsString::from_vec(name), value));
    let own = own.filter(|(name, _)| !name.to_str().is_some_and(|name| name.starts_with("user.regfs.")));
    let mut all: Vec<_> = own.collect();
    all.push(("user.regfs.layer".into(), layer.digest().as_str().into()));
    all.push(("user.regfs.verified".into(), if layer.is_verified() { b"1" } else { b"0" }.to_vec()));
    Ok(all)
}

fn time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let at = match time.secs {
        0.. => SystemTime::UNIX_EPOCH.checked_add(whole),
        _ => SystemTime::UNIX_EPOCH.checked_sub(whole),
    };
    at.and_then(|at| at.checked_add(nanos)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch() {
        let before =
            |secs, nanos| SystemTime::UNIX_EPOCH.duration_since(time(Time { secs, nanos })).expect("before").as_nanos();
        assert_eq!(before(-2, 500_000_000), 1_500_000_000);
        assert_eq!(before(-1, 0), 1_000_000_000);
        let after = time(Time { secs: 3, nanos: 7 }).duration_since(SystemTime::UNIX_EPOCH).expect("after");
        assert_eq!(after, Duration::new(3, 7));
    }
}
