//! `rootfs/` is what `umoci unpack` makes of the same image, and `layers/NN/` what `tar x` makes of the layer, whoever
//! packed it: every path, type, mode, owner, time, link, device, extended attribute and byte.

use crate::support::archive::{self, Member};
use crate::support::compare::{differences, same, tree, ungroup, untimed};
use crate::support::content::Content;
use crate::support::image::{Blob, Image, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use crate::support::mount::Mount;
use crate::support::random_layers;
use crate::support::run::{command, run};
use crate::support::seed;
use crate::support::servers::DockerRegistry;
use regfs::digest::Digest;
use std::path::{Path, PathBuf};

/// Extracts `image` of the layout by umoci; the directory with its files.
fn unpack(layout: &Path, image: &str, bundle: &Path) -> PathBuf {
    assert!(nix::unistd::geteuid().is_root(), "owners and devices can be compared by root only");
    let image = format!("{}:{image}", layout.display());
    run(command("umoci").args(["unpack", "--image", &image]).arg(bundle)).ok();
    bundle.join("rootfs")
}

/// Runs a script in a directory.
fn sh(directory: &Path, script: &str) -> String {
    run(command("sh").args(["-euc", script]).current_dir(directory)).ok().text()
}

fn skopeo(args: &[&str], from: &str, to: &str) {
    run(command("skopeo").arg("copy").args(args).args([from, to])).ok();
}

fn oci(path: &Path) -> String {
    format!("oci:{}", path.display())
}

/// An image that umoci made of directories, in three layers: `umoci:v1` below `work`.
fn by_umoci(work: &Path) -> PathBuf {
    sh(
        work,
        r#"
        umoci init --layout umoci; umoci new --image umoci:v1; umoci unpack --image umoci:v1 bundle
        cd bundle/rootfs
        mkdir -p etc usr/bin var/log/old var/spool dev tmp opt/replaced "ключи é"
        echo base > etc/os-release; echo secret > etc/shadow; chmod 600 etc/shadow; chown 0:42 etc/shadow
        echo su > usr/bin/su; chmod 4755 usr/bin/su; ln usr/bin/su usr/bin/su2; ln usr/bin/su etc/su3
        ln -s su usr/bin/link; ln -s /usr/bin bin; ln -s nowhere "ключи é/ёж"
        mknod dev/null c 1 3; mknod dev/loop b 7 300; mkfifo tmp/pipe; chmod 1777 tmp
        long=$(printf 'n%.0s' $(seq 200)); mkdir -p $long/$long; echo far > $long/$long/$long
        ln -s $long/$long/$long $long/$long/link
        truncate -s 1M opt/sparse; printf data | dd of=opt/sparse bs=1 seek=524288 conv=notrunc status=none
        setfattr -n user.note -v "with a
newline" etc/os-release
        setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/bin/link2 2>/dev/null || true
        echo cap > usr/bin/ping; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/bin/ping
        setfattr -n user.dir -v 1 var/log
        echo x > var/log/old/x; echo y > var/log/y; echo z > opt/replaced/z; echo gone > var/spool/gone
        head -c 300000 /dev/urandom > opt/random
        touch -d '1960-05-06 07:08:09.25' etc/shadow; touch -d @1234567890.987654321 usr/bin/ping
        touch -h -d @1000000000.5 usr/bin/link; touch -d @1.5 opt
        cd ../..; umoci repack --refresh-bundle --image umoci:v1 bundle; cd bundle/rootfs
        rm var/log/y usr/bin/su2 bin; rm -r var/log/old; mkdir var/log/old; echo new > var/log/old/new
        rm -r opt/replaced; echo file > opt/replaced; mkdir bin; echo real > bin/real
        chmod 700 etc; chown 5:6 etc/os-release; rm -r var/spool; ln etc/os-release etc/release
        cd ../..; umoci repack --refresh-bundle --image umoci:v1 bundle; cd bundle/rootfs
        rm opt/replaced; mkdir opt/replaced; mkfifo opt/replaced/p; rm tmp/pipe; ln -s gone tmp/pipe; echo 2 >> etc/os-release
        cd ../..; umoci repack --image umoci:v1 bundle"#,
    );
    work.join("umoci")
}

#[test]
fn an_image_of_umoci_and_what_skopeo_makes_of_it() {
    let work = tempfile::tempdir().expect("tempdir");
    let layout = by_umoci(work.path());
    let expected = unpack(&layout, "v1", &work.path().join("expected"));
    let from = oci(&layout) + ":v1";
    // Elsewhere: what is there already, skopeo would not convert.
    let zstd = work.path().join("zstd");
    skopeo(&["--dest-compress-format", "zstd"], &from, &(oci(&zstd) + ":v1"));
    let registry = DockerRegistry::plain();
    let to = |name: &str| format!("docker://{}/{name}", registry.host());
    skopeo(&["--dest-tls-verify=false", "--format", "v2s2"], &from, &to("made/docker:v2"));
    skopeo(&["--dest-tls-verify=false"], &from, &to("made/oci:v1"));

    for layout in [&layout, &zstd] {
        let mount = Mount::new(&oci(layout), &[]);
        let converted = mount.text("tags/v1/manifest.json").matches("tar+zstd").count();
        assert_eq!(converted, if *layout == zstd { 3 } else { 0 }, "layers in zstd");
        same("of a layout", &expected, &mount.path("tags/v1/rootfs"));
        assert_eq!(mount.errors(), "");
    }
    let mount = Mount::new(&registry.host(), &[]);
    assert!(mount.text("made/docker/tags/v2/manifest.json").contains("docker.distribution.manifest.v2"));
    for tag in ["docker/tags/v2", "oci/tags/v1"] {
        same(tag, &expected, &mount.path(&format!("made/{tag}/rootfs")));
    }
    // Its layers and files are there beside what makes it a layout.
    let again = unpack(&mount.path("made/oci/tags/v1"), "v1", &work.path().join("again"));
    same("by way of the mount", &expected, &again);
    assert_eq!(mount.errors(), "");
}

/// Two archives of GNU tar and Python, and what they are extracted to one over the other.
#[test]
fn archives_of_gnu_tar_and_python_plain_and_in_many_members() {
    let work = tempfile::tempdir().expect("tempdir");
    sh(
        work.path(),
        r#"
        mkdir -p tree/sub "tree/ключ"; cd tree
        truncate -s 2M sparse; for at in 0 700000 2097100; do printf "%s" "at $at" | dd of=sparse bs=1 seek=$at conv=notrunc status=none; done
        cp sparse "ключ/$(printf 's%.0s' $(seq 150))"
        echo one > sub/one; ln sub/one two; ln -s sub/one link; mkfifo pipe; mknod zero c 1 5; chown 70000:80000 sub/one
        setfattr -n user.key -v value sub; touch -d @-1.25 two; touch -d @5000000000.000000001 sub; head -c 100000 /dev/urandom > random
        for format in gnu pax; do
            tar --format=$format --sparse --xattrs --xattrs-include='*' --numeric-owner -cf ../$format.tar .
        done
        cd ..; python3 -c '
import tarfile, io, gzip
with tarfile.open("python.tar", "w", format=tarfile.PAX_FORMAT) as tar:
    def add(name, type, **more):
        info = tarfile.TarInfo(name); info.type = type; info.mtime = -3.5
        data = more.pop("data", b""); info.size = len(data)
        for key, value in more.items(): setattr(info, key, value)
        tar.addfile(info, io.BytesIO(data))
    add("sub", tarfile.DIRTYPE, mode=0o2750, uid=3_000_000, mtime=1.125)
    add("sub/.wh.one", tarfile.REGTYPE)
    add("three", tarfile.REGTYPE, data=b"3" * 70000, mode=0o4711)
    add("sub/three", tarfile.LNKTYPE, linkname="three", mode=0o4711)
    add("ключ", tarfile.DIRTYPE)
    add("ключ/x", tarfile.SYMTYPE, linkname="../" + "y" * 150)
tar = open("python.tar", "rb").read()
with open("python.tar.gz", "wb") as out:
    for at in range(0, len(tar), 10007): out.write(gzip.compress(tar[at:at + 10007]))
'"#,
    );
    let plain = |name: &str| {
        let blob = Blob::new(OCI_LAYER, Content::file(&work.path().join(name)));
        let digest = blob.digest.clone();
        (blob, digest)
    };
    let layout = work.path().join("layout");
    for format in ["gnu", "pax"] {
        let lower = plain(&format!("{format}.tar"));
        let upper = plain("python.tar");
        let members = Blob::new(OCI_LAYER_GZIP, Content::file(&work.path().join("python.tar.gz")));
        Image::compressed(vec![lower.clone(), upper.clone()], "linux/amd64").write_layout(&layout, format);
        let many = format!("{format}-many");
        Image::compressed(vec![lower, (members, upper.1)], "linux/amd64").write_layout(&layout, &many);
    }
    let mount = Mount::new(&oci(&layout), &[]);
    for format in ["gnu", "pax"] {
        let expected = unpack(&layout, format, &work.path().join(format));
        same(format, &expected, &mount.path(&format!("tags/{format}/rootfs")));
        same("in members", &expected, &mount.path(&format!("tags/{format}-many/rootfs")));
        let tars = [(format!("{format}.tar"), "00"), ("python.tar".to_owned(), "01")];
        for (tar, number) in tars {
            let layer = extract(&work.path().join(tar), &work.path().join(format!("{format}{number}")));
            same(number, &layer, &mount.path(&format!("tags/{format}/layers/{number}")));
        }
        let sparse = std::fs::metadata(mount.path(&format!("tags/{format}/rootfs/sparse"))).expect("stat");
        use std::os::unix::fs::MetadataExt;
        assert!((1..1000).contains(&sparse.blocks()), "{} blocks", sparse.blocks());
    }
    assert_eq!(mount.errors(), "");
}

/// What GNU tar makes of an archive.
fn extract(tar: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir(to).expect("create a directory");
    let mut command = command("tar");
    // Times of directories at the end, when nothing is put into them any more.
    command.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-p"]);
    command.args(["--delay-directory-restore", "-xf"]);
    run(command.arg(tar).arg("-C").arg(to)).ok();
    to.to_owned()
}

#[test]
fn an_index_shows_the_tree_of_each_platform() {
    let work = tempfile::tempdir().expect("tempdir");
    let image = |name: &str| {
        let lower = archive::tar(&[Member::dir("etc/"), Member::file("etc/platform", name), Member::file("old", "")]);
        let upper = archive::tar(&[Member::file(".wh.old", ""), Member::file(&format!("only-{name}"), name)]);
        Image::of(vec![Blob::new(OCI_LAYER, lower), Blob::new(OCI_LAYER, upper)], &format!("linux/{name}"))
    };
    let images = ["amd64", "arm64"].map(|name| (name, image(name)));
    let layout = work.path().join("layout");
    Image::index(images.iter().map(|(_, image)| image.clone())).write_layout(&layout, "v1");
    let alone = work.path().join("alone");
    for (name, image) in &images {
        image.write_layout(&alone, name);
    }
    for (default, _) in &images {
        let mount = Mount::new(&oci(&layout), &["--platform", &format!("linux/{default}")]);
        for (name, _) in &images {
            let expected = unpack(&alone, name, &work.path().join(format!("{default}-{name}")));
            same(name, &expected, &mount.path(&format!("tags/v1/platforms/linux-{name}/rootfs")));
            if name == default {
                same(name, &expected, &mount.path("tags/v1/rootfs"));
            }
        }
        assert_eq!(mount.errors(), "");
    }
}

/// A layer in a manner of packing, and the digest of its archive.
fn packed(members: &[Member], how: u8) -> (Blob, Digest) {
    let tar = archive::tar(members);
    let diff_id = Digest::of(&tar);
    let with_table = |media_type: &str, packed: archive::Packed| {
        let blob = Blob { annotations: packed.annotations, ..Blob::new(media_type, packed.blob) };
        (blob, packed.diff_id)
    };
    match how {
        0 => (Blob::new(OCI_LAYER, tar), diff_id),
        1 => (Blob::new(OCI_LAYER_GZIP, archive::gzip(&tar)), diff_id),
        2 => {
            let members: Vec<u8> = tar.chunks(1009).flat_map(archive::gzip).collect();
            (Blob::new(OCI_LAYER_GZIP, members), diff_id)
        }
        3 => (Blob::new(OCI_LAYER_ZSTD, zstd::bulk::compress(&tar, 3).expect("zstd")), diff_id),
        4 => with_table(OCI_LAYER_GZIP, archive::estargz(members, 4000)),
        _ => with_table(OCI_LAYER_ZSTD, archive::zstd_chunked(members, 4000)),
    }
}

/// Manners of packing that there are.
const MANNERS: u8 = 6;

#[test]
fn random_layers_in_any_packing() {
    const CASES: usize = 20;
    let work = tempfile::tempdir().expect("tempdir");
    let mut rng = fastrand::Rng::with_seed(seed("random layers"));
    let (plain, served) = (work.path().join("plain"), work.path().join("served"));
    let start = std::time::SystemTime::now();
    let mut cases = Vec::new();
    for case in 0..CASES {
        let count = rng.usize(1..5);
        let links_out = rng.bool();
        let layers = random_layers::layers(&mut rng, count, links_out);
        let of = |how: &mut dyn FnMut() -> u8| {
            let layers = layers.iter().map(|layer| packed(&layer.members, how())).collect();
            Image::compressed(layers, "linux/amd64")
        };
        of(&mut || 0).write_layout(&plain, &format!("c{case}"));
        of(&mut || rng.u8(..MANNERS)).write_layout(&served, &format!("c{case}"));
        cases.push((layers, links_out));
    }
    let policy = rng.choice(["lazy", "strict"]).expect("some");
    let mount = Mount::new(&oci(&served), &["--verify", policy]);
    for (case, (layers, links_out)) in cases.iter().enumerate() {
        let bundle = work.path().join(format!("bundle{case}"));
        let told = || -> String {
            let line =
                |member: &Member| format!("  {} {:?} -> {:?}\n", member.flag as char, member.path, member.target);
            let layer = |layer: &random_layers::Layer| layer.members.iter().map(line).collect::<String>();
            layers.iter().map(layer).collect::<Vec<_>>().join("  --\n")
        };
        let expected = unpack(&plain, &format!("c{case}"), &bundle);
        let (mut expected, mut found) = (tree(&expected), tree(&mount.path(&format!("tags/c{case}/rootfs"))));
        if *links_out {
            // A link out of its layer is a file of its own in rootfs/: which other names it has is not told.
            ungroup(&mut expected);
            ungroup(&mut found);
        }
        untimed(&mut expected, &found, start);
        let differences = differences(&expected, &found);
        assert!(differences.is_empty(), "case {case} of\n{}:\n{differences}", told());
        for (number, layer) in layers.iter().enumerate().filter(|(_, layer)| layer.is_whole) {
            let tar = work.path().join("layer.tar");
            std::fs::write(&tar, archive::tar(&layer.members)).expect("write an archive");
            let expected = extract(&tar, &work.path().join(format!("{case}-{number}")));
            let found = mount.path(&format!("tags/c{case}/layers/{number:02}"));
            same(&format!("layer {number} of case {case} of\n{}", told()), &expected, &found);
        }
    }
    assert_eq!(mount.errors(), "");
}
