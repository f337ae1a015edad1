//! Files: bytes at hand, blobs behind the store, manifests not loaded yet; and what they say of themselves.
//!
//! Promises: a blob that was there when it was listed and is gone when it is read is `Io`, never `NotFound`: its name
//! exists. Attributes cost nothing. An open file keeps its content.

use super::metadata::Metadata;
use super::snapshot::{Piece, Snapshot};
use super::{Attr, File, Handle, Node};
use crate::digest::{self, Digest};
use crate::error::{Error, Kind, Result};
use crate::manifest::Descriptor;
use crate::name::Repository;
use crate::read_at::{ReadAt, Sink};
use crate::span::Span;
use crate::store::{self, State};
use base64::Engine as _;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Extended attributes: full names and values.
pub(super) type Xattrs = Vec<(OsString, Vec<u8>)>;

/// The longest name of an extended attribute, the longest value, and all names together, in bytes (xattr(7)).
const MAX_XATTR_NAME: usize = 255;
const MAX_XATTR_VALUE: usize = 64 << 10;
const MAX_XATTR_NAMES: usize = 64 << 10;

/// The attributes of a directory.
pub(super) fn dir_attr(mtime: Option<SystemTime>, ttl: Duration, identity: u64) -> Attr {
    Attr { mtime, ttl, identity, ..Attr::dir() }
}

/// The attributes of a file, or of a link.
pub(super) fn file_attr(size: u64, mtime: Option<SystemTime>, ttl: Duration, identity: u64) -> Attr {
    Attr { mtime, ttl, identity, ..Attr::file(size) }
}

/// The identity of what a digest names.
pub(super) fn identity(digest: &Digest) -> u64 {
    let mut hasher = DefaultHasher::new();
    digest.hash(&mut hasher);
    hasher.finish()
}

/// `user.oci.*` of something that a digest names. Annotations whose names no xattr can have are left out.
pub(super) fn oci_xattrs(digest: &Digest, media_type: &str, annotations: Option<&BTreeMap<String, String>>) -> Xattrs {
    let mut xattrs: Xattrs = vec![("user.oci.digest".into(), digest.as_str().into())];
    if !media_type.is_empty() {
        xattrs.push(("user.oci.mediaType".into(), media_type.into()));
    }
    let mut names = 0;
    for (key, value) in annotations.into_iter().flatten() {
        let name = format!("user.oci.annotation.{key}");
        names += name.len() + 1;
        let fits = name.len() <= MAX_XATTR_NAME && value.len() <= MAX_XATTR_VALUE && names <= MAX_XATTR_NAMES - 1024;
        if fits && !key.is_empty() && !key.chars().any(char::is_control) {
            xattrs.push((name.into(), value.as_bytes().to_vec()));
        }
    }
    xattrs
}

/// A file of bytes that are at hand.
pub(super) struct Fixed {
    pub bytes: Bytes,
    pub attr: Attr,
    pub xattrs: Xattrs,
    /// What the bytes hash to, if something names them by that.
    pub digest: Option<Digest>,
}

impl Fixed {
    /// A file without attributes of its own.
    pub(super) fn node(bytes: Bytes, mtime: Option<SystemTime>, ttl: Duration, identity: u64) -> Node {
        let attr = file_attr(bytes.len() as u64, mtime, ttl, identity);
        Node::File(Arc::new(Fixed { bytes, attr, xattrs: Vec::new(), digest: None }))
    }

    /// A file that is a manifest.
    pub(super) fn manifest(manifest: &Snapshot, mtime: Option<SystemTime>, ttl: Duration) -> Node {
        Node::File(Arc::new(Fixed {
            bytes: manifest.bytes.clone(),
            attr: file_attr(manifest.size(), mtime, ttl, identity(&manifest.digest)),
            xattrs: oci_xattrs(&manifest.digest, &manifest.media_type, manifest.annotations()),
            digest: Some(manifest.digest.clone()),
        }))
    }
}

impl File for Fixed {
    fn attr(&self) -> Attr {
        self.attr.clone()
    }
    fn open(&self) -> Result<Arc<dyn Handle>> {
        Ok(Arc::new(Opened { bytes: self.bytes.clone(), is_immutable: true }))
    }
    fn is_ready(&self) -> bool {
        true
    }
    fn digest(&self) -> Option<Digest> {
        self.digest.clone()
    }
    fn xattrs(&self) -> Result<Xattrs> {
        Ok(self.xattrs.clone())
    }
}

/// An open file of bytes that are at hand.
pub(super) struct Opened {
    pub bytes: Bytes,
    pub is_immutable: bool,
}

impl ReadAt for Opened {
    fn len(&self) -> Result<u64> {
        ReadAt::len(&self.bytes)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.bytes.read_at(buf, offset)
    }
}

impl Handle for Opened {
    fn is_immutable(&self) -> bool {
        self.is_immutable
    }
    fn is_ready(&self, _offset: u64, _len: usize) -> bool {
        true
    }
}

/// A manifest below an index that is not loaded before it is opened.
pub(super) struct Unloaded {
    pub metadata: Arc<Metadata>,
    pub repository: Repository,
    pub descriptor: Descriptor,
}

