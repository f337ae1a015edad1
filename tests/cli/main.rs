//! The command line as its users meet it: the program in another process, a registry on loopback.

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod copying;
mod failing;
mod help;
mod inside;
mod mounted;
mod reading;
mod real;
mod terminal;
mod world;
