//! Who asks: what is sent along with a request so that the registry answers it, and what a 401 leads to.
//!
//! Promises: no round trip is spent on a challenge that is known already; a token that is refused is replaced once,
//! and never in a loop; a password goes to the registry only where Basic is all it offers, else to its realm only,
//! over https (protocols.md items 10 to 24).

use super::ask::What;
use super::challenge::Challenge;
use super::courier::Courier;
use super::credentials::{self, Credential, Secret};
use super::env::Env;
use super::flight::Flights;
use super::mirrors::Endpoint;
use super::origin;
use super::runtime;
use super::token::{self, TokenKey, Tokens};
use crate::error::{Error, Kind, Result};
use reqwest::header::HeaderValue;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// How long found credentials are used without looking again: a helper is a program to run.
const KEPT: Duration = Duration::from_secs(300);
/// The same where there are none, so that a login takes effect.
const KEPT_NONE: Duration = Duration::from_secs(10);
/// What is remembered of endpoints and scopes; past it everything is learnt anew.
const MAX_REMEMBERED: usize = 10_000;

/// Scopes of a token, sorted.
type Scopes = Vec<String>;

/// What the user has for a host or a repository.
#[derive(Clone)]
struct Found {
    credential: Option<Arc<Credential>>,
    /// Whether other repositories of the host may have others.
    differs: bool,
    until: Instant,
}

/// What is known of credentials, challenges and tokens.
pub(super) struct Auth {
    env: Arc<Env>,
    found: Flights<(String, Option<String>), Found>,
    offers: Mutex<HashMap<String, Offer>>,
    /// The scopes that an endpoint asked for where others were expected.
    scopes: Mutex<HashMap<(String, Scopes), Scopes>>,
    tokens: Tokens,
}

/// What an endpoint asked for.
#[derive(Clone)]
enum Offer {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// What was sent along with a request.
#[derive(Clone)]
pub(super) enum Proof {
    /// User and password.
    Basic { header: HeaderValue, credential: Arc<Credential> },
    /// A token; `fresh` if it cannot be stale.
    Token { key: TokenKey, text: Arc<str>, fresh: bool },
    /// A token that the user has configured.
    Configured { header: HeaderValue, credential: Arc<Credential> },
}

/// Why nothing more can be sent.
pub(super) enum Refused {
    /// The registry said its last word; this may mend it.
    Hint(String),
    /// Credentials or a token could not be had.
    Failed(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Failed(error)
    }
}

/// Who is asked, and what for.
pub(super) struct Asked<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// The root of its API as it is spoken to now.
    pub(super) base: &'a Url,
    pub(super) what: What<'a>,
    pub(super) courier: &'a Courier<'a>,
}

impl Proof {
    /// The `Authorization` header.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        match self {
            Proof::Basic { header, .. } | Proof::Configured { header, .. } => Some(header.clone()),
            Proof::Token { text, .. } => bearer(text),
        }
    }

    /// In words, for the journal.
    pub(super) fn words(&self) -> String {
        match self {
            Proof::Basic { credential, .. } => format!("basic ({})", credential.source),
            Proof::Configured { credential, .. } => format!("token of {}", credential.source),
            Proof::Token { key, .. } => match &key.credential {
                Some(credential) => format!("token ({})", credential.source),
                None => "token (anonymous)".to_owned(),
            },
        }
    }
}

fn bearer(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl Asked<'_> {
    fn authority(&self) -> String {
        origin::authority(self.base)
    }

    fn repository(&self) -> Option<String> {
        self.what.repository().map(|repository| self.endpoint.rewrite(repository.as_str()))
    }

    /// What a token has to allow if the challenge does not say (item 15).
    fn wanted(&self) -> Vec<String> {
        match (self.what, self.repository()) {
            (What::Catalog, _) => vec!["registry:catalog:*".to_owned()],
            (_, Some(repository)) => vec![format!("repository:{repository}:pull")],
            _ => Vec::new(),
        }
    }
}

impl Auth {
    pub(super) fn new(env: Env) -> Auth {
        Auth {
            env: Arc::new(env),
            found: Flights::new(),
            offers: Mutex::default(),
            scopes: Mutex::default(),
            tokens: Tokens::new(),
        }
    }