impl File for Unloaded {
    fn attr(&self) -> Attr {
        file_attr(self.descriptor.size, None, Duration::ZERO, identity(&self.descriptor.digest))
    }
    fn open(&self) -> Result<Arc<dyn Handle>> {
        let loaded = self.metadata.image(&self.repository, &self.descriptor.digest, &self.descriptor.media_type);
        let bytes = loaded.map_err(|error| gone(&error))?.bytes.clone();
        if bytes.len() as u64 != self.descriptor.size {
            let Descriptor { digest, size, .. } = &self.descriptor;
            let why = format!("manifest {digest} has {} bytes, the index says {size}", bytes.len());
            return Err(Error::new(Kind::Corrupt, why));
        }
        Ok(Arc::new(Opened { bytes, is_immutable: true }))
    }
    fn digest(&self) -> Option<Digest> {
        Some(self.descriptor.digest.clone())
    }
    fn xattrs(&self) -> Result<Xattrs> {
        let Descriptor { digest, media_type, annotations, .. } = &self.descriptor;
        Ok(oci_xattrs(digest, media_type, Some(annotations)))
    }
    fn lane(&self) -> &str {
        self.metadata.name()
    }
}

/// A file whose content is a blob.
pub(super) struct BlobFile {
    metadata: Arc<Metadata>,
    repository: Repository,
    piece: Piece,
    mtime: Option<SystemTime>,
    ttl: Duration,
}

impl BlobFile {
    /// A file of that blob. Where its size is not told, it is asked for when the file is opened, and the attributes
    /// may not be relied on.
    pub(super) fn node(
        metadata: &Arc<Metadata>,
        repository: &Repository,
        mut piece: Piece,
        mtime: Option<SystemTime>,
        ttl: Duration,
    ) -> Node {
        // Once it was asked for, a listing must not take it back: readers rely on it.
        if let (false, Some(size)) = (piece.sized, metadata.known_size(repository, &piece.descriptor.digest)) {
            piece.descriptor.size = size;
            piece.sized = true;
        }
        if let Some(bytes) = inlined(&piece.descriptor) {
            let Descriptor { digest, media_type, annotations, .. } = &piece.descriptor;
            let mut xattrs = oci_xattrs(digest, media_type, Some(annotations));
            xattrs.push(("user.regfs.verified".into(), b"1".to_vec()));
            let attr = file_attr(bytes.len() as u64, mtime, ttl, identity(digest));
            return Node::File(Arc::new(Fixed { bytes, attr, xattrs, digest: Some(digest.clone()) }));
        }
        let (metadata, repository) = (metadata.clone(), repository.clone());
        Node::File(Arc::new(BlobFile { metadata, repository, piece, mtime, ttl }))
    }

    fn told_size(&self) -> Option<u64> {
        self.piece.sized.then_some(self.piece.descriptor.size)
    }
}

/// The content that a descriptor carries itself, if it does and that is what its digest names.
fn inlined(descriptor: &Descriptor) -> Option<Bytes> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(descriptor.data.as_ref()?).ok()?;
    let same = bytes.len() as u64 == descriptor.size && digest::verify(&descriptor.digest, &bytes).is_ok();
    same.then(|| bytes.into())
}

impl File for BlobFile {
    fn attr(&self) -> Attr {
        let ttl = if self.piece.sized { self.ttl } else { Duration::ZERO };
        file_attr(self.piece.descriptor.size, self.mtime, ttl, identity(&self.piece.descriptor.digest))
    }
    fn open(&self) -> Result<Arc<dyn Handle>> {
        let mut descriptor = self.piece.descriptor.clone();
        if self.told_size().is_none() {
            let size = self.metadata.blob_size(&self.repository, &descriptor.digest);
            descriptor.size = size.map_err(|error| gone(&error))?;
        }
        let blob = self.metadata.blob(&self.repository, &descriptor)?;
        Ok(Arc::new(OpenBlob(blob.open())))
    }
    fn is_ready(&self) -> bool {
        self.piece.sized
    }
    fn digest(&self) -> Option<Digest> {
        Some(self.piece.descriptor.digest.clone())
    }
    fn xattrs(&self) -> Result<Xattrs> {
        let Descriptor { digest, media_type, annotations, .. } = &self.piece.descriptor;
        let mut xattrs = oci_xattrs(digest, media_type, Some(annotations));
        let verified = self.metadata.store.state(digest) == State::Verified;
        xattrs.push(("user.regfs.verified".into(), if verified { b"1" } else { b"0" }.to_vec()));
        Ok(xattrs)
    }
    fn lane(&self) -> &str {
        self.metadata.name()
    }
}

/// An open blob.
struct OpenBlob(Arc<store::Handle>);

impl ReadAt for OpenBlob {
    fn len(&self) -> Result<u64> {
        self.0.len().map_err(|error| gone(&error))
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(buf, offset).map_err(|error| gone(&error))
    }
    fn stream(&self, span: Span, sink: Sink<'_>) -> Result<()> {
        self.0.stream(span, sink).map_err(|error| gone(&error))
    }
    fn backing(&self) -> Option<Arc<std::fs::File>> {
        self.0.backing()
    }
}

impl Handle for OpenBlob {
    fn is_ready(&self, offset: u64, len: usize) -> bool {
        self.0.is_ready(offset, len)
    }
}

/// The failure to read what has a name: that the registry has no such content is not that there is no such file
/// (protocols: BLOB_UNKNOWN of a file that was listed).
fn gone(error: &Error) -> Error {
    match error.kind() {
        Kind::NotFound => error.as_kind(Kind::Io).context("it was listed, but is no longer there"),
        _ => error.clone(),
    }
}
