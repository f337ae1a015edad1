//! A client for a registry on this machine, with an environment of its own.

use regfs::journal::Journal;
use regfs::manifest::Descriptor;
use regfs::name::{Repository, Tag};
use regfs::net::env::Env;
use regfs::net::http::{Config, Http};
use regfs::remote::oci::{Oci, Options};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Long enough for a busy machine, short enough to wait for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// A client; configuration may be read at any time, so it is kept as long.
pub(crate) struct Client {
    oci: Oci,
    _directory: tempfile::TempDir,
}

impl Deref for Client {
    type Target = Oci;

    fn deref(&self) -> &Oci {
        &self.oci
    }
}

/// A client without credentials.
pub(crate) fn connect(host: &str) -> Client {
    with(host, None, Options::default(), TIMEOUT)
}

/// A client of the user with this password, from a docker config.json.
pub(crate) fn connect_as(host: &str, user: &str, password: &str) -> Client {
    with(host, Some((user, password)), Options::default(), TIMEOUT)
}

/// A client with all choices.
pub(crate) fn with(host: &str, credentials: Option<(&str, &str)>, options: Options, timeout: Duration) -> Client {
    use base64::Engine as _;
    let directory = tempfile::tempdir().expect("tempdir");
    let mut vars = BTreeMap::new();
    if let Some((user, password)) = credentials {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let config = serde_json::json!({"auths": {host: {"auth": auth}}});
        std::fs::write(directory.path().join("config.json"), config.to_string()).expect("config.json");
        vars.insert("DOCKER_CONFIG".to_owned(), directory.path().display().to_string());
    }
    let env = Env { vars, ..Env::default() };
    let journal = Arc::new(Journal::new());
    let http = Http::new(Config { timeout, insecure: false, offline: false, journal, env }).expect("http");
    Client { oci: Oci::new(http.host(&format!("http://{host}")).expect("host"), options), _directory: directory }
}

/// A repository name.
pub(crate) fn repository(name: &str) -> Repository {
    name.parse().expect("a repository name")
}

/// A tag.
pub(crate) fn tag(name: &str) -> Tag {
    name.parse().expect("a tag")
}

/// The descriptor of content by digest and size alone.
pub(crate) fn descriptor(digest: &str, size: u64) -> Descriptor {
    serde_json::from_value(serde_json::json!({"digest": digest, "size": size})).expect("a descriptor")
}
