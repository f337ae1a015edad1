//! One place that answers for a host: how to reach it, what it may be asked, what repositories are called there.

use crate::error::{Error, Kind, Result};
use crate::net::hostname;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// A mirror or the origin of a host. Plain data: whoever sends requests reads it.
#[derive(Clone)]
pub struct Endpoint {
    /// The root of its API, usually `https://host[:port]/v2`: [`Endpoint::url`] puts paths below it.
    pub base: Url,
    /// Whether the configuration named the scheme. Where not, `base` says https, and http is to be tried only for
    /// loopback hosts or where [`Endpoint::insecure`] allows it.
    pub scheme_known: bool,
    /// Whether it stands in for the host, rather than being it.
    pub is_mirror: bool,
    /// Whether content (blobs, manifests by digest) may be asked of it.
    pub pull: bool,
    /// Whether it may say what a tag means.
    pub resolve: bool,
    /// Only requests that name a digest go there (`mirror-by-digest-only`, `pull-from-mirror = "digest-only"`).
    pub by_digest_only: bool,
    /// Only requests that name a tag go there (`pull-from-mirror = "tag-only"`).
    pub by_tag_only: bool,
    /// http, and certificates that nobody vouches for, are allowed.
    pub insecure: bool,
    /// Certificates that nobody vouches for are allowed.
    pub skip_verify: bool,
    /// Certificates of further authorities, in PEM.
    pub ca: Vec<PathBuf>,
    /// Certificates that say who asks, in PEM.
    pub client: Vec<ClientFiles>,
    /// Headers to add to every request. Values may be secrets.
    pub headers: Vec<(String, String)>,
    /// How long connecting may take; `None` for the usual.
    pub dial_timeout: Option<Duration>,
    /// The host that it stands in for, told to it as `?ns=`.
    pub ns: Option<String>,
    /// What repositories are called there.
    pub(super) renaming: Renaming,
}

/// A client's certificate and its key; without a key file, both are in the one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: Option<PathBuf>,
}

/// Repositories below `from` are called `to` and the rest; either may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renaming {
    pub from: String,
    pub to: String,
}

impl Endpoint {
    /// The host itself (a normal name), with nothing configured.
    ///
    /// # Errors
    /// `Invalid` if it is not the name of a host.
    pub fn origin(host: &str) -> Result<Endpoint> {
        let shown = || crate::name::escape(host.as_bytes());
        let base = Url::parse(&format!("https://{}/v2", hostname::server(host)))
            .map_err(|error| Error::with(Kind::Invalid, format!("\"{}\" is not the name of a host", shown()), error))?;
        Ok(Endpoint::at(base, false))
    }

    /// An endpoint with that root and nothing else configured.
    pub(super) fn at(base: Url, scheme_known: bool) -> Endpoint {
        Endpoint {
            base,
            scheme_known,
            is_mirror: false,
            pull: true,
            resolve: true,
            by_digest_only: false,
            by_tag_only: false,
            insecure: false,
            skip_verify: false,
            ca: Vec::new(),
            client: Vec::new(),
            headers: Vec::new(),
            dial_timeout: None,
            ns: None,
            renaming: Renaming::default(),
        }
    }

    /// Its `host[:port]`, by which credentials and certificates are found; a normal name.
    pub fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        hostname::normal(&match self.base.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    }

    /// What `repository` is called there.
    pub fn rewrite(&self, repository: &str) -> String {
        let Renaming { from, to } = &self.renaming;
        let rest = if from.is_empty() {
            repository
        } else if repository == from {
            ""
        } else {
            match repository.strip_prefix(from.as_str()).and_then(|rest| rest.strip_prefix('/')) {
                Some(rest) => rest,
                // Not below what is renamed: the route is for another repository.
                None => return repository.to_owned(),
            }
        };
        [to.as_str(), rest].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/")
    }

