//! The cache against remotes, disks and neighbours of every kind.

mod flow;
mod remote;
