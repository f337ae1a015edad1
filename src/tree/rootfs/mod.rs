//! What is inside an image: `rootfs/`, the layers merged, and `layers/NN/`, each on its own.
//!
//! Promises: looking at the directory itself reads nothing; the first name that is asked for has the layers read, all at
//! once, and is answered as soon as they tell enough. What an image directory showed stays what it is: a tag that moves
//! gets another tree. Attributes are those of the archive; what is not there (links out of a layer that lead nowhere,
//! names that no file can have) is left out. The top directory itself has the image's time and mode 0755, whatever the
//! archives say of it: asking them would read them.

mod dir;
mod file;
mod node;
mod own;
mod view;

pub(super) use own::own;
pub(super) use view::View;

use super::Node;
use std::sync::Arc;
use std::time::Duration;

/// The merged tree of an image, which its directory shows for `ttl`.
pub(super) fn rootfs(view: Arc<View>, ttl: Duration) -> Node {
    Node::Dir(Arc::new(dir::Merged::root(view, ttl)))
}
