//! A registry in memory that writes down what it is asked, and fails when it is told to.

use base64::Engine as _;
use bytes::Bytes;
use regfs::digest::Digest;
use regfs::error::{Error, Kind, Result};
use regfs::manifest::{Descriptor, Manifest, media};
use regfs::name::{Reference, Repository, Tag};
use regfs::read_at::ReadAt;
use regfs::remote::{Listing, Registry};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The registry. All its content can be changed while a tree shows it.
#[derive(Default)]
pub(crate) struct Memory {
    host: Option<&'static str>,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) repositories: BTreeMap<String, Content>,
    /// Why it does not list its repositories, if it does not.
    pub(crate) unlistable: Option<String>,
    /// How every request fails, if it does.
    pub(crate) failing: Option<Kind>,
    /// How long every request takes.
    pub(crate) delay: Duration,
    /// What was asked, in order.
    pub(crate) asked: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Content {
    pub(crate) tags: BTreeMap<String, Digest>,
    pub(crate) manifests: BTreeMap<Digest, (String, Bytes)>,
    pub(crate) blobs: BTreeMap<Digest, Bytes>,
    pub(crate) referrers: BTreeMap<Digest, Vec<Value>>,
}

fn absent<T>(what: &str) -> Result<T> {
    Err(Error::new(Kind::NotFound, format!("{what}: not known to the registry")))
}

pub(crate) fn descriptor(value: Value) -> Descriptor {
    serde_json::from_value(value).expect("descriptor")
}

impl Memory {
    pub(crate) fn new() -> Arc<Memory> {
        Arc::default()
    }

    /// One that is called `host`.
    pub(crate) fn of(host: &'static str) -> Arc<Memory> {
        Arc::new(Memory { host: Some(host), ..Memory::default() })
    }

    /// Changes anything.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn content<T>(&self, repository: &str, change: impl FnOnce(&mut Content) -> T) -> T {
        self.with(|state| change(state.repositories.entry(repository.to_owned()).or_default()))
    }

    /// What was asked since this was last called.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.with(|state| std::mem::take(&mut state.asked))
    }

    fn ask<T>(&self, what: String, answer: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let delay = self.with(|state| {
            state.asked.push(what.clone());
            state.delay
        });
        std::thread::sleep(delay);
        self.with(|state| match state.failing {
            Some(kind) => Err(Error::new(kind, format!("{what}: the registry is dead"))),
            None => answer(state),
        })
    }

    /// Adds a blob; gives its descriptor.
    pub(crate) fn blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.content(repository, |content| content.blobs.insert(digest.clone(), Bytes::copy_from_slice(bytes)));
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Adds a manifest; gives its descriptor.
    pub(crate) fn manifest(&self, repository: &str, media_type: &str, document: &Value) -> Value {
        let bytes = Bytes::from(serde_json::to_vec(document).expect("json"));
        let digest = Digest::of(&bytes);
        let size = bytes.len();
        self.content(repository, |content| {
            content.manifests.insert(digest.clone(), (media_type.to_owned(), bytes));
        });
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    /// Adds an image made of `layers`, made at `created`; gives its descriptor.
    pub(crate) fn image(&self, repository: &str, created: &str, layers: &[&[u8]]) -> Value {
        let config = json!({"created": created, "architecture": "amd64", "os": "linux"}).to_string();
        let config = self.blob(repository, media::OCI_CONFIG, config.as_bytes());
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers: Vec<Value> = layers.iter().map(|bytes| self.blob(repository, layer, bytes)).collect();
        let document = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": layers,
            "annotations": {"org.example.made": created},
        });
        self.manifest(repository, media::OCI_MANIFEST, &document)
    }

    /// Adds an index of what the descriptors name, with their platforms, `os/arch/variant`, where given.
    pub(crate) fn index(&self, repository: &str, entries: &[(&str, Value)]) -> Value {
        let entry = |(platform, descriptor): &(&str, Value)| {
            let mut descriptor = descriptor.clone();
            let mut parts = platform.split('/');
            if !platform.is_empty() {
                descriptor["platform"] =
                    json!({"os": parts.next(), "architecture": parts.next(), "variant": parts.next()});
            }
            descriptor
        };
        let entries: Vec<Value> = entries.iter().map(entry).collect();
        let document = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries});
        self.manifest(repository, media::OCI_INDEX, &document)
    }

    /// Makes `tag` name what `descriptor` does.
    pub(crate) fn tag(&self, repository: &str, tag: &str, descriptor: &Value) {
        let digest = digest(descriptor);
        self.content(repository, |content| content.tags.insert(tag.to_owned(), digest));
    }
}

