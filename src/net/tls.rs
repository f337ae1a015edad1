//! Certificates: the authorities that vouch for servers, and those that say who asks.
//!
//! Promises: the same directories as docker and podman, chosen as they choose; what is there but cannot be read, or is
//! not PEM, is an error that names the file; keys are never printed. Does not speak TLS: it returns bytes.

use super::env::Env;
use super::mirrors::{ClientFiles, Endpoint};
use super::{files, hostname};
use crate::error::{Error, Kind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};

/// The most bytes of one file of certificates: a system's whole bundle has a quarter of a megabyte.
pub const MAX_PEM: u64 = 4 << 20;

/// Where systems keep the bundle of all authorities.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is trusted and shown at one endpoint, beyond the system's own authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Further authorities, each a file's PEM.
    pub authorities: Vec<Pem>,
    /// Certificates of the client with their keys, in the order to offer.
    pub identities: Vec<Pem>,
}

/// PEM of one file, or of a certificate followed by its key; never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pem {
    /// Where it was read, for messages.
    pub path: PathBuf,
    /// The PEM, checked to hold what it has to.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({})", self.path.display())
    }
}

/// What the user has set up for an endpoint: what its `hosts.toml` names, and the first directory of its name below
/// the user's `containers/certs.d` and `docker/certs.d`, `/etc/containers/certs.d`, `/etc/docker/certs.d`.
///
/// # Errors
/// A file is unreadable or not PEM, or half of a pair is missing.
pub fn for_endpoint(env: &Env, endpoint: &Endpoint) -> Result<Trust> {
    let mut trust = Trust::default();
    let (mut ca, mut client) = (endpoint.ca.clone(), endpoint.client.clone());
    if let Some(directory) = directory_of(env, &endpoint.host()) {
        let (more_ca, more_client) = files_of(&directory)?;
        ca.extend(more_ca);
        client.extend(more_client);
    }
    for path in ca {
        trust.authorities.push(authority(&path)?);
    }
    for files in client {
        trust.identities.push(identity(&files)?);
    }
    Ok(trust)
}

/// The system's authorities: `$SSL_CERT_FILE` and `$SSL_CERT_DIR` where they are set, else the system's bundle.
///
/// # Errors
/// What a variable names is unreadable or holds no certificate. Without variable and bundle there are none, which is
/// no error: a registry on loopback needs none.
pub fn system_authorities(env: &Env) -> Result<Vec<Pem>> {
    let mut found = Vec::new();
    if let Some(path) = env.var_path("SSL_CERT_FILE") {
        found.push(authority(&path).map_err(|error| error.context("SSL_CERT_FILE"))?);
    }
    for directory in env.var("SSL_CERT_DIR").map(std::env::split_paths).into_iter().flatten() {
        for path in files::list(&directory).map_err(|error| error.context("SSL_CERT_DIR"))? {
            // Such directories hold links, hashes and the odd README: what is no certificate is passed over.
            match authority(&path) {
                Ok(pem) => found.push(pem),
                Err(error) => log::debug!("{error}"),
            }
        }
    }
    if names_authorities(env) {
        return Ok(found);
    }
    for path in BUNDLES.iter().filter_map(|path| env.system_path(path)) {
        if let Some(bytes) = files::read(&path, MAX_PEM)? {
            return Ok(vec![Pem { path, bytes }]);
        }
    }
    Ok(found)
}

/// Whether the user's own variables name the authorities, rather than the system.
pub(super) fn names_authorities(env: &Env) -> bool {
    env.var("SSL_CERT_FILE").is_some() || env.var("SSL_CERT_DIR").is_some()
}

/// The hosts that have a directory of certificates, as the directories spell them.
pub(super) fn hosts(env: &Env) -> Vec<String> {
    let mut hosts = Vec::new();
    for root in roots(env) {
        match files::list(&root) {
            Ok(paths) => hosts.extend(
                paths
                    .iter()
                    .filter(|path| path.is_dir())
                    .filter_map(|path| path.file_name()?.to_str().map(str::to_owned)),
            ),
            Err(error) => log::warn!("{error}"),
        }
    }
    hosts
}

/// Directories that hold one directory per host, first come first served.
fn roots(env: &Env) -> impl Iterator<Item = PathBuf> {
    [
        env.config_path("containers/certs.d"),
        env.config_path("docker/certs.d"),
        env.system_path("/etc/containers/certs.d"),
        env.system_path("/etc/docker/certs.d"),
    ]
    .into_iter()
    .flatten()
}

/// The directory of certificates of a host (a normal name).
fn directory_of(env: &Env, host: &str) -> Option<PathBuf> {
    let mut names = vec![host.to_owned()];
    match hostname::split_port(host) {
        (_, Some(_)) => {}
        // The default port may be spelled out.
        (name, None) => names.push(format!("{name}:443")),
    }
    if host == hostname::HUB {
        names.push(hostname::HUB_SERVER.to_owned());
    }
    roots(env)
        .flat_map(|root| names.iter().map(move |name| root.join(name)).collect::<Vec<_>>())
        .find(|path| path.is_dir())
}

/// The certificates in a directory as docker lays it out: `*.crt` are authorities, `x.cert` with `x.key` a client.
///
/// # Errors
/// The directory is unreadable, or half of a pair is missing.
pub(super) fn files_of(directory: &Path) -> Result<(Vec<PathBuf>, Vec<ClientFiles>)> {
    let (mut ca, mut client) = (Vec::new(), Vec::new());
    let entries = files::list(directory)?;
    for path in &entries {
        let lone = |other: &str, hint: &str| {
            let what = format!("{} has no {} beside it{hint}", path.display(), path.with_extension(other).display());
            Error::new(Kind::Invalid, what)
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => ca.push(path.clone()),
            Some("cert") => {
                let key = path.with_extension("key");
                if !entries.contains(&key) {
                    return Err(lone("key", " (certificates of authorities are called *.crt)"));
                }
                client.push(ClientFiles { cert: path.clone(), key: Some(key) });
            }
            Some("key") if !entries.contains(&path.with_extension("cert")) => return Err(lone("cert", "")),
            _ => {}
        }
    }
    Ok((ca, client))
}

/// One file of authorities.
fn authority(path: &Path) -> Result<Pem> {
    let bytes = read(path)?;
    if !holds_certificate(&bytes) {
        return Err(Error::new(Kind::Invalid, format!("{} holds no certificate in PEM", path.display())));
    }
    Ok(Pem { path: path.to_owned(), bytes })
}

/// A client's certificate followed by its key.
fn identity(files: &ClientFiles) -> Result<Pem> {
    let mut bytes = read(&files.cert)?;
    if !holds_certificate(&bytes) {
        return Err(Error::new(Kind::Invalid, format!("{} holds no certificate in PEM", files.cert.display())));
    }
    if let Some(key) = &files.key {
        bytes.push(b'\n');
        bytes.extend(read(key)?);
    }
    // Encrypted keys have another label: there is nobody to ask for the passphrase.
    if PrivateKeyDer::from_pem_slice(&bytes).is_err() {
        let path = files.key.as_ref().unwrap_or(&files.cert);
        let what = format!("{} holds no private key in PEM without a passphrase", path.display());
        return Err(Error::new(Kind::Invalid, what));
    }
    Ok(Pem { path: files.cert.clone(), bytes })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    files::read_existing(path, MAX_PEM).map_err(|error| error.context("certificates"))
}

fn holds_certificate(pem: &[u8]) -> bool {
    CertificateDer::pem_slice_iter(pem).next().is_some_and(|first| first.is_ok())
}
