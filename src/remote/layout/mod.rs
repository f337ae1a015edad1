//! An OCI image layout in a local directory (image-spec, image-layout.md), read as a registry.
//!
//! A layout has no repository names: it is one repository, [`repository`], that whoever shows it makes the root.
//! Promises: nothing outside the directory is ever opened, and nothing but regular files; the index is read again
//! whenever its file changes. Knows nothing of who else writes to the directory: content is checked as any remote's.

mod blob;
mod files;
mod index;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Descriptor, MAX_MANIFEST, Manifest};
use crate::name::{Reference, Repository, Tag};
use crate::read_at::ReadAt;
use crate::remote::check::{self, Against};
use crate::remote::{Listing, Registry, names};
use bytes::Bytes;
use files::{Files, Stamp};
use index::Index;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The largest `oci-layout` file read, in bytes; it holds one short object.
const MAX_MARKER: u64 = 4 << 10;

/// The name of the one repository that a layout is.
const REPOSITORY: &str = "layout";

/// An image layout; cheap to share, holds the directory open.
pub struct Layout {
    name: String,
    files: Arc<Files>,
    repository: Repository,
    /// The index as last read, and what its file was like then. Held while reading: one reader does it for all.
    index: Mutex<Option<(Stamp, Arc<Index>)>>,
}

/// The one repository that a layout is.
pub fn repository() -> Result<Repository> {
    REPOSITORY.parse()
}

impl Layout {
    /// Opens the layout in the directory `path`. `NotFound` and `NotDir` as open(2) says, `Invalid` if the directory
    /// is not an image layout, `Unsupported` if it is one of another major version than 1.
    pub fn open(path: &Path) -> Result<Layout> {
        let name = format!("oci:{}", crate::name::terminal(path.as_os_str()));
        let files = Arc::new(Files::open(path)?);
        let layout = Layout { name, files, repository: repository()?, index: Mutex::new(None) };
        layout.check_marker()?;
        layout.index()?;
        Ok(layout)
    }

    fn check_marker(&self) -> Result<()> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let not = |why: &str| Error::new(Kind::Invalid, format!("{} is not an OCI image layout: {why}", self.name));
        let bytes = match self.files.read(&["oci-layout"], MAX_MARKER) {
            Err(error) if error.kind() == Kind::NotFound => return Err(not("it has no file oci-layout")),
            other => other?.1,
        };
        let marker: Marker =
            serde_json::from_slice(&bytes).map_err(|_| not("its file oci-layout names no imageLayoutVersion"))?;
        if marker.image_layout_version.split('.').next() == Some("1") {
            return Ok(());
        }
        let version = crate::name::escape(marker.image_layout_version.as_bytes());
        Err(Error::new(Kind::Unsupported, format!("{} is an OCI image layout of version {version}, not 1", self.name)))
    }

    /// The index as it is now.
    fn index(&self) -> Result<Arc<Index>> {
        let mut cached = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match self.files.stamp(&["index.json"]) {
            Err(error) if error.kind() == Kind::NotFound => {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("{} is not an OCI image layout: it has no file index.json", self.name),
                ));
            }
            other => other?,
        };
        if let Some((known, index)) = &*cached
            && *known == stamp
        {
            return Ok(Arc::clone(index));
        }
        let (stamp, bytes) = self.files.read(&["index.json"], MAX_MANIFEST)?;
        let index = Arc::new(Index::parse(&bytes).map_err(|e| e.context(format!("read index.json of {}", self.name)))?);
        *cached = Some((stamp, Arc::clone(&index)));
        Ok(index)
    }

    fn check_repository(&self, repository: &Repository) -> Result<()> {
        if *repository == self.repository {
            return Ok(());
        }
        Err(Error::new(Kind::NotFound, format!("{} has no repositories of its own, so no {repository}", self.name)))
    }

    fn tagged(&self, tag: &Tag) -> Result<Descriptor> {
        self.index()?
            .tagged(tag)
            .cloned()
            .ok_or_else(|| Error::new(Kind::NotFound, format!("{} has no tag {tag}", self.name)))
    }

    /// A manifest from `blobs/`, checked.
    fn content(&self, digest: &Digest, media_type: &str) -> Result<Manifest> {
        let say = |error: Error| error.context(format!("read manifest {digest} of {}", self.name));
        if !digest.is_supported() {
            let why = format!("digest algorithm \"{}\" is not known here", digest.algorithm());
            return Err(say(Error::new(Kind::Unsupported, why)));
        }
        let (_, bytes) = self.files.read(&files::blob(digest), MAX_MANIFEST).map_err(say)?;
        check::manifest(Against::Asked(digest), media_type, Bytes::from(bytes)).map_err(say)
    }
}

impl Registry for Layout {
    fn name(&self) -> &str {
        &self.name
    }

    fn ping(&self) -> Result<()> {
        self.check_marker()?;
        self.index().map(drop)
    }

    fn repositories(&self) -> Result<Listing<Repository>> {
        self.ping()?;
        Ok(Listing { names: vec![self.repository.clone()], partial: None })
    }

    fn tags(&self, repository: &Repository) -> Result<Listing<Tag>> {
        self.check_repository(repository)?;
        let index = self.index()?;
        Ok(names::tags(index.tags().map(|tag| tag.as_str().to_owned()), index.unnamed()))
    }

    fn resolve(&self, repository: &Repository, tag: &Tag, _known: Option<&Descriptor>) -> Result<Descriptor> {
        self.check_repository(repository)?;
        let mut descriptor = self.tagged(tag)?;
        if descriptor.media_type.is_empty() {
            descriptor.media_type = self.content(&descriptor.digest, "")?.media_type;
        }
        Ok(descriptor)
    }

    fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<Manifest> {
        self.check_repository(repository)?;
        match reference {
            Reference::Tag(tag) => {
                let descriptor = self.tagged(tag)?;
                self.content(&descriptor.digest, &descriptor.media_type)
            }
            Reference::Digest(digest) => {
                let index = self.index()?;
                self.content(digest, index.media_type(digest))
            }
        }
    }

    fn blob_size(&self, repository: &Repository, digest: &Digest) -> Result<u64> {
        self.check_repository(repository)?;
        let stamp = self.files.stamp(&files::blob(digest));
        Ok(stamp.map_err(|e| e.context(format!("find blob {} of {}", digest.short(), self.name)))?.size)
    }

    fn blob(&self, _repository: &Repository, descriptor: &Descriptor) -> Arc<dyn ReadAt> {
        let what = format!("read blob {} of {}", descriptor.digest.short(), self.name);
        Arc::new(blob::Blob::new(Arc::clone(&self.files), &descriptor.digest, descriptor.size, what))
    }

    fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.check_repository(repository)?;
        self.index()?.referrers(digest, |of, media_type| self.content(of, media_type))
    }
}
