//! Short ways to ask: a wire of a test's own, and its requests.

use regfs::error::Result;
use regfs::journal::Journal;
use regfs::name::Repository;
use regfs::net::http::{Answer, Ask, Config, Host, Http, What};
use regfs::span::Span;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

/// The timeout that tests use where nothing is meant to time out.
pub const PATIENT: Duration = Duration::from_secs(20);

/// A configuration that knows nothing of this machine.
pub fn config() -> Config {
    Config {
        timeout: PATIENT,
        insecure: false,
        offline: false,
        journal: Arc::new(Journal::new()),
        env: Default::default(),
    }
}

/// A wire of its own and the registry at `server`, spoken to in clear.
pub fn host(server: &crate::support::http::Server) -> Host {
    host_with(config(), server)
}

/// The same with another configuration.
pub fn host_with(config: Config, server: &crate::support::http::Server) -> Host {
    Http::new(config).expect("a wire").host(&format!("http://{}", server.host())).expect("a host")
}

pub fn repository(name: &str) -> Repository {
    name.parse().expect("a repository")
}

fn ask<'a>(method: reqwest::Method, path: &'a str, what: What<'a>, headers: &[(&str, &str)]) -> Ask<'a> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a header"),
            HeaderValue::from_str(value).expect("a value"),
        );
    }
    Ask { method, path, what, headers: map, range: None }
}

/// GET of metadata of `lib/x`.
pub fn get(host: &Host, path: &str) -> Result<Answer> {
    let repository = repository("lib/x");
    let what = What::Metadata { repository: &repository, by_tag: false };
    host.send(&ask(reqwest::Method::GET, path, what, &[]), &[])
}

/// GET of a range of a blob of `lib/x`.
pub fn range(host: &Host, path: &str, start: u64, end: u64) -> Result<Answer> {
    let repository = repository("lib/x");
    let mut ask = ask(reqwest::Method::GET, path, What::Blob { repository: &repository }, &[]);
    ask.range = Some(Span::new(start, end));
    host.send(&ask, &[416])
}

/// The body of [`get`].
pub fn body(host: &Host, path: &str) -> Result<Vec<u8>> {
    Ok(get(host, path)?.bytes(1 << 20)?.to_vec())
}
