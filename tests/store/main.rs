//! The cache against remotes, disks, neighbours and crashes of every kind.

mod crash;
mod damage;
mod derived;
mod disk;
mod flow;
mod maintain;
mod model;
mod neighbours;
mod remote;
mod verdict;
