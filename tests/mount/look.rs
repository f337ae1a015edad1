//! What programs see: names, attributes, bytes, errors.

use crate::scene;
use crate::served::Served;
use crate::support::run::{command, run};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.expect_err("it was to fail").raw_os_error().expect("an errno")
}

#[test]
fn names_attributes_and_bytes() {
    let mount = Served::new("");
    let mut names: Vec<String> = fs::read_dir(mount.path(""))
        .expect("list")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["a b\nc", "backed", "big", "dated", "dead", "faulty", "link", "many", "owned", "small"],
        ".regfs is not listed"
    );

    let small = fs::metadata(mount.path("small")).expect("stat");
    assert_eq!((small.len(), small.blocks(), small.nlink(), small.mode()), (6, 1, 1, 0o100_444));
    assert_eq!((small.uid(), small.gid(), small.mtime()), (0, 0, 0));
    let dated = fs::metadata(mount.path("dated")).expect("stat");
    assert_eq!((dated.mtime(), dated.mtime_nsec()), (scene::DATE as i64, 123_456_789));
    assert_eq!((dated.ctime(), dated.atime(), dated.blocks()), (dated.mtime(), dated.mtime(), 0));
    let owned = fs::metadata(mount.path("owned")).expect("stat");
    assert_eq!((owned.uid(), owned.gid()), (12, 34));
    let root = fs::metadata(mount.path("")).expect("stat");
    assert_eq!((root.mode(), root.ino()), (0o040_555, 1));
    let big = fs::metadata(mount.path("big")).expect("stat");
    assert_eq!(big.blocks(), (scene::BIG as u64).div_ceil(512));

    assert_eq!(fs::read_link(mount.path("link")).expect("readlink"), std::path::Path::new("small"));
    assert_eq!(fs::read(mount.path("link")).expect("read"), b"hello\n");
    assert_eq!(fs::read(mount.path("a b\nc")).expect("read"), b"odd");
    assert!(fs::read(mount.path("big")).expect("read") == scene::big());
    let mut file = fs::File::open(mount.path("big")).expect("open");
    let mut part = vec![0; 5000];
    file.read_exact_at(&mut part, 1_234_567).expect("read");
    assert!(part.iter().enumerate().all(|(n, byte)| *byte == scene::byte(1_234_567 + n)));
    file.seek(SeekFrom::End(-3)).expect("seek");
    assert_eq!(file.read(&mut part).expect("read"), 3);
    assert_eq!(file.read(&mut part).expect("read"), 0);
}

#[test]
fn listing_entries_have_their_numbers_and_kinds() {
    let mount = Served::new("");
    for entry in fs::read_dir(mount.path("")).expect("list") {
        let entry = entry.expect("entry");
        let stat = fs::symlink_metadata(entry.path()).expect("stat");
        assert_eq!(std::os::unix::fs::DirEntryExt::ino(&entry), stat.ino(), "{:?}", entry.path());
        assert_eq!(entry.file_type().expect("type"), stat.file_type());
    }
    // Another mount shows the same numbers.
    let other = Served::new("");
    for name in ["small", "many/f00042", "dead"] {
        let ino = |mount: &Served| fs::metadata(mount.path(name)).expect("stat").ino();
        assert_eq!(ino(&mount), ino(&other));
    }
}

#[test]
fn ten_thousand_entries_cost_one_listing() {
    let mount = Served::new("");
    let ls = run(command("ls").arg("-l").arg(mount.path("many"))).ok();
    assert_eq!(ls.text().lines().count(), scene::MANY + 1);
    assert_eq!(mount.calls("list many"), 1);
    assert_eq!(mount.calls("lookup f09999"), 0, "attributes come with the listing to who looks at them");
    let mut names: Vec<_> =
        fs::read_dir(mount.path("many")).expect("list").map(|e| e.expect("entry").file_name()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), scene::MANY);
}

