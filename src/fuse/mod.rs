//! The frontend of the kernel: the tree as a file system.
//!
//! It renames and replies, nothing else: only this folder knows fuser, inode numbers and kernel TTLs, and it knows
//! nothing of registries. What memory can answer is answered on the threads that read the device; what may wait for
//! disk or remote moves with its reply to a pool that is bounded per remote ([`pool`]), so that a dead remote costs
//! its own paths and nothing else; whoever waits can be interrupted ([`interrupt`]).
//!
//! Locks: each table (inodes, handles, pool, watch, buffers) has one of its own, held for an instant and never with
//! another one; the opens of an inode are decided under the inode's own lock.

mod attr;
mod buffers;
mod core;
mod frontend;
mod handles;
mod inodes;
mod interrupt;
mod kernel;
mod lookers;
pub mod mountpoint;
pub mod mounts;
mod ops;
mod passthrough;
mod pool;
mod reply;
mod session;
mod unmount;
mod xattrs;

pub use interrupt::Waiting;
pub use session::{Mounted, Unmounter, mount};
pub use unmount::{abort, unmount};

/// How a mount looks, and who may use it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is mounted, as `mount` and `df` show it.
    pub source: String,
    /// Everybody may use it, not only the mounting user. For others than root, `/etc/fuse.conf` must allow it.
    pub allow_other: bool,
    /// The mounting user and root may use it; the same permission is needed.
    pub allow_root: bool,
    /// The kernel checks the modes and owners that are shown.
    pub default_permissions: bool,
    /// Nothing on it can be executed.
    pub noexec: bool,
    /// The owner shown for everything; otherwise the content's own, or the mounting user.
    pub uid: Option<u32>,
    /// The group shown for everything; otherwise the content's own, or that of the mounting user.
    pub gid: Option<u32>,
    /// Permission bits that are not shown.
    pub umask: u16,
}
