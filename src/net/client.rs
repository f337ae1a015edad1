//! Connection pools: one client per way of trusting a peer, built once, with the user's proxies.
//!
//! Promises: HTTP/1.1 only (one body per connection, as fast as the socket), no redirects, retries, cookies or
//! decoding behind the caller's back. Knows `HTTP_PROXY` and its kin.

use super::env::Env;
use super::tls::{self, Pem, Trust};
use crate::error::{Error, Kind, Result};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;

/// Idle connections are kept so long; servers commonly close theirs after 60 s or more.
const IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept per host: as many as may be in flight.
const MAX_IDLE: usize = 32;
/// `User-Agent`
const AGENT: &str = concat!("regfs/", env!("CARGO_PKG_VERSION"));

/// A client that trusts the system's authorities and connects within `connect`.
pub(super) fn build(env: &Env, connect: Duration) -> Result<Client> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(secure(env, &Trust::default())?)
        .http1_only()
        .tcp_nodelay(true)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(AGENT)
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE)
        // The proxies are those of the given environment, not of the process.
        .no_proxy();
    for proxy in proxies(env)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| Error::with(Kind::Io, "build an HTTP client", error))
}

/// The proxies of the environment: by scheme first, then `ALL_PROXY`; none for what `NO_PROXY` lists.
fn proxies(env: &Env) -> Result<Vec<Proxy>> {
    let var = |name: &str| {
        [name.to_ascii_lowercase(), name.to_owned()].into_iter().find_map(|name| {
            env.vars.get(&name).filter(|value| !value.trim().is_empty()).map(|value| (name, value.trim()))
        })
    };
    let except = var("NO_PROXY").and_then(|(_, list)| NoProxy::from_string(list));
    let mut proxies = Vec::new();
    for (name, make) in [
        ("HTTP_PROXY", Proxy::http as fn(String) -> reqwest::Result<Proxy>),
        ("HTTPS_PROXY", Proxy::https),
        ("ALL_PROXY", Proxy::all),
    ] {
        let Some((name, value)) = var(name) else { continue };
        let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        // The value is not repeated: it may hold a password.
        let proxy = make(url).map_err(|_| Error::new(Kind::Invalid, format!("${name} is not the URL of a proxy")))?;
        proxies.push(proxy.no_proxy(except.clone()));
    }
    Ok(proxies)
}

/// TLS 1.2 and 1.3 with the authorities of the system and those of `trust`.
fn secure(env: &Env, trust: &Trust) -> Result<ClientConfig> {
    let bad = |error: rustls::Error| Error::with(Kind::Io, "set up TLS", error);
    let mut roots = RootCertStore::empty();
    for Pem { path, bytes } in tls::system_authorities(env)?.iter().chain(&trust.authorities) {
        let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok));
        log::debug!("{added} authorities from {}", path.display());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(bad)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
