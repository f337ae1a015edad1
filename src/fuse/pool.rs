//! Threads for what may wait: made on demand, ended when idle, bounded per lane and in all.
//!
//! A lane is a remote. Promises: a lane whose jobs all hang delays no other lane, as long as its bound is under that
//! of all; jobs of one lane start in the order they came; a job is either run or given back to the caller at once.
//! The lane with the empty name waits for no remote: it has threads of its own, beyond the bound of all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a worker runs.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Jobs of one remote that run at once.
    pub(super) lane: usize,
    /// Jobs of all remotes that run at once.
    pub(super) all: usize,
    /// Jobs without a remote that run at once.
    pub(super) local: usize,
    /// Jobs of one lane that wait for a thread.
    pub(super) queued: usize,
    /// How long a thread waits for work before it ends.
    pub(super) idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Twice the 64 readers that a busy machine may have stuck on one remote.
            lane: 128,
            // Four hanging remotes.
            all: 512,
            local: 32,
            // More than the kernel has under way in the background (MAX_BACKGROUND) and a crowd of callers besides.
            queued: 8192,
            idle: Duration::from_secs(10),
        }
    }
}

/// Stacks are memory only where they are touched; TLS and JSON stay far below this.
const STACK: usize = 1 << 20;

/// The pool. Dropping it drops what waits; what runs, runs on.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    limits: Limits,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Arc<str>, Lane>,
    /// Lanes with waiting jobs, the one that has waited longest first.
    turns: VecDeque<Arc<str>>,
    /// Running jobs that have a remote.
    remote: usize,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
    /// Those of them that were called for a job already: they are not there for another one.
    called: usize,
    closed: bool,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Job>,
    running: usize,
}

