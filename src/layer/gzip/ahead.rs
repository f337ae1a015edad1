//! Inflating the span that comes next while a reader is in the one before: on one thread for all layers.
//!
//! Promises: never more than one span waits and one is made; what cannot be done now is not done. Knows nothing of
//! spans: it runs what it is given.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

/// The thread, from the first job on.
#[derive(Default)]
pub(super) struct Ahead(Mutex<Option<SyncSender<Job>>>);

impl Ahead {
    /// Runs `job` soon, unless another waits already.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if to.is_none() {
            let (sender, jobs) = sync_channel(1);
            // Without a thread it is only slower.
            if std::thread::Builder::new().name("regfs-ahead".to_owned()).spawn(move || work(&jobs)).is_err() {
                return;
            }
            *to = Some(sender);
        }
        if let Some(to) = &*to {
            let _ = to.try_send(Box::new(job));
        }
    }
}

/// Ends when nobody can give a job any more.
fn work(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        // A panic in one is its own: it is told to those who wait for the span, and the next is another's.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn runs_one_and_keeps_one_and_outlives_panics() {
        let ahead = Arc::new(Ahead::default());
        let (begun, at_work) = channel();
        let (go, gone) = channel::<()>();
        let (done, did) = channel();
        ahead.run(move || {
            begun.send(()).expect("begun");
            let _ = gone.recv();
            panic!("on purpose");
        });
        at_work.recv_timeout(Duration::from_secs(10)).expect("begun");
        for n in 0..3 {
            let done = done.clone();
            ahead.run(move || done.send(n).expect("done"));
        }
        drop((go, done));
        assert_eq!(did.iter().collect::<Vec<_>>(), [0], "the first one waited, the others were let go");
    }
}