    /// What to send along before being asked for it: nothing for an endpoint that never asked.
    pub(super) async fn ready(&self, asked: &Asked<'_>) -> Result<Option<Proof>> {
        match recall(&self.offers, &asked.authority()) {
            None => Ok(None),
            Some(Offer::Basic) => {
                let credential = self.credential(asked).await?;
                Ok(credential.and_then(basic))
            }
            Some(Offer::Bearer { realm, service }) => {
                let wanted = asked.wanted();
                let scopes = recall(&self.scopes, &(asked.authority(), wanted.clone())).unwrap_or(wanted);
                let credential = self.credential(asked).await?;
                Ok(Some(self.token(asked, realm, service, scopes, credential, false).await?))
            }
        }
    }

    /// What to send after a 401 with `challenges` to what was `sent`.
    pub(super) async fn respond(
        &self,
        asked: &Asked<'_>,
        challenges: &[Challenge],
        sent: Option<Proof>,
    ) -> Result<Proof, Refused> {
        // Bearer before Basic: a password is not for a registry that takes tokens (item 12).
        let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some((challenge, realm)) = of("bearer").and_then(|bearer| Some((bearer, bearer.get("realm")?))) {
            return self.respond_bearer(asked, challenge, realm, sent).await;
        }
        if of("basic").is_none() {
            return Err(Refused::Hint("it names no way to log in that is known here".to_owned()));
        }
        if let Some(Proof::Basic { credential, .. }) = &sent {
            self.refused(asked, credential).await;
            return Err(Refused::Hint(format!("the credentials of {} are refused", credential.source)));
        }
        remember(&self.offers, asked.authority(), Offer::Basic);
        let credential = self.credential(asked).await?;
        credential.and_then(basic).ok_or_else(|| Refused::Hint(no_login(asked)))
    }

    async fn respond_bearer(
        &self,
        asked: &Asked<'_>,
        challenge: &Challenge,
        realm: &str,
        sent: Option<Proof>,
    ) -> Result<Proof, Refused> {
        let realm = realm_of(asked, realm)?;
        let wanted = asked.wanted();
        let scopes = challenge.get("scope").map(|scope| scope.split_whitespace().map(str::to_owned).collect());
        let mut scopes: Vec<String> = scopes.unwrap_or_else(|| wanted.clone());
        scopes.sort();
        scopes.dedup();
        let mut renewed = false;
        match &sent {
            Some(Proof::Token { key, text, fresh }) => {
                self.tokens.forget(key, text).await;
                let same = key.scopes == scopes;
                // A token that is right but allows too little does not get better (items 17 and 18).
                if same && (*fresh || challenge.get("error") == Some("insufficient_scope")) {
                    if let Some(credential) = &key.credential {
                        self.refused(asked, credential).await;
                        return Err(Refused::Hint(format!("the login of {} does not allow it", credential.source)));
                    }
                    return Err(Refused::Hint(no_login(asked)));
                }
                renewed = same;
            }
            Some(Proof::Configured { credential, .. }) => {
                self.refused(asked, credential).await;
                return Err(Refused::Hint(format!("the registry token of {} is refused", credential.source)));
            }
            Some(Proof::Basic { .. }) | None => {}
        }
        let service = challenge.get("service").map(str::to_owned);
        remember(&self.offers, asked.authority(), Offer::Bearer { realm: realm.clone(), service: service.clone() });
        if scopes != wanted {
            remember(&self.scopes, (asked.authority(), wanted), scopes.clone());
        }
        let credential = self.credential(asked).await?;
        Ok(self.token(asked, realm, service, scopes, credential, renewed).await?)
    }

    async fn token(
        &self,
        asked: &Asked<'_>,
        realm: Url,
        service: Option<String>,
        scopes: Vec<String>,
        credential: Option<Arc<Credential>>,
        renewed: bool,
    ) -> Result<Proof> {
        if let Some(credential) = &credential
            && let Secret::RegistryToken { token } = &credential.secret
            && let Some(header) = bearer(token)
        {
            return Ok(Proof::Configured { header, credential: Arc::clone(credential) });
        }
        let key = TokenKey { realm, service, scopes, credential };
        match self.tokens.get(&key, asked.courier).await {
            Ok((token, new)) => Ok(Proof::Token { key, text: token.text, fresh: new || renewed }),
            Err(error) => {
                if error.kind() == crate::error::Kind::Denied
                    && let Some(credential) = &key.credential
                {
                    self.refused(asked, credential).await;
                }
                Err(error)
            }
        }
    }