impl Pool {
    /// A pool without threads as yet.
    pub(super) fn new(limits: Limits) -> Pool {
        Pool { shared: Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), limits }) }
    }

    /// Runs `job` in `lane` as soon as the bounds allow; gives it back if too many wait already.
    pub(super) fn submit(&self, lane: &str, job: Job) -> Result<(), Job> {
        let mut state = self.shared.lock();
        let name = match state.lanes.get_key_value(lane) {
            Some((name, _)) => name.clone(),
            None => Arc::from(lane),
        };
        let entry = state.lanes.entry(name.clone()).or_default();
        if entry.waiting.len() >= self.shared.limits.queued {
            return Err(job);
        }
        entry.waiting.push_back(job);
        if entry.waiting.len() == 1 {
            state.turns.push_back(name);
        }
        if state.idle > state.called {
            state.called += 1;
            self.shared.work.notify_one();
        } else if self.shared.has_turn(&state) {
            state.threads += 1;
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name("regfs-worker".into()).stack_size(STACK);
            if let Err(error) = thread.spawn(move || shared.work()) {
                state.threads -= 1;
                log::warn!("no thread for a request: {error}");
                // Those that run take it up when they are done; without any, nobody would.
                if state.threads == 0
                    && let Some(job) = state.lanes.get_mut(lane).and_then(|lane| lane.waiting.pop_back())
                {
                    return Err(job);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let lanes = std::mem::take(&mut state.lanes);
        state.turns.clear();
        drop(state);
        self.shared.work.notify_all();
        drop(lanes);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a job of `lane` may start.
    fn is_free(&self, state: &State, lane: &str) -> bool {
        let running = state.lanes.get(lane).map_or(0, |lane| lane.running);
        if lane.is_empty() {
            return running < self.limits.local;
        }
        running < self.limits.lane && state.remote < self.limits.all
    }

    fn has_turn(&self, state: &State) -> bool {
        state.turns.iter().any(|lane| self.is_free(state, lane))
    }

    /// The next job that may start, counted as running.
    fn take(&self, state: &mut State) -> Option<(Arc<str>, Job)> {
        let at = state.turns.iter().position(|lane| self.is_free(state, lane))?;
        let name = state.turns.remove(at)?;
        let lane = state.lanes.get_mut(&name)?;
        let job = lane.waiting.pop_front()?;
        lane.running += 1;
        let more = !lane.waiting.is_empty();
        if !name.is_empty() {
            state.remote += 1;
        }
        if more {
            state.turns.push_back(name.clone());
        }
        Some((name, job))
    }

    fn work(self: Arc<Shared>) {
        let mut thread = Thread { shared: &self, lane: None };
        let mut state = self.lock();
        loop {
            if let Some((lane, job)) = self.take(&mut state) {
                thread.lane = Some(lane);
                drop(state);
                job();
                state = self.lock();
                thread.done(&mut state);
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let (guard, wait) = self.work.wait_timeout(state, self.limits.idle).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            state.called = state.called.saturating_sub(1);
            if wait.timed_out() && !self.has_turn(&state) {
                break;
            }
        }
        state.threads -= 1;
        drop(state);
        std::mem::forget(thread);
    }
}

/// Keeps the counts right when a job panics; forgotten when the thread ends in order.
struct Thread<'a> {
    shared: &'a Arc<Shared>,
    lane: Option<Arc<str>>,
}

impl Thread<'_> {
    fn done(&mut self, state: &mut State) {
        let Some(name) = self.lane.take() else { return };
        if !name.is_empty() {
            state.remote -= 1;
        }
        if let Some(lane) = state.lanes.get_mut(&name) {
            lane.running -= 1;
            if lane.running == 0 && lane.waiting.is_empty() {
                state.lanes.remove(&name);
            }
        }
    }
}

impl Drop for Thread<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        self.done(&mut state);
        state.threads -= 1;
        // Another takes the place of this one, so that what waits is not left.
        if self.shared.has_turn(&state) {
            let shared = self.shared.clone();
            if std::thread::Builder::new().stack_size(STACK).spawn(move || shared.work()).is_ok() {
                state.threads += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_secs(10);

    fn limits() -> Limits {
        Limits { lane: 2, all: 3, local: 1, queued: 4, idle: Duration::from_millis(50) }
    }

    /// A job that tells that it started and then hangs until it is let go.
    fn hang(started: &mpsc::Sender<()>, go: &Arc<Mutex<mpsc::Receiver<()>>>) -> Job {
        let (started, go) = (started.clone(), go.clone());
        Box::new(move || {
            started.send(()).expect("test listens");
            go.lock().expect("lock").recv_timeout(SOON).ok();
        })
    }

    #[test]
    fn a_hanging_lane_delays_no_other() {
        let pool = Pool::new(limits());
        let (started, starts) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..2 {
            assert!(pool.submit("dead", hang(&started, &gate)).is_ok());
            starts.recv_timeout(SOON).expect("it starts");
        }
        for _ in 0..4 {
            assert!(pool.submit("dead", hang(&started, &gate)).is_ok());
        }
        assert!(starts.recv_timeout(Duration::from_millis(100)).is_err(), "the lane is full");
        assert!(pool.submit("dead", Box::new(|| ())).is_err(), "the queue is full");
        for lane in ["other", ""] {
            let (done, answer) = mpsc::channel();
            assert!(pool.submit(lane, Box::new(move || done.send(()).expect("test listens"))).is_ok());
            answer.recv_timeout(SOON).expect("others run");
        }
        for _ in 0..6 {
            go.send(()).expect("jobs listen");
        }
        for _ in 0..4 {
            starts.recv_timeout(SOON).expect("the rest runs");
        }
    }

    #[test]
    fn an_idle_thread_is_called_for_one_job_only() {
        let pool = Pool::new(Limits { lane: 64, all: 64, idle: SOON, queued: 64, local: 1 });
        let (started, starts) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        for round in 0..8 {
            for _ in 0..8 {
                assert!(pool.submit("a", hang(&started, &gate)).is_ok());
            }
            for n in 0..8 {
                starts.recv_timeout(SOON).unwrap_or_else(|_| panic!("job {n} of round {round} waits for another"));
            }
            for _ in 0..8 {
                go.send(()).expect("jobs listen");
            }
        }
    }

    #[test]
    fn threads_end_when_idle_and_survive_panics() {
        let pool = Pool::new(limits());
        for _ in 0..4 {
            assert!(pool.submit("a", Box::new(|| panic!("a job that panics (expected by the test)"))).is_ok());
        }
        let (done, answer) = mpsc::channel();
        assert!(pool.submit("b", Box::new(move || done.send(()).expect("test listens"))).is_ok());
        answer.recv_timeout(SOON).expect("still works");
        for _ in 0..200 {
            let state = pool.shared.lock();
            if state.threads == 0 {
                assert_eq!((state.remote, state.idle, state.lanes.len()), (0, 0, 0));
                return;
            }
            drop(state);
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("idle threads do not end");
    }
}
