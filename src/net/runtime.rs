//! The one asynchronous runtime of the process, and the only door into it.
//!
//! Promises: a plain thread that waits here is given back when its future ends; every future that is passed in has a
//! deadline of its own. Does not know what it runs.

use crate::error::{Error, Kind, Result};
use std::future::Future;
use std::time::Duration;

/// Threads that drive sockets and TLS. Callers poll their own future on their own thread, so two are plenty.
const WORKERS: usize = 2;
/// Threads for name resolution and credential helpers, which block: several hosts may have every question that they
/// are allowed stuck in a resolver, and others still get through.
const MAX_BLOCKING: usize = 256;
/// Idle blocking threads go away, a mount may live for months.
const BLOCKING_KEPT: Duration = Duration::from_secs(10);

/// The runtime; dropped without waiting for what hangs in it.
#[derive(Debug)]
pub(super) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Starts the worker threads.
    pub(super) fn new() -> Result<Runtime> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(MAX_BLOCKING)
            .thread_keep_alive(BLOCKING_KEPT)
            .thread_name("regfs-net")
            .enable_io()
            .enable_time()
            .build()
            .map(|runtime| Runtime(Some(runtime)))
            .map_err(|error| Error::io("start the network runtime", error))
    }

    /// Runs `future` to its end; from plain threads only.
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        debug_assert!(tokio::runtime::Handle::try_current().is_err(), "block_on from a thread of the runtime");
        match &self.0 {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("the runtime is taken only by drop"),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A name resolution that hangs must not hold up the end of the process.
            runtime.shutdown_background();
        }
    }
}

/// The failure of a helper thread that died.
pub(super) fn died(what: &str, error: tokio::task::JoinError) -> Error {
    Error::with(Kind::Io, format!("{what}: the thread died"), error)
}
