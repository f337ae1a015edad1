//! `host[:port][/namespace…]`: what registries.conf(5) calls a prefix or a location.

use crate::name::escape;
use crate::net::hostname;

/// A host, or a part of it; as a prefix, the host may begin with `*.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    /// A normal name.
    pub host: String,
    /// Below it, without slashes around; empty for all of the host.
    pub path: String,
}

impl Namespace {
    /// A prefix, whose host may begin with `*.`.
    pub(super) fn parse_prefix(text: &str) -> Result<Namespace, String> {
        let wild = text.strip_prefix("*.");
        let mut place = Namespace::parse(wild.unwrap_or(text))?;
        if wild.is_some() {
            place.host = format!("*.{}", place.host);
        }
        Ok(place)
    }

    /// `host[:port][/namespace…]` in any spelling of the host; the error is words for the file's message.
    pub(super) fn parse(text: &str) -> Result<Namespace, String> {
        // What stands before an @ would be a secret: nothing of such a text is told.
        let shown = || if text.contains('@') { "…".to_owned() } else { escape(text.as_bytes()) };
        if text.contains("://") {
            return Err(format!("\"{}\" has a scheme: it has to be host[:port][/namespace]", shown()));
        }
        let (host, path) = text.trim_end_matches('/').split_once('/').unwrap_or((text.trim_end_matches('/'), ""));
        let normal = hostname::normal(host);
        if host.contains('@') || !hostname::is_host(&normal) {
            return Err(format!("\"{}\" is not host[:port][/namespace]", shown()));
        }
        Ok(Namespace { host: normal, path: path.to_owned() })
    }

    /// Whether it is a prefix of the repository, or of the host itself.
    pub(super) fn covers(&self, host: &str, repository: Option<&str>) -> bool {
        let portless = hostname::split_port(host).0;
        let host_matches = match self.host.strip_prefix('*') {
            Some(domain) => [host, portless].iter().any(|host| host.len() > domain.len() && host.ends_with(domain)),
            None => self.host == host || self.host == portless,
        };
        let path_matches = match repository {
            _ if self.path.is_empty() => true,
            Some(repository) => {
                repository.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            None => false,
        };
        host_matches && path_matches
    }

    /// How close a prefix it is.
    pub(super) fn len(&self) -> usize {
        self.host.len() + self.path.len()
    }
}
