//! Who may mount, who may look, and what mounts leave behind.

use crate::served::{self, NOBODY, Served};
use crate::support::mount;
use crate::support::run::{command, run};
use regfs::error::Kind;
use regfs::fuse;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// Reads a file as `nobody`; the text, or what cat said.
fn read_as_nobody(path: &Path) -> Result<String, String> {
    let ran = run(command("cat").arg(path).uid(NOBODY).gid(NOBODY));
    if ran.code == Some(0) { Ok(ran.text()) } else { Err(ran.err) }
}

fn mount_line(mount: &Served) -> fuse::mounts::Mount {
    let point = fuse::mounts::locate(&mount.path("")).expect("path");
    fuse::mounts::at(&point).expect("table").expect("a mount")
}

#[test]
fn the_table_of_mounts_shows_what_it_is() {
    let mount = Served::new("");
    let line = mount_line(&mount);
    assert_eq!((line.kind.as_str(), line.source.to_str()), ("fuse.regfs", Some("scene")));
    let table = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let point = mount.path("").canonicalize().expect("path");
    let line = table.lines().find(|line| line.contains(point.to_str().expect("text"))).expect("a line");
    for option in ["ro", "nosuid", "nodev"] {
        assert!(line.split([' ', ',']).any(|word| word == option), "{line}");
    }
    let device = mount_line(&mount).device;
    let ahead = format!("/sys/class/bdi/{}:{}/read_ahead_kb", device.major, device.minor);
    assert_eq!(fs::read_to_string(ahead).expect("readahead").trim(), "1024");
}

#[test]
fn owner_and_permissions_are_as_asked() {
    let mount = Served::new("uid=7,gid=8,umask=027,allow_other");
    let small = fs::metadata(mount.path("small")).expect("stat");
    assert_eq!((small.uid(), small.gid(), small.mode() & 0o777), (7, 8, 0o440));
    let owned = fs::metadata(mount.path("owned")).expect("stat");
    assert_eq!((owned.uid(), owned.gid()), (7, 8));
    assert_eq!(fs::metadata(mount.path("many")).expect("stat").mode() & 0o777, 0o550);
    assert!(read_as_nobody(&mount.path("small")).expect_err("hidden").contains("Permission denied"));
}

#[test]
fn others_look_only_if_allowed() {
    let mine = Served::new("");
    assert!(read_as_nobody(&mine.path("small")).expect_err("mine").contains("Permission denied"));
    let all = Served::new("allow_other");
    assert_eq!(read_as_nobody(&all.path("small")), Ok("hello\n".to_owned()));
    let checked = Served::new("allow_other,default_permissions");
    assert_eq!(read_as_nobody(&checked.path("small")), Ok("hello\n".to_owned()));
}

#[test]
fn a_user_mounts_for_himself() {
    let mut mount = Served::as_nobody("").expect("mount");
    assert_eq!(read_as_nobody(&mount.path("small")), Ok("hello\n".to_owned()));
    assert_eq!(mount_line(&mount).kind, "fuse.regfs");
    let ran = run(command("stat").args(["-c", "%u %g %a"]).arg(mount.path("small")).uid(NOBODY).gid(NOBODY)).ok();
    assert_eq!(ran.text().trim(), format!("{NOBODY} {NOBODY} 444"));
    let sum = run(command("sha256sum").arg(mount.path("backed")).uid(NOBODY).gid(NOBODY)).ok();
    let other = run(command("sha256sum").arg(mount.path("big")).uid(NOBODY).gid(NOBODY)).ok();
    assert_eq!(sum.text().split(' ').next(), other.text().split(' ').next());
    run(command("fusermount3").arg("-u").arg(mount.path("")).uid(NOBODY).gid(NOBODY)).ok();
    mount.wait();
}

#[test]
fn a_user_who_may_not_let_others_in_is_told_so() {
    let conf = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if conf.lines().any(|line| line.trim() == "user_allow_other") {
        assert!(Served::as_nobody("allow_other").is_ok());
        return;
    }
    for option in ["allow_other", "allow_root"] {
        let said = Served::as_nobody(option).err().expect("refused");
        assert!(
            said.contains(option) && said.contains("user_allow_other") && said.contains("/etc/fuse.conf"),
            "{said}"
        );
    }
}

#[test]
fn a_killed_mount_is_mended_by_mounting_again() {
    let directory = served::directory();
    let mut first = Served::start(directory.path(), "", None).expect("mount");
    let busy = Served::start(directory.path(), "", None).err().expect("one is enough");
    assert!(busy.contains("in use") && busy.contains("scene"), "{busy}");
    first.kill();
    let list = fs::read_dir(first.path("")).expect_err("dead");
    assert_eq!(list.raw_os_error(), Some(libc::ENOTCONN));
    let second = Served::start(directory.path(), "", None).expect("mount again");
    assert_eq!(fs::read(second.path("small")).expect("read"), b"hello\n");
    let point = directory.path().join("mnt");
    let seen = fuse::mounts::table().expect("table").iter().filter(|mount| mount.point == point).count();
    assert_eq!(seen, 1, "the dead one is gone");
}

#[test]
fn a_killed_mount_is_taken_away_by_unmounting() {
    let mut mount = Served::new("");
    mount.kill();
    let point = fuse::mounts::locate(&mount.path("")).expect("the path of a dead mount");
    assert!(fuse::mounts::at(&point).expect("table").is_some_and(|mount| mount.is_ours()));
    fuse::unmount(&point, false).expect("unmount");
    assert!(!mount::is_mounted(&point));
}

#[test]
fn a_mount_in_use_is_not_unmounted() {
    let mut mount = Served::new("");
    let open = fs::File::open(mount.path("small")).expect("open");
    let point = mount.path("").canonicalize().expect("path");
    let busy = fuse::unmount(&point, false).expect_err("in use");
    assert_eq!(busy.kind(), Kind::Busy);
    assert!(busy.to_string().contains("--lazy"), "{busy}");
    fuse::unmount(&point, true).expect("detach");
    assert!(!mount::is_mounted(&point));
    drop(open);
    mount.wait();
}

#[test]
fn a_session_ends_when_it_is_unmounted() {
    let mut mount = Served::new("");
    assert!(Path::new(&format!("/proc/{}", mount.pid())).exists());
    fuse::unmount(&mount.path("").canonicalize().expect("path"), false).expect("unmount");
    mount.wait();
}
