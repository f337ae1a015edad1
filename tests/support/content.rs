//! Content to serve: bytes at hand, or bytes that a seed names and that are made anew each time they are sent, so
//! that a blob of a gigabyte costs no memory.

use bytes::Bytes;
use regfs::digest::{Digest, Hasher};
use std::fmt;
use std::sync::Arc;

/// Bytes that can be read anywhere, any number of times.
#[derive(Clone)]
pub struct Content {
    source: Source,
    start: u64,
    len: u64,
}

#[derive(Clone)]
enum Source {
    Bytes(Bytes),
    /// Blocks of [`BLOCK`] bytes, each from a generator of its own: any offset is reached at once.
    Random(u64),
    /// What stands at an offset, asked for each time.
    Made(Arc<Maker>),
}

/// Fills a buffer with what stands at an offset.
type Maker = dyn Fn(u64, &mut [u8]) + Send + Sync;

/// Random content is made in blocks of this many bytes.
const BLOCK: u64 = 64 * 1024;

impl Content {
    /// `len` bytes that nothing compresses; the same for the same seed.
    pub fn random(seed: u64, len: u64) -> Content {
        Content { source: Source::Random(seed), start: 0, len }
    }

    /// A file's bytes, read when they are asked for.
    pub fn file(path: &std::path::Path) -> Content {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
        let len = file.metadata().expect("size of a file").len();
        Content::made(len, move |offset, buf| file.read_exact_at(buf, offset).expect("read a file"))
    }

    /// `len` bytes that `make` writes: it is given an offset and fills the buffer.
    pub fn made(len: u64, make: impl Fn(u64, &mut [u8]) + Send + Sync + 'static) -> Content {
        Content { source: Source::Made(Arc::new(make)), start: 0, len }
    }

    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part from `start` to `end` (exclusive), both cut to what there is.
    pub fn slice(&self, start: u64, end: u64) -> Content {
        let end = end.min(self.len);
        let start = start.min(end);
        Content { source: self.source.clone(), start: self.start + start, len: end - start }
    }

    /// Fills `buf` from `offset` on; both must lie inside.
    pub fn fill(&self, offset: u64, buf: &mut [u8]) {
        assert!(offset + buf.len() as u64 <= self.len, "read past the end of content");
        let offset = self.start + offset;
        match &self.source {
            Source::Bytes(bytes) => buf.copy_from_slice(&bytes[offset as usize..offset as usize + buf.len()]),
            Source::Random(seed) => random(*seed, offset, buf),
            Source::Made(make) => make(offset, buf),
        }
    }

    /// Everything, in memory.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = vec![0; self.len as usize];
        self.fill(0, &mut all);
        all
    }

    /// Hands everything to `sink` in parts.
    pub fn each(&self, mut sink: impl FnMut(&[u8])) {
        let mut buf = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.len {
            let n = buf.len().min((self.len - at) as usize);
            self.fill(at, &mut buf[..n]);
            sink(&buf[..n]);
            at += n as u64;
        }
    }

    /// Its sha256 digest.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::like(&Digest::of(b"")).expect("sha256 is known");
        self.each(|part| hasher.update(part));
        hasher.finish()
    }

    /// The same bytes with one bit of the byte at `offset` turned.
    pub fn flipped(&self, offset: u64) -> Content {
        let inner = self.clone();
        assert!(offset < self.len, "no byte to flip at {offset}");
        Content::made(self.len, move |at, buf| {
            inner.fill(at, buf);
            if (at..at + buf.len() as u64).contains(&offset) {
                buf[(offset - at) as usize] ^= 1;
            }
        })
    }
}

fn random(seed: u64, offset: u64, buf: &mut [u8]) {
    let mut done = 0;
    while done < buf.len() {
        let at = offset + done as u64;
        let (block, skip) = (at / BLOCK, (at % BLOCK) as usize);
        let n = (BLOCK as usize - skip).min(buf.len() - done);
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_add(block.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        if skip == 0 {
            rng.fill(&mut buf[done..done + n]);
        } else {
            let mut whole = [0; BLOCK as usize];
            rng.fill(&mut whole);
            buf[done..done + n].copy_from_slice(&whole[skip..skip + n]);
        }
        done += n;
    }
}

impl Default for Content {
    fn default() -> Content {
        Content::from(Vec::new())
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Content {
        Content { start: 0, len: bytes.len() as u64, source: Source::Bytes(bytes) }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Content {
    fn from(text: String) -> Content {
        text.into_bytes().into()
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Content {
        text.as_bytes().to_vec().into()
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Content {
        bytes.to_vec().into()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}
