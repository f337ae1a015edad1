//! Lets a signal end a call that waits: who waits, and a watcher that looks whether a signal is waiting for them.
//!
//! fuser 0.18 answers ENOSYS to FUSE_INTERRUPT, after which the kernel keeps a caller of lookup or open waiting
//! against any signal, SIGKILL too. So replies that wait lie in a [`Slot`] that the watcher can empty: while
//! something has waited for long, it reads `/proc/<thread>/status` of the caller and answers EINTR in its place when
//! a signal that ends programs is pending. Whoever comes later with the answer finds the slot empty.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What is quicker than this is not looked at.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often those who wait are looked at.
const PERIOD: Duration = Duration::from_millis(100);

/// An answer that can be an error; every reply object is one.
pub(super) trait Answer: Send + 'static {
    /// Answers with an errno.
    fn fail(self, errno: i32);
}

/// A reply that either the worker or the watcher takes.
pub(super) struct Slot<R> {
    reply: Mutex<Option<R>>,
}

impl<R> Slot<R> {
    /// The reply, to whoever asks first.
    pub(super) fn take(&self) -> Option<R> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether somebody answered already.
    pub(super) fn is_taken(&self) -> bool {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

trait Interruptible: Send + Sync {
    fn interrupt(&self) -> bool;
}

impl<R: Answer> Interruptible for Slot<R> {
    fn interrupt(&self) -> bool {
        let reply = self.take();
        let waited = reply.is_some();
        if let Some(reply) = reply {
            reply.fail(libc::EINTR);
        }
        waited
    }
}

/// The watcher. Its thread sleeps while nobody waits, and ends with it.
pub(super) struct Watch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    next: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, Waiter>,
    closed: bool,
}

struct Waiter {
    thread: u32,
    since: Instant,
    slot: Weak<dyn Interruptible>,
}

/// Ends the watch over one reply when it is dropped.
pub(super) struct Watched {
    shared: Arc<Shared>,
    id: Option<u64>,
}

impl Watch {
    /// Starts the watcher. Without it calls are answered all the same, but no signal ends them.
    pub(super) fn start() -> Watch {
        let shared = Arc::new(Shared::default());
        let watched = shared.clone();
        if let Err(error) = std::thread::Builder::new().name("regfs-watch".into()).spawn(move || watched.watch()) {
            log::warn!("signals will not end calls that wait: {error}");
        }
        Watch { shared }
    }

    /// Puts `reply` where a signal to `thread` (as the kernel numbers it; 0 if it cannot) can answer it.
    pub(super) fn over<R: Answer>(&self, thread: u32, reply: R) -> (Arc<Slot<R>>, Watched) {
        let slot = Arc::new(Slot { reply: Mutex::new(Some(reply)) });
        if thread == 0 {
            return (slot, Watched { shared: self.shared.clone(), id: None });
        }
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let weak: Weak<Slot<R>> = Arc::downgrade(&slot);
        let mut state = self.shared.lock();
        state.waiting.insert(id, Waiter { thread, since: Instant::now(), slot: weak });
        if state.waiting.len() == 1 {
            self.shared.wake.notify_one();
        }
        (slot, Watched { shared: self.shared.clone(), id: Some(id) })
    }
}

/// What was done about those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Calls that were ended.
    pub ended: usize,
    /// Calls that wait on.
    pub left: usize,
}

impl Watch {
    /// Ends every call that has waited for longer than `patience`, as a signal would.
    pub(super) fn end_older(&self, patience: Duration) -> Waiting {
        let state = self.shared.lock();
        let all = state.waiting.len();
        let old = state.waiting.values().filter(|waiter| waiter.since.elapsed() > patience);
        let slots: Vec<_> = old.filter_map(|waiter| waiter.slot.upgrade()).collect();
        // The job that holds the slot may end now: its last owner must not be us, under the lock.
        drop(state);
        let ended = slots.iter().filter(|slot| slot.interrupt()).count();
        Waiting { ended, left: all - slots.len() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.lock().waiting.remove(&id);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() && !state.closed {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return;
            }
            let mut slots: HashMap<u32, Vec<Weak<dyn Interruptible>>> = HashMap::new();
            for waiter in state.waiting.values().filter(|waiter| waiter.since.elapsed() > PATIENCE) {
                slots.entry(waiter.thread).or_default().push(waiter.slot.clone());
            }
            drop(state);
            for (thread, slots) in slots {
                if is_called_off(thread) {
                    let ended = slots.iter().filter_map(Weak::upgrade).filter(|slot| slot.interrupt()).count();
                    log::debug!("a signal ended {ended} calls of thread {thread}");
                }
            }
            std::thread::sleep(PERIOD);
        }
    }
}

/// Whether a signal that ends programs waits for `thread`. A thread that is gone has nobody left to tell.
fn is_called_off(thread: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|status| is_signalled(&status))
}

/// The signals with which people and supervisors end programs.
const ENDING: [i32; 5] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGKILL, libc::SIGTERM];

/// Whether `status` (proc(5)) shows such a signal: pending, not blocked, not ignored.
fn is_signalled(status: &str) -> bool {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
    };
    let ending = ENDING.iter().fold(0, |mask, signal| mask | 1u64 << (signal - 1));
    (mask("SigPnd") | mask("ShdPnd")) & ending & !mask("SigBlk") & !mask("SigIgn") != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pending: u64, shared: u64, blocked: u64, ignored: u64) -> String {
        format!(
            "Name:\tcat\nPid:\t7\nSigQ:\t1/7\nSigPnd:\t{pending:016x}\nShdPnd:\t{shared:016x}\nSigBlk:\t{blocked:016x}\n\
             SigIgn:\t{ignored:016x}\nSigCgt:\t0000000000000000\n"
        )
    }

    #[test]
    fn only_signals_that_end_programs_count() {
        let bit = |signal: i32| 1u64 << (signal - 1);
        assert!(!is_signalled(&status(0, 0, 0, 0)));
        assert!(is_signalled(&status(bit(libc::SIGKILL), 0, 0, 0)));
        assert!(is_signalled(&status(0, bit(libc::SIGINT), 0, 0)));
        assert!(!is_signalled(&status(0, bit(libc::SIGINT), bit(libc::SIGINT), 0)));
        assert!(!is_signalled(&status(0, bit(libc::SIGHUP), 0, bit(libc::SIGHUP))));
        assert!(!is_signalled(&status(0, bit(libc::SIGCHLD) | bit(libc::SIGWINCH), 0, 0)));
        assert!(!is_signalled("not a status"));
    }

    struct Reply(std::sync::mpsc::Sender<i32>);
    impl Answer for Reply {
        fn fail(self, errno: i32) {
            self.0.send(errno).ok();
        }
    }

    #[test]
    fn a_reply_is_given_once() {
        let (sender, answers) = std::sync::mpsc::channel();
        let watch = Watch::start();
        let (slot, watched) = watch.over(std::process::id(), Reply(sender));
        assert!(!slot.is_taken());
        assert_eq!(watch.end_older(Duration::from_secs(60)), Waiting { ended: 0, left: 1 });
        assert_eq!(watch.end_older(Duration::ZERO), Waiting { ended: 1, left: 0 });
        assert!(slot.take().is_none());
        assert_eq!(answers.recv().expect("answer"), libc::EINTR);
        drop(watched);
        assert!(watch.shared.lock().waiting.is_empty());
    }
}
