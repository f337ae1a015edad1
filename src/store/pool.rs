//! A small pool of threads that come when there is work and go when there is none.
//!
//! Promises: never more threads than its bound; a task that panics takes nothing else along; [`Pool::run`] never
//! puts a task behind others, so that whoever cannot wait may do it on its own thread. Knows nothing of the tasks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread waits for more work: longer than the pauses within one sequential read.
const LINGER: Duration = Duration::from_secs(5);

/// Something to do.
pub(super) type Task = Box<dyn FnOnce() + Send>;

/// The pool. Dropping it lets its threads end after what is queued.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    limit: usize,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    idle: usize,
    threads: usize,
    closed: bool,
}

impl Pool {
    /// A pool of at most `limit` threads called `name`; none is started yet.
    pub(super) fn new(name: &'static str, limit: usize) -> Pool {
        Pool { shared: Arc::new(Shared { name, limit, queue: Mutex::default(), wake: Condvar::new() }) }
    }

    /// Starts `task` at once, or gives it back if every thread is busy.
    pub(super) fn run(&self, task: Task) -> Result<(), Task> {
        let mut queue = self.shared.lock();
        if queue.idle <= queue.tasks.len() && !self.shared.grow(&mut queue) {
            return Err(task);
        }
        queue.tasks.push_back(task);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Starts `task` as soon as a thread is free.
    pub(super) fn queue(&self, task: Task) {
        let mut queue = self.shared.lock();
        let alone = queue.idle <= queue.tasks.len() && !self.shared.grow(&mut queue) && queue.threads == 0;
        if alone {
            // not one thread can be had: better late than never
            drop(queue);
            return task();
        }
        queue.tasks.push_back(task);
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Waits until nothing is queued or under way, at most `limit`; whether it came to that.
    pub(super) fn settle(&self, limit: Duration) -> bool {
        let start = Instant::now();
        let is_busy = |queue: &Queue| !queue.tasks.is_empty() || queue.idle < queue.threads;
        while is_busy(&self.shared.lock()) {
            if start.elapsed() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread more, if the bound and the system allow it.
    fn grow(self: &Arc<Shared>, queue: &mut Queue) -> bool {
        if queue.threads >= self.limit {
            return false;
        }
        let shared = self.clone();
        let thread = std::thread::Builder::new().name(self.name.into()).spawn(move || shared.work());
        // A new thread counts as idle until it has taken a task.
        let started = thread.is_ok();
        queue.threads += usize::from(started);
        queue.idle += usize::from(started);
        started
    }

    fn work(self: Arc<Shared>) {
        let mut queue = self.lock();
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                queue.idle -= 1;
                drop(queue);
                if catch_unwind(AssertUnwindSafe(task)).is_err() {
                    log::error!("a task of {} panicked", self.name);
                }
                queue = self.lock();
                queue.idle += 1;
                continue;
            }
            let closed = queue.closed;
            let (next, wait) = match closed {
                true => (queue, None),
                false => {
                    let (next, wait) = self.wake.wait_timeout(queue, LINGER).unwrap_or_else(PoisonError::into_inner);
                    (next, Some(wait))
                }
            };
            queue = next;
            if queue.tasks.is_empty() && wait.is_none_or(|wait| wait.timed_out()) {
                queue.idle -= 1;
                queue.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn settles_when_everything_is_done() {
        let pool = Pool::new("test", 1);
        assert!(pool.settle(Duration::ZERO));
        let (hold, held) = mpsc::channel::<()>();
        let (done, dones) = mpsc::channel();
        pool.queue(Box::new(move || {
            let _ = held.recv();
        }));
        pool.queue(Box::new(move || done.send(()).expect("told")));
        assert!(!pool.settle(Duration::from_millis(20)));
        drop(hold);
        assert!(pool.settle(Duration::from_secs(10)));
        dones.try_recv().expect("it was done");
    }

    #[test]
    fn is_bounded_and_survives_panics() {
        let pool = Pool::new("test", 2);
        let (hold, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (done, dones) = mpsc::channel();
        for _ in 0..2 {
            let (held, done) = (held.clone(), done.clone());
            let task: Task = Box::new(move || {
                let _ = held.lock().expect("lock").recv();
                done.send(0).expect("send");
            });
            assert!(pool.run(task).is_ok());
        }
        assert!(pool.run(Box::new(|| ())).is_err(), "both threads are busy");
        pool.queue(Box::new(|| panic!("a test's")));
        pool.queue(Box::new(move || done.send(1).expect("send")));
        drop(hold);
        let mut got: Vec<i32> = (0..3).map(|_| dones.recv_timeout(Duration::from_secs(10)).expect("all end")).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 0, 1]);
    }
}
