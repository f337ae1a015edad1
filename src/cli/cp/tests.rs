//! Copies of a tree in memory that holds what a root filesystem holds.

use super::copying::{Copying, Manner};
use crate::cli::out::{Out, Report};
use crate::error::Result;
use crate::read_at::ReadAt;
use crate::tree::{Attr, Dir, Entry, File, Handle, Link, Node, Special, SpecialKind, Xattrs, not_found};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// An owner other than whoever runs the tests.
const OWNER: (u32, u32) = (1234, 4321);
const DATE: i64 = 1_600_000_000;

struct Member {
    attr: Attr,
    bytes: Vec<u8>,
    entries: Vec<(&'static str, Node)>,
}

struct Opened(Vec<u8>);

impl ReadAt for Opened {
    fn len(&self) -> Result<u64> {
        Ok(self.0.as_slice().len() as u64)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        // In odd pieces, as the contract does not forbid.
        let some = buf.len().min(10_007);
        self.0.read_at(&mut buf[..some], offset)
    }
}

impl Handle for Opened {}

impl File for Member {
    fn attr(&self) -> Attr {
        self.attr.clone()
    }
    fn open(&self) -> Result<Arc<dyn Handle>> {
        Ok(Arc::new(Opened(self.bytes.clone())))
    }
    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        Ok(vec![("user.note".into(), b"hello".to_vec()), ("user.oci.digest".into(), b"sha256:00".to_vec())])
    }
}

impl Dir for Member {
    fn attr(&self) -> Attr {
        self.attr.clone()
    }
    fn list(&self) -> Result<Vec<Entry>> {
        Ok(self.entries.iter().map(|(name, node)| Entry { name: name.into(), node: node.clone() }).collect())
    }
    fn lookup(&self, name: &OsStr) -> Result<Node> {
        Err(not_found(name))
    }
}

fn dressed(mode: u16, plain: Attr) -> Attr {
    Attr { mode, mtime: Some(UNIX_EPOCH + Duration::new(DATE as u64, 7)), owner: Some(OWNER), ..plain }
}

fn file(bytes: &[u8], attr: Attr) -> Node {
    let attr = Attr { size: bytes.len() as u64, ..attr };
    Node::File(Arc::new(Member { attr, bytes: bytes.to_vec(), entries: Vec::new() }))
}

fn plain(mode: u16) -> Attr {
    dressed(mode, Attr::file(0))
}

