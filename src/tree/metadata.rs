//! One registry as the tree sees it: names, manifests and sizes, each asked for when it is needed and then kept.
//!
//! Promises: what a digest names is asked for once; what a tag names, and listings, once per `metadata_ttl`; every
//! map is bounded. Offline nothing is asked: what is remembered is told, anything else is `Unreachable`. Knows
//! nothing of file names. Errors are the remote's, in the remote's words.

use super::cached::{Cell, Fresh, Lives, Map, NEGATIVE_TTL};
use super::known::{Known, Named};
use super::layers::Shelf;
use super::pulse::Pulse;
use super::snapshot::Snapshot;
use super::{FOREVER, Options};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::manifest::Descriptor;
use crate::name::{Reference, Repository, Tag};
use crate::read_at::ReadAt;
use crate::remote::{Listing, Registry};
use crate::store::{Blob, State, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Tag names kept, of all repositories.
const MAX_TAG_NAMES: u64 = 200_000;
/// Tags whose digest is kept.
const MAX_NAMED: u64 = 20_000;
/// Bytes of manifests kept parsed, roughly; the largest one that is read has to fit.
const MAX_SNAPSHOTS: u64 = 24 << 20;
/// Blobs whose size is kept.
const MAX_SIZES: u64 = 20_000;
/// Lists of referrers kept, and entries in them.
const MAX_REFERRERS: u64 = 10_000;
/// Images whose time of making is kept.
const MAX_CREATED: u64 = 20_000;

/// A digest in a repository: the same content elsewhere may not be there.
type Place = (Repository, Digest);

/// What is known of one registry.
pub(super) struct Metadata {
    remote: Arc<dyn Registry>,
    pulse: Pulse,
    pub(super) store: Arc<Store>,
    pub(super) options: Options,
    /// For tags and listings.
    pub(super) lives: Lives,
    /// For what a digest names.
    forever: Lives,
    pub(super) known: Known,
    /// The layers that were looked into.
    pub(super) shelf: Shelf,
    catalog: Cell<Arc<Listing<Repository>>>,
    tags: Map<Repository, Arc<Listing<Tag>>>,
    named: Map<(Repository, Tag), Now>,
    snapshots: Map<Place, Arc<Snapshot>>,
    sizes: Map<Place, u64>,
    referrers: Map<Place, Arc<Vec<Descriptor>>>,
    pub(super) created: Map<Digest, Option<SystemTime>>,
}

/// What a tag names now, and named before that.
#[derive(Clone)]
pub(super) struct Now {
    pub named: Arc<Named>,
    /// What it named before it moved: readers in the middle of that image may finish.
    pub before: Option<Digest>,
}

impl Metadata {
    pub(super) fn new(remote: Arc<dyn Registry>, store: Arc<Store>, options: Options) -> Metadata {
        let negative = NEGATIVE_TTL.min(options.metadata_ttl);
        let epoch: Arc<AtomicU64> = Arc::default();
        let lives = Lives { ttl: options.metadata_ttl, negative, offline: options.offline, epoch };
        Metadata {
            known: Known::open(store.clone(), remote.name()),
            shelf: Shelf::new(store.clone()),
            forever: Lives { ttl: FOREVER, ..lives.clone() },
            lives,
            remote,
            pulse: Pulse::default(),
            store,
            options,
            catalog: Cell::new(),
            tags: Map::new(MAX_TAG_NAMES, |listing| listing.names.len() as u64),
            named: Map::new(MAX_NAMED, |_| 0),
            snapshots: Map::new(MAX_SNAPSHOTS, |snapshot| snapshot.weight()),
            sizes: Map::new(MAX_SIZES, |_| 0),
            referrers: Map::new(MAX_REFERRERS, |referrers| referrers.len() as u64),
            created: Map::new(MAX_CREATED, |_| 0),
        }
    }

    /// The registry as the user calls it.
    pub(super) fn name(&self) -> &str {
        self.remote.name()
    }

    /// Asks anew for everything that no digest names; writes down what is known.
    pub(super) fn refresh(&self) {
        self.lives.epoch.fetch_add(1, Ordering::Relaxed);
        self.known.save();
    }

    /// How long a name that is always there may be relied on.
    pub(super) fn ttl(&self) -> Duration {
        self.lives.ttl
    }

    /// The repositories: those that are listed, and if those are not all, those that are known.
    pub(super) fn repositories(&self) -> Result<Fresh<Arc<Listing<Repository>>>> {
        let fresh = self.catalog.get(&self.lives, |_| {
            if self.options.offline {
                return Ok(Arc::new(Listing { names: Vec::new(), partial: Some("offline".to_owned()) }));
            }
            let listing = self.pulse.ask(|| self.remote.repositories())?;
            if let Some(why) = &listing.partial {
                log::info!("{why}");
            }
            Ok(Arc::new(listing))
        })?;
        if fresh.value.partial.is_none() {
            return Ok(fresh);
        }
        let mut names = fresh.value.names.clone();
        names.extend(self.known.repositories());
        names.sort();
        names.dedup();
        Ok(Fresh { value: Arc::new(Listing { names, partial: fresh.value.partial.clone() }), left: fresh.left })
    }

    /// The catalog, if it is at hand.
    pub(super) fn catalog(&self) -> Option<Arc<Listing<Repository>>> {
        self.catalog.fresh(&self.lives).map(|fresh| fresh.value)
    }

    /// The repositories that are known to have tags now, whatever the catalog says of them.
    pub(super) fn seen(&self) -> Vec<Repository> {
        self.tags.fresh_keys(&self.lives, |tags| !tags.names.is_empty())
    }

    /// Whether a repository that is not listed is there: one request, unless it is known. Registries that cannot tell
    /// an unknown repository from an empty one answer an empty list for both: it is not there. One that is refused is.
    pub(super) fn is_there(&self, repository: &Repository) -> Result<bool> {
        match self.tags(repository) {
            Ok(tags) => Ok(!tags.value.names.is_empty()),
            Err(error) => match error.kind() {
                Kind::NotFound | Kind::Unsupported | Kind::Invalid => Ok(false),
                Kind::Denied | Kind::Forbidden => Ok(true),
                _ => Err(error),
            },
        }
    }

    /// The tags of a repository. `NotFound` if it does not exist; one that is listed and has none is empty.
    pub(super) fn tags(&self, repository: &Repository) -> Result<Fresh<Arc<Listing<Tag>>>> {
        self.tags.get(repository, &self.lives, |_| {
            if self.options.offline {
                let mut names: Vec<Tag> = self.known.tags(repository).into_iter().map(|(tag, _)| tag).collect();
                names.sort();
                return match names.is_empty() && !self.known.is_repository(repository) {
                    true => Err(self.offline(format!("the tags of {}/{repository} are", self.name()))),
                    false => Ok(Arc::new(Listing { names, partial: Some("offline".to_owned()) })),
                };
            }
            let listing = match self.pulse.ask(|| self.remote.tags(repository)) {
                Err(error) if error.kind() == Kind::NotFound && self.is_listed(repository) => {
                    Listing { names: Vec::new(), partial: None }
                }
                other => other?,
            };
            if let Some(why) = &listing.partial {
                log::info!("{why}");
            }
            if !listing.names.is_empty() {
                self.known.learn_repository(repository);
            }
            for tag in &listing.names {
                self.named.forgive(&(repository.clone(), tag.clone()));
            }
            Ok(Arc::new(listing))
        })
    }

    /// Whether the catalog at hand names a repository.
    pub(super) fn is_listed(&self, repository: &Repository) -> bool {
        self.catalog().is_some_and(|catalog| catalog.names.binary_search(repository).is_ok())
    }

    /// How much longer a tag may be relied on to be there, if that is known without asking.
    pub(super) fn tag_left(&self, repository: &Repository, tag: &Tag) -> Option<Duration> {
        let key = (repository.clone(), tag.clone());
        if let Some(fresh) = self.named.fresh(&key, &self.lives) {
            return Some(fresh.left);
        }
        // It was listed, but turned out not to be there.
        if self.named.failure(&key, &self.lives).is_some_and(|error| error.kind() == Kind::NotFound) {
            return None;
        }
        let listing = self.tags.fresh(repository, &self.lives)?;
        listing.value.names.binary_search(tag).ok().map(|_| listing.left)
    }

    /// Whether a tag is known to be there, or not to be, or would fail without asking.
    pub(super) fn is_tag_settled(&self, repository: &Repository, tag: &Tag) -> bool {
        let is_failing = || self.named.failure(&(repository.clone(), tag.clone()), &self.lives).is_some();
        self.tag_left(repository, tag).is_some() || is_failing()
    }

    /// What a tag names, if that is known without asking.
    pub(super) fn tag_now(&self, repository: &Repository, tag: &Tag) -> Option<Arc<Named>> {
        let now = self.named.fresh(&(repository.clone(), tag.clone()), &self.lives);
        now.map(|now| now.value.named)
    }

    /// What a tag named when last asked, however long ago, in this mount or an earlier one.
    pub(super) fn tag_last(&self, repository: &Repository, tag: &Tag) -> Option<Arc<Named>> {
        let now = self.named.peek(&(repository.clone(), tag.clone()));
        now.map(|now| now.named).or_else(|| self.known.tag(repository, tag).map(Arc::new))
    }

    /// What a tag names: one small request, unless it is known.
    pub(super) fn resolve(&self, repository: &Repository, tag: &Tag) -> Result<Fresh<Now>> {
        self.now(repository, tag, &mut |before| {
            let known = before.map(|named| named.descriptor());
            let found = self.pulse.ask(|| self.remote.resolve(repository, tag, known.as_ref()))?;
            Ok(Named { digest: found.digest, size: found.size, media_type: found.media_type, created: None })
        })
    }

    /// The image that a tag names: one request for both, unless they are known.
    pub(super) fn tagged(&self, repository: &Repository, tag: &Tag) -> Result<(Arc<Snapshot>, Fresh<Now>)> {
        let mut got = None;
        let now = self.now(repository, tag, &mut |before| {
            // What is at hand need only be confirmed.
            if let Some(known) = before.filter(|named| self.at_hand(repository, named)) {
                let found = self.pulse.ask(|| self.remote.resolve(repository, tag, Some(&known.descriptor())))?;
                return Ok(Named {
                    digest: found.digest,
                    size: found.size,
                    media_type: found.media_type,
                    created: None,
                });
            }
            let manifest = self.pulse.ask(|| self.remote.manifest(repository, &Reference::Tag(tag.clone())))?;
            let snapshot = Arc::new(self.take(repository, Snapshot::of(manifest)?));
            self.snapshots.put(&(repository.clone(), snapshot.digest.clone()), snapshot.clone(), &self.forever);
            got = Some(snapshot.clone());
            Ok(Named {
                digest: snapshot.digest.clone(),
                size: snapshot.size(),
                media_type: snapshot.media_type.clone(),
                created: None,
            })
        })?;
        let snapshot = match got {
            Some(snapshot) => snapshot,
            None => self.image(repository, &now.value.named.digest, &now.value.named.media_type)?,
        };
        Ok((snapshot, now))
    }

    fn now(
        &self,
        repository: &Repository,
        tag: &Tag,
        ask: &mut dyn FnMut(Option<&Named>) -> Result<Named>,
    ) -> Result<Fresh<Now>> {
        self.named.get(&(repository.clone(), tag.clone()), &self.lives, |before| {
            let known = before.as_ref().map(|now| now.named.clone());
            let known = known.or_else(|| self.known.tag(repository, tag).map(Arc::new));
            if self.options.offline {
                let named =
                    known.ok_or_else(|| self.offline(format!("what {}/{repository}:{tag} names is", self.name())))?;
                return Ok(Now { named, before: None });
            }
            let named = ask(known.as_deref()).inspect_err(|error| {
                if error.kind() == Kind::NotFound {
                    self.known.forget_tag(repository, tag);
                }
            })?;
            let named = self.known.learn_tag(repository, tag, named);
            let before = match before {
                Some(now) if now.named.digest == named.digest => now.before,
                Some(now) => Some(now.named.digest.clone()),
                None => None,
            };
            Ok(Now { named: Arc::new(named), before })
        })
    }

    /// Whether a manifest can be had without asking the remote.
    fn at_hand(&self, repository: &Repository, named: &Named) -> bool {
        self.snapshots.peek(&(repository.clone(), named.digest.clone())).is_some()
            || self.store.get(&named.digest).is_some()
    }

    /// A manifest in memory, if it is there.
    pub(super) fn image_at_hand(&self, repository: &Repository, digest: &Digest) -> Option<Arc<Snapshot>> {
        self.snapshots.peek(&(repository.clone(), digest.clone()))
    }

    /// A manifest that this repository is known to have, from memory or the cache alone.
    pub(super) fn image_cached(&self, repository: &Repository, digest: &Digest, hint: &str) -> Option<Arc<Snapshot>> {
        if let Some(image) = self.image_at_hand(repository, digest) {
            return Some(image);
        }
        let image = Arc::new(Snapshot::kept(digest, hint, self.store.get(digest)?).ok()?);
        self.snapshots.put(&(repository.clone(), digest.clone()), image.clone(), &self.forever);
        Some(image)
    }

    /// A manifest that this repository is known to have, from the cache if it is there; `hint` is its type, if known.
    pub(super) fn image(&self, repository: &Repository, digest: &Digest, hint: &str) -> Result<Arc<Snapshot>> {
        self.fetch(repository, digest, || {
            let bytes = self.store.get(digest)?;
            // What does not parse any more is fetched anew.
            Snapshot::kept(digest, hint, bytes).ok()
        })
    }

    /// A manifest that this repository may have: what is cached does not say so.
    pub(super) fn probe(&self, repository: &Repository, digest: &Digest) -> Result<Arc<Snapshot>> {
        let named = self.known.tags(repository).into_iter().any(|(_, named)| named.digest == *digest);
        match named || self.options.offline {
            true => self.image(repository, digest, ""),
            false => self.fetch(repository, digest, || None),
        }
    }

    fn fetch(
        &self,
        repository: &Repository,
        digest: &Digest,
        cached: impl FnOnce() -> Option<Snapshot>,
    ) -> Result<Arc<Snapshot>> {
        let load = |_| {
            if let Some(snapshot) = cached() {
                return Ok(Arc::new(self.learn(repository, snapshot)));
            }
            if self.options.offline {
                return Err(self.offline(format!("manifest {}/{repository}@{digest} is", self.name())));
            }
            let manifest = self.pulse.ask(|| self.remote.manifest(repository, &Reference::Digest(digest.clone())))?;
            if manifest.digest != *digest {
                let why = format!("manifest {}/{repository}@{digest} came as {}", self.name(), manifest.digest);
                return Err(Error::new(Kind::Corrupt, why));
            }
            self.known.learn_repository(repository);
            Ok(Arc::new(self.take(repository, Snapshot::of(manifest)?)))
        };
        self.snapshots.get(&(repository.clone(), digest.clone()), &self.forever, load).map(|fresh| fresh.value)
    }

    /// Keeps a manifest that came from the remote.
    fn take(&self, repository: &Repository, snapshot: Snapshot) -> Snapshot {
        if !snapshot.is_readable()
            && let Err(error) = crate::manifest::parse(&snapshot.media_type, &snapshot.bytes)
        {
            let path = format!("{repository}/manifests/{}", snapshot.digest);
            self.store.journal().failed(&path, &error.context("it is shown as bytes alone"));
        }
        if snapshot.is_plain()
            && snapshot.is_readable()
            && let Err(error) = self.store.put(&snapshot.digest, snapshot.bytes.clone())
        {
            log::debug!("manifest {} is not cached: {error}", snapshot.digest);
        }
        self.learn(repository, snapshot)
    }

    /// Remembers the sizes that a manifest tells. Where two tell different ones, the registry is asked instead.
    fn learn(&self, repository: &Repository, snapshot: Snapshot) -> Snapshot {
        for piece in snapshot.pieces().into_iter().filter(|piece| piece.sized).take(MAX_SIZES as usize / 10) {
            let place = (repository.clone(), piece.descriptor.digest);
            match self.sizes.peek(&place) {
                Some(size) if size != piece.descriptor.size => self.sizes.remove(&place),
                Some(_) => {}
                None => self.sizes.put(&place, piece.descriptor.size, &self.forever),
            }
        }
        snapshot
    }

    /// The size of a blob of a repository, as a manifest told it, or the registry is asked. `NotFound` if it has none.
    pub(super) fn blob_size(&self, repository: &Repository, digest: &Digest) -> Result<u64> {
        let cached = || match self.store.state(digest) {
            State::Verified => self.store.size(digest),
            _ => None,
        };
        let told = self.sizes.get(&(repository.clone(), digest.clone()), &self.forever, |_| {
            if self.options.offline {
                return self.store.size(digest).ok_or_else(|| {
                    self.offline(format!("blob {} of {}/{repository} is", digest.short(), self.name()))
                });
            }
            self.pulse.ask(|| self.remote.blob_size(repository, digest))
        })?;
        Ok(cached().unwrap_or(told.value))
    }

    /// What [`Metadata::blob_size`] tells without asking.
    pub(super) fn known_size(&self, repository: &Repository, digest: &Digest) -> Option<u64> {
        self.sizes.peek(&(repository.clone(), digest.clone()))
    }

    /// The content of a blob, lazily.
    pub(super) fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Arc<Blob>> {
        self.store.blob(&descriptor.digest, descriptor.size, self.remote.blob(repository, descriptor))
    }

    /// The remote behind a blob, unchecked: for whoever keeps it through the store.
    pub(super) fn remote_blob(&self, repository: &Repository, descriptor: &Descriptor) -> Arc<dyn ReadAt> {
        self.remote.blob(repository, descriptor)
    }

    /// What refers to a manifest.
    pub(super) fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Fresh<Arc<Vec<Descriptor>>>> {
        self.referrers.get(&(repository.clone(), digest.clone()), &self.lives, |_| {
            if self.options.offline {
                let what = format!("what refers to {}/{repository}@{} is", self.name(), digest.short());
                return Err(self.offline(what));
            }
            Ok(Arc::new(self.pulse.ask(|| self.remote.referrers(repository, digest))?))
        })
    }

    fn offline(&self, what: String) -> Error {
        Error::new(Kind::Unreachable, format!("offline: {what} not remembered"))
    }
}
