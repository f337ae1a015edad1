//! Images to look into: one of files of this machine, as large as real ones, and one of very many small files.

use crate::setting;
use crate::support::content::Content;
use crate::support::image::{Blob, Image, OCI_LAYER_GZIP};
use crate::support::run::command;
use regfs::digest::{Digest, Hasher};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A gzip layer in a file of its own.
pub(super) struct Layer {
    /// Its blob.
    pub(super) file: PathBuf,
    /// What the archive hashes to.
    diff: Digest,
    /// Bytes of the archive.
    pub(super) uncompressed: u64,
    /// The regular files in it, and their lengths; from the root, without a slash before.
    pub(super) files: Vec<(PathBuf, u64)>,
}

impl Layer {
    /// Bytes of the blob.
    pub(super) fn size(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |meta| meta.len())
    }

    /// A file of a few KiB, from the middle of the archive.
    pub(super) fn small_file(&self) -> &Path {
        let middle = self.files.iter().skip(self.files.len() / 2);
        let found = middle.chain(&self.files).find(|(_, len)| (100..8192).contains(len));
        &found.expect("a small file in the layer").0
    }
}

/// The image of `layers`, bottom first.
pub(super) fn image(layers: &[Layer]) -> Image {
    let blob = |layer: &Layer| (Blob::new(OCI_LAYER_GZIP, Content::file(&layer.file)), layer.diff.clone());
    Image::compressed(layers.iter().map(blob).collect(), "linux/amd64")
}

/// Layers of what is installed here, bottom first: a base, one that is most of the image, and a small one on top.
pub(super) fn of_this_machine(directory: &Path) -> Vec<Layer> {
    let unit = setting("REGFS_BENCH_MB", 500) * 1_000_000 / 100;
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let sources = home.join(".cargo/registry/src");
    let wanted: [(&[&Path], u64); 3] = [
        (&[Path::new("/usr/share"), Path::new("/usr/bin")], 60 * unit),
        (&[Path::new("/usr/lib")], 220 * unit),
        (&[&sources, Path::new("/usr/include")], 30 * unit),
    ];
    let layers = wanted.iter().enumerate();
    layers.map(|(number, (roots, most))| packed(directory, number, &gathered(roots, *most))).collect()
}

/// What is below `roots`, in order, until it is over `most` bytes; with its length if it is a regular file.
fn gathered(roots: &[&Path], most: u64) -> Vec<(PathBuf, Option<u64>)> {
    let (mut found, mut size) = (Vec::new(), 0);
    // Last in, first out: what is in a directory follows it.
    let mut todo: Vec<PathBuf> = roots.iter().rev().map(|root| (*root).to_owned()).collect();
    // A layer has the directories that lead to what is in it.
    let mut above: Vec<&Path> = roots.iter().flat_map(|root| root.ancestors().skip(1)).collect();
    above.sort();
    above.dedup();
    found.extend(above.into_iter().filter(|path| path.parent().is_some()).map(|path| (path.to_owned(), None)));
    while let Some(path) = todo.pop() {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if size > most {
            break;
        }
        let kind = meta.file_type();
        if kind.is_dir() {
            let Ok(names) = std::fs::read_dir(&path) else { continue };
            let mut names: Vec<PathBuf> = names.flatten().map(|entry| entry.path()).collect();
            names.sort_by(|a, b| b.cmp(a));
            todo.extend(names);
        } else if kind.is_file() && File::open(&path).is_err() || !(kind.is_file() || kind.is_symlink()) {
            continue;
        }
        let len = kind.is_file().then_some(meta.len());
        size += 512 + len.unwrap_or(0);
        found.push((path, len));
    }
    found
}

/// A layer of these, packed as `gzip -6` packs, by all processors where pigz is installed.
fn packed(directory: &Path, number: usize, members: &[(PathBuf, Option<u64>)]) -> Layer {
    let list = directory.join(format!("{number}.list"));
    let inside = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
    let names: Vec<u8> =
        members.iter().flat_map(|(path, _)| [inside(path).as_os_str().as_bytes(), b"\0"].concat()).collect();
    std::fs::write(&list, names).expect("write the list of files");
    let mut tar = command("tar");
    tar.args(["-C", "/", "--no-recursion", "--null", "-cf", "-", "-T"]).arg(&list);
    let mut tar = tar.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("run tar");
    let from = tar.stdout.take().expect("stdout of tar");
    let (file, diff, uncompressed) = gzipped(directory, number, from);
    let _ = tar.wait();
    let files = members.iter().filter_map(|(path, len)| Some((inside(path), (*len)?))).collect();
    Layer { file, diff, uncompressed, files }
}

/// Packs what `from` gives: the file, the digest of what it gave, and how much that was.
fn gzipped(directory: &Path, number: usize, mut from: impl Read) -> (PathBuf, Digest, u64) {
    let file = directory.join(format!("{number}.tar.gz"));
    let has_pigz = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|directory| directory.join("pigz").is_file());
    let mut gzip = command(if has_pigz { "pigz" } else { "gzip" });
    let out = File::create(&file).expect("create a layer");
    let mut gzip = gzip.args(["-6", "-c"]).stdin(Stdio::piped()).stdout(out).spawn().expect("run gzip");
    let mut to = gzip.stdin.take().expect("stdin of gzip");
    let mut hasher = Hasher::like(&Digest::of(b"")).expect("sha256");
    let (mut len, mut buf) = (0, vec![0; 1 << 20]);
    loop {
        let got = from.read(&mut buf).expect("read an archive");
        if got == 0 {
            break;
        }
        hasher.update(&buf[..got]);
        to.write_all(&buf[..got]).expect("write to gzip");
        len += got as u64;
    }
    drop(to);
    assert!(gzip.wait().expect("wait for gzip").success(), "gzip failed");
    (file, hasher.finish(), len)
}

/// A layer of `count` files of a few bytes, a thousand in each directory.
pub(super) fn many(directory: &Path, count: u64) -> Layer {
    let (file, diff, uncompressed) = gzipped(directory, 0, Many { next: 0, count, ready: Vec::new(), taken: 0 });
    Layer { file, diff, uncompressed, files: Vec::new() }
}

/// An archive of many files, made as it is read.
struct Many {
    next: u64,
    count: u64,
    ready: Vec<u8>,
    taken: usize,
}

impl Read for Many {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            if self.next < self.count {
                for _ in 0..100 {
                    let n = self.next;
                    let path = format!("srv/data/{:03}/module-{:06}-{:03}.txt", n / 1000, n * 7919 % 999_983, n % 1000);
                    member(&mut self.ready, &path, format!("file {n}\n").as_bytes());
                    self.next += 1;
                }
            } else if self.next < u64::MAX {
                self.ready.resize(1024, 0);
                self.next = u64::MAX;
            }
        }
        let count = buf.len().min(self.ready.len() - self.taken);
        buf[..count].copy_from_slice(&self.ready[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// Appends a regular file.
fn member(to: &mut Vec<u8>, path: &str, content: &[u8]) {
    let mut header = [0u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "14616077051");
    put(148, "        0");
    put(257, "ustar\u{0}00");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    to.extend_from_slice(&header);
    to.extend_from_slice(content);
    to.resize(to.len().next_multiple_of(512), 0);
}
