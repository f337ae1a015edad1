//! Every registry at once (`all:`): a directory for each host.
//!
//! Promises: a host is connected to when it is first looked up, which asks it nothing; hosts that are known are
//! listed, anything that reads as a host is found. Knows nothing of registries.

use super::content::dir_attr;
use super::{Attr, Dir, Entry, Node, Options, not_found};
use crate::error::Result;
use lru::LruCache;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most hosts kept connected.
const MAX_HOSTS: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// The longest name of a host, with its port (RFC 1035, and 5 digits).
const MAX_HOST: usize = 253 + 6;

/// Connects to a host: gives its registry as a directory.
pub type Connect = Box<dyn Fn(&str) -> Result<Arc<dyn Dir>> + Send + Sync>;

/// The directory of all hosts.
pub struct Hosts {
    known: BTreeSet<String>,
    connect: Connect,
    connected: Mutex<LruCache<String, Arc<dyn Dir>>>,
    ttl: Duration,
}

impl Hosts {
    /// The hosts `known`, and any other that `connect` takes. A host that is known to be none can be refused by it.
    pub fn new(known: Vec<String>, connect: Connect, options: Options) -> Arc<Hosts> {
        let known = known.into_iter().filter(|host| is_name(host)).collect();
        let connected = Mutex::new(LruCache::new(MAX_HOSTS));
        Arc::new(Hosts { known, connect, connected, ttl: options.metadata_ttl })
    }

    /// The directory of a host. Connecting reads configuration and waits for nothing, so two at once do no harm.
    fn host(&self, host: &str) -> Result<Arc<dyn Dir>> {
        if let Some(dir) = self.connected.lock().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Ok(dir.clone());
        }
        let dir = (self.connect)(host)?;
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(connected.get_or_insert(host.to_owned(), || dir).clone())
    }
}

impl Dir for Hosts {
    fn attr(&self) -> Attr {
        dir_attr(None, self.ttl, 0)
    }

    fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for host in &self.known {
            match self.host(host) {
                Ok(dir) => entries.push(Entry { name: host.into(), node: Node::Dir(dir) }),
                // One host's bad configuration is not another's.
                Err(error) => log::warn!("{host} is not listed: {error}"),
            }
        }
        Ok(entries)
    }

    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let host = name.to_str().unwrap_or_default();
        if !self.known.contains(host) && !is_host(host) {
            return Err(not_found(name));
        }
        self.host(host).map(Node::Dir)
    }

    fn negative_ttl(&self) -> Duration {
        self.ttl
    }

    fn refresh(&self) {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let hosts: Vec<Arc<dyn Dir>> = connected.iter().map(|(_, dir)| dir.clone()).collect();
        drop(connected);
        for host in hosts {
            host.refresh();
        }
    }
}

/// Whether `text` can be a file name that stands for a host at all.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    !text.is_empty() && text.len() <= MAX_HOST && text.chars().all(plain) && !text.starts_with('.')
}

/// Whether `text` reads as a registry's host, as docker tells hosts from names: by a dot, a port, or `localhost`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if host.starts_with('[') == host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let number = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if !port.is_none_or(number) || text.len() > MAX_HOST {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let ends = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
        label.len() <= 63
            && ends(label.chars().next())
            && ends(label.chars().last())
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    (host == "localhost" || host.contains('.') || port.is_some()) && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Empty;

    impl Dir for Empty {
        fn attr(&self) -> Attr {
            dir_attr(None, Duration::ZERO, 0)
        }
        fn list(&self) -> Result<Vec<Entry>> {
            Ok(Vec::new())
        }
        fn lookup(&self, name: &OsStr) -> Result<Node> {
            Err(not_found(name))
        }
    }

    #[test]
    fn hosts_read_as_docker_reads_them() {
        for good in [
            "docker.io",
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "a.b-c.example",
            "registry:80",
            "[::1]:5000",
            "[::1]",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "registry",
            ".",
            "..",
            ".git",
            "a..b",
            "a.b:",
            "a.b:x",
            "a.b:99999",
            "a.b:+80",
            "::1",
            "[::1",
            "a b.c",
            "A.b",
            "-a.b",
            "a_b.c",
            "a.b/c",
            "[x]:1",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn each_host_is_connected_once_and_a_bad_one_spoils_itself() {
        let connected = Arc::new(AtomicUsize::new(0));
        let counter = connected.clone();
        let connect: Connect = Box::new(move |host| {
            counter.fetch_add(1, Ordering::Relaxed);
            match host {
                "bad.example" => Err(Error::new(Kind::Invalid, "no")),
                _ => Ok(Arc::new(Empty) as Arc<dyn Dir>),
            }
        });
        let known = vec!["bad.example".to_owned(), "docker.io".to_owned(), "intranet".to_owned(), "../x".to_owned()];
        let hosts = Hosts::new(known, connect, Options::default());
        let names: Vec<_> = hosts.list().expect("list").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["docker.io", "intranet"]);
        assert_eq!(connected.load(Ordering::Relaxed), 3);
        for found in ["docker.io", "intranet", "ghcr.io", "ghcr.io"] {
            hosts.lookup(OsStr::new(found)).map(|_| ()).expect(found);
        }
        assert_eq!(connected.load(Ordering::Relaxed), 4);
        for (absent, kind) in [("other", Kind::NotFound), (".git", Kind::NotFound), ("bad.example", Kind::Invalid)] {
            assert_eq!(hosts.lookup(OsStr::new(absent)).map(|_| ()).expect_err(absent).kind(), kind);
        }
    }
}