    /// The URL of an API path of the host (`/v2/<repository>/tags/list?n=100`): renamed, below [`Endpoint::base`], with
    /// `?ns=` for a mirror that wants it. `repository` is the one in the path, if there is one.
    pub fn url(&self, path: &str, repository: Option<&str>) -> Url {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let below = path.strip_prefix("/v2").unwrap_or(path);
        let below = below.strip_prefix('/').unwrap_or(below);
        let renamed = repository
            .and_then(|repository| Some((repository, below.strip_prefix(repository)?.strip_prefix('/')?)))
            .map(|(repository, rest)| format!("{}/{rest}", self.rewrite(repository)));
        let mut url = self.base.clone();
        let root = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{root}/{}", renamed.as_deref().unwrap_or(below)));
        url.set_query(query);
        if let Some(ns) = &self.ns {
            url.query_pairs_mut().append_pair("ns", ns);
        }
        url
    }

    /// Whether a question may go there: one whose answer decides what a tag means, or one about known content.
    pub fn answers(&self, by_tag: bool) -> bool {
        if by_tag { self.resolve && !self.by_digest_only } else { self.pull && !self.by_tag_only }
    }
}

/// Without the values of headers.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("base", &self.base.as_str())
            .field("is_mirror", &self.is_mirror)
            .field("renaming", &self.renaming)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base: &str, from: &str, to: &str) -> Endpoint {
        let mut endpoint = Endpoint::at(Url::parse(base).expect(base), true);
        endpoint.renaming = Renaming { from: from.into(), to: to.into() };
        endpoint
    }

    #[test]
    fn paths_go_below_the_root() {
        let plain = Endpoint::origin("docker.io").expect("a host");
        assert_eq!(plain.url("/v2/", None).as_str(), "https://registry-1.docker.io/v2/");
        let tags = plain.url("/v2/library/ubuntu/tags/list?n=100&last=a%2Fb", Some("library/ubuntu"));
        assert_eq!(tags.as_str(), "https://registry-1.docker.io/v2/library/ubuntu/tags/list?n=100&last=a%2Fb");
        let deep = endpoint("https://m/hub/", "", "");
        assert_eq!(deep.url("/v2/a/blobs/sha256:00", Some("a")).as_str(), "https://m/hub/a/blobs/sha256:00");
    }

    #[test]
    fn mirrors_are_told_the_host() {
        let mut mirror = Endpoint::origin("m:5000").expect("a host");
        mirror.ns = Some("docker.io".into());
        assert_eq!(mirror.url("/v2/a/tags/list", Some("a")).as_str(), "https://m:5000/v2/a/tags/list?ns=docker.io");
        assert_eq!(
            mirror.url("/v2/a/tags/list?n=1", Some("a")).as_str(),
            "https://m:5000/v2/a/tags/list?n=1&ns=docker.io"
        );
    }

    #[test]
    fn repositories_are_renamed() {
        for (from, to, repository, renamed) in [
            ("", "", "a/b", "a/b"),
            ("", "hub", "a/b", "hub/a/b"),
            ("a", "", "a/b", "b"),
            ("a", "x/y", "a/b", "x/y/b"),
            ("a/b", "x", "a/b", "x"),
            ("a", "x", "ab/c", "ab/c"),
        ] {
            let endpoint = endpoint("https://m/v2", from, to);
            assert_eq!(endpoint.rewrite(repository), renamed, "{from} {to}");
            let path = format!("/v2/{repository}/manifests/latest");
            let url = endpoint.url(&path, Some(repository));
            assert_eq!(url.as_str(), format!("https://m/v2/{renamed}/manifests/latest"));
        }
        // A repository that is called like a part of the API.
        let tags = endpoint("https://m/v2", "", "p").url("/v2/tags/tags/list", Some("tags"));
        assert_eq!(tags.as_str(), "https://m/v2/p/tags/tags/list");
    }

    #[test]
    fn hosts_have_their_normal_name() {
        assert_eq!(Endpoint::origin("docker.io").expect("a host").host(), "docker.io");
        assert_eq!(Endpoint::origin("[::1]:5000").expect("a host").host(), "[::1]:5000");
        assert_eq!(endpoint("http://A.b:80/x", "", "").host(), "a.b");
    }

    #[test]
    fn header_values_are_never_printed() {
        let mut endpoint = Endpoint::origin("a").expect("a host");
        endpoint.headers.push(("Authorization".into(), "hunter2".into()));
        let shown = format!("{endpoint:?}");
        assert!(shown.contains("Authorization") && !shown.contains("hunter2"), "{shown}");
    }
}
