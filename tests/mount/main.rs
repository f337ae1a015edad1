//! Mounts, each in another process: what the kernel shows, real images and clients, bad days.
//!
//! A mount under test is this test program again, which serves the tree of [`scene`] when
//! [`served`] tells it to, or regfs itself.

// Each file of a test is its own world.
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod caches;
mod contents;
mod crash;
mod damage;
mod dead;
mod faults;
mod fronts;
mod hostile;
mod kernel;
mod layered;
mod layers_bad;
mod layers_kept;
mod layers_waits;
mod lifecycle;
mod listings;
mod look;
mod modes;
mod real;
mod rootfs_container;
mod rootfs_same;
mod scene;
mod served;
mod skopeo;
mod trees;
mod waits;
