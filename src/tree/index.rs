//! What stands below an index: the image for this platform, and every manifest and blob, however deeply listed.
//!
//! Promises: no more than [`MAX_DEPTH`] levels and [`MAX_MANIFESTS`] manifests are followed, so an index that lists
//! itself, or half the registry, ends in an error with a name; a child that is missing or malformed spoils itself
//! alone; as little as possible is asked for.

use super::metadata::Metadata;
use super::snapshot::{Piece, Snapshot};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Descriptor, Document};
use crate::name::Repository;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most levels of indexes below the first.
pub(super) const MAX_DEPTH: usize = 4;
/// The most manifests that an index may list, with all below it, to be listed blob by blob.
pub(super) const MAX_MANIFESTS: usize = 512;
/// Manifests asked for at once.
const PARALLEL: usize = 6;
/// How long manifests are asked for before a caller is told to come again; what came until then is kept.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A manifest below an index.
pub(super) struct Child {
    /// As it is listed.
    pub descriptor: Descriptor,
    /// What it is; `None` if what the registry holds is not a manifest of that digest.
    pub manifest: Option<Arc<Snapshot>>,
}

/// What a digest stands for within an image.
pub(super) enum Found {
    /// The image's manifest, or one below it.
    Manifest(Arc<Snapshot>),
    /// A blob that one of them names.
    Blob(Box<Piece>),
}

