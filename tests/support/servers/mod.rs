//! Real servers in other processes (and one in this): each on a free loopback port, with its files in a directory of
//! its own, waited for with a bound, and ended by its pid when it is dropped.
//!
//! A program that is not installed fails the test, saying what to run.

pub mod docker;
pub mod ferro;
pub mod nginx;
pub mod process;
pub mod tls;
pub mod tokens;

pub use docker::{Docker, DockerRegistry};
pub use ferro::Ferro;
pub use nginx::Nginx;
pub use tls::Authority;
pub use tokens::TokenServer;

use std::net::TcpListener;

/// A docker-registry of this configuration.
pub fn docker_registry(config: Docker) -> DockerRegistry {
    DockerRegistry::start(config)
}

/// A port that is free now. Others may take it before it is used: starters try again.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
    listener.local_addr().expect("address of the listener").port()
}
