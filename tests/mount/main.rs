//! Mounts, each in another process: what the kernel shows, real images and clients, bad days.

#[path = "../support/mod.rs"]
mod support;
