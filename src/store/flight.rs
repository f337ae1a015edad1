//! What is being fetched of one blob: every span at most once at a time, whoever asks. Bookkeeping, no I/O.
//!
//! A span in flight has a slot. Whoever needs it waits for the slot; the job that fetches it lands bytes there, or
//! the failure, or nothing, if it was called off. Bytes stay in the slot as long as somebody holds it, so that a
//! waiter gets them even where no cache keeps them.
//!
//! A remote that ignores Range sends everything from the start each time. Of the jobs of such a blob one becomes the
//! leader, whose stream serves everybody; the others end.

use crate::error::Error;
use crate::read_at::ReadAt;
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// How a flight ended.
#[derive(Clone)]
pub(super) enum Landing {
    /// With the span's bytes.
    Bytes(Bytes),
    /// With a failure.
    Failed(Error),
    /// Nobody seemed to want it any more; who does asks again.
    Dropped,
}

/// Where one span lands.
#[derive(Default)]
pub(super) struct Slot(OnceLock<Landing>);

impl Slot {
    /// How it ended, if it did.
    pub(super) fn landing(&self) -> Option<&Landing> {
        self.0.get()
    }
}

/// One request to the remote.
pub(super) struct Job {
    /// Whom it asks.
    pub(super) remote: Arc<dyn ReadAt>,
    /// The spans it asks for.
    pub(super) run: Range<u32>,
    /// Readers that wait for one of its spans.
    pub(super) waiters: AtomicUsize,
    /// Handles that read ahead and count on it.
    owners: AtomicUsize,
    unwanted: AtomicBool,
    over: AtomicBool,
}

impl Job {
    /// One handle more counts on it.
    pub(super) fn adopt(&self) {
        self.owners.fetch_add(1, Ordering::Relaxed);
        self.unwanted.store(false, Ordering::Relaxed);
    }

    /// One handle less does; with the last one it is called off.
    pub(super) fn abandon(&self) {
        if self.owners.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.unwanted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it has come to its end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether it serves nobody.
    pub(super) fn is_idle(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed) && self.waiters.load(Ordering::Relaxed) == 0
    }
}

struct Flight {
    slot: Arc<Slot>,
    job: Arc<Job>,
    /// Whether it joined a job that was under way, whose stream may have passed it already.
    joined: bool,
}

/// The flights of one blob.
#[derive(Default)]
pub(super) struct Flights {
    map: HashMap<u32, Flight>,
    jobs: Vec<Arc<Job>>,
    /// The job whose stream delivers everything, and the span it has come to.
    leader: Option<(Arc<Job>, u32)>,
    /// Whether the remote was seen to ignore Range.
    rangeless: bool,
}

impl Flights {
    /// The slot of span `index`, if it is on its way.
    pub(super) fn find(&mut self, index: u32) -> Option<(Arc<Slot>, Arc<Job>)> {
        if let Some(flight) = self.map.get(&index) {
            return Some((flight.slot.clone(), flight.job.clone()));
        }
        // The leader's stream will come by; where it has passed already, it must end first.
        let job = self.leader.as_ref()?.0.clone();
        let slot = Arc::new(Slot::default());
        self.map.insert(index, Flight { slot: slot.clone(), job: job.clone(), joined: true });
        Some((slot, job))
    }

    /// Whether span `index` is on its way.
    pub(super) fn has(&self, index: u32) -> bool {
        self.leader.is_some() || self.map.contains_key(&index)
    }

    /// Whether `job` is to bring span `index`, and has not yet.
    pub(super) fn carries(&self, job: &Arc<Job>, index: u32) -> bool {
        self.map.get(&index).is_some_and(|flight| Arc::ptr_eq(&flight.job, job) && flight.slot.landing().is_none())
    }

    /// Whether `slot` is where span `index` will land.
    pub(super) fn holds(&self, index: u32, slot: &Arc<Slot>) -> bool {
        self.map.get(&index).is_some_and(|flight| Arc::ptr_eq(&flight.slot, slot))
    }