#[test]
fn attributes_beyond_stat() {
    let mount = Served::new("");
    let small = mount.path("small");
    let get = |name: &str| {
        let ran = run(command("python3")
            .args(["-c", "import os,sys;os.write(1,os.getxattr(sys.argv[1],sys.argv[2]))"])
            .arg(&small)
            .arg(name));
        (ran.code == Some(0)).then_some(ran.out).ok_or(ran.err)
    };
    assert_eq!(get("user.oci.digest").expect("value"), b"sha256:00");
    assert_eq!(get("user.long").expect("value"), vec![b'x'; 3000]);
    assert!(get("user.none").expect_err("none").contains("[Errno 61]"));
    assert!(get("security.selinux").expect_err("none").contains("[Errno 61]"));
    let list = run(command("python3").args(["-c", "import os,sys;print(os.listxattr(sys.argv[1]))"]).arg(&small)).ok();
    assert_eq!(list.text().trim(), "['user.oci.digest', 'user.long']");
    // A buffer too small for the value.
    let program = "import ctypes,sys;l=ctypes.CDLL(None,use_errno=True);b=ctypes.create_string_buffer(5)\n\
                   r=l.getxattr(sys.argv[1].encode(),b'user.oci.digest',b,5);print(r,ctypes.get_errno())";
    let small_buffer = run(command("python3").args(["-c", program]).arg(&small)).ok();
    assert_eq!(small_buffer.text().trim(), format!("-1 {}", libc::ERANGE));
}

#[test]
fn df_tells_the_cache() {
    let mount = Served::new("");
    let stat = nix::sys::statvfs::statvfs(&mount.path("small")).expect("statvfs");
    assert_eq!(stat.name_max(), 255);
    assert!(stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
    assert!(stat.blocks_free() <= stat.blocks());
    assert_eq!(stat.fragment_size() * stat.blocks(), 64 << 20, "the limit of the cache");
}

#[test]
fn nothing_can_be_written() {
    let mount = Served::new("");
    assert_eq!(errno(fs::write(mount.path("small"), "x")), libc::EROFS);
    assert_eq!(errno(fs::write(mount.path("new"), "x")), libc::EROFS);
    assert_eq!(errno(fs::create_dir(mount.path("new"))), libc::EROFS);
    assert_eq!(errno(fs::remove_file(mount.path("small"))), libc::EROFS);
    assert_eq!(errno(fs::rename(mount.path("small"), mount.path("large"))), libc::EROFS);
    assert_eq!(errno(std::os::unix::fs::symlink("a", mount.path("b"))), libc::EROFS);
    assert_eq!(errno(fs::hard_link(mount.path("small"), mount.path("b"))), libc::EROFS);
    assert_eq!(errno(fs::set_permissions(mount.path("small"), fs::Permissions::from_mode(0o777))), libc::EROFS);
    // The kernel is told otherwise: the answer is still ours.
    run(command("mount").args(["-i", "-o", "remount,rw"]).arg(mount.path(""))).ok();
    assert_eq!(errno(fs::write(mount.path("small"), "x")), libc::EROFS);
    assert_eq!(errno(fs::write(mount.path("new"), "x")), libc::EROFS);
    assert_eq!(errno(fs::create_dir(mount.path("new"))), libc::EROFS);
    assert_eq!(errno(fs::remove_file(mount.path("small"))), libc::EROFS);
    assert_eq!(errno(fs::rename(mount.path("small"), mount.path("large"))), libc::EROFS);
    assert_eq!(errno(fs::set_permissions(mount.path("small"), fs::Permissions::from_mode(0o777))), libc::EROFS);
}

#[test]
fn failures_have_their_errno() {
    let mount = Served::new("");
    assert_eq!(errno(fs::read(mount.path("none"))), libc::ENOENT);
    assert_eq!(errno(fs::read(mount.path("small/none"))), libc::ENOTDIR);
    assert_eq!(errno(fs::metadata(mount.path("denied"))), libc::EACCES);
    assert_eq!(errno(fs::read(mount.path("faulty/timeout"))), libc::ETIMEDOUT);
    assert_eq!(errno(fs::read(mount.path("faulty/corrupt"))), libc::EIO);
    assert_eq!(errno(fs::read(mount.path("faulty/short"))), libc::EIO, "never zeros for bytes that are missing");
    assert_eq!(errno(fs::metadata(mount.path(&"n".repeat(300)))), libc::ENAMETOOLONG);
    assert_eq!(errno(fs::read_link(mount.path("small"))), libc::EINVAL);
}

#[test]
fn memory_can_be_mapped_and_programs_read_as_they_like() {
    let mount = Served::new("");
    for name in ["big", "backed"] {
        let program = "import mmap,sys,hashlib\nf=open(sys.argv[1],'rb');m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ)\n\
                       f.close();print(hashlib.sha256(m).hexdigest())";
        let mapped = run(command("python3").args(["-c", program]).arg(mount.path(name))).ok();
        let read = run(command("sha256sum").arg(mount.path(name))).ok();
        assert_eq!(mapped.text().trim(), read.text().split(' ').next().expect("a digest"));
    }
}
