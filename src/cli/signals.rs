//! The signals that a mount understands: one thread waits for them, and passes them on as events.

use crate::error::{Error, Result};
use nix::sys::signal::{SigSet, Signal};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGINT, SIGTERM: unmount and end.
    End,
    /// SIGHUP: ask the remote anew for what may have changed.
    Refresh,
    /// SIGUSR1: log the status.
    Status,
    /// SIGUSR2: debug logging on or off.
    Debug,
}

/// The signals, and what each asks for.
const MEANING: [(Signal, Asked); 5] = [
    (Signal::SIGINT, Asked::End),
    (Signal::SIGTERM, Asked::End),
    (Signal::SIGHUP, Asked::Refresh),
    (Signal::SIGUSR1, Asked::Status),
    (Signal::SIGUSR2, Asked::Debug),
];

/// How far the mount is: before it is there, a signal that asks for its end just ends the program.
#[derive(Clone, Default)]
pub(super) struct Stage {
    is_mounted: Arc<Mutex<bool>>,
}

impl Stage {
    /// Mounts by `mount`, during which no signal ends the program: that would leave a dead mount behind.
    pub(super) fn mounting<T>(&self, mount: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut is_mounted = self.is_mounted.lock().unwrap_or_else(PoisonError::into_inner);
        let mounted = mount();
        *is_mounted = mounted.is_ok();
        mounted
    }
}

/// Starts to pass signals on to `events`. Only before any other thread is started: each has a mask of its own.
pub(super) fn listen<E: From<Asked> + Send + 'static>(events: Sender<E>, stage: Stage) -> Result<()> {
    let signals: SigSet = MEANING.iter().map(|(signal, _)| *signal).collect();
    signals.thread_block().map_err(|errno| Error::io("block signals", errno.into()))?;
    let thread = std::thread::Builder::new().name("regfs-signals".into());
    let spawned = thread.spawn(move || {
        while let Ok(signal) = signals.wait() {
            let Some((_, asked)) = MEANING.iter().find(|(known, _)| *known == signal) else { continue };
            let is_mounted = *stage.is_mounted.lock().unwrap_or_else(PoisonError::into_inner);
            if *asked == Asked::End && !is_mounted {
                // As a shell tells it of a program that a signal ended.
                std::process::exit(128 + signal as i32);
            }
            if events.send(E::from(*asked)).is_err() {
                return;
            }
        }
    });
    spawned.map(drop).map_err(|error| Error::io("start a thread for signals", error))
}
