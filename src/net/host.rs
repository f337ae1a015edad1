//! One registry host: which of its endpoints are asked, in which order, over which scheme.
//!
//! Promises: a mirror can only help: whatever it fails in, the next one is asked, and the host itself last. Bodies and
//! questions in flight are bounded, blobs apart from the rest, so that stuck readers do not starve a listing.

use super::answer::Answer;
use super::ask::Ask;
use super::courier::Courier;
use super::exchange::Exchange;
use super::http::Http;
use super::mirrors::Endpoint;
use super::origin::{self, Named};
use super::probe::{self, Speaks};
use super::targets::Targets;
use super::wire::{self, Fault, Reply};
use crate::error::{Error, Kind, Result};
use reqwest::Method;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

/// Bodies of blobs in flight per host.
const MAX_BLOBS: usize = 32;
/// Other questions in flight per host.
const MAX_METADATA: usize = 16;
/// How long a peer may take to show whether it speaks TLS.
const PROBE: Duration = Duration::from_secs(3);
/// What is left for the other endpoints, or to say what was wrong, when the last one has used up its time.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// One registry host with its credentials, mirrors and tokens. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    http: Arc<Http>,
    state: Arc<State>,
}

/// What all clones of a host share.
pub(super) struct State {
    named: Named,
    blobs: Arc<Semaphore>,
    metadata: Arc<Semaphore>,
    targets: Targets,
}

impl State {
    pub(super) fn new(named: Named) -> State {
        State {
            named,
            blobs: Arc::new(Semaphore::new(MAX_BLOBS)),
            metadata: Arc::new(Semaphore::new(MAX_METADATA)),
            targets: Targets::new(),
        }
    }
}

/// Whether a failure says that a host is down, rather than what it thinks of the question.
fn is_down(kind: Kind) -> bool {
    matches!(kind, Kind::Timeout | Kind::Unreachable | Kind::Server | Kind::Busy)
}

/// One question on its way.
struct Question<'a> {
    ask: &'a Ask<'a>,
    accept: &'a [u16],
    deadline: Instant,
}

impl Host {
    pub(super) fn new(http: Arc<Http>, state: Arc<State>) -> Result<Host> {
        let host = Host { http, state };
        // A host that is blocked, or configured wrongly, is told at once.
        let origin = host.endpoints(None)?.pop();
        if host.state.named.https == Some(false) && !host.http.config.insecure {
            let allowed = |origin: &Endpoint| origin.insecure || origin::is_loopback(&origin.base);
            if !origin.as_ref().is_some_and(allowed) {
                let words = format!("http://{}: clear HTTP is for loopback, or with --insecure", host.name());
                return Err(Error::new(Kind::Invalid, words));
            }
        }
        Ok(host)
    }

    /// As the user calls it: `registry.example.com:5000`, `docker.io`.
    pub fn name(&self) -> &str {
        &self.state.named.name
    }

    /// The time without progress after which a request is given up.
    pub fn timeout(&self) -> Duration {
        self.http.config.timeout
    }

    /// Sends it: mirrors in order, then the host itself; credentials, the 401 dance, redirects, retries by kind and
    /// deadlines are done here. 2xx and 304 are answers, and those that `accept` lists (404, 405, 416); every
    /// other status is an error whose kind is that of protocols.md 1.11 and whose words are the server's.
    ///
    /// Ends within about the timeout: what is asked again, and all that an answer takes, shares it.
    ///
    /// # Errors
    /// `Timeout`, `Unreachable`, `Busy` (asked to wait longer than that), `Denied`, `NotFound`, `Server`, `Protocol`
    /// and the others of the table. `Unsupported` for a HEAD that the storage behind the registry refuses.
    pub fn send(&self, ask: &Ask<'_>, accept: &[u16]) -> Result<Answer> {
        if self.http.config.offline {
            return Err(Error::new(Kind::Unreachable, format!("{} is not asked: --offline", self.name())));
        }
        if !matches!(ask.method, Method::GET | Method::HEAD) {
            return Err(Error::new(Kind::Unsupported, format!("{} is not sent", ask.method)));
        }
        let asked = Instant::now();
        let deadline = asked + self.http.config.timeout;
        let question = Question { ask, accept, deadline };
        let bounded = async {
            match tokio::time::timeout_at(deadline + GRACE, self.put(&question)).await {
                Ok(result) => result,
                Err(_) => Err(Error::new(Kind::Timeout, self.in_vain(ask))),
            }
        };
        let (reply, permit) = self.http.runtime.block_on(bounded)?;
        self.http.warn(self.name(), &reply);
        Answer::new(Arc::clone(&self.http), reply, permit, asked.into_std())
    }

