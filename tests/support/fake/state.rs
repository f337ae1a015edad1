//! What a fake holds: content, options, faults, and what it was asked.

use super::faults::{Fault, Rule, Weather, What};
use super::options::Options;
use crate::support::content::Content;
use crate::support::http::Request;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(super) struct State {
    pub options: Mutex<Options>,
    pub stored: Mutex<Stored>,
    pub rules: Mutex<Vec<Rule>>,
    pub weather: Mutex<Option<Weather>>,
    pub log: Mutex<Vec<(What, Request)>>,
    pub tokens: Mutex<BTreeMap<String, Token>>,
    /// Presigned URLs by number: uses left, and when it was given out.
    pub presigned: Mutex<BTreeMap<u64, (u32, Instant)>>,
    pub addresses: Mutex<Addresses>,
    struck: AtomicU64,
    serial: AtomicU64,
}

#[derive(Clone, Default)]
pub(super) struct Addresses {
    pub registry: String,
    pub objects: String,
    pub tokens: String,
}

/// A token that was given out.
#[derive(Clone)]
pub(super) struct Token {
    pub scopes: Vec<String>,
    pub until: Instant,
}

#[derive(Default)]
pub(super) struct Stored {
    pub repositories: BTreeMap<String, Repository>,
    pub blobs: HashMap<String, Content>,
    pub corrupt: HashMap<String, u64>,
}

#[derive(Default)]
pub(super) struct Repository {
    pub blobs: BTreeSet<String>,
    pub manifests: BTreeMap<String, (String, Content)>,
    /// Name and digest, in the order of tagging.
    pub tags: Vec<(String, String)>,
}

impl State {
    pub fn new(options: Options) -> State {
        State {
            options: Mutex::new(options),
            stored: Mutex::default(),
            rules: Mutex::default(),
            weather: Mutex::default(),
            log: Mutex::default(),
            tokens: Mutex::default(),
            presigned: Mutex::default(),
            addresses: Mutex::default(),
            struck: AtomicU64::new(0),
            serial: AtomicU64::new(1),
        }
    }

    pub fn options(&self) -> Options {
        lock(&self.options).clone()
    }

    pub fn addresses(&self) -> Addresses {
        lock(&self.addresses).clone()
    }

    /// A number never given out before.
    pub fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::SeqCst)
    }

    /// What goes wrong with this request, if anything does.
    pub fn fault(&self, what: What, request: &Request) -> Option<Fault> {
        let ruled = {
            let mut rules = lock(&self.rules);
            let mut first = None;
            for rule in rules.iter_mut() {
                first = rule.strikes(what, request);
                if first.is_some() {
                    break;
                }
            }
            first
        };
        ruled.or_else(|| {
            let weather = (*lock(&self.weather))?;
            weather.strikes(self.struck.fetch_add(1, Ordering::SeqCst))
        })
    }
}

impl Stored {
    pub fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// The blob, if this repository has it, with the bit that is wrong in it.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Content> {
        if !self.repositories.get(repository)?.blobs.contains(digest) {
            return None;
        }
        Some(self.spoilt(digest, self.blobs.get(digest)?.clone()))
    }

    /// The manifest that a tag or digest names: digest, type, bytes.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(String, String, Content)> {
        let repository = self.repositories.get(repository)?;
        let digest = match repository.tags.iter().find(|(name, _)| name == reference) {
            Some((_, digest)) => digest.as_str(),
            None => reference,
        };
        let (media_type, content) = repository.manifests.get(digest)?;
        Some((digest.to_owned(), media_type.clone(), self.spoilt(digest, content.clone())))
    }

    fn spoilt(&self, digest: &str, content: Content) -> Content {
        match self.corrupt.get(digest) {
            Some(&offset) if offset < content.len() => content.flipped(offset),
            _ => content,
        }
    }
}

impl Repository {
    pub fn tag(&mut self, tag: &str, digest: &str) {
        match self.tags.iter_mut().find(|(name, _)| name == tag) {
            Some((_, old)) => *old = digest.to_owned(),
            None => self.tags.push((tag.to_owned(), digest.to_owned())),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
