//! The bytes of one file of the tree, to wherever they are wanted; a megabyte at a time, checked at their end.
//!
//! Promises: success means that every byte was delivered and that they are those which the file's digest names. A
//! blob that the store serves while it is not checked yet is hashed here on its way through.

use super::progress::Progress;
use crate::digest::{Digest, Hasher, same};
use crate::error::{Error, Kind, Result};
use crate::tree::File;
use std::ffi::{OsStr, OsString};

/// Bytes read at once: as much as the store fetches in one span.
const BUFFER: usize = 1 << 20;

/// Gives every byte of `file`, in order, to `sink`. `Corrupt` at the end if they were not the right ones: whoever
/// keeps them throws them away then.
pub(crate) fn stream(
    file: &dyn File,
    name: &OsStr,
    quiet: bool,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let handle = file.open()?;
    let len = handle.len()?;
    let mut check =
        unchecked_digest(file)?.map(|digest| Hasher::like(&digest).map(|hasher| (digest, hasher))).transpose()?;
    let mut progress = Progress::new(name, len, quiet);
    let mut buf = vec![0; BUFFER.min(usize::try_from(len).unwrap_or(BUFFER)).max(1)];
    let mut at = 0;
    while at < len {
        let want = buf.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        let got = handle.read_at(&mut buf[..want], at)?;
        if got == 0 {
            return Err(Error::new(Kind::Corrupt, format!("ends at byte {at} of {len}")));
        }
        if let Some((_, hasher)) = &mut check {
            hasher.update(&buf[..got]);
        }
        sink(&buf[..got])?;
        progress.advance(got);
        at += got as u64;
    }
    match check {
        Some((digest, hasher)) => same(&digest, hasher.finish()),
        None => Ok(()),
    }
}

/// The digest that the bytes must have, where nobody has checked it yet.
fn unchecked_digest(file: &dyn File) -> Result<Option<Digest>> {
    let is_verified = |(name, value): &(OsString, Vec<u8>)| name == "user.regfs.verified" && value == b"1";
    if file.xattrs()?.iter().any(is_verified) {
        return Ok(None);
    }
    Ok(file.digest())
}
