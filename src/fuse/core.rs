//! What all operations share: the tables, and the way from a call to its answer.
//!
//! An operation is `work` that may wait, and an `answer` made of what comes of it. What memory can tell is worked
//! out on the thread that brought the call; everything else goes to the pool, in the lane of the remote that it may
//! wait for, with its reply where a signal can reach it. Failures are told to the journal here, and only here.

use super::attr::Look;
use super::buffers::Buffers;
use super::handles::Handles;
use super::inodes::{Inode, Inodes};
use super::interrupt::{Answer, Watch};
use super::lookers::Lookers;
use super::passthrough::Passthrough;
use super::pool::Pool;
use crate::error::{Error, Kind, Result};
use crate::journal::{self, Journal};
use crate::store::Store;
use crate::tree::{Dir, File, Node};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// The state of one mount.
pub(super) struct Core {
    pub(super) inodes: Inodes,
    pub(super) handles: Handles,
    pub(super) buffers: Buffers,
    pub(super) passthrough: Passthrough,
    pub(super) pool: Pool,
    pub(super) watch: Watch,
    pub(super) look: Look,
    pub(super) lookers: Lookers,
    pub(super) store: Arc<Store>,
    pub(super) journal: Arc<Journal>,
}

/// One operation under way: on what, for whom.
pub(super) struct Call {
    pub(super) core: Arc<Core>,
    /// What it is about; the directory, if there is a name.
    pub(super) inode: Arc<Inode>,
    /// The name below it.
    pub(super) name: Option<OsString>,
    /// The thread that waits for the answer, 0 if it is not known.
    pub(super) caller: u32,
}

/// Where the work of a call is done.
pub(super) enum Place<'a> {
    /// At once: memory answers it.
    Here,
    /// In the pool, bounded with what else may wait for this remote.
    Lane(&'a str),
}

impl<'a> Place<'a> {
    /// Here if it is ready, in its lane otherwise.
    pub(super) fn of(is_ready: bool, lane: &'a str) -> Place<'a> {
        if is_ready { Place::Here } else { Place::Lane(lane) }
    }
}

impl Core {
    /// Begins an operation on the inode of that number.
    pub(super) fn call(self: &Arc<Core>, caller: u32, ino: u64, name: Option<&OsStr>) -> Result<Call> {
        journal::count(&self.journal.counters.operations, 1);
        let inode = self.inodes.get(ino)?;
        Ok(Call { core: self.clone(), inode, name: name.map(OsStr::to_owned), caller })
    }

    /// Answers with a failure for which there is no path to tell.
    pub(super) fn refuse(&self, reply: impl Answer, error: &Error) {
        self.journal.failed("?", error);
        reply.fail(error.errno());
    }
}

impl Call {
    /// The directory that it is about.
    pub(super) fn dir(&self) -> Result<Arc<dyn Dir>> {
        match self.inode.node() {
            Node::Dir(dir) => Ok(dir),
            _ => Err(Error::new(Kind::NotDir, "it is not a directory")),
        }
    }

    /// The file that it is about.
    pub(super) fn file(&self) -> Result<Arc<dyn File>> {
        match self.inode.node() {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(Error::new(Kind::IsDir, "it is a directory")),
            Node::Link(_) => Err(Error::new(Kind::Invalid, "it is a symbolic link")),
            Node::Special(_) => Err(Error::new(Kind::Invalid, "it is a device, a pipe or a socket")),
        }
    }

    /// Answers with a failure, and tells the journal.
    pub(super) fn fail(&self, reply: impl Answer, error: &Error) {
        self.core.journal.failed(&self.inode.path(self.name.as_deref()), error);
        reply.fail(error.errno());
    }

    /// Does `work` in its place and answers with what comes of it: `answer` with a result, an errno otherwise.
    pub(super) fn run<R: Answer, T>(
        self,
        place: Place<'_>,
        reply: R,
        work: impl FnOnce(&Call) -> Result<T> + Send + 'static,
        answer: impl FnOnce(&Call, R, T) + Send + 'static,
    ) {
        let lane = match place {
            Place::Lane(lane) => lane,
            Place::Here => {
                return match work(&self) {
                    Ok(result) => answer(&self, reply, result),
                    Err(error) => self.fail(reply, &error),
                };
            }
        };
        let core = self.core.clone();
        let (slot, watched) = core.watch.over(self.caller, reply);
        let taker = slot.clone();
        let job = Box::new(move || {
            // Whoever waited was called off while this was queued.
            if taker.is_taken() {
                return;
            }
            let result = work(&self);
            drop(watched);
            let Some(reply) = taker.take() else { return };
            match result {
                Ok(result) => answer(&self, reply, result),
                Err(error) => self.fail(reply, &error),
            }
        });
        if let Err(job) = core.pool.submit(lane, job) {
            drop(job);
            if let Some(reply) = slot.take() {
                core.refuse(reply, &Error::new(Kind::Busy, format!("too many calls wait for {lane}")));
            }
        }
    }
}
