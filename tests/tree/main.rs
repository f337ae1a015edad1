//! The tree over a registry in memory: what it shows, what it asks for, and what it does on bad days.

mod bad_days;
mod costs;
mod images;
mod memory;
mod names;

use crate::memory::Memory;
use regfs::error::Result;
use regfs::journal::Journal;
use regfs::manifest::Platform;
use regfs::read_at::read_all;
use regfs::store::{Config, Store, Verify};
use regfs::tree::registry::Registry;
use regfs::tree::walk::{Last, walk};
use regfs::tree::{Dir, Node, Options};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A cache in memory, or in a directory.
fn store(dir: Option<&Path>) -> Arc<Store> {
    Store::open(Config {
        dir: dir.map(Path::to_owned),
        disk_bytes: 64 << 20,
        memory_bytes: 16 << 20,
        verify: Verify::Lazy,
        journal: Arc::new(Journal::new()),
    })
    .expect("store")
}

fn options() -> Options {
    Options { platform: Platform::parse("linux/amd64").expect("platform"), ..Options::default() }
}

fn tree(memory: &Arc<Memory>) -> Arc<dyn Dir> {
    tree_with(memory, &store(None), options())
}

fn tree_with(memory: &Arc<Memory>, store: &Arc<Store>, options: Options) -> Arc<dyn Dir> {
    Registry::new(memory.clone(), store.clone(), options)
}

/// A tree that asks anew after a tenth of a second.
fn forgetful(memory: &Arc<Memory>) -> Arc<dyn Dir> {
    tree_with(memory, &store(None), Options { metadata_ttl: Duration::from_millis(100), ..options() })
}

fn stat(root: &Arc<dyn Dir>, path: &str) -> Result<Node> {
    walk(root, OsStr::new(path), Last::Follow)
}

fn ls(root: &Arc<dyn Dir>, path: &str) -> Result<Vec<String>> {
    let Node::Dir(dir) = stat(root, path)? else { panic!("{path} is not a directory") };
    let names: Vec<String> =
        dir.list()?.into_iter().map(|entry| entry.name.into_string().expect("a readable name")).collect();
    assert!(names.is_sorted(), "{path}: {names:?}");
    Ok(names)
}

fn cat(root: &Arc<dyn Dir>, path: &str) -> Result<Vec<u8>> {
    let Node::File(file) = stat(root, path)? else { panic!("{path} is not a file") };
    let bytes = read_all(&*file.open()?, 1 << 24)?;
    assert_eq!(file.attr().size, bytes.len() as u64, "the size of {path}");
    Ok(bytes)
}

fn text(root: &Arc<dyn Dir>, path: &str) -> String {
    String::from_utf8(cat(root, path).expect(path)).expect("text")
}