    /// Whether span `index` has landed and is not noted anywhere else yet.
    pub(super) fn has_landed(&self, index: u32) -> bool {
        self.map.get(&index).is_some_and(|flight| matches!(flight.slot.landing(), Some(Landing::Bytes(_))))
    }

    /// Puts the spans of `run` in flight; none of them is.
    pub(super) fn start(&mut self, run: Range<u32>, remote: &Arc<dyn ReadAt>) -> Arc<Job> {
        let job = Arc::new(Job {
            remote: remote.clone(),
            run: run.clone(),
            waiters: AtomicUsize::new(0),
            owners: AtomicUsize::new(0),
            unwanted: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        for index in run {
            self.map.entry(index).or_insert_with(|| Flight { slot: Arc::default(), job: job.clone(), joined: false });
        }
        self.jobs.push(job.clone());
        if self.rangeless && self.leader.is_none() {
            self.leader = Some((job.clone(), 0));
        }
        job
    }

    /// How many jobs are under way.
    pub(super) fn active(&self) -> usize {
        self.jobs.len()
    }

    /// Whether the remote is known to send everything whatever it is asked.
    pub(super) fn is_rangeless(&self) -> bool {
        self.rangeless
    }

    /// Whether `job` is the one whose stream serves everybody.
    pub(super) fn leads(&self, job: &Arc<Job>) -> bool {
        self.leader.as_ref().is_some_and(|(leader, _)| Arc::ptr_eq(leader, job))
    }

    /// `job` was sent what it did not ask for: it becomes the leader, unless there is one: then it is to end.
    pub(super) fn lead(&mut self, job: &Arc<Job>) -> bool {
        self.rangeless = true;
        if self.leader.is_none() {
            self.leader = Some((job.clone(), 0));
        }
        self.leads(job)
    }

    /// The remote was seen to send just what it was asked for.
    pub(super) fn ranges_work(&mut self) {
        self.rangeless = false;
    }

    /// Lands `bytes` for whoever waits for span `index`, which stays in flight until [`Flights::done`].
    pub(super) fn land(&mut self, job: &Arc<Job>, index: u32, bytes: &Bytes) {
        if let Some((leader, at)) = &mut self.leader
            && Arc::ptr_eq(leader, job)
        {
            *at = index;
        }
        if let Some(flight) = self.map.get(&index) {
            let _ = flight.slot.0.set(Landing::Bytes(bytes.clone()));
        }
    }

    /// Span `index` is where it can be found without waiting. Who has come to wait since it landed gets `bytes` too.
    pub(super) fn done(&mut self, index: u32, bytes: &Bytes) {
        if let Some(flight) = self.map.remove(&index) {
            let _ = flight.slot.0.set(Landing::Bytes(bytes.clone()));
        }
    }

    /// `job` is over: what has not landed lands as `asked` if the job was started for it, else as `other`; or it goes
    /// on with the leader if there is another.
    pub(super) fn end(&mut self, job: &Arc<Job>, asked: &Landing, other: &Landing) {
        job.over.store(true, Ordering::Relaxed);
        self.jobs.retain(|running| !Arc::ptr_eq(running, job));
        if self.leads(job) {
            self.leader = None;
        }
        let leader = self.leader.clone();
        self.map.retain(|&index, flight| {
            if !Arc::ptr_eq(&flight.job, job) {
                return true;
            }
            match &leader {
                Some((leader, at)) if index > *at && flight.slot.landing().is_none() => {
                    flight.job = leader.clone();
                    flight.joined = true;
                    true
                }
                _ => {
                    let rest = if flight.joined || !job.run.contains(&index) { other } else { asked };
                    let _ = flight.slot.0.set(rest.clone());
                    false
                }
            }
        });
    }

    /// The jobs that are to bring spans of `run`.
    pub(super) fn jobs_for(&self, run: Range<u32>) -> Vec<Arc<Job>> {
        let is_wanted = |job: &&Arc<Job>| job.run.start < run.end && run.start < job.run.end || self.leads(job);
        self.jobs.iter().filter(is_wanted).cloned().collect()
    }

    /// Calls off everything.
    pub(super) fn call_off(&self) {
        self.jobs.iter().for_each(|job| job.unwanted.store(true, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote() -> Arc<dyn ReadAt> {
        Arc::new(vec![0u8; 4])
    }

    fn landed(slot: &Slot) -> &'static str {
        match slot.landing() {
            None => "flying",
            Some(Landing::Bytes(_)) => "bytes",
            Some(Landing::Failed(_)) => "failed",
            Some(Landing::Dropped) => "dropped",
        }
    }

    #[test]
    fn one_flight_serves_all_who_ask() {
        let mut flights = Flights::default();
        let job = flights.start(0..3, &remote());
        let (first, _) = flights.find(1).expect("in flight");
        let (second, _) = flights.find(1).expect("in flight");
        assert!(flights.find(3).is_none());
        flights.land(&job, 1, &Bytes::from_static(b"x"));
        assert_eq!((landed(&first), landed(&second)), ("bytes", "bytes"));
        flights.done(1, &Bytes::new());
        assert!(!flights.has(1) && flights.has(2));
        let (last, _) = flights.find(2).expect("in flight");
        flights.end(&job, &Landing::Dropped, &Landing::Dropped);
        assert_eq!((landed(&last), flights.active()), ("dropped", 0));
        assert!(!flights.has(2), "a failure is not remembered");
    }

    #[test]
    fn a_leader_takes_over_what_others_were_to_fetch() {
        let mut flights = Flights::default();
        let (one, two) = (flights.start(0..2, &remote()), flights.start(4..6, &remote()));
        assert!(flights.lead(&one));
        assert!(!flights.lead(&two), "there is one already");
        let (slot, _) = flights.find(5).expect("in flight");
        flights.end(&two, &Landing::Dropped, &Landing::Dropped);
        assert_eq!(landed(&slot), "flying");
        flights.land(&one, 5, &Bytes::new());
        assert_eq!(landed(&slot), "bytes");
        flights.land(&one, 7, &Bytes::new());
        let (late, _) = flights.find(7).expect("between landing and being noted");
        flights.done(7, &Bytes::new());
        assert_eq!(landed(&late), "bytes");
        let (passed, _) = flights.find(0).expect("the leader serves everybody");
        flights.land(&one, 0, &Bytes::new());
        flights.done(0, &Bytes::new());
        let (again, _) = flights.find(0).expect("lost since, and asked for again");
        let failed = Landing::Failed(Error::new(crate::error::Kind::Corrupt, "too short"));
        flights.end(&one, &failed, &Landing::Dropped);
        assert_eq!((landed(&passed), landed(&again)), ("bytes", "dropped"));
        assert!(flights.is_rangeless() && !flights.has(9));
        let next = flights.start(1..9, &remote());
        assert!(flights.leads(&next), "from now on there is one at a time");
    }

    #[test]
    fn is_idle_once_called_off_and_awaited_by_nobody() {
        let mut flights = Flights::default();
        let job = flights.start(0..1, &remote());
        job.waiters.fetch_add(1, Ordering::Relaxed);
        flights.call_off();
        assert!(!job.is_idle());
        job.waiters.fetch_sub(1, Ordering::Relaxed);
        assert!(job.is_idle());
    }

    #[test]
    fn what_two_count_on_goes_on_when_one_leaves() {
        let mut flights = Flights::default();
        let job = flights.start(2..4, &remote());
        assert!(flights.jobs_for(0..2).is_empty() && flights.jobs_for(4..9).is_empty());
        for _ in 0..2 {
            flights.jobs_for(3..9).iter().for_each(|job| job.adopt());
        }
        job.abandon();
        assert!(!job.is_idle());
        job.abandon();
        assert!(job.is_idle());
        job.adopt();
        assert!(!job.is_idle(), "it had not ended yet");
    }
}
