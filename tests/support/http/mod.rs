//! A scripted HTTP/1.1 server on a loopback port: a closure answers each request, and an answer may be as wrong,
//! slow or broken as any server on a bad day.
//!
//! Promises: ends, with every connection and every hanging answer, when it is dropped; every request is in the log
//! before its answer is made. Knows nothing of registries.

mod connection;
mod reply;
mod request;

pub use reply::{Cut, Length, Reply};
pub use request::Request;

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// More connections at once than this are closed unanswered.
const MAX_CONNECTIONS: usize = 1024;
/// The log keeps this many requests; the counters go on.
const MAX_LOG: usize = 200_000;

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    stopping: AtomicBool,
    /// What hanging answers wait for: the count goes up with every release, and at the end.
    released: Mutex<u64>,
    release: Condvar,
    log: Mutex<Vec<Request>>,
    requests: AtomicU64,
    /// Bytes of bodies that were given to the kernel.
    body_bytes: AtomicU64,
    accepted: AtomicU64,
    connections: Mutex<BTreeMap<u64, TcpStream>>,
}

impl Server {
    /// Starts on a free port of 127.0.0.1. `handler` runs on a thread of the connection, many at once.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_on(TcpListener::bind("127.0.0.1:0").expect("a free loopback port"), handler)
    }

    /// The same on a listener of the caller's: a port that was bound before, to come back after an outage.
    pub fn start_on(listener: TcpListener, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let address = listener.local_addr().expect("address of the listener");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            stopping: AtomicBool::new(false),
            released: Mutex::new(0),
            release: Condvar::new(),
            log: Mutex::new(Vec::new()),
            requests: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            connections: Mutex::new(BTreeMap::new()),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Server { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `127.0.0.1:PORT`, as a registry is named on a command line.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of a path on it; `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).clone()
    }

    /// The requests whose `METHOD /path?query` contains `part`.
    pub fn requests_with(&self, part: &str) -> Vec<Request> {
        lock(&self.shared.log).iter().filter(|request| request.line().contains(part)).cloned().collect()
    }

    /// How many requests have come.
    pub fn count(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many bytes of bodies were sent.
    pub fn body_bytes(&self) -> u64 {
        self.shared.body_bytes.load(Ordering::SeqCst)
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Forgets the requests and counts so far.
    pub fn forget(&self) {
        lock(&self.shared.log).clear();
        self.shared.requests.store(0, Ordering::SeqCst);
        self.shared.body_bytes.store(0, Ordering::SeqCst);
    }

    /// Lets every answer that hangs now end: its connection is closed.
    pub fn release(&self) {
        *lock(&self.shared.released) += 1;
        self.shared.release.notify_all();
    }

    /// Closes every open connection, as a restart or a dropped NAT entry does.
    pub fn disconnect(&self) {
        for stream in lock(&self.shared.connections).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.release();
        self.disconnect();
        // Wakes the acceptor.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.disconnect();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(kept) = stream.try_clone() else { continue };
        let id = shared.accepted.fetch_add(1, Ordering::SeqCst);
        {
            let mut connections = lock(&shared.connections);
            if connections.len() >= MAX_CONNECTIONS {
                continue;
            }
            connections.insert(id, kept);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let reset = connection::serve(&shared, &stream, id);
            lock(&shared.connections).remove(&id);
            if !reset {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Sleeps; ends early if the server does.
    fn pause(&self, time: Duration) {
        let released = lock(&self.released);
        let _ = self
            .release
            .wait_timeout_while(released, time, |_| !self.stopping())
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// Waits for [`Server::release`] or the end.
    fn hang(&self) {
        let released = lock(&self.released);
        let before = *released;
        let _guard = self
            .release
            .wait_while(released, |now| *now == before && !self.stopping())
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn log(&self, request: &Request) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut log = lock(&self.log);
        if log.len() < MAX_LOG {
            log.push(request.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
