//! A registry in memory that behaves as its options say, and goes wrong when it is told to.
//!
//! Promises: what it serves without faults obeys the distribution spec in the dialect that its options choose; the
//! same seed and the same order of requests give the same faults. Faults strike only requests that may read: a 401
//! is never disturbed and never counted by a rule. Knows nothing of pushes.

mod auth;
mod blobs;
mod faults;
mod listing;
mod manifests;
mod options;
mod routes;
mod state;

pub use faults::{Fault, Rule, Weather, What};
pub use options::{Auth, DigestHeader, Options, Paging, Ranges, Redirect, Tags, Tokens};

use super::content::Content;
use super::http::{Request, Server};
use super::image::Image;
use regfs::digest::Digest;
use state::{State, lock};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The registry, its token endpoint and its object store, each on a port of its own. Dropping it ends all three.
pub struct Registry {
    state: Arc<State>,
    address: SocketAddr,
    /// `None` while it is down.
    server: Mutex<Option<Server>>,
    objects: Server,
    tokens: Server,
}

impl Registry {
    /// An empty registry without authentication.
    pub fn start() -> Registry {
        Registry::with(Options::default())
    }

    /// An empty registry that behaves as `options` say.
    pub fn with(options: Options) -> Registry {
        let state = Arc::new(State::new(options));
        let serve = |answer: fn(&State, &Request) -> super::http::Reply| {
            let state = Arc::clone(&state);
            Server::start(move |request| answer(&state, request))
        };
        let server = serve(routes::registry);
        let objects = serve(routes::objects);
        let tokens = serve(routes::tokens);
        let address = server.address();
        *lock(&state.addresses) = state::Addresses {
            registry: address.to_string(),
            objects: objects.address().to_string(),
            tokens: tokens.address().to_string(),
        };
        Registry { state, address, server: Mutex::new(Some(server)), objects, tokens }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT/path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where the object store listens.
    pub fn objects(&self) -> &Server {
        &self.objects
    }

    /// Where the token endpoint listens.
    pub fn tokens(&self) -> &Server {
        &self.tokens
    }

    // -- content

    /// Makes a repository, if it is not there.
    pub fn repository(&self, repository: &str) {
        lock(&self.state.stored).repository(repository);
    }

    /// Adds a blob to a repository.
    pub fn blob(&self, repository: &str, content: impl Into<Content>) -> Digest {
        let content = content.into();
        let digest = content.digest();
        self.blob_as(repository, digest.as_str(), content);
        digest
    }

    /// Adds a blob under any digest, right or wrong.
    pub fn blob_as(&self, repository: &str, digest: &str, content: impl Into<Content>) {
        let mut stored = lock(&self.state.stored);
        stored.repository(repository).blobs.insert(digest.to_owned());
        stored.blobs.insert(digest.to_owned(), content.into());
    }

    /// Adds a manifest of any bytes under its digest.
    pub fn manifest(&self, repository: &str, media_type: &str, manifest: impl Into<Vec<u8>>) -> Digest {
        let manifest = manifest.into();
        let digest = Digest::of(&manifest);
        self.manifest_as(repository, digest.as_str(), media_type, manifest);
        digest
    }

    /// Adds a manifest under any digest, right or wrong.
    pub fn manifest_as(&self, repository: &str, digest: &str, media_type: &str, manifest: impl Into<Vec<u8>>) {
        let entry = (media_type.to_owned(), Content::from(manifest.into()));
        lock(&self.state.stored).repository(repository).manifests.insert(digest.to_owned(), entry);
    }

    /// Adds an image with all that it names, and lets `tag` name it.
    pub fn put(&self, repository: &str, tag: &str, image: &Image) {
        self.put_untagged(repository, image);
        self.tag(repository, tag, &image.digest);
    }

    /// Adds an image with all that it names.
    pub fn put_untagged(&self, repository: &str, image: &Image) {
        for child in &image.children {
            self.put_untagged(repository, child);
        }
        for blob in &image.blobs {
            self.blob_as(repository, blob.digest.as_str(), blob.content.clone());
        }
        self.manifest_as(repository, image.digest.as_str(), &image.media_type, image.manifest.clone());
    }

    /// Lets a tag name a digest, whatever it named before.
    pub fn tag(&self, repository: &str, tag: &str, digest: &Digest) {
        lock(&self.state.stored).repository(repository).tag(tag, digest.as_str());
    }

    /// Takes a tag away.
    pub fn untag(&self, repository: &str, tag: &str) {
        lock(&self.state.stored).repository(repository).tags.retain(|(name, _)| name != tag);
    }

    /// Takes a blob or manifest away.
    pub fn remove(&self, repository: &str, digest: &Digest) {
        let mut stored = lock(&self.state.stored);
        let repository = stored.repository(repository);
        repository.blobs.remove(digest.as_str());
        repository.manifests.remove(digest.as_str());
    }

    /// Turns one bit of what is stored under a digest: every answer has it wrong, at the same place.
    pub fn corrupt(&self, digest: &Digest, offset: u64) {
        lock(&self.state.stored).corrupt.insert(digest.as_str().to_owned(), offset);
    }

    // -- behaviour

    /// Changes the options while it runs.
    pub fn set(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.state.options));
    }

    /// Adds a fault. The first rule that fits a request strikes.
    pub fn fault(&self, rule: Rule) {
        lock(&self.state.rules).push(rule);
    }

    /// Lets a seed choose faults that a client must ride out.
    pub fn weather(&self, seed: u64, percent: u8) {
        *lock(&self.state.weather) = Some(Weather { seed, percent });
    }

    /// Ends every fault, and every answer that hangs.
    pub fn heal(&self) {
        lock(&self.state.rules).clear();
        *lock(&self.state.weather) = None;
        lock(&self.state.stored).corrupt.clear();
        if let Some(server) = &*lock(&self.server) {
            server.release();
        }
        self.objects.release();
        self.tokens.release();
    }

    /// Stops listening: connections are refused, and those that are open end.
    pub fn down(&self) {
        lock(&self.server).take();
    }

    /// Listens again, on the same port.
    pub fn up(&self) {
        let mut server = lock(&self.server);
        if server.is_none() {
            let listener = bind(self.address);
            let state = Arc::clone(&self.state);
            *server = Some(Server::start_on(listener, move |request| routes::registry(&state, request)));
        }
    }

    /// Ends every open connection.
    pub fn disconnect(&self) {
        if let Some(server) = &*lock(&self.server) {
            server.disconnect();
        }
        self.objects.disconnect();
    }

    /// Every token that was given out is refused from now on, as if it had expired.
    pub fn revoke_tokens(&self) {
        lock(&self.state.tokens).clear();
    }

    // -- what was asked

    /// How many requests of a kind came, refused and struck ones included.
    pub fn count(&self, what: What) -> usize {
        lock(&self.state.log).iter().filter(|(of, _)| *of == what).count()
    }

    /// Every request with its kind, in order.
    pub fn requests(&self) -> Vec<(What, Request)> {
        lock(&self.state.log).clone()
    }

    /// The requests of a kind, in order.
    pub fn requests_of(&self, what: What) -> Vec<Request> {
        lock(&self.state.log).iter().filter(|(of, _)| *of == what).map(|(_, request)| request.clone()).collect()
    }

    /// How many requests came in all.
    pub fn total(&self) -> usize {
        lock(&self.state.log).len()
    }

    /// Bytes of bodies sent by registry and object store since they listen, or since [`Registry::forget`].
    pub fn body_bytes(&self) -> u64 {
        lock(&self.server).as_ref().map_or(0, Server::body_bytes) + self.objects.body_bytes()
    }

    /// Forgets the requests and bytes so far.
    pub fn forget(&self) {
        lock(&self.state.log).clear();
        if let Some(server) = &*lock(&self.server) {
            server.forget();
        }
        self.objects.forget();
        self.tokens.forget();
    }
}

/// The port may be taken for a moment by what has just ended.
fn bind(address: SocketAddr) -> TcpListener {
    let start = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(5), "listen on {address} again: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
