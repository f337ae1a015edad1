//! What is agreed with the kernel: the abilities of the connection, and the readahead of the mount.

use super::mounts::Device;
use super::passthrough::Passthrough;
use fuser::{InitFlags, KernelConfig};
use std::path::PathBuf;

/// Requests that the kernel has under way in the background: readahead, and releases behind it.
///
/// Its default would be the bound of all readers: a few dozen that are stuck on one remote would hold up the
/// readahead of every other file, within the kernel, where nobody could answer it.
const MAX_BACKGROUND: u16 = 2048;

/// How much the kernel reads ahead, in KiB: its default of 128 makes requests of 128 KiB, this makes them of 1 MiB.
const READ_AHEAD_KIB: u32 = 1024;

/// How deep the kernel is to count us, of the two filesystems it lets stand on each other: one more can stand on us, an
/// overlay of which `rootfs/` is the lower directory. Backing files that lie on an overlayfs are refused for that, and
/// are read through us.
const STACK_DEPTH: u32 = 1;

/// What is asked of the kernel, each as far as it offers it.
const WANTED: [InitFlags; 7] = [
    // Lookups in one directory do not wait for each other.
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    // Pages belong to an inode and its identity: a time that becomes known does not make them wrong.
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_HAS_EXPIRE_ONLY,
];

/// Answers INIT. Passthrough is for those whom the kernel lets register files (CAP_SYS_ADMIN).
pub(super) fn negotiate(config: &mut KernelConfig, passthrough: &Passthrough) {
    for flag in WANTED {
        if let Err(missing) = config.add_capabilities(flag) {
            log::debug!("the kernel does not offer {missing:?}");
        }
    }
    // Both settings only fail for 0.
    config.set_max_background(MAX_BACKGROUND).ok();
    if nix::unistd::geteuid().is_root()
        && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
        && config.set_max_stack_depth(STACK_DEPTH).is_ok()
    {
        passthrough.allow();
    }
}

/// Raises the readahead of a mount, where it is permitted (root); slower sequential reads are all that it costs.
pub(super) fn raise_read_ahead(device: Device) {
    let Device { major, minor } = device;
    let path = PathBuf::from(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"));
    if let Err(error) = std::fs::write(&path, READ_AHEAD_KIB.to_string()) {
        log::debug!("readahead stays as it is: {}: {error}", path.display());
    }
}
