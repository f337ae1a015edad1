//! regfs.
fn main() {}
