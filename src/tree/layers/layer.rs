//! One layer: not looked at, being read, at hand, or failed; and waiting for it to tell more.

use super::Shared;
use super::reading;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::layer::gzip;
use crate::layer::index::Growing;
use crate::layer::toc::{Node, Toc};
use crate::manifest::Descriptor;
use crate::read_at::ReadAt;
use crate::store::Derived;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a failure is told again without another try.
const FAILURE_TTL: Duration = Duration::from_secs(5);
/// How long it takes at most until whoever waits sees what is known: news are not told one by one.
const GLANCE: Duration = Duration::from_millis(100);

/// A layer of an image.
pub(in crate::tree) struct Layer {
    pub(super) shared: Arc<Shared>,
    pub(super) descriptor: Descriptor,
    /// What its archive should hash to.
    pub(super) diff_id: Option<Digest>,
    pub(super) remote: Arc<dyn ReadAt>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    /// Counts what became known.
    version: u64,
    /// Counts the tables that were shown and came to nothing: what was found in one is not looked for in the next.
    generation: u64,
    /// Whether a table of it was checked: from then on every right one is the same.
    proved: bool,
}

enum Phase {
    Idle,
    /// A thread looks for the index, or reads the layer.
    Reading(Early),
    Ready(Ready),
    /// When; never to be tried again if it has none: its bytes were checked, and are no layer.
    Failed(Error, Option<Instant>),
}

/// What is known of a layer that is being read.
#[derive(Clone)]
pub(super) struct Early {
    /// Its table so far.
    pub(super) toc: Arc<Growing>,
    /// Its content, if that can be read before all of it came, and how far.
    pub(super) content: Option<(Arc<dyn ReadAt>, Reach)>,
}

/// How far the content of a layer can be read.
#[derive(Clone)]
pub(super) enum Reach {
    /// All of it, by asking for it.
    All,
    /// As far as there are points.
    Points(Arc<gzip::Table>),
}

/// A layer at hand.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) toc: Arc<dyn Toc>,
    pub(super) content: Arc<dyn ReadAt>,
    /// Whether all of it was checked against the layer's digest.
    pub(super) verified: bool,
}

/// A layer's table as it is now.
pub(in crate::tree) struct Look {
    pub(in crate::tree) toc: Arc<dyn Toc>,
    /// What to give to [`Layer::wait`].
    pub(in crate::tree) version: u64,
    /// Whether what it says can be relied on for good.
    pub(in crate::tree) settled: bool,
    /// Which table it is: nodes are of one alone.
    pub(in crate::tree) generation: u64,
}

impl Layer {
    pub(super) fn new(
        shared: Arc<Shared>,
        descriptor: Descriptor,
        diff_id: Option<Digest>,
        remote: Arc<dyn ReadAt>,
    ) -> Layer {
        let state = Mutex::new(State { phase: Phase::Idle, version: 0, generation: 0, proved: false });
        Layer { shared, descriptor, diff_id, remote, state, changed: Condvar::new() }
    }

    pub(super) fn is_of(&self, descriptor: &Descriptor, diff_id: Option<&Digest>) -> bool {
        self.descriptor.size == descriptor.size && self.diff_id.as_ref() == diff_id
    }

    /// The digest of its blob.
    pub(in crate::tree) fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// Whether what is served of it was checked against its digest. Asks nothing.
    pub(in crate::tree) fn is_verified(&self) -> bool {
        matches!(&self.lock().phase, Phase::Ready(ready) if ready.verified)
    }

    /// Whether its table is at hand, so that looking costs nothing.
    pub(in crate::tree) fn is_ready(&self) -> bool {
        matches!(self.lock().phase, Phase::Ready(_))
    }

    /// Its table as far as it is known; has it read if nobody has yet. Does not wait.
    pub(in crate::tree) fn look(self: &Arc<Layer>) -> Result<Look> {
        let mut state = self.lock();
        if let Phase::Failed(error, when) = &state.phase
            && when.is_none_or(|when| when.elapsed() < FAILURE_TTL)
        {
            return Err(error.clone());
        }
        if matches!(state.phase, Phase::Idle | Phase::Failed(..)) {
            state.phase = Phase::Reading(Early { toc: Arc::default(), content: None });
            state.version += 1;
            if let Err(error) = reading::start(self) {
                let error = self.name(&error);
                state.phase = Phase::Failed(error.clone(), Some(Instant::now()));
                return Err(error);
            }
        }
        let (version, generation) = (state.version, state.generation);
        let (toc, settled): (Arc<dyn Toc>, bool) = match &state.phase {
            Phase::Ready(ready) => (ready.toc.clone(), ready.verified),
            Phase::Reading(early) => (early.toc.clone(), false),
            Phase::Idle | Phase::Failed(..) => (Arc::new(Growing::new()), false),
        };
        Ok(Look { toc, version, settled, generation })
    }

