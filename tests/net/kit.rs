//! Short ways to ask: a wire of a test's own, and its requests.

use crate::support::http::Server;
use regfs::error::Result;
use regfs::journal::Journal;
use regfs::name::Repository;
use regfs::net::env::Env;
use regfs::net::http::{Answer, Ask, Config, Host, Http, What};
use regfs::span::Span;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

/// The timeout that tests use where nothing is meant to time out.
pub const PATIENT: Duration = Duration::from_secs(20);

/// A configuration that knows nothing of this machine.
pub fn config() -> Config {
    let journal = Arc::new(Journal::new());
    Config { timeout: PATIENT, insecure: false, offline: false, journal, env: Env::default() }
}

/// A machine of its own: a home and an /etc, empty until a test writes there.
pub struct Machine {
    directory: tempfile::TempDir,
    pub env: Env,
}

impl Machine {
    pub fn new() -> Machine {
        let directory = tempfile::tempdir().expect("tempdir");
        let env =
            Env { root: directory.path().join("root"), home: Some(directory.path().join("home")), ..Env::default() };
        Machine { directory, env }
    }

    /// Writes a file below `home/` or `root/`.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("make directories");
        std::fs::write(path, text).expect("write a file");
    }

    /// Logs in to hosts, each with what stands for it in docker's config.json.
    pub fn login(&self, hosts: &[(&str, serde_json::Value)]) {
        let auths: serde_json::Map<_, _> =
            hosts.iter().map(|(host, auth)| ((*host).to_owned(), auth.clone())).collect();
        self.write("home/.docker/config.json", serde_json::json!({ "auths": auths }).to_string());
    }

    pub fn config(&self) -> Config {
        Config { env: self.env.clone(), ..config() }
    }
}

/// What docker's config.json holds for a user and password.
pub fn basic(user: &str, password: &str) -> serde_json::Value {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    serde_json::json!({ "auth": auth })
}

/// A wire of its own and the registry at `server`, spoken to in clear.
pub fn host(server: &Server) -> Host {
    host_with(config(), server)
}

/// The same with another configuration.
pub fn host_with(config: Config, server: &Server) -> Host {
    named(config, &format!("http://{}", server.host()))
}

/// The registry that a user names so.
pub fn named(config: Config, name: &str) -> Host {
    Http::new(config).expect("a wire").host(name).expect("a host")
}

pub fn repository(name: &str) -> Repository {
    name.parse().expect("a repository")
}

/// Any question; `what` is made of the repository `lib/x`.
pub fn ask(
    host: &Host,
    method: Method,
    path: &str,
    what: impl FnOnce(&Repository) -> What<'_>,
    headers: &[(&str, &str)],
    accept: &[u16],
) -> Result<Answer> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header");
        map.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    let repository = repository("lib/x");
    host.send(&Ask { method, path, what: what(&repository), headers: map, range: None }, accept)
}

pub fn metadata(repository: &Repository) -> What<'_> {
    What::Metadata { repository, by_tag: false }
}

pub fn by_tag(repository: &Repository) -> What<'_> {
    What::Metadata { repository, by_tag: true }
}

pub fn blob(repository: &Repository) -> What<'_> {
    What::Blob { repository }
}

/// GET of metadata of `lib/x`.
pub fn get(host: &Host, path: &str) -> Result<Answer> {
    ask(host, Method::GET, path, metadata, &[], &[])
}

/// HEAD of a blob of `lib/x`.
pub fn head(host: &Host, path: &str) -> Result<Answer> {
    ask(host, Method::HEAD, path, blob, &[], &[])
}

/// GET of `/v2/`.
pub fn ping(host: &Host) -> Result<Answer> {
    ask(host, Method::GET, "/v2/", |_| What::Base, &[], &[])
}

/// GET of the catalog.
pub fn catalog(host: &Host) -> Result<Answer> {
    ask(host, Method::GET, "/v2/_catalog?n=100", |_| What::Catalog, &[], &[])
}

/// GET of a range of a blob of `lib/x`; 416 is an answer.
pub fn range(host: &Host, path: &str, start: u64, end: u64) -> Result<Answer> {
    let repository = repository("lib/x");
    let what = What::Blob { repository: &repository };
    let range = Some(Span::new(start, end));
    host.send(&Ask { method: Method::GET, path, what, headers: HeaderMap::new(), range }, &[416])
}

/// The whole body of an answer, as text.
pub fn text(answer: Result<Answer>) -> Result<String> {
    Ok(String::from_utf8_lossy(&answer?.bytes(1 << 20)?).into_owned())
}

/// The body of [`get`].
pub fn body(host: &Host, path: &str) -> Result<Vec<u8>> {
    Ok(get(host, path)?.bytes(1 << 20)?.to_vec())
}
