//! What a root filesystem holds, as programs see it: devices, hard links, sparse files, owners, modes, attributes.

use crate::served::Served;
use crate::support::run::{Ran, command, run};
use crate::trees;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Runs a program in the image directory of the mount; its output.
fn told(mount: &Served, program: &str, args: &[&str]) -> String {
    run(command(program).args(args).current_dir(mount.path("image"))).ok().text().trim().to_owned()
}

fn xattr(path: &Path, name: &str) -> Ran {
    let program = "import os,sys;os.write(1,os.getxattr(sys.argv[1],sys.argv[2],follow_symlinks=False))";
    run(command("python3").args(["-c", program]).arg(path).arg(name))
}

#[test]
fn devices_pipes_and_sockets_are_shown_as_what_they_are() {
    let mount = Served::new("");
    let of = |name: &str| fs::symlink_metadata(mount.path("image/dev").join(name)).expect("stat");
    let null = of("null");
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.mode() & 0o7777, null.len()), (libc::makedev(1, 3), 0o640, 0));
    let disk = of("disk");
    assert!(disk.file_type().is_block_device());
    assert_eq!(disk.rdev(), libc::makedev(0xabc, 0x12345));
    assert!(of("pipe").file_type().is_fifo() && of("socket").file_type().is_socket());
    let listed = told(&mount, "find", &["dev", "-printf", "%y"]);
    assert_eq!(listed.chars().filter(|c| "bcps".contains(*c)).count(), 4, "{listed}");
    // The mount is nodev: a device of an image is never one of this machine.
    let opened = fs::File::open(mount.path("image/dev/null")).expect_err("nodev");
    assert_eq!(opened.raw_os_error(), Some(libc::EACCES));
}

#[test]
fn a_mount_is_neither_for_devices_nor_for_privileges() {
    let mount = Served::new("");
    let flags = nix::sys::statvfs::statvfs(&mount.path("")).expect("statvfs").flags();
    use nix::sys::statvfs::FsFlags;
    assert!(flags.contains(FsFlags::ST_NODEV | FsFlags::ST_NOSUID | FsFlags::ST_RDONLY), "{flags:?}");
}

#[test]
fn hard_links_are_one_file() {
    let mount = Served::new("");
    let ino = |name: &str| fs::metadata(mount.path("image").join(name)).expect("stat").ino();
    let one = ino("etc/one");
    assert_eq!((ino("etc/two"), ino("bin/linked")), (one, one));
    assert_ne!(ino("bin/su"), one);
    assert_eq!(fs::metadata(mount.path("image/etc/one")).expect("stat").nlink(), 3);
    assert_eq!(fs::metadata(mount.path("image/etc")).expect("stat").nlink(), 1);
    // The number is the same in listings without attributes.
    let listed: Vec<u64> = fs::read_dir(mount.path("image/etc"))
        .expect("list")
        .map(|entry| entry.expect("entry"))
        .filter(|entry| entry.file_name() != "link")
        .map(|entry| std::os::unix::fs::DirEntryExt::ino(&entry))
        .collect();
    assert_eq!(listed, [one, one]);
    assert_eq!(told(&mount, "find", &[".", "-links", "3"]).lines().count(), 3);
    assert_eq!(told(&mount, "find", &[".", "-samefile", "etc/one"]).lines().count(), 3);
    // Opened under two names at once, closed under one; read on under the other.
    let (first, second) = (fs::File::open(mount.path("image/etc/one")), fs::File::open(mount.path("image/bin/linked")));
    drop(first.expect("open"));
    assert_eq!(std::io::read_to_string(second.expect("open")).expect("read"), "under three names\n");
}

#[test]
fn modes_and_owners_are_the_images_and_options_change_them() {
    let mount = Served::new("");
    let of = |mount: &Served, name: &str| {
        let stat = fs::symlink_metadata(mount.path("image").join(name)).expect("stat");
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    };
    assert_eq!(of(&mount, "bin/su"), (0o4755, 0, 0));
    assert_eq!(of(&mount, "tmp"), (0o1777, 1234, 4321));
    assert_eq!(of(&mount, "mail"), (0o2775, 1234, 4321));
    assert_eq!(of(&mount, "etc/link"), (0o777, 1234, 4321));
    let stat = fs::symlink_metadata(mount.path("image/etc/link")).expect("stat");
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (trees::IMAGE_DATE as i64, 5));
    let other = Served::new("uid=7,umask=022");
    assert_eq!(of(&other, "mail"), (0o2755, 7, 4321));
    assert_eq!(of(&other, "dev/null"), (0o640, 7, 4321));
}

