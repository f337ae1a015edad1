//! The root of a registry: namespaces and repositories, as deep as their names have components.
//!
//! Promises: whatever may be part of a repository's name is a directory, at no request, because no registry can tell
//! that nothing begins so; what is listed is what the registry lists, or where it does not, what is known. A
//! repository may hold others: `a` shows its tags beside `b` of `a/b`. On the Hub `ubuntu` is `library/ubuntu`.

use super::content::dir_attr;
use super::metadata::Metadata;
use super::repository::{self, PARTS};
use super::{Attr, Dir, Entry, Node, Options, not_found};
use crate::error::{Kind, Result};
use crate::name::{self, Repository};
use crate::remote;
use crate::source;
use crate::store::Store;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

/// A registry as a directory.
pub struct Registry(Folder);

impl Registry {
    /// The tree over `remote`, with content through `store`. Asks for nothing yet.
    pub fn new(remote: Arc<dyn remote::Registry>, store: Arc<Store>, options: Options) -> Arc<Registry> {
        let metadata = Arc::new(Metadata::new(remote, store, options));
        Arc::new(Registry(Folder { metadata, at: None, is_root: true }))
    }

    /// One repository of it as a directory. Repositories below it are found; those that are known are listed.
    pub fn rooted(&self, repository: &Repository) -> Arc<dyn Dir> {
        Arc::new(Folder { metadata: self.0.metadata.clone(), at: Some(repository.clone()), is_root: true })
    }
}

impl Dir for Registry {
    fn attr(&self) -> Attr {
        self.0.attr()
    }
    fn list(&self) -> Result<Vec<Entry>> {
        self.0.list()
    }
    fn lookup(&self, name: &OsStr) -> Result<Node> {
        self.0.lookup(name)
    }
    fn is_ready(&self, name: &OsStr) -> bool {
        self.0.is_ready(name)
    }
    fn negative_ttl(&self) -> Duration {
        self.0.negative_ttl()
    }
    fn refresh(&self) {
        self.0.refresh();
    }
    fn lane(&self) -> &str {
        self.0.lane()
    }
}

/// A directory that is a namespace, a repository, or both.
struct Folder {
    metadata: Arc<Metadata>,
    /// The components so far; `None` at the top of a registry.
    at: Option<Repository>,
    /// Where the mount begins: a repository here is one that was asked for by name.
    is_root: bool,
}

impl Folder {
    /// The repository that this directory is, if it is one.
    fn repository(&self) -> Result<Option<Repository>> {
        self.at.as_ref().map(|at| source::official(self.metadata.name(), at.clone())).transpose()
    }

    fn below(&self, component: &str) -> Result<Repository> {
        match &self.at {
            Some(at) => format!("{at}/{component}").parse(),
            None => component.parse(),
        }
    }

    fn folder(&self, at: Repository) -> Node {
        Node::Dir(Arc::new(Folder { metadata: self.metadata.clone(), at: Some(at), is_root: false }))
    }

    /// The repositories that are listed here: of one that is mounted by itself only what needs no listing of all.
    fn repositories(&self) -> Result<(Arc<remote::Listing<Repository>>, bool)> {
        if self.is_root && self.at.is_some() {
            let names = self.metadata.known.repositories();
            let known = || Arc::new(remote::Listing { names, partial: None });
            return Ok((self.metadata.catalog().unwrap_or_else(known), false));
        }
        let listing = self.metadata.repositories()?.value;
        let is_whole = listing.partial.is_none();
        Ok((listing, is_whole))
    }

    /// Whether `at` is a repository, as far as a listing needs to know. A namespace of a registry that lists all it
    /// has is none; of anything else that is not known the tags are asked for, and a refusal counts as none, because
    /// registries refuse what does not exist.
    fn is_repository(&self, at: &Repository, is_whole: bool, has_children: bool) -> Result<bool> {
        if self.is_root || self.metadata.is_listed(at) {
            return Ok(true);
        }
        if is_whole && has_children {
            return Ok(false);
        }
        if self.metadata.known.is_repository(at) {
            return Ok(true);
        }
        match self.metadata.tags(at) {
            Ok(tags) => Ok(!tags.value.names.is_empty()),
            Err(error) => match error.kind() {
                Kind::NotFound | Kind::Denied | Kind::Forbidden | Kind::Unsupported | Kind::Invalid => {
                    log::debug!("{at} is shown as a namespace: {error}");
                    Ok(false)
                }
                Kind::Unreachable if self.metadata.options.offline => Ok(false),
                _ => Err(error),
            },
        }
    }
}

impl Dir for Folder {
    fn attr(&self) -> Attr {
        dir_attr(None, self.metadata.ttl(), 0)
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let (repositories, is_whole) = self.repositories()?;
        let prefix = self.at.as_ref().map_or_else(String::new, |at| format!("{at}/"));
        let from = repositories.names.partition_point(|name| name.as_str() < prefix.as_str());
        let below = repositories.names.get(from..).unwrap_or_default().iter();
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        let mut last = "";
        for name in below.map_while(|name| name.as_str().strip_prefix(&prefix)) {
            let component = name.split('/').next().unwrap_or(name);
            if component != last {
                last = component;
                nodes.insert(name::show_component(component), self.folder(self.below(component)?));
            }
        }
        if let Some(own) = self.repository()?
            && self.is_repository(&own, is_whole, !nodes.is_empty())?
        {
            for name in PARTS {
                nodes.extend(repository::part(&self.metadata, &own, name).map(|node| (name.to_owned(), node)));
            }
        }
        Ok(nodes.into_iter().map(|(name, node)| Entry { name: name.into(), node }).collect())
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        if let (Some(own), Some(text)) = (self.repository()?, name.to_str())
            && let Some(node) = repository::part(&self.metadata, &own, text)
        {
            return Ok(node);
        }
        let component = name::parse_component(name).ok_or_else(|| not_found(name))?;
        Ok(self.folder(self.below(component)?))
    }

    fn is_ready(&self, _name: &OsStr) -> bool {
        true
    }

    fn negative_ttl(&self) -> Duration {
        self.metadata.ttl()
    }

    fn refresh(&self) {
        self.metadata.refresh();
    }

    fn lane(&self) -> &str {
        self.metadata.name()
    }
}
