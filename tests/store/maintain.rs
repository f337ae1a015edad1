//! `regfs cache ls|verify|prune|clear`, as functions.

use crate::remote::*;
use regfs::read_at::ReadAt;
use regfs::store::maintain::{Kept, clear, list, prune};
use regfs::store::{SPAN, State, check};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A read-only view of a directory, for as long as it lives; `None` where this user may not have one.
struct View(tempfile::TempDir);

impl View {
    fn of(dir: &Path) -> Option<View> {
        let view = View(tempfile::tempdir().expect("tempdir"));
        let mount = |args: &[&str]| Command::new("mount").args(args).arg(view.0.path()).status();
        let dir = dir.to_str().expect("a plain path");
        mount(&["--bind", dir]).is_ok_and(|status| status.success()).then_some(())?;
        mount(&["-o", "remount,bind,ro"]).is_ok_and(|status| status.success()).then_some(view)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-q", "-l"]).arg(self.0.path()).status();
    }
}

#[test]
fn a_read_only_cache_is_checked_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store(dir.path());
    let contents = [content(12 * MIB, 83), content(9 * MIB, 84), content(1000, 85)];
    for (bytes, digest) in &contents {
        let open = handle(&store, digest, &Remote::new(bytes));
        read_through(open.as_ref(), bytes, MIB).expect("read");
        eventually("kept", || dir.path().join(blob(digest)).exists());
    }
    store.settle(Duration::from_secs(10));
    let Some(view) = View::of(dir.path()) else { return };
    let found = check::verify(view.0.path(), &mut |_| ()).expect("verify");
    assert_eq!((found.right, found.wrong.len(), found.stuck.len()), (3, 0, 0), "{found:?}");
    flip(&dir.path().join(blob(&contents[0].1)), 7_000_000);
    let found = check::verify(view.0.path(), &mut |_| ()).expect("verify");
    assert_eq!((found.right, found.wrong.len(), found.stuck.len()), (2, 0, 1), "{found:?}");
    assert_eq!(found.stuck[0].0, contents[0].1.as_str());
    assert!(found.stuck[0].1.contains("Read-only"), "{found:?}");
}

fn blob(digest: &regfs::digest::Digest) -> String {
    format!("v1/blobs/sha256/{}/{}", &digest.encoded()[..2], digest.encoded())
}

#[test]
fn lists_checks_prunes_and_clears() {
    let dir = tempfile::tempdir().expect("tempdir");
    let none = dir.path().join("none");
    assert!(list(&none).expect("list").is_empty());
    assert_eq!(clear(&none).expect("clear").dropped, 0);

    let (whole, whole_digest) = content(12 * MIB, 80);
    let (part, part_digest) = content(20 * MIB, 81);
    let (small, small_digest) = content(1000, 82);
    let store = store(dir.path());
    let open = handle(&store, &whole_digest, &Remote::new(&whole));
    read_through(open.as_ref(), &whole, MIB).expect("read");
    eventually("published", || open.backing().is_some());
    std::thread::sleep(Duration::from_millis(20));
    store.put(&small_digest, small.to_vec().into()).expect("put");
    std::thread::sleep(Duration::from_millis(20));
    let filling = handle(&store, &part_digest, &Remote::new(&part));
    read(filling.as_ref(), 10 * MIB, 100).expect("read");
    // A reader has its bytes before the disk does.
    eventually("on disk", || list(dir.path()).expect("list").iter().any(|entry| entry.cached == SPAN));

    let entries = list(dir.path()).expect("list");
    let of = |digest| entries.iter().find(|entry| &entry.digest == digest).expect("listed").clone();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0].digest, part_digest, "used last");
    assert_eq!((of(&whole_digest).kept, of(&whole_digest).cached), (Kept::Whole, 12 * MIB));
    assert_eq!((of(&part_digest).kept, of(&part_digest).size), (Kept::Filling, Some(20 * MIB)));
    assert_eq!(of(&part_digest).cached, SPAN);

    let mut last = None;
    let found = check::verify(dir.path(), &mut |step| last = Some(step)).expect("verify");
    assert_eq!((found.right, found.busy, found.wrong.len()), (2, 1, 0));
    assert!(last.is_some_and(|step| step.done <= step.total && step.done >= 12 * MIB), "{last:?}");
    drop(filling);
    eventually("closed", || check::verify(dir.path(), &mut |_| ()).expect("verify").busy == 0);
    let blob = dir.path().join("v1/blobs/sha256").join(&whole_digest.encoded()[..2]).join(whole_digest.encoded());
    flip(&blob, 5_000_000);
    flip(&dir.path().join("v1/parts").join(part_digest.as_str().replace(':', "-")), 80 * MIB + 50);
    let found = check::verify(dir.path(), &mut |_| ()).expect("verify");
    assert_eq!((found.right, found.wrong.len()), (1, 2), "{found:?}");
    assert_eq!(store.state(&small_digest), State::Verified);
    let found = check::verify(dir.path(), &mut |_| ()).expect("verify");
    assert_eq!((found.right, found.wrong.len()), (2, 0), "what was wrong is gone: {found:?}");

    assert_eq!(prune(dir.path(), None, Some(Duration::from_secs(3600))).expect("prune").dropped, 0);
    let pruned = prune(dir.path(), Some(0), None).expect("prune");
    assert_eq!((pruned.dropped, pruned.left), (2, 0), "{pruned:?}");
    assert!(list(dir.path()).expect("list").is_empty());
}
