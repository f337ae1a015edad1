//! One question put to one endpoint, with everything that belongs to getting an answer: credentials, redirects,
//! links that have expired, asking again.
//!
//! Promises: bounded tries, all before one deadline; what it returns is a status that the caller takes for an answer,
//! or an error with the server's words. Does not know mirrors.

use super::ask::Ask;
use super::auth::{Asked, Auth, Proof, Refused};
use super::challenge;
use super::courier::{Courier, Headers};
use super::failure;
use super::mirrors::Endpoint;
use super::retry::Tries;
use super::targets::Targets;
use super::wire::{Fault, Reply};
use crate::error::{Error, Kind};
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RANGE};
use std::time::Duration;
use url::Url;

/// A challenge for other scopes, then a token that is stale, then the answer: more 401s than that are a loop.
const MAX_CHALLENGES: usize = 4;
/// How long the body of a refusal is waited for.
const WORDS: Duration = Duration::from_secs(2);

/// One question, one endpoint.
pub(super) struct Exchange<'a> {
    pub(super) ask: &'a Ask<'a>,
    /// The statuses besides 2xx and 304 that are answers.
    pub(super) accept: &'a [u16],
    pub(super) endpoint: &'a Endpoint,
    /// The root of the endpoint's API as it is spoken to now.
    pub(super) base: &'a Url,
    /// What is asked for.
    pub(super) url: &'a Url,
    /// Whether credentials may be sent: not to where a link leads that is not the host's own.
    pub(super) own: bool,
    /// Whether to ask again what failed.
    pub(super) patient: bool,
    pub(super) auth: &'a Auth,
    pub(super) targets: &'a Targets,
    pub(super) courier: Courier<'a>,
}