/// The digest of a descriptor.
pub(crate) fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().expect("digest").parse().expect("digest")
}

impl Registry for Memory {
    fn name(&self) -> &str {
        self.host.unwrap_or("registry.test")
    }

    fn ping(&self) -> Result<()> {
        self.ask("ping".to_owned(), |_| Ok(()))
    }

    fn repositories(&self) -> Result<Listing<Repository>> {
        self.ask("catalog".to_owned(), |state| {
            if let Some(why) = &state.unlistable {
                return Ok(Listing { names: Vec::new(), partial: Some(why.clone()) });
            }
            let mut names: Vec<Repository> =
                state.repositories.keys().map(|name| name.parse().expect("repository")).collect();
            names.sort();
            Ok(Listing { names, partial: None })
        })
    }

    fn tags(&self, repository: &Repository) -> Result<Listing<Tag>> {
        self.ask(format!("tags {repository}"), |state| {
            let Some(content) = state.repositories.get(repository.as_str()) else { return absent("repository") };
            let mut names: Vec<Tag> = content.tags.keys().map(|tag| tag.parse().expect("tag")).collect();
            names.sort();
            Ok(Listing { names, partial: None })
        })
    }

    fn resolve(&self, repository: &Repository, tag: &Tag, _known: Option<&Descriptor>) -> Result<Descriptor> {
        self.ask(format!("resolve {repository}:{tag}"), |state| {
            let content = state.repositories.get(repository.as_str());
            let found = content.and_then(|content| {
                let digest = content.tags.get(tag.as_str())?;
                let (media_type, bytes) = content.manifests.get(digest)?;
                Some(descriptor(json!({"digest": digest, "mediaType": media_type, "size": bytes.len()})))
            });
            found.map_or_else(|| absent("tag"), Ok)
        })
    }

    fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<Manifest> {
        let separator = if matches!(reference, Reference::Tag(_)) { ':' } else { '@' };
        self.ask(format!("manifest {repository}{separator}{reference}"), |state| {
            let content = state.repositories.get(repository.as_str());
            let found = content.and_then(|content| {
                let digest = match reference {
                    Reference::Tag(tag) => content.tags.get(tag.as_str())?,
                    Reference::Digest(digest) => digest,
                };
                let (media_type, bytes) = content.manifests.get(digest)?;
                Some(Manifest { digest: digest.clone(), media_type: media_type.clone(), bytes: bytes.clone() })
            });
            found.map_or_else(|| absent("manifest"), Ok)
        })
    }

    fn blob_size(&self, repository: &Repository, digest: &Digest) -> Result<u64> {
        self.ask(format!("size {repository}@{}", digest.short()), |state| {
            let content = state.repositories.get(repository.as_str());
            let found = content.and_then(|content| content.blobs.get(digest));
            found.map_or_else(|| absent("blob"), |bytes| Ok(bytes.len() as u64))
        })
    }

    fn blob(&self, repository: &Repository, descriptor: &Descriptor) -> Arc<dyn ReadAt> {
        // The registry outlives every tree of these tests; what is read later has to see later changes.
        let content = self.with(|state| {
            let content = state.repositories.get(repository.as_str());
            content.and_then(|content| content.blobs.get(&descriptor.digest)).cloned()
        });
        self.with(|state| state.asked.push(format!("blob {repository}@{}", descriptor.digest.short())));
        Arc::new(Remote { content, size: descriptor.size, failing: self.with(|state| state.failing) })
    }

    fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.ask(format!("referrers {repository}@{}", digest.short()), |state| {
            let content = state.repositories.get(repository.as_str());
            let found = content.and_then(|content| content.referrers.get(digest)).cloned().unwrap_or_default();
            Ok(found.into_iter().map(descriptor).collect())
        })
    }
}

/// A blob as it was when it was opened; asking for it is what was written down.
struct Remote {
    content: Option<Bytes>,
    size: u64,
    failing: Option<Kind>,
}

impl ReadAt for Remote {
    fn len(&self) -> Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        if let Some(kind) = self.failing {
            return Err(Error::new(kind, "read blob: the registry is dead"));
        }
        match &self.content {
            Some(bytes) if bytes.len() as u64 != self.size => Err(Error::new(Kind::Corrupt, "blob has another length")),
            Some(bytes) => bytes.read_at(buf, offset),
            None => absent("blob"),
        }
    }
}

/// As descriptors carry content.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