#[test]
fn a_sparse_file_takes_the_room_of_its_data() {
    let mount = Served::new("");
    let stat = fs::metadata(mount.path("image/sparse")).expect("stat");
    assert_eq!((stat.len(), stat.blocks()), (trees::SPARSE as u64, 16));
    assert_eq!(told(&mount, "du", &["-k", "sparse"]), "8\tsparse");
    // What has three names counts once.
    let all = told(&mount, "du", &["-s", "--block-size=512", "."]);
    assert_eq!(all, "19\t.", "16 of the sparse file, one each of three small ones");
    assert!(fs::read(mount.path("image/sparse")).expect("read") == trees::sparse());
}

#[test]
fn attributes_of_files_links_and_directories() {
    let mount = Served::new("");
    let ping = mount.path("image/bin/ping");
    assert_eq!(xattr(&ping, "security.capability").ok().out, trees::CAPABILITY);
    assert_eq!(xattr(&ping, "trusted.overlay").ok().out, b"y");
    assert!(xattr(&ping, "security.selinux").failed().err.contains("[Errno 61]"));
    assert_eq!(xattr(&mount.path("image/etc/link"), "security.note").ok().out, b"of a link");
    assert_eq!(told(&mount, "getfattr", &["-d", "bin/ping"]), "# file: bin/ping\nuser.note=\"hello\"");
    let all = told(&mount, "getfattr", &["-m", "-", "bin/ping"]);
    assert_eq!(all, "# file: bin/ping\nsecurity.capability\ntrusted.overlay\nuser.note");
    assert_eq!(told(&mount, "getfattr", &["--only-values", "-n", "user.kind", "etc"]), "directory");
    assert!(told(&mount, "getcap", &["bin/ping"]).contains("cap_net_raw=ep"));
}

#[test]
fn tar_and_cp_make_the_same_of_it() {
    let mount = Served::new("");
    let out = tempfile::tempdir().expect("a directory");
    let archive = out.path().join("image.tar");
    let tar = run(command("tar")
        .args(["-c", "--xattrs", "--xattrs-include=*", "--exclude=socket", "-f"])
        .arg(&archive)
        .arg("-C")
        .arg(mount.path("image"))
        .arg("."))
    .ok();
    assert_eq!(tar.err, "");
    let listed = run(command("tar").args(["-tvf"]).arg(&archive)).ok().text();
    assert_eq!(listed.lines().filter(|line| line.contains("link to")).count(), 2, "{listed}");
    for part in ["crw-r----- 1234/4321", "brw-r-----", "prw-r-----", "-rwsr-xr-x", "drwxrwxrwt", "drwxrwsr-x"] {
        assert!(listed.contains(part), "{part} in\n{listed}");
    }
    let copy = out.path().join("copy");
    run(command("cp").arg("-a").arg(mount.path("image")).arg(&copy)).ok();
    let facts = |root: &Path| {
        let format = "%P %y %m %n %U:%G %s %T@ %l\n";
        let ran = run(command("find").arg(root).args(["-not", "-type", "d", "-printf", format])).ok();
        let mut lines: Vec<String> = ran.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(facts(&copy), facts(&mount.path("image")));
    assert_eq!(xattr(&copy.join("bin/ping"), "security.capability").ok().out, trees::CAPABILITY);
}

#[test]
fn a_walk_over_a_million_files_is_cheap() {
    let mount = Served::new("");
    let start = std::time::Instant::now();
    let found = run(command("find").arg(mount.path("crowd"))).ok();
    assert_eq!(found.out.iter().filter(|byte| **byte == b'\n').count(), 1 + trees::CROWD * (1 + trees::CROWD));
    let peak = peak(mount.pid());
    assert!(peak < 100 << 20, "{peak} bytes, after {:?}", start.elapsed());
}

#[test]
fn a_directory_of_many_names_lists_quickly() {
    let mount = Served::new("");
    let start = std::time::Instant::now();
    let names = run(command("ls").arg("-f").arg(mount.path("crowd/wide"))).ok();
    assert_eq!(names.text().lines().count(), trees::WIDE + 2);
    // A tenth of that on an idle machine; what grows with the square of it takes hours.
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

/// The most memory that a process had, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}
