//! Carries the requests of one exchange: over one client, for one remote, until one deadline, along redirects.
//!
//! Promises: what belongs to an origin (credentials, configured headers) is sent to that origin only; once another
//! origin was visited it is not sent any more, even if the way leads back (protocols.md item 57).

use super::origin;
use super::proxies::Proxies;
use super::redirect::{self, MAX_HOPS};
use super::wire::{self, Fault, Reply, Shot};
use crate::error::{Error, Kind};
use crate::journal::Journal;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// How much of a body that nobody wants is read so that its connection can be used again.
const MAX_DRAIN: u64 = 64 << 10;
/// How long that may take.
const DRAIN: Duration = Duration::from_secs(1);

/// What carries the requests of one exchange.
pub(super) struct Courier<'a> {
    pub(super) client: Client,
    pub(super) proxies: &'a Proxies,
    pub(super) journal: &'a Arc<Journal>,
    /// The remote's name in the journal.
    pub(super) remote: &'a str,
    pub(super) deadline: Instant,
    /// Whether clear HTTP is allowed to any host.
    pub(super) clear: bool,
}

/// The headers of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    /// For the first origin only.
    pub(super) own: HeaderMap,
    /// For wherever a redirect leads: `Accept`, `Range`.
    pub(super) anywhere: HeaderMap,
}

impl Headers {
    fn all(&self) -> HeaderMap {
        let mut all = self.own.clone();
        all.extend(self.anywhere.clone());
        all
    }
}

impl Courier<'_> {
    /// The time that remains.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Sends a GET or HEAD to `start` and follows where it leads.
    pub(super) async fn fetch(&self, method: &Method, start: &Url, headers: &Headers) -> Result<Reply, Fault> {
        let mut url = start.clone();
        let mut foreign = false;
        for _ in 0..=MAX_HOPS {
            let sent = if foreign { headers.anywhere.clone() } else { headers.all() };
            let mut reply = self.send(method, &url, sent, None).await?;
            reply.foreign = foreign;
            let Some(next) = redirect::next(&url, reply.status(), reply.headers(), self.clear)? else {
                return Ok(reply);
            };
            foreign |= !origin::same(&next, start);
            url = next;
            self.discard(reply).await;
        }
        let words = format!("{} redirects more than {MAX_HOPS} times", origin::shown(start));
        Err(Fault::last(Error::new(Kind::Protocol, words)))
    }

    /// Posts a form; nothing is followed, what it holds is for this URL alone.
    pub(super) async fn post(&self, url: &Url, form: String, headers: HeaderMap) -> Result<Reply, Fault> {
        self.send(&Method::POST, url, headers, Some(form)).await
    }

    async fn send(&self, method: &Method, url: &Url, headers: HeaderMap, form: Option<String>) -> Result<Reply, Fault> {
        let (remote, method, deadline) = (self.remote, method.clone(), self.deadline);
        let via = self.proxies.of(url).map(origin::authority);
        wire::send(&self.client, self.journal, Shot { remote, method, url, headers, form, deadline, via }).await
    }

    /// Reads what is left of a small answer, so that its connection lives on.
    pub(super) async fn discard(&self, reply: Reply) {
        reply.drain(MAX_DRAIN, DRAIN.min(self.left())).await;
    }
}
