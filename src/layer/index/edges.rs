//! Which name in which directory is which node, while names are added: a table of edges.
//!
//! A directory has its edges as a chain, newest first; a chain is told by its first edge, counted from 1, and 0 if it
//! is empty. Edges are never taken out: what was in a directory that is gone is not reached any more.

use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// A name in a directory.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    dir: u32,
    /// Where the name is in the heap of names.
    pub(super) name: u32,
    /// What has it.
    pub(super) node: u32,
    /// The rest of the chain.
    next: u32,
}

/// All edges.
pub(super) struct Edges {
    all: Vec<Edge>,
    index: HashTable<u32>,
    state: RandomState,
}

impl Edges {
    /// No edges.
    pub(super) fn new() -> Edges {
        Edges { all: Vec::new(), index: HashTable::new(), state: RandomState::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The node of a name in a directory.
    pub(super) fn find(&self, dir: u32, name: u32) -> Option<u32> {
        self.position(dir, name).map(|at| self.all[at].node)
    }

    /// Gives a name that is there to another node, and tells which had it.
    pub(super) fn replace(&mut self, dir: u32, name: u32, node: u32) -> Option<u32> {
        let at = self.position(dir, name)?;
        Some(std::mem::replace(&mut self.all[at].node, node))
    }

    /// Adds a name that is not there to the directory whose chain is `chain`; the new chain.
    pub(super) fn add(&mut self, dir: u32, name: u32, node: u32, chain: u64) -> u64 {
        // Below 2^32: each member adds one, and each node that a member implies.
        let at = self.all.len() as u32;
        self.all.push(Edge { dir, name, node, next: chain as u32 });
        let (all, state) = (&self.all, &self.state);
        self.index.insert_unique(state.hash_one((dir, name)), at, |at| {
            all.get(*at as usize).map_or(0, |edge| state.hash_one((edge.dir, edge.name)))
        });
        u64::from(at) + 1
    }

    /// The edges of a chain.
    pub(super) fn of(&self, chain: u64) -> impl Iterator<Item = Edge> {
        let edge = |chain: u64| self.all.get(usize::try_from(chain.checked_sub(1)?).ok()?).copied();
        std::iter::successors(edge(chain), move |last| edge(u64::from(last.next)))
    }

    fn position(&self, dir: u32, name: u32) -> Option<usize> {
        let same = |at: &u32| self.all.get(*at as usize).is_some_and(|edge| edge.dir == dir && edge.name == name);
        self.index.find(self.state.hash_one((dir, name)), same).map(|at| *at as usize)
    }
}
