//! Where requests for a host go: its mirrors in order, then the host itself, as the machine is configured.
//!
//! Two systems are read: containers-registries.conf(5) (podman, skopeo; module `registries`) and containerd's
//! `hosts.toml` (module `hosts`). Where an entry of registries.conf has a prefix that matches, it decides alone;
//! otherwise hosts.toml does; otherwise the host is asked directly.
//!
//! Promises: no request and no clock here, a [`Route`] is a pure function of files read once by [`Mirrors::load`]; a
//! malformed `registries.conf` fails the load, a malformed `hosts.toml` only the hosts it is for. Mirrors are for
//! reading only. Does not know how endpoints are tried.

mod endpoint;
mod hosts;
mod namespace;
mod registries;

use super::env::Env;
use super::hostname;
use crate::error::{Error, Kind, Result};
pub use endpoint::{ClientFiles, Endpoint};

/// The machine's mirrors, read once.
#[derive(Debug)]
pub struct Mirrors {
    registries: registries::Registries,
    hosts: hosts::HostDirs,
}

/// The endpoints to try for a host and repository, in order: the mirrors, and the origin last. Never empty.
#[derive(Clone, Debug)]
pub struct Route {
    /// In the order to try.
    pub endpoints: Vec<Endpoint>,
}

impl Route {
    /// The endpoint that decides what the registry is: the last.
    pub fn origin(&self) -> Option<&Endpoint> {
        self.endpoints.last()
    }

    /// The mirrors, in the order to try.
    pub fn mirrors(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(|endpoint| endpoint.is_mirror)
    }
}

impl Mirrors {
    /// Reads `registries.conf`, its drop-ins, and every `hosts.toml`.
    ///
    /// # Errors
    /// `registries.conf` or a drop-in is unreadable or malformed: it might have blocked what would be asked.
    pub fn load(env: &Env) -> Result<Mirrors> {
        Ok(Mirrors { registries: registries::Registries::load(env)?, hosts: hosts::HostDirs::load(env) })
    }

    /// Where to ask for `repository` of `host`; without a repository, where to ask about the host itself.
    ///
    /// `host` is taken in any spelling.
    ///
    /// # Errors
    /// `Denied` if registries.conf blocks it; `Invalid` if `host` is no host, or its `hosts.toml` is malformed.
    pub fn route(&self, host: &str, repository: Option<&str>) -> Result<Route> {
        let host = hostname::normal(host);
        if !hostname::is_host(&host) {
            let shown = crate::name::escape(host.as_bytes());
            return Err(Error::new(Kind::Invalid, format!("\"{shown}\" is not the name of a host")));
        }
        let endpoints = match self.registries.endpoints(&host, repository)? {
            Some(endpoints) => endpoints,
            None => match self.hosts.endpoints(&host)? {
                Some(endpoints) => endpoints,
                None => vec![Endpoint::origin(&host)?],
            },
        };
        Ok(Route { endpoints })
    }

    /// What registries.conf has asked for credentials, in order (`credential-helpers`); nothing if it does not say.
    pub(super) fn credential_helpers(&self) -> &[String] {
        self.registries.helpers()
    }

    /// The hosts that the configuration is for, wildcards and defaults left out.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.registries.hosts().chain(self.hosts.hosts()).collect()
    }
}
