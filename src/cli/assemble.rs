//! The one place where everything is put together: journal, wire, remotes, store, tree, control files.

use super::common::Common;
use crate::error::{Error, Kind, Result};
use crate::journal::Journal;
use crate::net::env::Env;
use crate::net::http::{Config as HttpConfig, Http};
use crate::source::Source;
use crate::store::{Config as StoreConfig, Store};
use crate::tree::Dir;
use std::sync::Arc;

/// A source, ready to be shown by a frontend.
pub struct Assembled {
    /// The tree, with the unlisted `.regfs/` in it.
    pub root: Arc<dyn Dir>,
    /// The cache.
    pub store: Arc<Store>,
    /// What is remembered of errors and requests.
    pub journal: Arc<Journal>,
    /// Asks the remote whether it is there and lets us in. Nothing where offline, or where there is no one remote.
    pub ping: Box<dyn Fn() -> Result<()> + Send + Sync>,
}

/// Puts a source together: sends nothing, reads the configuration and the cache's directory.
///
/// `mountpoint` is what `.regfs/status` tells; empty where there is none.
pub fn assemble(source: &Source, options: &Common, _mountpoint: &str) -> Result<Assembled> {
    let stack = Stack::new(options)?;
    let root = stack.tree(source)?;
    Ok(Assembled { root, store: stack.store, journal: stack.journal, ping: Box::new(|| Ok(())) })
}

/// What the trees of several sources share.
pub(crate) struct Stack {
    options: Common,
    journal: Arc<Journal>,
    store: Arc<Store>,
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
        Ok(Stack { options: options.clone(), journal, store })
    }

    /// The wire.
    fn http(&self) -> Result<Arc<Http>> {
        Http::new(HttpConfig {
            timeout: self.options.timeout,
            insecure: self.options.insecure,
            offline: self.options.offline,
            journal: self.journal.clone(),
            env: Env::system(),
        })
    }

    /// The tree of a source.
    pub(crate) fn tree(&self, source: &Source) -> Result<Arc<dyn Dir>> {
        self.http()?;
        Err(Error::new(Kind::Unsupported, format!("{source}: trees are not put together yet")))
    }
}
