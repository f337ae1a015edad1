//! The wire (API outline; bodies to be written). The only floor that says `async`.
#![allow(missing_docs)]
pub mod http;