impl Exchange<'_> {
    /// Asks until there is an answer, or no point in asking.
    pub(super) async fn run(&self) -> Result<Reply, Fault> {
        let mut tries = Tries::default();
        loop {
            let (pause, failed) = match self.attempt().await {
                Ok(reply) if self.is_answer(&reply) => return Ok(reply),
                Ok(reply) => {
                    let pause = tries.after_status(reply.status(), reply.headers(), self.courier.left());
                    (pause, self.refusal(reply, None).await)
                }
                Err(fault) if fault.again => (tries.after_fault(self.courier.left()), fault),
                Err(fault) => (None, fault),
            };
            match pause.filter(|_| self.patient) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failed),
            }
        }
    }

    fn is_answer(&self, reply: &Reply) -> bool {
        let status = reply.status();
        let success = reply.response.status().is_success() || status == 304;
        // What storage behind the registry says of a link is no answer of the registry.
        success || (self.accept.contains(&status) && !(reply.foreign && is_expired(status)))
    }

    /// Once, by the shortest way.
    async fn attempt(&self) -> Result<Reply, Fault> {
        if !self.ask.what.is_blob() || !self.own {
            return self.authorized().await;
        }
        let question = format!("{} {}", self.ask.method, self.url);
        if let Some(target) = self.targets.find(&question) {
            if let Some(url) = target.get() {
                if let Some(reply) = self.directly(&url).await {
                    return Ok(reply);
                }
                target.drop_if(&url);
            }
            let _renewal = target.renewal.lock().await;
            if let Some(newer) = target.get()
                && let Some(reply) = self.directly(&newer).await
            {
                return Ok(reply);
            }
            return self.redirected(question).await;
        }
        let reply = self.redirected(question.clone()).await?;
        if !reply.foreign || !is_expired(reply.status()) {
            return Ok(reply);
        }
        // The link did not live as long as it took to follow it: once more for a new one.
        self.courier.discard(reply).await;
        self.redirected(question).await
    }

    /// Asks the registry, and remembers where it led.
    async fn redirected(&self, question: String) -> Result<Reply, Fault> {
        let result = self.authorized().await;
        match &result {
            Ok(reply) if reply.foreign && reply.response.status().is_success() => {
                self.targets.keep(question, reply.response.url().clone());
            }
            // It does not redirect, now: nobody need wait for another to find out.
            _ => self.targets.forget(&question),
        }
        result
    }

    /// Asks where the registry led before; `None` if that does not answer any more.
    async fn directly(&self, url: &Url) -> Option<Reply> {
        let headers = Headers { own: HeaderMap::new(), anywhere: self.headers(None).anywhere };
        let mut reply = self.courier.fetch(&self.ask.method, url, &headers).await.ok()?;
        reply.foreign = true;
        if reply.response.status().is_success() || matches!(reply.status(), 304 | 416) {
            return Some(reply);
        }
        self.courier.discard(reply).await;
        None
    }

    /// Asks the registry, proving who asks as far as it wants to know.
    async fn authorized(&self) -> Result<Reply, Fault> {
        if !self.own {
            return self.courier.fetch(&self.ask.method, self.url, &self.headers(None)).await;
        }
        let asked = Asked { endpoint: self.endpoint, base: self.base, what: self.ask.what, courier: &self.courier };
        let mut proof = self.auth.ready(&asked).await?;
        for _ in 0..MAX_CHALLENGES {
            let reply = self.courier.fetch(&self.ask.method, self.url, &self.headers(proof.as_ref())).await?;
            if reply.status() != 401 || reply.foreign {
                if reply.response.status().is_success() {
                    self.note(proof.as_ref().map_or_else(|| "anonymous".to_owned(), Proof::words));
                }
                return Ok(reply);
            }
            let challenges = challenge::read(reply.headers());
            match self.auth.respond(&asked, &challenges, proof).await {
                Ok(next) => {
                    self.courier.discard(reply).await;
                    proof = Some(next);
                }
                Err(Refused::Hint(hint)) => return Err(self.denied(reply, &hint).await),
                Err(Refused::Failed(error)) => {
                    self.note("refused".to_owned());
                    return Err(error.into());
                }
            }
        }
        let words = format!("{} asks for credentials again and again", super::origin::shown(self.url));
        Err(Fault::last(Error::new(Kind::Denied, words)))
    }

    async fn denied(&self, reply: Reply, hint: &str) -> Fault {
        self.note("refused".to_owned());
        self.refusal(reply, Some(hint)).await
    }

    fn note(&self, words: String) {
        self.courier.journal.remote(self.courier.remote, |health| {
            if health.credentials != words {
                health.credentials = words;
            }
        });
    }

    fn headers(&self, proof: Option<&Proof>) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in &self.ask.headers {
            let to = if name == ACCEPT { &mut headers.anywhere } else { &mut headers.own };
            to.append(name, value.clone());
        }
        if let Ok(range) = HeaderValue::from_str(&self.ask.range_header())
            && !range.is_empty()
        {
            headers.anywhere.insert(RANGE, range);
        }
        if self.own {
            for (name, value) in &self.endpoint.headers {
                let name = HeaderName::from_bytes(name.as_bytes());
                if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_str(value)) {
                    value.set_sensitive(true);
                    headers.own.append(name, value);
                }
            }
        }
        if let Some(header) = proof.and_then(Proof::header) {
            headers.own.insert(AUTHORIZATION, header);
        }
        headers
    }

    /// The error that a refusal means.
    async fn refusal(&self, reply: Reply, hint: Option<&str>) -> Fault {
        let (status, foreign, asked) = (reply.status(), reply.foreign, reply.record.words());
        // The length of a 416 is a lie with docker-registry (item 54).
        let body = match status {
            416 => Vec::new(),
            _ => reply.drain(failure::MAX_BODY, WORDS.min(self.courier.left())).await,
        };
        let failure = failure::read(status, &body);
        let mut words = format!("{asked}: {}", failure.words);
        let mut kind = failure.kind;
        if let Some(hint) = hint {
            words.push_str(&format!(" ({hint})"));
        }
        if foreign && is_expired(status) {
            // Its 403 says nothing about who may read: the registry had agreed.
            words.push_str(" (the storage that the registry redirects to)");
            kind = if self.ask.method == Method::HEAD { Kind::Unsupported } else { Kind::Server };
        }
        Fault::last(Error::new(kind, words))
    }
}

/// What object stores say to a link whose time is over, or that was signed for something else.
fn is_expired(status: u16) -> bool {
    matches!(status, 400 | 401 | 403 | 410)
}
