//! The tar reader against Python's tarfile and GNU tar, over random archives of theirs.

use regfs::layer::entry::{Entry, Kind};
use regfs::layer::tar::Reader;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

/// Writes an archive of a format from a seed, reads it again, and tells of each member as a line of JSON.
const PYTHON: &str = r#"
import decimal, hashlib, io, json, os, random, sys, tarfile
path, form, seed = sys.argv[1], getattr(tarfile, sys.argv[2] + "_FORMAT"), sys.argv[3]
raw = lambda text: text.encode("utf-8", "surrogateescape")
if seed != "read":
    r = random.Random(sys.argv[2] + seed)
    wide = form != tarfile.USTAR_FORMAT
    def name():
        part = lambda: "".join(r.choice("ab c.-_" + ("\u00e9\u263a\U0001f600\udcff\n" if wide else ""))
                               for _ in range(r.choice([1, 3, 9, 60, 99 if wide else 9]))) + "x"
        return r.choice(["", "./", "/"]) + "/".join(part() for _ in range(r.choice([1, 2, 5])))
    def number(bits, low=0):
        return r.choice([low, 0, 1, r.randrange(1 << bits), (1 << bits) - 1])
    kinds = [tarfile.REGTYPE] * 4 + [tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE,
             tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
    extra = {"comment": "global"} if form == tarfile.PAX_FORMAT and r.random() < .5 else {}
    with tarfile.open(path, "w", format=form, pax_headers=extra, errors="surrogateescape") as t:
        for _ in range(40):
            m = tarfile.TarInfo(name())
            m.type, m.mode = r.choice(kinds), r.randrange(0o10000)
            if m.type == tarfile.AREGTYPE and len(raw(m.name)) > 99:
                # Python takes it for a directory, if the name was cut off after a slash.
                m.type = tarfile.REGTYPE
            m.uid, m.gid = number(31 if wide else 21), number(31 if wide else 21)
            m.uname, m.gname = r.choice(["", "root", "\u00e9" * 5]), r.choice(["", "staff"])
            m.mtime = number(40 if wide else 33, -(1 << 35) if wide else 0)
            if m.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
                m.linkname = name()
            if m.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
                m.devmajor, m.devminor = number(12), number(20)
            if form == tarfile.PAX_FORMAT:
                if r.random() < .5:
                    m.pax_headers["mtime"] = r.choice(["", "-"]) + str(r.randrange(1 << 31)) + r.choice(
                        ["", ".", ".5", ".%09d" % r.randrange(10**9), ".%012d" % r.randrange(10**12)])
                for n in range(r.choice([0, 0, 1, 3])):
                    value = bytes(r.choice(b"\n\0= a\x80\xff") for _ in range(r.choice([1, 20, 300])))
                    m.pax_headers["SCHILY.xattr.user.%d" % n] = value.decode("utf-8", "surrogateescape")
            data = r.randbytes(r.choice([0, 1, 511, 512, 513, r.randrange(5000)]))
            # A size without content, for the types that may have none.
            m.size = len(data)
            content = io.BytesIO(data) if m.type in tarfile.REGULAR_TYPES else None
            try:
                t.addfile(m, content)
            except ValueError as error:
                assert not wide, error
with tarfile.open(path, errors="surrogateescape") as t:
    for m in t:
        time = decimal.Decimal(m.pax_headers.get("mtime") or m.mtime)
        cut = time.quantize(decimal.Decimal("1e-9"), rounding=decimal.ROUND_DOWN)
        secs = int(cut.to_integral_value(rounding=decimal.ROUND_FLOOR))
        print(json.dumps({
            "path": raw(m.name).hex(), "target": raw(m.linkname).hex() if m.islnk() or m.issym() else "",
            "kind": {b"\0": "0", b"7": "0", b"S": "0"}.get(m.type, m.type.decode()),
            "mode": m.mode & 0o7777, "uid": m.uid, "gid": m.gid,
            "secs": secs, "nanos": int((cut - secs).scaleb(9)),
            "size": m.size if m.isreg() else 0,
            "device": [m.devmajor, m.devminor] if m.isdev() and not m.isfifo() else [0, 0],
            "sha256": hashlib.sha256(t.extractfile(m).read() if m.isreg() else b"").hexdigest(),
            "xattrs": sorted([raw(k[13:]).hex(), raw(v).hex()] for k, v in m.pax_headers.items()
                             if k.startswith("SCHILY.xattr."))}))
"#;

/// What a reader makes of an archive fed in pieces of a length.
fn entries(archive: &[u8], piece: usize) -> Vec<Entry> {
    let (mut reader, mut entries) = (Reader::new(), Vec::new());
    for bytes in archive.chunks(piece) {
        let fed = reader.feed(bytes, &mut |entry| {
            entries.push(entry);
            Ok(())
        });
        fed.expect("a good archive");
    }
    reader.finish().expect("a whole archive");
    entries
}

/// The content of a member, holes filled.
fn content(entry: &Entry, archive: &[u8]) -> Vec<u8> {
    let mut content = vec![0; entry.size as usize];
    for extent in &entry.extents {
        let from = &archive[extent.offset as usize..][..extent.len as usize];
        content[extent.at as usize..][..extent.len as usize].copy_from_slice(from);
    }
    content
}

/// An entry in the words of the Python program.
fn told(entry: &Entry, archive: &[u8]) -> serde_json::Value {
    let kind = match entry.kind {
        Kind::File => "0",
        Kind::Hardlink => "1",
        Kind::Symlink => "2",
        Kind::Char => "3",
        Kind::Block => "4",
        Kind::Dir => "5",
        Kind::Fifo => "6",
    };
    let mut path = entry.path.as_slice();
    // Python takes the slashes off directories.
    while let Some(short) = path.strip_suffix(b"/").filter(|_| entry.kind == Kind::Dir) {
        path = short;
    }
    let xattrs: Vec<_> = entry.xattrs.iter().map(|(name, value)| [hex::encode(name), hex::encode(value)]).collect();
    serde_json::json!({
        "path": hex::encode(path), "target": hex::encode(&entry.target), "kind": kind,
        "mode": entry.mode, "uid": entry.uid, "gid": entry.gid,
        "secs": entry.mtime.secs, "nanos": entry.mtime.nanos,
        "size": entry.size, "device": [entry.device.0, entry.device.1],
        "sha256": hex::encode(Sha256::digest(content(entry, archive))), "xattrs": xattrs,
    })
}

/// Runs the Python program; what it tells.
fn python(archive: &Path, format: &str, seed: &str) -> Vec<serde_json::Value> {
    let output = run(Command::new("python3").args(["-c", PYTHON]).arg(archive).args([format, seed]));
    output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn archives_of_python_read_as_python_reads_them() {
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("archive.tar");
    let base = fastrand::u32(..);
    for format in ["USTAR", "GNU", "PAX"] {
        for seed in (0..15).map(|turn| base.wrapping_add(turn)) {
            let expected = python(&path, format, &seed.to_string());
            let archive = fs::read(&path).expect("the archive");
            let found = entries(&archive, archive.len());
            assert_eq!(found, entries(&archive, 1), "in single bytes, {format} {seed}");
            assert!(expected.len() > 10, "enough members, {format} {seed}");
            assert_eq!(found.len(), expected.len(), "{format} {seed}");
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(&told(found, &archive), expected, "member {at} of {format} {seed}");
            }
        }
    }
}

/// Makes files of data and holes, links, and names of all lengths.
fn plant(root: &Path, random: &mut fastrand::Rng, wide: bool) {
    for turn in 0..30 {
        let mut name = format!("{turn}-");
        let (dirs, len) = (random.usize(0..3), random.usize(1..40));
        name.extend((0..len).map(|_| random.choice(['a', 'B', ' ', 'é', '☺']).expect("a letter")));
        let dir = (0..dirs).fold(root.to_owned(), |dir, depth| {
            dir.join(format!("{depth}").repeat(if wide { random.usize(1..200) } else { 9 }))
        });
        fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join(if wide { name } else { format!("{turn}") });
        let file = File::create_new(&path).expect("a file");
        let parts = random.choice([0, 1, 2, 6, 40]).expect("a number");
        let mut at = 0;
        for _ in 0..parts {
            at += random.u64(0..4) * 4096 + random.choice([0, 1, 700]).expect("a number");
            let data: Vec<u8> = (0..random.usize(1..6000)).map(|_| random.u8(1..)).collect();
            file.write_all_at(&data, at).expect("data");
            at += data.len() as u64;
        }
        file.set_len(at + random.u64(0..3) * 5000).expect("a length");
        file.set_permissions(Permissions::from_mode(random.u32(0o400..0o10000) | 0o400)).expect("a mode");
        if random.bool() {
            fs::hard_link(&path, root.join(format!("hard{turn}"))).expect("a hard link");
            std::os::unix::fs::symlink(&path, root.join(format!("soft{turn}"))).expect("a link");
        }
    }
    let files = fs::read_dir(root).expect("a listing").count();
    assert!(files > 10, "enough files: {files}");
}

#[test]
fn archives_of_gnu_tar_hold_what_was_put_in() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let formats: [&[&str]; 8] = [
        &["--format=gnu", "-S"],
        &["--format=oldgnu", "-S"],
        &["--format=posix", "-S", "--sparse-version=0.0"],
        &["--format=posix", "-S", "--sparse-version=0.1"],
        &["--format=posix", "-S", "--sparse-version=1.0"],
        &["--format=gnu"],
        &["--format=ustar"],
        &["--format=v7"],
    ];
    for format in formats {
        let scratch = tempfile::tempdir().expect("a directory");
        let (root, path) = (scratch.path().join("root"), scratch.path().join("archive.tar"));
        fs::create_dir(&root).expect("a directory");
        let wide = !matches!(format[0], "--format=ustar" | "--format=v7");
        plant(&root, &mut random, wide);
        run(Command::new("tar").args(format).arg("-cf").arg(&path).arg("-C").arg(&root).arg("."));
        let archive = fs::read(&path).expect("the archive");
        let found = entries(&archive, 1);
        assert_eq!(found, entries(&archive, 4000), "in pieces, {format:?} {seed}");
        compare(&found, &archive, &root, &format!("{format:?} {seed}"));
        let holes = found.iter().filter(|entry| stored(entry) < entry.size).count();
        assert_eq!(holes > 0, format.contains(&"-S"), "sparse files are written as such, {format:?} {seed}");
        for (found, mut expected) in found.iter().zip(python(&path, "GNU", "read")) {
            // Python calls some sparse files by the name that is for programs that know of none.
            let found = told(found, &archive);
            expected["path"] = found["path"].clone();
            assert_eq!(found, expected, "{format:?} {seed}");
        }
    }
}