impl Metadata {
    /// The image itself; of an index, the one for the platform asked for, if there is one and the registry has it.
    /// `TooBig` if it stands too deep.
    pub(super) fn chosen(&self, repository: &Repository, image: &Arc<Snapshot>) -> Result<Option<Arc<Snapshot>>> {
        let mut image = image.clone();
        for _ in 0..=MAX_DEPTH {
            if !matches!(image.document, Document::Index(_)) {
                return Ok(Some(image));
            }
            let Some(child) = image.choose(&self.options.platform) else { return Ok(None) };
            image = match self.image(repository, &child.digest, &child.media_type) {
                Ok(child) => child,
                Err(error) if error.kind() == Kind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
        }
        Err(too_deep(&image))
    }

    /// The same, as far as it is in memory.
    pub(super) fn chosen_at_hand(&self, repository: &Repository, image: &Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        let mut image = image.clone();
        for _ in 0..=MAX_DEPTH {
            if !matches!(image.document, Document::Index(_)) {
                return Some(image);
            }
            let child = image.choose(&self.options.platform)?;
            image = self.image_at_hand(repository, &child.digest)?;
        }
        None
    }

    /// Every manifest below an image, each once; those that the registry does not have are left out.
    pub(super) fn children(&self, repository: &Repository, image: &Arc<Snapshot>) -> Result<Vec<Child>> {
        let mut seen = HashSet::from([image.digest.clone()]);
        let since = Instant::now();
        let mut children = Vec::new();
        let mut level = vec![image.clone()];
        for depth in 0.. {
            let mut listed: Vec<Descriptor> = Vec::new();
            for child in level.iter().flat_map(|parent| parent.children()) {
                if seen.insert(child.digest.clone()) {
                    listed.push(child.clone());
                }
            }
            if listed.is_empty() {
                break;
            }
            if depth == MAX_DEPTH {
                return Err(too_deep(image));
            }
            if children.len() + listed.len() > MAX_MANIFESTS {
                let what = format!("index {} lists more than {MAX_MANIFESTS} manifests", image.digest.short());
                return Err(Error::new(Kind::TooBig, what));
            }
            let loaded = self.load_all(repository, &listed, since)?;
            level.clear();
            for (descriptor, manifest) in listed.into_iter().zip(loaded) {
                match manifest {
                    Ok(manifest) => {
                        level.push(manifest.clone());
                        children.push(Child { descriptor, manifest: Some(manifest) });
                    }
                    Err(error) if error.kind() == Kind::NotFound => {}
                    Err(_) => children.push(Child { descriptor, manifest: None }),
                }
            }
        }
        Ok(children)
    }

    /// Loads manifests side by side. A failure that is not a manifest's own fails the whole at once: the rest would
    /// most likely wait for the same.
    fn load_all(
        &self,
        repository: &Repository,
        listed: &[Descriptor],
        since: Instant,
    ) -> Result<Vec<Result<Arc<Snapshot>>>> {
        let next = AtomicUsize::new(0);
        let loaded = Mutex::new(listed.iter().map(|_| None).collect::<Vec<Option<Result<Arc<Snapshot>>>>>());
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let is_failed = || failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let work = || {
            while !is_failed() {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(child) = listed.get(at) else { break };
                let outcome = match since.elapsed() > MAX_WAIT {
                    true => Err(Error::new(
                        Kind::Timeout,
                        format!("an index of {} manifests is slow to read", listed.len()),
                    )),
                    false => self.image(repository, &child.digest, &child.media_type),
                };
                match &outcome {
                    Err(error) if !is_its_own(error.kind()) => {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                    }
                    _ => {
                        if let Some(slot) = loaded.lock().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                            *slot = Some(outcome);
                        }
                    }
                }
            }
        };
        let absent = listed.iter().filter(|child| self.image_at_hand(repository, &child.digest).is_none()).count();
        std::thread::scope(|scope| {
            for _ in 1..absent.min(PARALLEL) {
                // Without threads it is slower, not wrong.
                let _ = std::thread::Builder::new().name("regfs-index".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        Ok(loaded.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect())
    }

    /// What `digest` stands for within an image; `None` if it is no part of it. What is in memory is looked through
    /// first, then the image for this platform, then all the others.
    pub(super) fn find(
        &self,
        repository: &Repository,
        image: &Arc<Snapshot>,
        digest: &Digest,
    ) -> Result<Option<Found>> {
        if let Some(found) = self.find_at_hand(repository, image, digest, MAX_DEPTH) {
            return Ok(Some(found));
        }
        if let Some(child) = image.children().iter().find(|child| child.digest == *digest) {
            return match self.image(repository, digest, &child.media_type) {
                Ok(child) => Ok(Some(Found::Manifest(child))),
                Err(error) if error.kind() == Kind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
        }
        if image.children().is_empty() {
            return Ok(None);
        }
        if let Ok(Some(_)) = self.chosen(repository, image)
            && let Some(found) = self.find_at_hand(repository, image, digest, MAX_DEPTH)
        {
            return Ok(Some(found));
        }
        let children = self.children(repository, image)?;
        let manifests = || children.iter().filter_map(|child| child.manifest.as_ref());
        if let Some(manifest) = manifests().find(|manifest| manifest.digest == *digest) {
            return Ok(Some(Found::Manifest(manifest.clone())));
        }
        Ok(manifests().find_map(|manifest| manifest.piece(digest)).map(|piece| Found::Blob(Box::new(piece))))
    }

    fn find_at_hand(
        &self,
        repository: &Repository,
        image: &Arc<Snapshot>,
        digest: &Digest,
        depth: usize,
    ) -> Option<Found> {
        if image.digest == *digest && image.is_plain() {
            return Some(Found::Manifest(image.clone()));
        }
        if let Some(piece) = image.piece(digest) {
            return Some(Found::Blob(Box::new(piece)));
        }
        let depth = depth.checked_sub(1)?;
        image.children().iter().find_map(|child| {
            let child = self.image_at_hand(repository, &child.digest)?;
            self.find_at_hand(repository, &child, digest, depth)
        })
    }
}

/// Whether a failure to load a child says something about that child alone.
pub(super) fn is_its_own(kind: Kind) -> bool {
    matches!(kind, Kind::NotFound | Kind::Protocol | Kind::Corrupt | Kind::TooBig | Kind::Invalid | Kind::Unsupported)
}

fn too_deep(image: &Snapshot) -> Error {
    let what = format!("index {} has more than {MAX_DEPTH} levels of indexes below it", image.digest.short());
    Error::new(Kind::TooBig, what)
}
