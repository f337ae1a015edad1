//! The ground that other tests stand on, tested itself: a fake that lies when it should not proves nothing.

#[path = "mod.rs"]
mod support;

mod selftest;
