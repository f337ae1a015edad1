//! An image's layers as they are now, and asking them until they know.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::layer::index::Growing;
use crate::layer::merge::Known;
use crate::layer::toc::Toc;
use crate::manifest::Descriptor;
use crate::name::Repository;
use crate::read_at::read_all;
use crate::tree::layers::{Layer, Look};
use crate::tree::metadata::Metadata;
use crate::tree::snapshot::Snapshot;
use serde::Deserialize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// The largest config that is read for its diffIDs.
const MAX_CONFIG: u64 = 8 << 20;
/// How often a question is asked again of a layer that is complete and yet said to have more to tell.
const MAX_STUCK: u32 = 16;

/// The layers of an image, bottom first.
pub(in crate::tree) struct View {
    metadata: Arc<Metadata>,
    repository: Repository,
    /// The image, of one platform.
    image: Arc<Snapshot>,
    layers: OnceLock<Vec<Arc<Layer>>>,
    /// The layers' tables, once all are at hand for good.
    settled: OnceLock<Now>,
}

impl View {
    pub(in crate::tree) fn new(metadata: &Arc<Metadata>, repository: &Repository, image: Arc<Snapshot>) -> Arc<View> {
        let (metadata, repository) = (metadata.clone(), repository.clone());
        Arc::new(View { metadata, repository, image, layers: OnceLock::new(), settled: OnceLock::new() })
    }

    /// The digest of the image.
    pub(super) fn digest(&self) -> &Digest {
        &self.image.digest
    }

    /// The remote that is asked.
    pub(super) fn lane(&self) -> &str {
        self.metadata.name()
    }

    /// When the image was made, if that is known.
    pub(super) fn created(&self) -> Option<SystemTime> {
        self.metadata.created_of(&self.repository, &self.image)
    }

    /// How long a name that is not there may be relied on.
    pub(super) fn negative_ttl(&self) -> Duration {
        if self.is_settled() { crate::tree::FOREVER } else { Duration::ZERO }
    }

    /// Whether every layer is at hand, checked: nothing that is told changes any more.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.get().is_some()
    }

    /// The layers. Reads the config for what their archives should hash to.
    pub(super) fn layers(&self) -> Result<&[Arc<Layer>]> {
        if let Some(layers) = self.layers.get() {
            return Ok(layers);
        }
        let pieces = self.image.layers();
        let mut diff_ids = self.diff_ids()?.into_iter();
        let layers = pieces.iter().map(|piece| {
            let remote = self.metadata.remote_blob(&self.repository, &piece.descriptor);
            self.metadata.shelf.layer(&self.repository, &piece.descriptor, diff_ids.next(), remote)
        });
        let layers = layers.collect();
        Ok(self.layers.get_or_init(|| layers))
    }

    /// The digests of the layers' archives, as the config tells them; none if it has not one for each layer.
    fn diff_ids(&self) -> Result<Vec<Digest>> {
        #[derive(Deserialize)]
        struct Config {
            rootfs: Rootfs,
        }
        #[derive(Deserialize)]
        struct Rootfs {
            diff_ids: Vec<Digest>,
        }
        let Some(config) = self.image.config() else { return Ok(Vec::new()) };
        let bytes = match self.read_config(config) {
            Ok(bytes) => bytes,
            // The layers' own digests are what counts; this is a second check.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::TooBig) => {
                log::debug!("the layers of {} are not checked against its config: {error}", self.image.digest);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let told = serde_json::from_slice::<Config>(&bytes).map(|config| config.rootfs.diff_ids).unwrap_or_default();
        Ok(if told.len() == self.image.layers().len() { told } else { Vec::new() })
    }

    fn read_config(&self, config: &Descriptor) -> Result<Vec<u8>> {
        let blob = self.metadata.blob(&self.repository, config)?;
        read_all(&*blob.open(), MAX_CONFIG)
    }

    /// Asks the tables, and again as they grow, until the answer is known for good. What depends on a layer that cannot
    /// be read fails as that layer did; other answers do not suffer from it.
    pub(super) fn ask<T>(&self, mut question: impl FnMut(&Now) -> Result<Known<T>>) -> Result<T> {
        if let Some(settled) = self.settled.get()
            && let Known::Is(answer) = question(settled)?
        {
            return Ok(answer);
        }
        let layers = self.layers()?;
        let mut stuck = 0;
        while stuck < MAX_STUCK {
            let looks: Vec<Result<Look>> = layers.iter().map(Layer::look).collect();
            let now = Now::of(&looks);
            if looks.iter().all(|look| look.as_ref().is_ok_and(|look| look.settled)) {
                let _ = self.settled.set(now.clone());
            }
            match question(&now)? {
                Known::Is(answer) => return Ok(answer),
                Known::Unknown { layer } => match (layers.get(layer), looks.get(layer)) {
                    (Some(waits), Some(Ok(look))) => {
                        stuck = if look.toc.is_complete() { stuck + 1 } else { 0 };
                        waits.wait(look.version);
                    }
                    (_, Some(Err(error))) => return Err(error.clone()),
                    _ => break,
                },
            }
        }
        Err(Error::new(Kind::Io, format!("the layers of {} come to no answer", self.image.digest)))
    }
}

/// The tables of an image's layers as they are now.
#[derive(Clone)]
pub(super) struct Now {
    tables: Vec<Arc<dyn Toc>>,
    /// Which tables they are: what was found in others says nothing of these.
    pub(super) generations: Arc<[u64]>,
}

impl Now {
    /// A layer that cannot be read knows nothing as yet.
    fn of(looks: &[Result<Look>]) -> Now {
        let table = |look: &Result<Look>| match look {
            Ok(look) => look.toc.clone(),
            Err(_) => Arc::new(Growing::new()) as Arc<dyn Toc>,
        };
        let generation = |look: &Result<Look>| look.as_ref().map_or(u64::MAX, |look| look.generation);
        Now { tables: looks.iter().map(table).collect(), generations: looks.iter().map(generation).collect() }
    }

    /// The tables, bottom first.
    pub(super) fn tocs(&self) -> Vec<&dyn Toc> {
        self.tables.iter().map(|toc| &**toc).collect()
    }

    /// Which table of layer number `layer` this is.
    pub(super) fn generation(&self, layer: usize) -> u64 {
        self.generations.get(layer).copied().unwrap_or(u64::MAX)
    }
}
