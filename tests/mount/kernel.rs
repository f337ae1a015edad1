//! What the kernel holds of a mount must follow it: pages of a blob that turned out wrong, a place that is mounted
//! anew, names by the thousand.

use crate::scene;
use crate::served::{self, Served};
use crate::support::content::Content;
use crate::support::fake::Registry;
use crate::support::image::Image;
use crate::support::mount::{Mount, read_within, within};
use crate::support::run::{command, run};
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

#[test]
fn pages_of_a_wrong_blob_are_dropped() {
    let fake = Registry::start();
    let content = Content::random(5, 20_000_000);
    let image = Image::new([content.clone()], "linux/amd64");
    fake.put("a/b", "v1", &image);
    let digest = &image.layers()[0].digest;
    fake.corrupt(digest, 19_000_000);
    let mount = Mount::new(&fake.host(), &[]);
    let path = mount.path(&format!("a/b/blobs/{digest}"));
    let mut start = vec![0; 100_000];
    let open = fs::File::open(&path).expect("open");
    within(Duration::from_secs(30), "the first bytes", {
        let open = open.try_clone().expect("clone");
        move || open.read_exact_at(&mut start, 0).expect("served while it is not known to be wrong")
    });
    let errno =
        |read: std::io::Result<Vec<u8>>| read.map(|bytes| Content::from(bytes).digest()).map_err(|e| e.raw_os_error());
    assert_eq!(errno(read_within(Duration::from_secs(60), &path)), Err(Some(libc::EIO)), "{digest} is wrong");
    // Not from the kernel's pages either, through whatever was opened when, from the moment that somebody was told.
    let mut some = [0; 4096];
    let stale = open.read_exact_at(&mut some, 0);
    assert_eq!(stale.map_err(|error| error.raw_os_error()), Err(Some(libc::EIO)), "the kernel still has it");
    assert_eq!(errno(read_within(Duration::from_secs(60), &path)), Err(Some(libc::EIO)), "poisoned");
    mount.error_with("EIO");
}

#[test]
fn a_mount_that_ends_leaves_the_next_one_alone() {
    let directory = served::directory();
    for _ in 0..5 {
        let mut first = Served::start(directory.path(), "", None).expect("mount");
        // By hand, and at once something else: the first process sees the end of its mount only now.
        run(command("umount").arg(first.path(""))).ok();
        let second = Served::start(directory.path(), "", None).expect("mount");
        first.wait();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(fs::read(second.path("small")).expect("still there"), b"hello\n");
        drop(second);
        std::mem::forget(first);
    }
}

#[test]
fn names_by_the_thousand_in_parallel() {
    let mount = Served::new("");
    let walkers: Vec<_> = (0..8)
        .map(|walker| {
            let many = mount.path("many");
            let tag = mount.path("tag");
            let mover = mount.path("move");
            std::thread::spawn(move || {
                for round in 0..200 {
                    let n = (round * 37 + walker * 1009) % scene::MANY;
                    assert_eq!(fs::read(many.join(format!("f{n:05}"))).expect("read"), b"x");
                    // An inode that is replaced at every look.
                    fs::metadata(&mover).ok();
                    assert!(fs::read_to_string(&tag).expect("read").starts_with("generation "));
                    if round % 50 == 0 {
                        assert_eq!(fs::read_dir(&many).expect("list").count(), scene::MANY);
                    }
                }
            })
        })
        .collect();
    within(Duration::from_secs(120), "the walkers", move || {
        walkers.into_iter().for_each(|walker| walker.join().expect("a walker"));
    });
}
