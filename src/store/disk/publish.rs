//! How content gets a name in `blobs/`: one function, which wants the proof that its digest was computed and matched.

use super::layout::{Layout, with_parent};
use super::table::Table;
use crate::digest::{self, Digest, Hasher};
use crate::error::Result;
use nix::fcntl::{AT_FDCWD, AtFlags};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// That bytes were hashed and are what the digest names. Only [`Proof::check`] makes one.
pub(in crate::store) struct Proof(Digest);

impl Proof {
    /// Ends `hasher`, which has taken all bytes of the blob; `Corrupt` if they are not those of `digest`.
    pub(in crate::store) fn check(digest: &Digest, hasher: Hasher) -> Result<Proof> {
        digest::same(digest, hasher.finish())?;
        Ok(Proof(digest.clone()))
    }

    /// The same for bytes at hand.
    pub(in crate::store) fn of(digest: &Digest, bytes: &[u8]) -> Result<Proof> {
        digest::verify(digest, bytes)?;
        Ok(Proof(digest.clone()))
    }

    /// The digest that was proved.
    pub(in crate::store) fn digest(&self) -> &Digest {
        &self.0
    }
}

/// Names `file` in `blobs/`, after `sync`ing it if so asked. One that is there already stays.
///
/// The name is linked to this very file, not moved from another name: whatever other processes do to names in the
/// meantime, what was hashed is what is published.
pub(in crate::store) fn publish(layout: &Layout, file: &File, proof: &Proof, sync: bool) -> io::Result<()> {
    if sync {
        file.sync_data()?;
    }
    let path = layout.blob(proof.digest());
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    with_parent(&path, || {
        let linked = nix::unistd::linkat(AT_FDCWD, from.as_str(), AT_FDCWD, &path, AtFlags::AT_SYMLINK_FOLLOW);
        match linked {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    })?;
    if sync && let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Keeps the checks of a blob that was proved.
pub(in crate::store) fn keep_table(layout: &Layout, table: &Table, proof: &Proof) -> io::Result<()> {
    debug_assert!(table.whole && table.digest == *proof.digest());
    layout.replace(&layout.spans(&table.digest), &table.encode())
}
