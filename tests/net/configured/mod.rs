//! What the user has configured, end to end: files in a home and a root of the test's own, requests at real or scripted
//! servers.

mod logins;
mod mirrored;
mod proxied;
mod trusted;

use crate::kit;
use crate::setup::Setup;
use regfs::error::Result;
use regfs::net::http::{Ask, Config, Host, Http, What};
use regfs::net::{Method, header};
use std::time::Duration;

/// The wire of the setup's user.
fn config(setup: &Setup) -> Config {
    Config { env: setup.env.clone(), ..kit::config() }
}

/// The registry as the setup's user calls it.
fn host(setup: &Setup, name: &str) -> Host {
    Http::new(config(setup)).expect("a wire").host(name).expect("a host")
}

/// The body of a GET below `/v2/<repository>/`: `manifests/<tag>`, `manifests/sha256:…`, `blobs/…`, `tags/list`.
fn get(host: &Host, repository: &str, path: &str) -> Result<String> {
    let name = kit::repository(repository);
    let what = match path.split_once('/') {
        Some(("blobs", _)) => What::Blob { repository: &name },
        None | Some(("tags", _)) => What::List { repository: &name },
        Some((_, reference)) => What::Metadata { repository: &name, by_tag: !reference.contains(':') },
    };
    ask(host, &format!("/v2/{repository}/{path}"), what)
}

/// The body of a GET.
fn ask(host: &Host, path: &str, what: What<'_>) -> Result<String> {
    let ask = Ask { method: Method::GET, path, what, headers: header::HeaderMap::new(), range: None };
    let bytes = host.send(&ask, &[])?.bytes(1 << 20)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A timeout that a test can wait for.
const SHORT: Duration = Duration::from_secs(3);
/// A digest that names nothing.
const DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";