    fn in_vain(&self, ask: &Ask<'_>) -> String {
        let path = ask.path.split('?').next().unwrap_or_default();
        let method = ask.method.as_str().to_ascii_lowercase();
        format!("{method} {path} of {}: no answer in {}", self.name(), wire::seconds(self.http.config.timeout))
    }

    async fn put(&self, question: &Question<'_>) -> Result<(Reply, OwnedSemaphorePermit)> {
        let ask = question.ask;
        let bound = if ask.what.is_blob() { &self.state.blobs } else { &self.state.metadata };
        let permit = match tokio::time::timeout_at(question.deadline, Arc::clone(bound).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            _ => {
                let words = format!("{} (other requests to it were stuck)", self.in_vain(ask));
                return Err(Error::new(Kind::Timeout, words));
            }
        };
        let endpoints = self.endpoints(ask.what.repository().map(|repository| repository.as_str()))?;
        let reply = if ask.path.starts_with('/') {
            self.by_path(question, endpoints).await
        } else {
            self.by_link(question, endpoints).await
        };
        reply.map(|reply| (reply, permit)).map_err(|fault| fault.error)
    }

    /// The mirrors and the host itself, last, with the scheme that the user wrote.
    fn endpoints(&self, repository: Option<&str>) -> Result<Vec<Endpoint>> {
        let mut endpoints = self.http.mirrors.route(self.name(), repository)?.endpoints;
        if let (Some(https), Some(origin)) = (self.state.named.https, endpoints.last_mut())
            && !origin.scheme_known
        {
            let _ = origin.base.set_scheme(if https { "https" } else { "http" });
            origin.scheme_known = true;
        }
        Ok(endpoints)
    }

