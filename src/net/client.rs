//! Connection pools: one client per way of trusting a peer, built once, with the user's proxies.
//!
//! Promises: HTTP/1.1 only (one body per connection, as fast as the socket), no redirects, retries, cookies or
//! decoding behind the caller's back. Knows what an endpoint's certificates are for.

use super::env::Env;
use super::mirrors::{ClientFiles, Endpoint};
use super::pinned::Pinned;
use super::proxies::Proxies;
use super::tls::{self, Pem, Trust};
use super::unchecked::Unchecked;
use crate::error::{Error, Kind, Result};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Idle connections are kept so long; servers commonly close theirs after 60 s or more.
const IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept per host: as many as may be in flight.
const MAX_IDLE: usize = 48;
/// `User-Agent`
const AGENT: &str = concat!("regfs/", env!("CARGO_PKG_VERSION"));

/// Clients by what makes them differ.
#[derive(Default)]
pub(super) struct Clients(Mutex<HashMap<Key, Client>>);

#[derive(PartialEq, Eq, Hash)]
struct Key {
    host: String,
    check: bool,
    connect: Duration,
    ca: Vec<PathBuf>,
    client: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Clients {
    /// The client for an endpoint, connecting within `connect`; `check`: whether certificates are checked.
    pub(super) fn get(
        &self,
        env: &Env,
        proxies: &Proxies,
        endpoint: &Endpoint,
        check: bool,
        connect: Duration,
    ) -> Result<Client> {
        let client = |ClientFiles { cert, key }: &ClientFiles| (cert.clone(), key.clone());
        let client = endpoint.client.iter().map(client).collect();
        let key = Key { host: endpoint.host(), check, connect, ca: endpoint.ca.clone(), client };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        // Under the lock: the first requests of a mount come all at once, and one reading of files is enough.
        let client = build(env, proxies, &tls::for_endpoint(env, endpoint)?, check, connect)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn build(env: &Env, proxies: &Proxies, trust: &Trust, check: bool, connect: Duration) -> Result<Client> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(secure(env, trust, check)?)
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
    if proxies.any() {
        let proxies = proxies.clone();
        builder = builder.proxy(Proxy::custom(move |url| proxies.of(url).cloned()));
    }
    builder.build().map_err(|error| Error::with(Kind::Io, "build an HTTP client", error))
}

/// TLS 1.2 and 1.3 with the authorities of the system and those of `trust`; ring is passed explicitly, so that
/// nothing depends on what another part of the process has installed.
fn secure(env: &Env, trust: &Trust, check: bool) -> Result<ClientConfig> {
    let bad = |error: rustls::Error| Error::with(Kind::Io, "set up TLS", error);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(bad)?;
    let builder = if check {
        let mut roots = RootCertStore::empty();
        let system = tls::system_authorities(env)?;
        for Pem { bytes, .. } in system.iter().chain(&trust.authorities) {
            let _ = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok));
        }
        let files = system.len() + trust.authorities.len();
        log::debug!("{} certificate authorities from {files} files", roots.len());
        let named = if tls::names_authorities(env) { &system[..] } else { &[] };
        let own: Vec<_> = named
            .iter()
            .chain(&trust.authorities)
            .flat_map(|pem| CertificateDer::pem_slice_iter(&pem.bytes).filter_map(Result::ok))
            .collect();
        if own.is_empty() || roots.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| Error::with(Kind::Io, "set up TLS", error))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { strict, own }))
        }
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(algorithms)))
    };
    let mut config = match trust.identities.first() {
        None => builder.with_no_client_auth(),
        Some(Pem { path, bytes }) => {
            let chain = CertificateDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
            let key = PrivateKeyDer::from_pem_slice(bytes)
                .map_err(|error| Error::with(Kind::Invalid, format!("key of {}", path.display()), error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                Error::with(Kind::Invalid, format!("certificate and key of {}", path.display()), error)
            })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
