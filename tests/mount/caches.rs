//! What the kernel keeps, and what it must not keep.

use crate::scene;
use crate::served::Served;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

#[test]
fn content_and_names_of_a_digest_are_asked_for_once() {
    let mount = Served::new("");
    for _ in 0..3 {
        assert_eq!(fs::read(mount.path("big")).expect("read").len(), scene::BIG);
        fs::metadata(mount.path("small")).expect("stat");
    }
    let reads = mount.calls("read big");
    fs::read(mount.path("big")).expect("read");
    assert_eq!(mount.calls("read big"), reads, "pages are kept from open to open");
    assert_eq!((mount.calls("lookup big"), mount.calls("lookup small")), (1, 1));
}

#[test]
fn what_is_not_there_is_asked_for_once() {
    let mount = Served::new("");
    let start = Instant::now();
    for _ in 0..50 {
        assert!(fs::metadata(mount.path("none")).is_err());
    }
    // One for each second that this took.
    let lookups = mount.calls("lookup none");
    assert!(lookups <= 1 + start.elapsed().as_secs() * 2, "{lookups} lookups");
    for _ in 0..5 {
        assert!(fs::metadata(mount.path("faulty/none")).is_err());
    }
    fs::metadata(mount.path("many/none")).expect_err("not there");
    assert_eq!(mount.calls("lookup none"), lookups + 6, "without a TTL each one asks");
}

#[test]
fn live_files_are_never_kept() {
    let mount = Served::new("");
    let before = mount.calls("lookup small");
    fs::metadata(mount.path("small")).expect("stat");
    assert_eq!(mount.calls("lookup small"), before + 1);
    assert_eq!(fs::metadata(mount.path(".regfs/calls")).expect("stat").len(), 0);
}

#[test]
fn a_tag_that_moves_leaves_open_files_alone() {
    let mount = Served::new("");
    let mut open = fs::File::open(mount.path("tag")).expect("open");
    let old = fs::metadata(mount.path("tag")).expect("stat").ino();
    fs::metadata(mount.path("move")).ok();
    assert_eq!(fs::read_to_string(mount.path("tag")).expect("read"), "generation 1\n");
    let mut text = String::new();
    open.read_to_string(&mut text).expect("read");
    assert_eq!(text, "generation 0\n");
    assert_eq!(open.metadata().expect("stat").ino(), old);
    assert_ne!(fs::metadata(mount.path("tag")).expect("stat").ino(), old);
}

#[test]
fn an_open_directory_keeps_its_listing() {
    let mount = Served::new("");
    let mut listing = fs::read_dir(mount.path("many")).expect("list");
    let first: Vec<_> = listing.by_ref().take(10).collect();
    fs::metadata(mount.path("move")).ok();
    assert_eq!(first.len() + listing.count(), scene::MANY);
}

#[test]
fn what_is_passed_through_is_what_is_read() {
    let mount = Served::new("");
    let held = fs::File::open(mount.path("backed")).expect("open");
    assert!(fs::read(mount.path("backed")).expect("read") == scene::big());
    // With the first still open: the same way again, however often.
    let second = fs::File::open(mount.path("backed")).expect("open");
    drop(held);
    assert!(fs::read(mount.path("backed")).expect("read") == scene::big());
    drop(second);
    assert!(fs::read(mount.path("backed")).expect("read") == scene::big());
    if nix::unistd::geteuid().is_root() && has_passthrough() {
        assert_eq!(mount.calls("read backed"), 0, "the kernel reads it without us");
    }
}

/// Whether this kernel is 6.9 or later, and built with passthrough as distributions do.
fn has_passthrough() -> bool {
    let uname = nix::sys::utsname::uname().expect("uname");
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(9))
}