    /// What the user has for this endpoint and repository. Looked up once per host where no file has paths as keys: a
    /// helper is not run for every repository.
    async fn credential(&self, asked: &Asked<'_>) -> Result<Option<Arc<Credential>>> {
        let found = self.find(asked, None).await?;
        match asked.repository() {
            Some(repository) if found.differs => Ok(self.find(asked, Some(repository)).await?.credential),
            _ => Ok(found.credential),
        }
    }

    async fn find(&self, asked: &Asked<'_>, repository: Option<String>) -> Result<Found> {
        let key = (asked.endpoint.host(), repository);
        // A helper is ended when nobody waits for it any more.
        let by = Some(asked.courier.deadline.into_std());
        let env = Arc::clone(&self.env);
        let look = || async {
            let (host, repository) = key.clone();
            // Reads files and may run a helper: not on a thread that drives sockets.
            let look_up = move || {
                let differs = credentials::differ_by_repository(&env, &host);
                let found = credentials::lookup_by(&env, &host, repository.as_deref(), by);
                // However they are broken, it is they that keep us out; the registry said nothing.
                let credential = found.map_err(|error| match error.kind() {
                    Kind::Invalid | Kind::NotFound | Kind::Unsupported | Kind::TooBig => error.as_kind(Kind::Denied),
                    _ => error,
                })?;
                Ok((credential, differs))
            };
            let (credential, differs) = tokio::task::spawn_blocking(look_up)
                .await
                .map_err(|error| runtime::died("look up credentials", error))??;
            let kept = if credential.is_some() { KEPT } else { KEPT_NONE };
            Ok(Found { credential: credential.map(Arc::new), differs, until: Instant::now() + kept })
        };
        let (found, _) = self.found.get(&key, |found| Instant::now() < found.until, look).await?;
        Ok(found)
    }

    /// Looks again next time: the user may log in anew.
    async fn refused(&self, asked: &Asked<'_>, credential: &Arc<Credential>) {
        for repository in [None, asked.repository()] {
            let key = (asked.endpoint.host(), repository);
            self.found.forget(&key, |found| found.credential.as_ref() == Some(credential)).await;
        }
    }
}

/// The realm, if a secret may be sent there: https, or as near as the registry that names it.
fn realm_of(asked: &Asked<'_>, realm: &str) -> Result<Url, Refused> {
    let url = asked.base.join(realm).map_err(|_| Refused::Hint("its realm is no URL".to_owned()))?;
    let near = origin::is_loopback(&url) || (asked.base.scheme() == "http" && url.host() == asked.base.host());
    match url.scheme() {
        "https" => Ok(url),
        "http" if asked.courier.clear || near => Ok(url),
        "http" => {
            Err(Refused::Hint(format!("its realm {} is not https (--insecure allows that)", origin::shown(&url))))
        }
        _ => Err(Refused::Hint(format!("its realm {} is no http(s) URL", origin::shown(&url)))),
    }
}

fn no_login(asked: &Asked<'_>) -> String {
    format!("no credentials that would do: docker login {}", asked.endpoint.host())
}

fn basic(credential: Arc<Credential>) -> Option<Proof> {
    let header = match &credential.secret {
        Secret::Basic { user, password } => token::basic_header(user, password)?,
        // These are for the realm, and for Bearer.
        Secret::IdentityToken { .. } | Secret::RegistryToken { .. } => return None,
    };
    Some(Proof::Basic { header, credential })
}

fn recall<K: Hash + Eq, V: Clone>(map: &Mutex<HashMap<K, V>>, key: &K) -> Option<V> {
    map.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
}

fn remember<K: Hash + Eq, V>(map: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= MAX_REMEMBERED {
        map.clear();
    }
    map.insert(key, value);
}
