//! One blob of a layout, read with pread.

use super::files::{self, Files};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::read_at::ReadAt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A blob's bytes, unchecked. The file is opened by each read: a mount may know more blobs than it may open files.
pub(super) struct Blob {
    files: Arc<Files>,
    digest: Digest,
    size: u64,
    what: String,
}

impl Blob {
    /// The blob `digest` of `size` bytes; `what` begins its error messages.
    pub(super) fn new(files: Arc<Files>, digest: &Digest, size: u64, what: String) -> Blob {
        Blob { files, digest: digest.clone(), size, what }
    }

    fn open(&self) -> Result<File> {
        let (file, stamp) = self.files.file(&files::blob(&self.digest)).map_err(|error| match error.kind() {
            // The name was found when it was listed: what is missing now is content.
            Kind::NotFound => Error::new(Kind::Io, format!("{}: the layout does not hold it", self.what)),
            _ => error.context(&self.what),
        })?;
        if stamp.size == self.size {
            return Ok(file);
        }
        let why = format!("{}: the file has {} bytes, its descriptor says {}", self.what, stamp.size, self.size);
        Err(Error::new(Kind::Corrupt, why))
    }
}

impl ReadAt for Blob {
    fn len(&self) -> Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let want = buf.len().min(usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let file = self.open()?;
        let mut done = 0;
        while done < want {
            match file.read_at(&mut buf[done..want], offset + done as u64) {
                Ok(0) => {
                    let why = format!("{}: the file ends at byte {}", self.what, offset + done as u64);
                    return Err(Error::new(Kind::Corrupt, why));
                }
                Ok(got) => done += got,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(&self.what, error)),
            }
        }
        Ok(done)
    }
}
