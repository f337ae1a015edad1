//! The one seam of the data path: something with a length whose bytes can be read at an offset.
//!
//! A read is a chain of these: a frontend's handle, a view of a layer, the store, a remote. Each link holds the
//! next as `Arc<dyn ReadAt>` and knows nothing else of it.

use crate::error::Result;
use crate::span::Span;
use std::sync::Arc;

/// Takes bytes as they arrive: their offset in the whole, and the bytes. An error ends the stream.
pub type Sink<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<()>;

/// Bytes of a known length.
pub trait ReadAt: Send + Sync {
    /// The length in bytes. May ask the remote, once.
    fn len(&self) -> Result<u64>;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buf.len()` bytes at `offset`, fewer only at the end; 0 at or past it.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;

    /// Delivers the bytes of `span` to `sink`, in ascending runs as they arrive.
    ///
    /// A remote that cannot be asked for a part delivers what it must send: the sink may be given bytes outside
    /// `span`, and keeps them if it likes. On success every byte of `span` (cut at the end) was delivered.
    fn stream(&self, span: Span, sink: Sink<'_>) -> Result<()> {
        let end = span.end.min(self.len()?);
        let mut buf = vec![0; STREAM_BUFFER.min(end.saturating_sub(span.start) as usize)];
        let mut at = span.start;
        while at < end {
            let want = buf.len().min((end - at) as usize);
            let got = self.read_at(&mut buf[..want], at)?;
            if got == 0 {
                return Err(crate::error::Error::new(
                    crate::error::Kind::Corrupt,
                    format!("ends at byte {at}, before byte {end} that its length promises"),
                ));
            }
            sink(at, &buf[..got])?;
            at += got as u64;
        }
        Ok(())
    }

    /// Whether the bytes of `span`, cut at the end, are in memory: reading them waits for nothing. False where it is not
    /// known.
    fn is_at_hand(&self, _span: Span) -> bool {
        false
    }

    /// Whom it asks, in words that are the same for whatever asks the same place: a host and a repository.
    fn origin(&self) -> String {
        String::new()
    }

    /// A plain file that holds exactly these bytes, all checked, if there is one: frontends may hand it to the kernel.
    fn backing(&self) -> Option<Arc<std::fs::File>> {
        None
    }
}

/// Bytes moved at once by the default [`ReadAt::stream`]: large enough to amortise a call, small enough for a stack of them.
const STREAM_BUFFER: usize = 1 << 20;

/// Reads the whole of `source`, refusing anything over `limit` bytes before reading.
pub fn read_all(source: &dyn ReadAt, limit: u64) -> Result<Vec<u8>> {
    use crate::error::{Error, Kind};
    let len = source.len()?;
    if len > limit {
        return Err(Error::new(Kind::TooBig, format!("{len} bytes are over the limit of {limit}")));
    }
    let mut bytes = vec![0; len as usize];
    let mut at = 0;
    while at < bytes.len() {
        let got = source.read_at(&mut bytes[at..], at as u64)?;
        if got == 0 {
            return Err(Error::new(Kind::Corrupt, format!("ends at byte {at} of {len}")));
        }
        at += got;
    }
    Ok(bytes)
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> Result<u64> {
        Ok(self.as_slice().len() as u64)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        read_slice(self, buf, offset)
    }
    fn is_at_hand(&self, _span: Span) -> bool {
        true
    }
}

impl ReadAt for bytes::Bytes {
    fn len(&self) -> Result<u64> {
        Ok(self.as_ref().len() as u64)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        read_slice(self, buf, offset)
    }
}

fn read_slice(bytes: &[u8], buf: &mut [u8], offset: u64) -> Result<usize> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let count = buf.len().min(bytes.len() - start);
    buf[..count].copy_from_slice(&bytes[start..start + count]);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    /// Says that it is longer than it is.
    struct Liar(Vec<u8>);
    impl ReadAt for Liar {
        fn len(&self) -> Result<u64> {
            Ok(self.0.as_slice().len() as u64 + 1)
        }
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
            self.0.read_at(buf, offset)
        }
    }

    #[test]
    fn reads_are_cut_at_the_end() {
        let bytes = vec![1u8, 2, 3];
        let mut buf = [0; 8];
        assert_eq!(bytes.read_at(&mut buf, 1).expect("read"), 2);
        assert_eq!(bytes.read_at(&mut buf, 3).expect("read"), 0);
        assert_eq!(bytes.read_at(&mut buf, u64::MAX).expect("read"), 0);
    }

    #[test]
    fn stream_delivers_the_span() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut got = Vec::new();
        bytes
            .stream(Span::new(10, 20), &mut |at, part| {
                assert_eq!(at, 10 + got.len() as u64);
                got.extend_from_slice(part);
                Ok(())
            })
            .expect("stream");
        assert_eq!(got, bytes[10..20]);
    }

    #[test]
    fn a_short_source_is_corrupt() {
        let error = Liar(vec![0; 4]).stream(Span::new(0, 5), &mut |_, _| Ok(())).expect_err("short");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert_eq!(read_all(&Liar(vec![0; 4]), 100).expect_err("short").kind(), Kind::Corrupt);
        assert_eq!(read_all(&vec![0u8; 4], 3).expect_err("limit").kind(), Kind::TooBig);
    }
}
