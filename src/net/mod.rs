//! The wire (API outline; bodies to be written). The only floor that says `async`.
#![allow(missing_docs)]
pub mod credentials;
pub mod env;
mod files;
pub mod hostname;
pub mod http;
pub mod mirrors;
pub mod tls;
