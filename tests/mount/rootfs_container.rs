//! A container runs off the mount with nothing pulled: `rootfs/` as the lower directory of an overlay, a shell in it
//! (what `podman run --rootfs DIR:O` does).

use crate::support::archive::{self, Member};
use crate::support::compare::{differences, tree};
use crate::support::content::Content;
use crate::support::image::{Blob, Image, OCI_LAYER, OCI_LAYER_GZIP};
use crate::support::mount::Mount;
use crate::support::run::{command, program, run};
use regfs::digest::Digest;
use std::path::Path;

/// A layer of this machine's shell and a few programs, with the libraries that they need.
fn system(work: &Path) -> (Blob, Digest) {
    let tar = work.join("system.tar");
    let programs = ["dash", "cat", "ls", "mv", "rm", "mkdir", "stat"].map(|name| program(name).display().to_string());
    let script = r#"
        tar=$1; shift
        libraries=$(for program; do ldd "$program"; done | grep -o '/[^ )]*' | sort -u)
        tar --dereference --hard-dereference --transform 's,^/*usr/bin/,bin/,' -P -cf "$tar" "$@" $libraries
        gzip -1 -k "$tar""#;
    run(command("sh").args(["-euc", script, "sh"]).arg(&tar).args(programs)).ok();
    let blob = Blob::new(OCI_LAYER_GZIP, Content::file(&work.join("system.tar.gz")));
    (blob, Content::file(&tar).digest())
}

#[test]
fn a_shell_runs_in_an_overlay_over_rootfs() {
    assert!(nix::unistd::geteuid().is_root(), "overlays can be mounted by root only");
    let work = tempfile::tempdir().expect("tempdir");
    let files = archive::tar(&[
        Member::dir("etc/"),
        Member::file("etc/os-release", "ID=test\n"),
        Member::file("etc/old", "old\n"),
        Member::dir("srv/"),
        Member::dir("srv/data/"),
        Member::file("srv/data/one", "one\n"),
        Member::dir("srv/data/deep/"),
        Member::file("srv/data/deep/two", "two\n"),
        Member::dir("opt/"),
        Member::file("opt/hidden", "hidden\n"),
        Member::symlink("sh", "bin/dash"),
        Member::new("dev", b'5', 0o755),
        Member { device: (1, 3), ..Member::new("dev/null", b'3', 0o666) },
    ]);
    let upper = archive::tar(&[Member::file("etc/.wh.old", ""), Member::file("opt/.wh..wh..opq", "")]);
    let plain = |tar: Vec<u8>| {
        let blob = Blob::new(OCI_LAYER, tar);
        let digest = blob.digest.clone();
        (blob, digest)
    };
    let layout = work.path().join("layout");
    let layers = vec![plain(files), system(work.path()), plain(upper)];
    Image::compressed(layers, "linux/amd64").write_layout(&layout, "v1");
    let mount = Mount::new(&format!("oci:{}", layout.display()), &[]);
    let rootfs = mount.path("tags/v1/rootfs");
    let before = tree(&rootfs);

    // In a mount namespace of its own: the overlay ends with the shell.
    let outside = r#"
        mount -t tmpfs tmpfs "$2"; cd "$2"; mkdir upper work all
        mount -t overlay overlay -o "lowerdir=$1,upperdir=upper,workdir=work" all
        chroot all /sh -eu -c "$3"
        echo "upper: $(cat upper/etc/os-release upper/made/file | tr '\n' ' ')""#;
    let inside = r#"
        PATH=/bin; cd /
        cat etc/os-release; test ! -e etc/old; test ! -e opt/hidden
        echo more >> etc/os-release; cat etc/os-release
        mkdir made; echo new > made/file; mv made/file made/moved; mv made/moved made/file
        rm srv/data/one; mv srv/data srv/renamed; cat srv/renamed/deep/two; ls srv srv/renamed
        rm -r srv/renamed; mkdir srv/data; ls srv/data; echo nothing > dev/null; stat -c %a:%F dev/null"#;
    let scratch = work.path().join("scratch");
    std::fs::create_dir(&scratch).expect("create a directory");
    let ran = run(command("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", outside, "sh"])
        .args([&rootfs, &scratch])
        .arg(inside))
    .ok();
    let expected = "ID=test\nID=test\nmore\ntwo\nsrv:\nrenamed\n\nsrv/renamed:\ndeep\n666:character special file\n\
                    upper: ID=test more new \n";
    assert_eq!(ran.text(), expected, "{}", ran.err);

    let after = differences(&before, &tree(&rootfs));
    assert!(after.is_empty(), "the image changed:\n{after}");
    assert_eq!(mount.errors(), "");
}