fn stored(entry: &Entry) -> u64 {
    entry.extents.iter().map(|extent| extent.len).sum()
}

/// Checks that an archive holds each file of a directory, as it is.
fn compare(found: &[Entry], archive: &[u8], root: &Path, case: &str) {
    let mut first_of: HashMap<u64, &[u8]> = HashMap::new();
    let mut seen = BTreeMap::new();
    for entry in found {
        let path = root.join(OsStr::from_bytes(&entry.path));
        let stat = path.symlink_metadata().expect("what is in the archive is there");
        assert!(seen.insert(path.clone(), ()).is_none(), "{path:?} once, {case}");
        if entry.kind == Kind::Hardlink {
            assert_eq!(Some(&entry.target[..]), first_of.get(&stat.ino()).copied(), "{path:?} {case}");
            continue;
        }
        first_of.insert(stat.ino(), &entry.path);
        assert_eq!((entry.uid, entry.gid, entry.mode), (stat.uid(), stat.gid(), stat.mode() & 0o7777), "{path:?}");
        assert_eq!(entry.mtime.secs, stat.mtime(), "{path:?} {case}");
        if case.contains("posix") {
            assert_eq!(i64::from(entry.mtime.nanos), stat.mtime_nsec(), "{path:?} {case}");
        }
        match entry.kind {
            Kind::File => {
                assert!(content(entry, archive) == fs::read(&path).expect("the file"), "{path:?} {case}");
            }
            Kind::Symlink => {
                let target = fs::read_link(&path).expect("the link");
                assert_eq!(entry.target, target.as_os_str().as_bytes(), "{case}");
            }
            kind => assert_eq!((kind, stat.is_dir()), (Kind::Dir, true), "{path:?} {case}"),
        }
    }
    let listed = run(Command::new("find").arg(root).args(["-printf", "."]));
    assert_eq!(found.len(), listed.len(), "all of it, {case}");
}
