//! The blocking face of HTTP: what floor 2 calls.
//!
//! Promises: every call ends within the timeout plus the time that bytes keep coming; calls come from plain threads
//! only. Knows nothing of manifests or blobs.

use super::client;
use super::credentials;
use super::env::Env;
use super::runtime::Runtime;
use crate::error::Result;
use crate::journal::Journal;
use reqwest::Client;
use std::sync::Arc;
use std::time::Duration;

pub use super::answer::Answer;
pub use super::ask::{Ask, What};
pub use super::host::Host;

/// How the wire is used.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time without progress before a request is given up (`--timeout`).
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
    pub(super) client: Client,
}

impl Http {
    /// Reads configuration, starts the runtime, sends nothing.
    pub fn new(config: Config) -> Result<Arc<Http>> {
        let runtime = Runtime::new()?;
        let client = client::build(&config.env, config.timeout / 2)?;
        Ok(Arc::new(Http { config, runtime, client }))
    }

    /// The client for a registry named by the user: `registry.example.com:5000`, `docker.io`, or with an explicit
    /// scheme `http://host:port`. `http://` only for loopback or with `insecure`; without a scheme: https, but
    /// http for loopback hosts where https does not answer as TLS. Reads config, sends nothing.
    pub fn host(self: &Arc<Http>, name: &str) -> Result<Host> {
        Host::new(self, name)
    }

    /// Hosts that credentials and configuration files know, for `all:`.
    pub fn known_hosts(&self) -> Vec<String> {
        credentials::known_hosts(&self.config.env)
    }
}
