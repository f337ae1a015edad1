//! Images whose layers are archives, made by the test, and a registry in which a layer can be held back at a byte.

use crate::support::fake::{Fault, Registry, Rule, What};
use crate::support::http::Reply;
use crate::support::image::{Blob, Image, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST, tar};
use crate::support::mount::Mount;
use regfs::digest::Digest;
use serde_json::Value;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    Tar,
    /// Of the same length for archives of the same length.
    Stored,
    Gzip,
    Zstd,
}

/// The archive, packed.
pub fn pack(how: Pack, archive: &[u8]) -> Vec<u8> {
    let gzip = |level| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(archive).expect("gzip");
        encoder.finish().expect("gzip")
    };
    match how {
        Pack::Tar => archive.to_vec(),
        Pack::Stored => gzip(flate2::Compression::none()),
        Pack::Gzip => gzip(flate2::Compression::default()),
        Pack::Zstd => zstd::encode_all(archive, 1).expect("zstd"),
    }
}

/// A layer: its blob, and the digest of its archive.
pub type Layer = (Blob, Digest);

/// A layer of this archive.
pub fn layer(how: Pack, archive: &[u8]) -> Layer {
    let media_type = if how == Pack::Tar { OCI_LAYER } else { OCI_LAYER_GZIP };
    (Blob::new(media_type, pack(how, archive)), Digest::of(archive))
}

/// A layer of these files.
pub fn files(how: Pack, files: &[(&str, &[u8])]) -> Layer {
    layer(how, &tar(files))
}

/// An image of these layers, bottom first.
pub fn image(layers: &[&Layer]) -> Image {
    Image::compressed(layers.iter().map(|layer| (*layer).clone()).collect(), "linux/amd64")
}

/// The image with another manifest.
pub fn changed(image: Image, change: impl FnOnce(&mut Value)) -> Image {
    let mut manifest: Value = serde_json::from_slice(&image.manifest).expect("json");
    change(&mut manifest);
    Image { blobs: image.blobs, platform: image.platform, ..Image::raw(OCI_MANIFEST, manifest.to_string()) }
}

/// Bytes that nothing compresses.
pub fn noise(seed: u64, len: u64) -> Vec<u8> {
    crate::support::content::Content::random(seed, len).to_vec()
}

/// Holds the answers for what lies behind some byte of a blob back, until it is opened.
#[derive(Clone)]
pub struct Gate {
    open: Arc<AtomicBool>,
    other: Arc<Mutex<Option<Vec<u8>>>>,
}

/// The longest that a gate stays closed: a test that fails must end.
const CLOSED: Duration = Duration::from_secs(60);

impl Gate {
    /// Closed for what begins at `from` or later in the blob of this digest.
    pub fn new(fake: &Registry, digest: &Digest, from: u64) -> Gate {
        let gate = Gate { open: Arc::default(), other: Arc::default() };
        let own = gate.clone();
        let change = move |request: &crate::support::http::Request, reply: Reply| {
            let (first, last) = request.range().unwrap_or((0, None));
            let start = Instant::now();
            while first >= from && !own.open.load(Ordering::SeqCst) && start.elapsed() < CLOSED {
                std::thread::sleep(Duration::from_millis(5));
            }
            let other = own.other.lock().unwrap_or_else(PoisonError::into_inner);
            match &*other {
                Some(bytes) if request.method == "GET" => {
                    let end = last.map_or(bytes.len(), |last| (last as usize + 1).min(bytes.len()));
                    reply.body(bytes[first as usize..end].to_vec())
                }
                _ => reply,
            }
        };
        fake.fault(Rule::on(What::Blob, Fault::Custom(Arc::new(change))).path(digest.as_str()));
        gate
    }

    /// Serves other bytes, as many, in place of the blob's.
    pub fn lying(self, bytes: Vec<u8>) -> Gate {
        self.lies(Some(bytes));
        self
    }

    /// Serves other bytes from now on, or the right ones.
    pub fn lies(&self, bytes: Option<Vec<u8>>) {
        *self.other.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }

    /// Lets everything pass.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.open();
        }
    }
}

/// Reads a file: its bytes, or the errno.
pub fn read(mount: &Mount, path: &str) -> Result<Vec<u8>, i32> {
    mount.read(path).map_err(|error| error.raw_os_error().expect("an errno"))
}

/// The errno of reading a file.
#[track_caller]
pub fn refused(mount: &Mount, path: &str) -> i32 {
    match read(mount, path) {
        Ok(bytes) => panic!("{path} was read: {} bytes", bytes.len()),
        Err(errno) => errno,
    }
}

/// What `.regfs/status` says.
pub fn status(mount: &Mount) -> Value {
    serde_json::from_str(&mount.text(".regfs/status")).expect("json")
}
