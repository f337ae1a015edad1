//! Credentials as the user already has them: podman's auth.json, docker's config.json, and their helpers.
//!
//! Promises: the first place that has something for the host decides, in the order that podman and skopeo look
//! ([`places`]; `credential-helpers` of registries.conf), docker's file with its helpers among them; a file that cannot
//! be read or understood, or a helper that fails, is an error that names it, never a silent anonymous; no secret is in
//! any error or `Debug`.
//! Does not know tokens or challenges, and keeps nothing: every lookup reads anew, since logins change under a mount.

mod auth_file;
mod helper;
mod known;
mod places;

use super::env::Env;
use super::hostname;
use super::mirrors::Mirrors;
use crate::error::Result;
use auth_file::AuthFile;
use places::Place;
use std::fmt;
use std::time::Instant;

pub use helper::HELPER_DEADLINE;
pub use known::known_hosts;

/// What `credential-helpers` of registries.conf calls the files.
const FILES: &str = "containers-auth.json";

/// What proves who asks, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Credential {
    /// The proof itself.
    pub secret: Secret,
    /// Where it comes from, for people: `/root/.docker/config.json`, `helper pass`.
    pub source: String,
}

/// A proof of identity; never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Secret {
    /// A user's name and password, for Basic and for the token server.
    Basic {
        /// The name, which holds no `:`.
        user: String,
        /// The password, which may hold anything.
        password: String,
    },
    /// An OAuth2 refresh token, for the token server only.
    IdentityToken {
        /// The token.
        token: String,
    },
    /// A bearer token for the registry itself, sent as it is.
    RegistryToken {
        /// The token.
        token: String,
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Basic { .. } => "Basic(…)",
            Secret::IdentityToken { .. } => "IdentityToken(…)",
            Secret::RegistryToken { .. } => "RegistryToken(…)",
        })
    }
}

/// What the user has for `host`, or more closely for `repository` on it; `None` is anonymous.
///
/// `host` is taken in any spelling (`docker.io`, `https://index.docker.io/v1/`). May run a helper program: blocks up
/// to [`HELPER_DEADLINE`] for each.
///
/// # Errors
/// A file that is there but unreadable or malformed (registries.conf too), a helper that is missing, fails, or says
/// nonsense.
pub fn lookup(env: &Env, host: &str, repository: Option<&str>) -> Result<Option<Credential>> {
    lookup_by(env, host, repository, None)
}

/// The same for somebody who waits until `by`: a helper does not outlive that.
pub(super) fn lookup_by(
    env: &Env,
    host: &str,
    repository: Option<&str>,
    by: Option<Instant>,
) -> Result<Option<Credential>> {
    let host = hostname::normal(host);
    let mirrors = Mirrors::load(env)?;
    let helpers = mirrors.credential_helpers();
    if helpers.is_empty() {
        return lookup_in_files(env, &host, repository, by);
    }
    let mut failed = None;
    for name in helpers {
        let found = match name.as_str() {
            FILES => lookup_in_files(env, &host, repository, by),
            name => ask(env, name, &host, by),
        };
        match found {
            Ok(Some(credential)) => return Ok(Some(credential)),
            Ok(None) => {}
            // One that cannot tell does not keep the next from knowing.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}

fn lookup_in_files(env: &Env, host: &str, repository: Option<&str>, by: Option<Instant>) -> Result<Option<Credential>> {
    for place in places::places(env) {
        let Some(file) = AuthFile::load(&place)? else { continue };
        if let Some(found) = lookup_in(env, &place, &file, host, repository, by)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What a helper has for the host.
fn ask(env: &Env, name: &str, host: &str, by: Option<Instant>) -> Result<Option<Credential>> {
    let secret =
        helper::get(env, name, host, by).map_err(|error| error.context(format_args!("credentials of {host}")))?;
    Ok(secret.map(|secret| Credential { secret, source: format!("helper {name}") }))
}

/// Whether what the user has for `host` may differ by repository: some file has keys for paths on it.
pub fn differ_by_repository(env: &Env, host: &str) -> bool {
    let host = hostname::normal(host);
    // A file that cannot be read is told by the lookup.
    places::places(env).iter().any(|place| matches!(AuthFile::load(place), Ok(Some(file)) if file.has_paths(&host)))
}

/// One file's answer: its helper for the host, then its store of everything, then what is written in it.
fn lookup_in(
    env: &Env,
    place: &Place,
    file: &AuthFile,
    host: &str,
    repository: Option<&str>,
    by: Option<Instant>,
) -> Result<Option<Credential>> {
    for name in [file.helper_of(host), file.store()].into_iter().flatten() {
        if let Some(found) = ask(env, name, host, by)? {
            return Ok(Some(found));
        }
    }
    let found = file.find(place, host, repository)?;
    Ok(found.map(|secret| Credential { secret, source: place.path.display().to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_printed() {
        let secrets = [
            Secret::Basic { user: "hunter2".into(), password: "hunter2".into() },
            Secret::IdentityToken { token: "hunter2".into() },
            Secret::RegistryToken { token: "hunter2".into() },
        ];
        for secret in secrets {
            let shown = format!("{:?}", Credential { secret, source: "x".into() });
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