fn dir(mode: u16, entries: Vec<(&'static str, Node)>) -> Node {
    Node::Dir(Arc::new(Member { attr: dressed(mode, Attr::dir()), bytes: Vec::new(), entries }))
}

fn link(target: &str) -> Node {
    let attr = dressed(0o777, Attr::link(OsStr::new(target)));
    Link { target: target.into(), attr, xattrs: Xattrs::default() }.into()
}

fn special(kind: SpecialKind, device: (u32, u32)) -> Node {
    Special { kind, device, attr: plain(0o640), xattrs: Xattrs::default() }.into()
}

/// Copies it as the command does; the exit code.
fn copy(node: &Node, to: &Path, manner: Manner) -> u8 {
    let (mut out, mut report) = (Out::new().expect("output"), Report::new("cp"));
    let mut copying = Copying::new(Manner { quiet: true, ..manner }, &mut report, &mut out);
    if let Err(error) = copying.node(node, OsStr::new("image"), to, 0) {
        report.failed(OsStr::new("image"), &error).expect("told");
    }
    report.code()
}

const RECURSIVE: Manner = Manner { recursive: true, no_clobber: false, verbose: false, quiet: true };

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Permissions, and the owner if only root could have given it away.
fn facts(path: &Path) -> (u32, Option<(u32, u32)>, (i64, i64)) {
    let stat = fs::symlink_metadata(path).expect("stat");
    let owner = is_root().then_some((stat.uid(), stat.gid()));
    (stat.mode() & 0o7777, owner, (stat.mtime(), stat.mtime_nsec()))
}

#[test]
fn an_image_is_copied_with_all_that_cp_keeps() {
    let tree = dir(
        0o2750,
        vec![
            ("file", file(b"hello\n", plain(0o4711))),
            ("link", link("/etc/passwd")),
            ("locked", dir(0o1555, vec![("inner", file(b"x", plain(0o000)))])),
        ],
    );
    let place = tempfile::tempdir().expect("a directory");
    let to = place.path().join("copy");
    assert_eq!(copy(&tree, &to, RECURSIVE), 0);
    let owner = is_root().then_some(OWNER);
    // Who could not give it away has no setuid file of his own instead.
    let kept = |mode: u32| if is_root() { mode } else { mode & 0o1777 };
    for (name, mode) in [("", 0o2750), ("file", 0o4711), ("locked", 0o1555), ("locked/inner", 0)] {
        assert_eq!(facts(&to.join(name)), (kept(mode), owner, (DATE, 7)), "{name}");
    }
    assert_eq!(fs::read_link(to.join("link")).expect("link"), Path::new("/etc/passwd"));
    assert_eq!(facts(&to.join("link")), (0o777, owner, (DATE, 7)));
    assert_eq!(fs::read(to.join("file")).expect("read"), b"hello\n");
}

#[test]
fn hard_links_stay_one_file() {
    let linked = |identity| file(b"linked", Attr { nlink: 2, identity, ..plain(0o644) });
    let soft = |name: &str| match link(name) {
        Node::Link(link) => {
            let attr = Attr { nlink: 2, identity: 1, ..link.attr.clone() };
            Node::from(Link { attr, ..(*link).clone() })
        }
        other => other,
    };
    let inner = dir(0o755, vec![("b", linked(1)), ("soft", soft("x")), ("other", linked(2))]);
    let tree = dir(0o755, vec![("a", linked(1)), ("dir", inner), ("soft", soft("x"))]);
    let place = tempfile::tempdir().expect("a directory");
    let to = place.path().join("copy");
    // Twice: the second time over what is there.
    for round in 0..2 {
        assert_eq!(copy(&tree, &to, RECURSIVE), 0);
        let ino = |name: &str| fs::symlink_metadata(to.join(name)).expect("stat").ino();
        assert_eq!(ino("a"), ino("dir/b"), "round {round}");
        assert_eq!(ino("soft"), ino("dir/soft"));
        assert_eq!(fs::metadata(to.join("a")).expect("stat").nlink(), 2);
        assert_eq!(fs::metadata(to.join("dir/other")).expect("stat").nlink(), 1);
        assert_eq!(fs::read_dir(&to).expect("list").count(), 3, "no temporary name is left");
    }
}

#[test]
fn holes_stay_holes() {
    let mut bytes = vec![0; (3 << 20) + 77];
    bytes[5_000] = 1;
    bytes[2 << 20] = 2;
    let sparse = |bytes: &[u8], stored| file(bytes, Attr { stored, ..plain(0o644) });
    let empty = vec![0; 1 << 20];
    let tree = dir(0o755, vec![("sparse", sparse(&bytes, Some(2))), ("empty", sparse(&empty, Some(0)))]);
    let place = tempfile::tempdir().expect("a directory");
    let to = place.path().join("copy");
    assert_eq!(copy(&tree, &to, RECURSIVE), 0);
    assert!(fs::read(to.join("sparse")).expect("read") == bytes);
    assert!(fs::read(to.join("empty")).expect("read") == empty);
    let blocks = fs::metadata(to.join("sparse")).expect("stat").blocks();
    assert!(blocks < 100, "{blocks} blocks");
}

#[test]
fn devices_are_made_by_root_and_skipped_by_others() {
    let devices = vec![
        ("null", special(SpecialKind::Char, (1, 3))),
        ("disk", special(SpecialKind::Block, (7, 300))),
        ("pipe", special(SpecialKind::Fifo, (0, 0))),
        ("socket", special(SpecialKind::Socket, (0, 0))),
    ];
    let place = tempfile::tempdir().expect("a directory");
    let to = place.path().join("copy");
    assert_eq!(copy(&dir(0o755, devices), &to, RECURSIVE), 0, "what is skipped is no failure");
    let of = |name: &str| fs::symlink_metadata(to.join(name));
    assert!(of("pipe").expect("stat").file_type().is_fifo() && of("socket").expect("stat").file_type().is_socket());
    // Also root may be one who may not: in a container.
    if let Ok(null) = of("null") {
        assert_eq!((null.rdev(), null.mode()), (libc::makedev(1, 3), libc::S_IFCHR | 0o640));
        let disk = of("disk").expect("stat");
        assert!(disk.file_type().is_block_device());
        assert_eq!((disk.rdev(), disk.uid()), (libc::makedev(7, 300), OWNER.0));
    }
    // Without -r there is nothing to copy.
    let out = place.path().join("out");
    assert_ne!(copy(&special(SpecialKind::Char, (1, 3)), &out, Manner::default()), 0);
    assert!(!out.exists());
}

#[test]
fn an_images_links_lead_nothing_out_of_the_copy() {
    let place = tempfile::tempdir().expect("a directory");
    let outside = place.path().join("outside");
    fs::create_dir(&outside).expect("mkdir");
    fs::write(outside.join("file"), "mine").expect("write");
    let leaves = link(outside.to_str().expect("text"));
    let file_link = link(outside.join("file").to_str().expect("text"));
    // Names that come twice, as no file system has them.
    let inner = dir(0o755, vec![("file", file(b"theirs", plain(0o644)))]);
    let tree = dir(0o755, vec![("d", leaves), ("d", inner), ("f", file_link), ("f", file(b"theirs", plain(0o644)))]);
    let to = place.path().join("copy");
    assert_ne!(copy(&tree, &to, RECURSIVE), 0, "a directory does not replace a link");
    assert_eq!(fs::read(outside.join("file")).expect("read"), b"mine");
    assert_eq!(fs::read_dir(&outside).expect("list").count(), 1);
    assert_eq!(fs::read(to.join("f")).expect("read"), b"theirs");
    assert!(fs::symlink_metadata(to.join("f")).expect("stat").is_file());
}

#[test]
fn a_single_file_is_the_callers_own() {
    let place = tempfile::tempdir().expect("a directory");
    let to = place.path().join("su");
    assert_eq!(copy(&file(b"su", plain(0o4755)), &to, Manner::default()), 0);
    let stat = fs::metadata(&to).expect("stat");
    assert_eq!((stat.permissions().mode() & 0o7777, stat.uid()), (0o755, nix::unistd::geteuid().as_raw()));
    // What is there stays, if that is asked for.
    let kept = Manner { no_clobber: true, ..RECURSIVE };
    assert_eq!(copy(&file(b"other", plain(0o644)), &to, kept), 0);
    assert_eq!(fs::read(&to).expect("read"), b"su");
}

#[test]
fn attributes_go_along_where_the_file_system_takes_them() {
    let place = tempfile::tempdir_in("/tmp").expect("a directory");
    let to = place.path().join("copy");
    assert_eq!(copy(&dir(0o755, vec![("f", file(b"x", plain(0o444)))]), &to, RECURSIVE), 0);
    let list = |path: &Path| {
        let ran = std::process::Command::new("getfattr").args(["-d", "--absolute-names"]).arg(path).output();
        String::from_utf8(ran.expect("getfattr").stdout).expect("text")
    };
    let probe = place.path().join("probe");
    fs::write(&probe, "").expect("write");
    let set = std::process::Command::new("setfattr").args(["-n", "user.a", "-v", "b"]).arg(&probe).status();
    let takes = set.expect("setfattr").success();
    let listed = list(&to.join("f"));
    assert_eq!(listed.contains("user.note=\"hello\""), takes, "{listed}");
    assert!(!listed.contains("user.oci"), "what regfs tells is no attribute of the file: {listed}");
}
