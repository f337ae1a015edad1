//! The blocking face of HTTP: what floor 2 calls.
//!
//! Promises: every call ends within the timeout plus the time that bytes keep coming; calls come from plain threads
//! only. Knows nothing of manifests or blobs.

use super::auth::Auth;
use super::client::Clients;
use super::credentials;
use super::env::Env;
use super::failure;
use super::host::State;
use super::memory::{Dead, Schemes, Warnings, warning_text};
use super::mirrors::Mirrors;
use super::origin::Named;
use super::proxies::Proxies;
use super::runtime::Runtime;
use super::wire::Reply;
use crate::error::Result;
use crate::journal::Journal;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use super::answer::Answer;
pub use super::ask::{Ask, What};
pub use super::host::Host;

/// Hosts whose state is kept though nobody uses them.
const MAX_HOSTS: usize = 256;

/// A timeout of nothing would be one of everything.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);
/// Longer is no deadline, and clocks overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// How the wire is used.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time without progress before a request is given up (`--timeout`); kept between 10 ms and a day.
    pub timeout: Duration,
    /// Clear HTTP and unchecked certificates are allowed to hosts other than loopback.
    pub insecure: bool,
    /// No request is ever sent; everything fails `Unreachable`, saying so.
    pub offline: bool,
    /// Where requests and the state of remotes are recorded.
    pub journal: Arc<Journal>,
    /// Where configuration is read from: environment variables and files, replaceable in tests.
    pub env: Env,
}

/// The wire: runtime, connection pools, token cache. One per process.
pub struct Http {
    pub(super) config: Config,
    pub(super) runtime: Runtime,
    pub(super) clients: Clients,
    pub(super) proxies: Proxies,
    pub(super) mirrors: Mirrors,
    pub(super) auth: Auth,
    pub(super) schemes: Schemes,
    pub(super) dead: Dead,
    warnings: Warnings,
    /// Shared by everybody who asks for the same host; by name and scheme.
    hosts: Mutex<HashMap<Named, Arc<State>>>,
}

impl Http {
    /// Reads configuration, starts the runtime, sends nothing.
    ///
    /// # Errors
    /// `registries.conf` is unreadable or malformed; a proxy variable is no URL; no thread can be started.
    pub fn new(mut config: Config) -> Result<Arc<Http>> {
        config.timeout = config.timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT);
        Ok(Arc::new(Http {
            runtime: Runtime::new()?,
            clients: Clients::default(),
            proxies: Proxies::load(&config.env)?,
            mirrors: Mirrors::load(&config.env)?,
            auth: Auth::new(config.env.clone()),
            schemes: Schemes::default(),
            dead: Dead::default(),
            warnings: Warnings::default(),
            hosts: Mutex::default(),
            config,
        }))
    }

    /// The client for a registry named by the user: `registry.example.com:5000`, `docker.io`, or with an explicit
    /// scheme `http://host:port`. `http://` only for loopback or with `insecure`; without a scheme: https, but
    /// http for loopback hosts (with `insecure`, any) where https does not answer as TLS. Sends nothing.
    ///
    /// # Errors
    /// `Invalid` for what is no host, or may not be spoken to in clear; `Denied` if registries.conf blocks it.
    pub fn host(self: &Arc<Http>, name: &str) -> Result<Host> {
        let named = Named::parse(name)?;
        let state = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            // `all:` looks up any name that somebody types.
            if hosts.len() >= MAX_HOSTS {
                hosts.retain(|_, state| Arc::strong_count(state) > 1);
            }
            Arc::clone(hosts.entry(named.clone()).or_insert_with(|| Arc::new(State::new(named))))
        };
        Host::new(Arc::clone(self), state)
    }

    /// Hosts that credentials and configuration files know, for `all:`.
    pub fn known_hosts(&self) -> Vec<String> {
        credentials::known_hosts(&self.config.env)
    }

    /// Logs the warnings of an answer, each text once (protocols.md item 8).
    pub(super) fn warn(&self, host: &str, reply: &Reply) {
        for value in reply.headers().get_all(reqwest::header::WARNING) {
            if let Some(text) = warning_text(&String::from_utf8_lossy(value.as_bytes()))
                && self.warnings.is_new(&text)
            {
                log::warn!("{host} warns: {}", failure::clean(&text));
            }
        }
    }
}
