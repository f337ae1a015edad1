//! The layers that images are made of, opened once each: their tables, and the content of their files.
//!
//! A [`Layer`] is read in one pass, on a thread of its own, the first time that somebody asks what is in it; what the
//! pass found is kept as an index beside the cache, and the next mount reads nothing. Whoever asks meanwhile gets what
//! is known so far, and may wait for more. Knows neither paths nor how layers are stacked.

mod content;
mod layer;
mod reading;
mod turns;

pub(super) use self::layer::{Layer, Look};

use self::turns::Turns;
use crate::digest::Digest;
use crate::journal::Journal;
use crate::layer::{gzip, zstd};
use crate::manifest::Descriptor;
use crate::name::Repository;
use crate::read_at::ReadAt;
use crate::store::Store;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Layers kept open that nobody uses: a mapped file each.
const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// Layers that are read at once: inflating is bounded by processors, what waits for the wire is not.
const MAX_READING: usize = 4;
/// Bytes of inflated content in memory, of all layers.
const INFLATED: u64 = 24 << 20;
/// Bytes of decoded zstd content in memory, of all layers.
const DECODED: u64 = 16 << 20;

/// The layers of one registry.
pub(super) struct Shelf(Arc<Shared>);

/// What its layers share.
struct Shared {
    store: Arc<Store>,
    journal: Arc<Journal>,
    inflated: Arc<gzip::Cache>,
    decoded: Arc<zstd::cache::Cache>,
    turns: Turns,
    layers: Mutex<LruCache<(Repository, Digest), Arc<Layer>>>,
}

impl Shelf {
    pub(super) fn new(store: Arc<Store>) -> Shelf {
        Shelf(Arc::new(Shared {
            journal: store.journal().clone(),
            store,
            inflated: Arc::new(gzip::Cache::new(INFLATED)),
            decoded: Arc::new(zstd::cache::Cache::new(DECODED)),
            turns: Turns::new(MAX_READING),
            layers: Mutex::new(LruCache::new(MAX_OPEN)),
        }))
    }

    /// The layer of a repository that `descriptor` names, whose archive should have the digest `diff_id`, if that is
    /// known. Reads nothing yet.
    pub(super) fn layer(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        diff_id: Option<Digest>,
        remote: Arc<dyn ReadAt>,
    ) -> Arc<Layer> {
        let mut layers = self.0.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (repository.clone(), descriptor.digest.clone());
        let fits = |layer: &&Arc<Layer>| layer.is_of(descriptor, diff_id.as_ref());
        if let Some(layer) = layers.get(&key).filter(fits) {
            return layer.clone();
        }
        let layer = Arc::new(Layer::new(self.0.clone(), descriptor.clone(), diff_id, remote));
        layers.put(key, layer.clone());
        layer
    }
}
