//! One file of a layer: its extents, read from the content of the archive.
//!
//! Promises: what no extent covers reads as zeros, without reading anything; nothing outside of its extents is read.

use super::entry::Extent;
use crate::error::Result;
use crate::read_at::ReadAt;
use crate::span::Span;
use std::sync::Arc;

/// The bytes of one file.
pub struct LayerFile {
    content: Arc<dyn ReadAt>,
    extents: Vec<Extent>,
    size: u64,
}

impl LayerFile {
    /// A file of `size` bytes, of which `extents` (ascending) are in `content`.
    pub fn new(content: Arc<dyn ReadAt>, extents: Vec<Extent>, size: u64) -> LayerFile {
        LayerFile { content, extents, size }
    }
}

impl ReadAt for LayerFile {
    fn len(&self) -> Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let want = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..want).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            // The first extent that ends after `at`: it holds it, or a hole comes before it.
            let next = self.extents.partition_point(|extent| extent.at.saturating_add(extent.len) <= at);
            let extent = self.extents.get(next);
            match extent.filter(|extent| extent.at <= at) {
                Some(extent) => {
                    let within = at - extent.at;
                    let count = rest.len().min(usize::try_from(extent.len - within).unwrap_or(usize::MAX));
                    let got = self.content.read_at(&mut rest[..count], extent.offset.saturating_add(within))?;
                    if got == 0 {
                        return Err(crate::error::Error::new(
                            crate::error::Kind::Corrupt,
                            format!("the layer's content ends before byte {at} of the file"),
                        ));
                    }
                    done += got;
                }
                None => {
                    let hole = extent.map_or(u64::MAX, |extent| extent.at - at);
                    let count = rest.len().min(usize::try_from(hole).unwrap_or(usize::MAX));
                    rest[..count].fill(0);
                    done += count;
                }
            }
        }
        Ok(done)
    }

    fn is_at_hand(&self, span: Span) -> bool {
        let end = span.end.min(self.size);
        let first = self.extents.partition_point(|extent| extent.at.saturating_add(extent.len) <= span.start);
        let mut touched = self.extents.iter().skip(first).take_while(|extent| extent.at < end);
        touched.all(|extent| {
            let part = span.intersect(Span::new(extent.at, extent.at.saturating_add(extent.len).min(end)));
            let start = extent.offset.saturating_add(part.start.saturating_sub(extent.at));
            self.content.is_at_hand(Span::new(start, start.saturating_add(part.len())))
        })
    }

    fn origin(&self) -> String {
        self.content.origin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn file(extents: &[(u64, u64, u64)], size: u64) -> LayerFile {
        let content: Vec<u8> = (0..100).collect();
        let extents = extents.iter().map(|&(at, offset, len)| Extent { at, offset, len }).collect();
        LayerFile::new(Arc::new(content), extents, size)
    }

    fn read(file: &LayerFile, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![9; len];
        let got = file.read_at(&mut buf, offset).expect("read");
        buf.truncate(got);
        buf
    }

    #[test]
    fn holes_are_zeros() {
        let sparse = file(&[(2, 10, 3), (8, 50, 1)], 12);
        assert_eq!(read(&sparse, 0, 100), [0, 0, 10, 11, 12, 0, 0, 0, 50, 0, 0, 0]);
        for start in 0..13 {
            for len in 0..14 {
                let whole = read(&sparse, 0, 100);
                let end = (start + len).min(12);
                assert_eq!(read(&sparse, start as u64, len), whole[start.min(12)..end.max(start.min(12))]);
            }
        }
        assert_eq!(read(&file(&[], 3), 0, 5), [0, 0, 0]);
        assert!(read(&file(&[], 0), 0, 5).is_empty());
    }

    #[test]
    fn only_what_is_asked_for_has_to_be_at_hand() {
        /// Has the bytes of one span at hand.
        struct Part(Span);
        impl ReadAt for Part {
            fn len(&self) -> Result<u64> {
                Ok(100)
            }
            fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
                panic!("is only asked what is at hand")
            }
            fn is_at_hand(&self, span: Span) -> bool {
                self.0.intersect(span) == span
            }
        }
        let extents = [(0, 10, 10), (20, 30, 10)].map(|(at, offset, len)| Extent { at, offset, len });
        let file = LayerFile::new(Arc::new(Part(Span::new(14, 36))), extents.into(), 40);
        let holds = |start, end| file.is_at_hand(Span::new(start, end));
        assert!(holds(4, 26) && holds(10, 20) && holds(30, 1000) && holds(50, 60));
        assert!(!holds(3, 5) && !holds(4, 27) && !holds(0, 1000));
    }

    #[test]
    fn content_that_is_too_short_is_damage() {
        let mut buf = [0; 20];
        assert_eq!(file(&[(0, 90, 20)], 20).read_at(&mut buf, 0).expect_err("short").kind(), Kind::Corrupt);
    }
}