    async fn by_path(&self, question: &Question<'_>, endpoints: Vec<Endpoint>) -> Result<Reply, Fault> {
        let what = question.ask.what;
        let fits = |endpoint: &Endpoint| match what.repository() {
            // What the registry is, and what it lists, only itself can say.
            None => !endpoint.is_mirror,
            Some(_) => endpoint.answers(what.by_tag()),
        };
        let Some(own) = endpoints.iter().rfind(|endpoint| !endpoint.is_mirror) else {
            return Err(Fault::last(Error::new(Kind::NotFound, format!("{} has no endpoint", self.name()))));
        };
        let mirrors = endpoints.iter().filter(|endpoint| endpoint.is_mirror && fits(endpoint));
        let mirrors: Vec<_> = mirrors.filter(|mirror| !self.http.dead.is(&mirror.host())).collect();
        let mut failed = None;
        if what.is_list() && !mirrors.is_empty() && !self.http.dead.is(&own.host()) {
            let deadline = Instant::now() + question.deadline.saturating_duration_since(Instant::now()) / 2;
            match self.at(&Question { deadline, ..*question }, own).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => {
                    if is_down(fault.error.kind()) && self.http.dead.add(own.host()) {
                        log::warn!("{} is listed by its mirrors: {}", self.name(), fault.error);
                    }
                    failed = Some(fault);
                }
            }
        }
        for (at, mirror) in mirrors.iter().enumerate() {
            // Each may use its share of what is left: the host itself is to have its turn.
            let left = question.deadline.saturating_duration_since(Instant::now());
            let share = Question {
                ask: question.ask,
                accept: &[],
                deadline: Instant::now() + left / (mirrors.len() - at + 1) as u32,
            };
            match self.at(&share, mirror).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => {
                    let down = is_down(fault.error.kind()) && self.http.dead.add(mirror.host());
                    let level = if down { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, "mirror {} of {} is passed over: {}", mirror.host(), self.name(), fault.error);
                }
            }
        }
        match failed {
            Some(fault) => Err(fault),
            None => self.at(question, own).await,
        }
    }

    /// One endpoint, over the scheme that it speaks.
    async fn at(&self, question: &Question<'_>, endpoint: &Endpoint) -> Result<Reply, Fault> {
        let lax = self.http.config.insecure || endpoint.insecure || origin::is_loopback(&endpoint.base);
        if endpoint.scheme_known || !lax {
            return self.over(question, endpoint, endpoint.base.clone(), false).await;
        }
        let authority = origin::authority(&endpoint.base);
        let mut clear = endpoint.base.clone();
        let _ = clear.set_scheme("http");
        let over_tls = self.over(question, endpoint, endpoint.base.clone(), true);
        let speaks = match self.http.schemes.https(&authority) {
            Some(true) => Speaks::Tls,
            Some(false) => Speaks::Clear,
            // A proxy would have to be asked to connect: there, the first request shows it.
            None if self.http.proxies.of(&endpoint.base).is_some() => Speaks::Unknown,
            None => probe::greet(&endpoint.base, PROBE.min(self.http.config.timeout / 4)).await,
        };
        match speaks {
            Speaks::Tls => {
                self.http.schemes.learn(authority, true);
                self.over(question, endpoint, endpoint.base.clone(), false).await
            }
            Speaks::Clear => {
                self.http.schemes.learn(authority, false);
                self.over(question, endpoint, clear, false).await
            }
            Speaks::Closed => match self.over(question, endpoint, clear, false).await {
                // Who was silent until the deadline has not said that it wants TLS.
                Err(fault) if fault.again && fault.error.kind() != Kind::Timeout => over_tls.await,
                result => {
                    self.http.schemes.learn(authority, false);
                    result
                }
            },
            Speaks::Unknown => match over_tls.await {
                // Without a port, clear HTTP is at another one.
                Err(fault) if fault.no_tls || (fault.again && endpoint.base.port().is_none()) => {
                    self.over(question, endpoint, clear, false).await
                }
                result => result,
            },
        }
    }

    async fn over(&self, question: &Question<'_>, endpoint: &Endpoint, base: Url, probe: bool) -> Result<Reply, Fault> {
        let ask = question.ask;
        let mut spoken = endpoint.clone();
        spoken.base = base.clone();
        let repository = ask.what.repository().map(|repository| repository.as_str());
        let url = spoken.url(ask.path, repository);
        self.exchange(question, &spoken, &base, &url, true, probe).await
    }

    /// An absolute URL that an answer linked to: the host's own, a mirror's, or anybody's.
    async fn by_link(&self, question: &Question<'_>, endpoints: Vec<Endpoint>) -> Result<Reply, Fault> {
        let bad = |words: String| Fault::last(Error::new(Kind::Protocol, words));
        let mut url: Url =
            question.ask.path.parse().map_err(|_| bad(format!("{} links to what is no URL", self.name())))?;
        let _ = url.set_username("");
        let _ = url.set_password(None);
        for endpoint in &endpoints {
            let authority = origin::authority(&endpoint.base);
            let mut base = endpoint.base.clone();
            if !endpoint.scheme_known && self.http.schemes.https(&authority) == Some(false) {
                let _ = base.set_scheme("http");
            }
            if origin::same(&base, &url) {
                if let Some(ns) = &endpoint.ns
                    && !url.query_pairs().any(|(name, _)| name == "ns")
                {
                    url.query_pairs_mut().append_pair("ns", ns);
                }
                return self.exchange(question, endpoint, &base, &url, true, false).await;
            }
        }
        let clear = self.http.config.insecure || origin::is_loopback(&url);
        if url.scheme() != "https" && !(url.scheme() == "http" && clear) {
            return Err(bad(format!("{} links to {}: refused", self.name(), origin::shown(&url))));
        }
        match endpoints.last() {
            Some(origin) => self.exchange(question, origin, &origin.base, &url, false, false).await,
            None => Err(bad(format!("{} has no endpoint", self.name()))),
        }
    }

    async fn exchange(
        &self,
        question: &Question<'_>,
        endpoint: &Endpoint,
        base: &Url,
        url: &Url,
        own: bool,
        probe: bool,
    ) -> Result<Reply, Fault> {
        let config = &self.http.config;
        let lax = config.insecure || endpoint.insecure;
        let half = config.timeout / 2;
        let mut connect = endpoint.dial_timeout.unwrap_or(half).min(half);
        if probe {
            connect = connect.min(PROBE);
        }
        let client = self.http.clients.get(
            &config.env,
            &self.http.proxies,
            endpoint,
            !(lax || endpoint.skip_verify),
            connect,
        )?;
        let mirror = endpoint.is_mirror.then(|| endpoint.host());
        let courier = Courier {
            client,
            proxies: &self.http.proxies,
            journal: &config.journal,
            remote: mirror.as_deref().unwrap_or(self.name()),
            deadline: question.deadline,
            clear: lax,
        };
        let exchange = Exchange {
            ask: question.ask,
            accept: question.accept,
            endpoint,
            base,
            url,
            own,
            patient: !endpoint.is_mirror && !probe,
            auth: &self.http.auth,
            targets: &self.state.targets,
            courier,
        };
        exchange.run().await
    }
}
