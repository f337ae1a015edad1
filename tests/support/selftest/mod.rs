//! Tests of the support code, one file per part of it.

mod fake;
mod http;
mod servers;