    /// The same for whoever has a node of the table `generation`; `Stale` if that came to nothing.
    pub(in crate::tree) fn look_again(self: &Arc<Layer>, generation: u64) -> Result<Look> {
        let look = self.look()?;
        if look.generation != generation {
            let why = format!("layer {} is not what it was taken for", self.descriptor.digest.short());
            return Err(Error::new(Kind::Stale, why));
        }
        Ok(look)
    }

    /// Waits until more may be known than at `version`; whoever asks then may have to wait again. That ends: whoever
    /// reads keeps the deadlines.
    pub(in crate::tree) fn wait(&self, version: u64) {
        let state = self.lock();
        let same = |state: &mut State| state.version == version && matches!(state.phase, Phase::Reading(_));
        drop(self.changed.wait_timeout_while(state, GLANCE, same).unwrap_or_else(PoisonError::into_inner));
    }

    /// The same for whoever has a directory: all tables have the same root.
    fn look_in(self: &Arc<Layer>, dir: (Node, u64)) -> Result<Look> {
        match dir {
            (Node::ROOT, _) => self.look(),
            (_, generation) => self.look_again(generation),
        }
    }

    /// Its content, of which everything before `end` can be read; waits until that is so. `Stale` if `end` is of
    /// a table that came to nothing.
    pub(in crate::tree) fn content(self: &Arc<Layer>, end: u64, generation: u64) -> Result<Arc<dyn ReadAt>> {
        loop {
            let version = self.look_again(generation)?.version;
            match &self.lock().phase {
                Phase::Ready(ready) => return Ok(ready.content.clone()),
                Phase::Reading(Early { content: Some((content, reach)), .. }) => match reach {
                    Reach::All => return Ok(content.clone()),
                    Reach::Points(points) if points.covered() >= end => return Ok(content.clone()),
                    Reach::Points(_) => {}
                },
                Phase::Reading(_) | Phase::Idle | Phase::Failed(..) => {}
            }
            self.wait(version);
        }
    }

    /// What a name in a directory of its table stands for, and the table that says so; waits until that is known.
    pub(in crate::tree) fn node(self: &Arc<Layer>, name: &[u8], dir: (Node, u64)) -> Result<Option<(Node, Look)>> {
        loop {
            let look = self.look_in(dir)?;
            let complete = look.toc.is_complete();
            match look.toc.lookup(dir.0, name)? {
                None if !complete => self.wait(look.version),
                found => return Ok(found.map(|node| (node, look))),
            }
        }
    }

    /// Its table, complete, for whoever has the directory `dir` of it.
    pub(in crate::tree) fn complete(self: &Arc<Layer>, dir: (Node, u64)) -> Result<Look> {
        loop {
            let look = self.look_in(dir)?;
            if look.toc.is_complete() {
                return Ok(look);
            }
            self.wait(look.version);
        }
    }

    /// The thread that reads has found more.
    pub(super) fn progressed(&self, early: Option<Early>) {
        let mut state = self.lock();
        if let Some(early) = early {
            state.phase = Phase::Reading(early);
        }
        state.version += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// The thread that reads has come to its end. `lasting` is a failure that another try would meet again.
    pub(super) fn ended(&self, outcome: Result<Ready>, lasting: bool) {
        let mut state = self.lock();
        state.phase = match outcome {
            Ok(ready) => {
                state.proved |= ready.verified;
                Phase::Ready(ready)
            }
            Err(error) => {
                // One that was checked before shows nothing unchecked.
                state.generation += u64::from(!state.proved);
                Phase::Failed(self.name(&error), (!lasting).then(Instant::now))
            }
        };
        state.version += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Whether a table of it was checked in this process.
    pub(super) fn is_proved(&self) -> bool {
        self.lock().proved
    }

    /// What was made from it is of no use any more: it is read again, unless somebody has begun to since `content`.
    pub(super) fn spoiled(&self, content: &dyn ReadAt) {
        let mut state = self.lock();
        let is_this = |ready: &Ready| std::ptr::addr_eq(Arc::as_ptr(&ready.content), content);
        if matches!(&state.phase, Phase::Ready(ready) if is_this(ready)) {
            self.shared.store.discard(Derived::Index, self.digest());
            self.shared.store.discard(Derived::Chunks, self.digest());
            state.phase = Phase::Idle;
            state.version += 1;
        }
    }

    /// The generation of its table now.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The failure in words that name the layer.
    fn name(&self, error: &Error) -> Error {
        let error = match error.kind() {
            // That the registry has no such blob is not that there is no such file.
            Kind::NotFound => error.as_kind(Kind::Io),
            _ => error.clone(),
        };
        error.context(format!("look into layer {}", self.descriptor.digest.short()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
