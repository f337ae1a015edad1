//! The root of a registry: namespaces and repositories, as deep as their names have components.
//!
//! Promises: whatever may be part of a repository's name is a directory, at no request: absence from a catalog is no
//! proof (a pull-through cache lists only what was pulled), and no registry can tell that no name begins so. What is
//! listed is what the registry lists, or where it does not list all, what is known. To list what a whole catalog lacks
//! asks the registry for it once, and is `NotFound` if it denies it. A repository may hold others: `a` shows its tags
//! beside `b` of `a/b`. On the Hub `ubuntu` is `library/ubuntu`.

use super::content::dir_attr;
use super::metadata::Metadata;
use super::repository::{self, PARTS};
use super::{Attr, Dir, Entry, Node, Options, not_found};
use crate::error::{Error, Kind, Result};
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
        Arc::new(Registry(Folder { metadata, at: None, place: Place::Root }))
    }

    /// One repository of it as a directory. Repositories below it are found; those that are known are listed.
    pub fn rooted(&self, repository: &Repository) -> Arc<dyn Dir> {
        Arc::new(Folder { metadata: self.0.metadata.clone(), at: Some(repository.clone()), place: Place::Root })
    }

    /// The one repository that there is as a directory: nothing is below it.
    pub fn alone(&self, repository: &Repository) -> Arc<dyn Dir> {
        Arc::new(Folder { metadata: self.0.metadata.clone(), at: Some(repository.clone()), place: Place::Alone })
    }

    /// Asks whether `repository`, or one below it, is there. `NotFound` only if the registry says so of its tags and
    /// lists all it has; a refusal says nothing.
    pub fn find(&self, repository: &Repository) -> Result<()> {
        let metadata = &self.0.metadata;
        let own = source::official(metadata.name(), repository.clone())?;
        if metadata.options.offline || metadata.is_there(&own)? {
            return Ok(());
        }
        match metadata.repositories() {
            Ok(listing) if listing.value.partial.is_none() && !begins(&listing.value, repository) => {
                Err(absent(metadata, repository))
            }
            _ => Ok(()),
        }
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
    place: Place,
}

/// Where a directory stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where the mount begins: a repository here is one that was asked for by name.
    Root,
    /// The same, and there is no other repository.
    Alone,
    /// Below one.
    Below,
}

/// What the names are that a listing is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// All that the registry has.
    Whole,
    /// What it tells, and what is known.
    Part,
    /// What is known: the registry tells nothing to who has no credentials for it.
    Refused,
}

/// Whether a listing has `at`, or anything below it.
fn begins(listing: &remote::Listing<Repository>, at: &Repository) -> bool {
    let below = format!("{at}/");
    let from = listing.names.partition_point(|name| name.as_str() < below.as_str());
    listing.names.binary_search(at).is_ok()
        || listing.names.get(from).is_some_and(|name| name.as_str().starts_with(&below))
}

fn absent(metadata: &Metadata, at: &Repository) -> Error {
    Error::new(Kind::NotFound, format!("{} has no repository {at}", metadata.name()))
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
        Node::Dir(Arc::new(Folder { metadata: self.metadata.clone(), at: Some(at), place: Place::Below }))
    }

    /// The repositories that are listed here: of one that is mounted by itself only what needs no listing of all.
    fn repositories(&self) -> Result<(Arc<remote::Listing<Repository>>, Names)> {
        let known = || Arc::new(remote::Listing { names: self.metadata.known.repositories(), partial: None });
        match self.place {
            Place::Alone => {
                return Ok((Arc::new(remote::Listing { names: Vec::new(), partial: None }), Names::Part));
            }
            Place::Root if self.at.is_some() => {
                return Ok((self.metadata.catalog().unwrap_or_else(known), Names::Part));
            }
            Place::Root | Place::Below => {}
        }
        match self.metadata.repositories() {
            Ok(listing) if listing.value.partial.is_none() => Ok((self.with_seen(listing.value), Names::Whole)),
            Ok(listing) => Ok((listing.value, Names::Part)),
            // What is found by its name may be open to all.
            Err(error) if self.at.is_some() && matches!(error.kind(), Kind::Denied | Kind::Forbidden) => {
                Ok((known(), Names::Refused))
            }
            Err(error) => Err(error),
        }
    }

    /// A catalog with what it lacks and was found by its name: a pull-through cache lists only what was pulled.
    fn with_seen(&self, listing: Arc<remote::Listing<Repository>>) -> Arc<remote::Listing<Repository>> {
        let mut more = self.metadata.seen();
        more.retain(|name| listing.names.binary_search(name).is_err());
        if more.is_empty() {
            return listing;
        }
        let mut names = listing.names.clone();
        names.extend(more);
        names.sort_unstable();
        Arc::new(remote::Listing { names, partial: None })
    }

    /// Whether `at` is a repository, as far as a listing needs to know. A namespace of a registry that lists all it
    /// has is none; of anything else that is not known the tags are asked for, and a refusal counts as none, because
    /// registries refuse what does not exist.
    fn is_repository(&self, at: &Repository, names: Names, has_children: bool) -> Result<bool> {
        if self.place != Place::Below || self.metadata.is_listed(at) {
            return Ok(true);
        }
        if names == Names::Whole {
            return if has_children { Ok(false) } else { self.metadata.is_there(at) };
        }
        if self.metadata.known.is_repository(at) {
            return Ok(true);
        }
        match self.metadata.tags(at) {
            Ok(tags) => Ok(!tags.value.names.is_empty()),
            Err(error) => match error.kind() {
                Kind::Denied | Kind::Forbidden if names == Names::Refused && !has_children => Err(error),
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
        let (repositories, names) = self.repositories()?;
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
        if let Some(own) = self.repository()? {
            if self.is_repository(&own, names, !nodes.is_empty())? {
                for name in PARTS {
                    nodes.extend(repository::part(&self.metadata, &own, name).map(|node| (name.to_owned(), node)));
                }
            } else if names == Names::Whole && nodes.is_empty() {
                return Err(absent(&self.metadata, &own));
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
        if self.place == Place::Alone {
            return Err(not_found(name));
        }
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
