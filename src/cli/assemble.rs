//! The one place where everything is put together: journal, wire, remotes, store, tree, control files.

use super::common::Common;
use crate::error::Result;
use crate::journal::Journal;
use crate::net::env::Env;
use crate::net::http::{Config as HttpConfig, Http};
use crate::remote::oci::{Oci, Options as OciOptions};
use crate::remote::{
    self,
    layout::{self, Layout},
};
use crate::source::Source;
use crate::store::{Config as StoreConfig, Store};
use crate::tree::control::{Control, Info};
use crate::tree::hosts::Hosts;
use crate::tree::registry::Registry;
use crate::tree::{self, Dir};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A source, ready to be shown by a frontend.
pub struct Assembled {
    /// The tree, with the unlisted `.regfs/` in it. Its `refresh` asks remotes anew.
    pub root: Arc<dyn Dir>,
    /// The cache.
    pub store: Arc<Store>,
    /// What is remembered of errors and requests.
    pub journal: Arc<Journal>,
    /// Asks the remote whether it is there and lets us in. Nothing where offline, or where there is no one remote.
    pub ping: Ping,
}

/// A question to a remote: see [`Assembled::ping`].
pub type Ping = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// Puts together what is mounted at `mountpoint`, which `.regfs/status` tells. Starts threads, so it comes after any
/// fork; reads the configuration and the cache's directory; sends nothing.
pub fn assemble(source: &Source, options: &Common, mountpoint: &str) -> Result<Assembled> {
    let stack = Stack::new(options)?;
    let (tree, ping) = stack.mount(source)?;
    let info = Info {
        source: source.to_string(),
        mountpoint: mountpoint.to_owned(),
        started: SystemTime::now(),
        offline: options.offline,
    };
    let root = Control::new(tree, stack.journal.clone(), stack.store.clone(), info);
    Ok(Assembled { root, store: stack.store, journal: stack.journal, ping })
}

/// The longest that a command waits at its end for the cache to be in order.
const SETTLE: Duration = Duration::from_secs(10);

/// What the trees of several sources share.
pub(crate) struct Stack {
    options: Common,
    journal: Arc<Journal>,
    store: Arc<Store>,
    /// Made when the first source needs it: an image layout needs none.
    http: Mutex<Option<Arc<Http>>>,
}

/// What it takes to make the tree of a registry.
struct Wire {
    http: Arc<Http>,
    store: Arc<Store>,
    options: tree::Options,
}

impl Stack {
    /// The floors below the trees.
    pub(crate) fn new(options: &Common) -> Result<Stack> {
        let journal = Arc::new(Journal::new());
        let dir = match options.cache_size {
            Some(0) => None,
            _ => Some(options.cache_dir()?),
        };
        let store = Store::open(StoreConfig {
            disk_bytes: dir.as_deref().map_or(0, |dir| options.cache_size(dir)),
            dir,
            memory_bytes: options.memory,
            verify: options.verify(),
            journal: journal.clone(),
        })?;
        Ok(Stack { options: options.clone(), journal, store, http: Mutex::new(None) })
    }

    /// The tree of a source.
    pub(crate) fn tree(&self, source: &Source) -> Result<Arc<dyn Dir>> {
        Ok(self.mount(source)?.0)
    }

    /// The tree of a source, and the question whether it is there.
    fn mount(&self, source: &Source) -> Result<(Arc<dyn Dir>, Ping)> {
        let nothing: Ping = Box::new(|| Ok(()));
        match source {
            Source::Registry { host, repository } => {
                let wire = self.wire()?;
                let (registry, remote) = wire.registry(host)?;
                let tree = match repository {
                    Some(repository) => registry.rooted(repository),
                    None => registry.clone(),
                };
                let repository = repository.clone();
                let ping: Ping = Box::new(move || {
                    remote::Registry::ping(&remote)?;
                    repository.iter().try_for_each(|repository| registry.find(repository))
                });
                Ok((tree, if self.options.offline { nothing } else { ping }))
            }
            Source::All => {
                let wire = self.wire()?;
                let (known, options) = (wire.http.known_hosts(), wire.options.clone());
                let connect = move |host: &str| Ok(wire.registry(host)?.0 as Arc<dyn Dir>);
                Ok((Hosts::new(known, Box::new(connect), options), nothing))
            }
            Source::Layout(path) => {
                let layout = Arc::new(Layout::open(path)?);
                // Its files are here: there is nothing to be offline from.
                let options = tree::Options { offline: false, ..self.tree_options() };
                let tree = Registry::new(layout, self.store.clone(), options);
                Ok((tree.alone(&layout::repository()?), nothing))
            }
        }
    }

    /// Waits until what was read is kept: the process is about to end.
    pub(crate) fn settle(&self) {
        self.store.settle(SETTLE);
    }

    fn wire(&self) -> Result<Wire> {
        let mut http = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        let http = match &*http {
            Some(http) => http.clone(),
            None => http.insert(self.new_http()?).clone(),
        };
        Ok(Wire { http, store: self.store.clone(), options: self.tree_options() })
    }

    fn new_http(&self) -> Result<Arc<Http>> {
        Http::new(HttpConfig {
            timeout: self.options.timeout,
            insecure: self.options.insecure,
            offline: self.options.offline,
            journal: self.journal.clone(),
            env: Env::system(),
        })
    }

    fn tree_options(&self) -> tree::Options {
        tree::Options {
            metadata_ttl: self.options.metadata_ttl,
            platform: self.options.platform(),
            digest_separator: self.options.digest_separator,
            offline: self.options.offline,
        }
    }
}

impl Wire {
    /// The tree of one registry, and the registry itself.
    fn registry(&self, host: &str) -> Result<(Arc<Registry>, Oci)> {
        let remote = Oci::new(self.http.host(host)?, OciOptions::default());
        let tree = Registry::new(Arc::new(remote.clone()), self.store.clone(), self.options.clone());
        Ok((tree, remote))
    }
}
