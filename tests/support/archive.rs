//! Layers written member by member: as tar with PAX headers, and the same archive packed as eStargz or zstd:chunked.

use base64::Engine as _;
use regfs::digest::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use time::format_description::well_known::Rfc3339;

/// A member of an archive.
#[derive(Clone, Debug)]
pub struct Member {
    pub path: String,
    /// The type flag of tar.
    pub flag: u8,
    pub mode: u32,
    pub owner: (u32, u32),
    /// Seconds, rounded down, and nanoseconds.
    pub mtime: (i64, u32),
    pub content: Vec<u8>,
    pub target: String,
    pub device: (u32, u32),
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Member {
    pub fn new(path: &str, flag: u8, mode: u32) -> Member {
        Member {
            path: path.to_owned(),
            flag,
            mode,
            owner: (0, 0),
            mtime: (1_600_000_000, 0),
            content: Vec::new(),
            target: String::new(),
            device: (0, 0),
            xattrs: Vec::new(),
        }
    }

    pub fn dir(path: &str) -> Member {
        Member::new(path, b'5', 0o755)
    }

    pub fn file(path: &str, content: impl Into<Vec<u8>>) -> Member {
        Member { content: content.into(), ..Member::new(path, b'0', 0o644) }
    }

    pub fn symlink(path: &str, target: &str) -> Member {
        Member { target: target.to_owned(), ..Member::new(path, b'2', 0o777) }
    }

    /// A hard link. What it says of itself is what extraction leaves of the file.
    pub fn link(path: &str, to: &Member) -> Member {
        let mut link = Member { path: path.to_owned(), flag: b'1', content: Vec::new(), ..to.clone() };
        link.target = to.path.clone();
        link
    }

    /// The header blocks: a PAX header where there is more to say than fits.
    fn headers(&self) -> Vec<u8> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        let mut record = |key: &str, value: &[u8]| records.push((key.to_owned(), value.to_vec()));
        if self.path.len() > 100 || !self.path.is_ascii() {
            record("path", self.path.as_bytes());
        }
        if self.target.len() > 100 || !self.target.is_ascii() {
            record("linkpath", self.target.as_bytes());
        }
        let (secs, nanos) = self.mtime;
        if secs < 0 || nanos > 0 {
            // As decimal fractions are written: -1.5 is one second and a half before.
            let all = i128::from(secs) * 1_000_000_000 + i128::from(nanos);
            let sign = if all < 0 { "-" } else { "" };
            let all = all.unsigned_abs();
            record("mtime", format!("{sign}{}.{:09}", all / 1_000_000_000, all % 1_000_000_000).as_bytes());
        }
        for (name, value) in &self.xattrs {
            record(&format!("SCHILY.xattr.{name}"), value);
        }
        let mut out = Vec::new();
        if !records.is_empty() {
            let body: Vec<u8> = records.iter().flat_map(|(key, value)| pax(key, value)).collect();
            out.extend(header("PaxHeaders/0", b'x', 0o644, (0, 0), 0, body.len(), "", (0, 0)));
            out.extend_from_slice(&body);
            pad(&mut out);
        }
        let size = self.content.len();
        let (secs, owner) = (u64::try_from(secs).unwrap_or(0), self.owner);
        out.extend(header(&self.path, self.flag, self.mode, owner, secs, size, &self.target, self.device));
        out
    }

    /// What a table of contents says of it.
    fn record(&self) -> Value {
        let kind = match self.flag {
            b'1' => "hardlink",
            b'2' => "symlink",
            b'3' => "char",
            b'4' => "block",
            b'5' => "dir",
            b'6' => "fifo",
            _ => "reg",
        };
        let at = time::OffsetDateTime::from_unix_timestamp(self.mtime.0).expect("a time");
        let at = at + std::time::Duration::from_nanos(self.mtime.1.into());
        let base64 = base64::engine::general_purpose::STANDARD;
        let xattrs: BTreeMap<_, _> = self.xattrs.iter().map(|(name, value)| (name, base64.encode(value))).collect();
        json!({
            "type": kind, "name": self.path, "size": self.content.len(), "mode": self.mode, "linkName": self.target,
            "uid": self.owner.0, "gid": self.owner.1, "modtime": at.format(&Rfc3339).expect("a time"),
            "devMajor": self.device.0, "devMinor": self.device.1, "xattrs": xattrs,
        })
    }
}

/// The archive of these members.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        out.extend(member.headers());
        out.extend_from_slice(&member.content);
        pad(&mut out);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// A layer with its table of contents.
pub struct Packed {
    pub blob: Vec<u8>,
    pub annotations: BTreeMap<String, String>,
    /// The digest of the archive in it.
    pub diff_id: Digest,
}

/// The archive as stargz-snapshotter packs it: content in gzip members of its own, in chunks of `step` bytes; the table
/// is the last file of the archive.
pub fn estargz(members: &[Member], step: usize) -> Packed {
    let (mut blob, mut whole) = (Vec::new(), Vec::new());
    let mut records = Vec::new();
    // The headers before content, and the end of a file with the headers after it, are one gzip member each.
    let mut open: Vec<u8> = Vec::new();
    let mut close = |open: &mut Vec<u8>, blob: &mut Vec<u8>| {
        whole.extend_from_slice(open);
        blob.extend(gzip(open));
        open.clear();
    };
    for member in members {
        open.extend(member.headers());
        let at = records.len();
        records.push(member.record());
        for (n, part) in member.content.chunks(step).enumerate() {
            close(&mut open, &mut blob);
            chunk(&mut records, at, n, step, part, member, blob.len());
            open.extend_from_slice(part);
        }
        let left = member.content.len().next_multiple_of(512) - member.content.len();
        open.resize(open.len() + left, 0);
    }
    close(&mut open, &mut blob);
    let json = json!({"version": 1, "entries": records}).to_string();
    let toc = blob.len();
    let mut tail = tar(&[Member::file("stargz.index.json", json.clone())]);
    blob.extend(gzip(&tail));
    whole.append(&mut tail);
    blob.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
    blob.extend(format!("{toc:016x}STARGZ").as_bytes());
    blob.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    let name = "containerd.io/snapshot/stargz/toc.digest".to_owned();
    let annotations = [(name, Digest::of(json.as_bytes()).to_string())].into();
    Packed { blob, annotations, diff_id: Digest::of(&whole) }
}

/// The archive as containers/storage packs it: content in zstd frames of its own, in chunks of `step` bytes; the table
/// is in a frame that plain readers skip.
pub fn zstd_chunked(members: &[Member], step: usize) -> Packed {
    let frame = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).expect("zstd");
    let (mut blob, mut records) = (Vec::new(), Vec::new());
    for member in members {
        blob.extend(frame(&member.headers()));
        let at = records.len();
        records.push(member.record());
        for (n, part) in member.content.chunks(step).enumerate() {
            chunk(&mut records, at, n, step, part, member, blob.len());
            blob.extend(frame(part));
        }
        let left = member.content.len().next_multiple_of(512) - member.content.len();
        blob.extend(frame(&vec![0; left]));
    }
    blob.extend(frame(&[0; 1024]));
    let json = json!({"version": 1, "entries": records}).to_string();
    let packed = frame(json.as_bytes());
    let position = format!("{}:{}:{}:1", blob.len() + 8, packed.len(), json.len());
    for (magic, part) in [(0x184d_2a50_u32, &packed[..]), (0x184d_2a50, b"what other readers want")] {
        blob.extend(magic.to_le_bytes());
        blob.extend(u32::try_from(part.len()).expect("small").to_le_bytes());
        blob.extend_from_slice(part);
    }
    let name = |name: &str| format!("io.github.containers.zstd-chunked.{name}");
    let checksum = Digest::of(&packed).to_string();
    let annotations = [(name("manifest-checksum"), checksum), (name("manifest-position"), position)].into();
    Packed { blob, annotations, diff_id: Digest::of(&tar(members)) }
}

/// Notes a chunk of the file whose record is at `at`: in it, or in a record of its own.
fn chunk(records: &mut Vec<Value>, at: usize, n: usize, step: usize, part: &[u8], member: &Member, offset: usize) {
    if n > 0 {
        records.push(json!({"type": "chunk", "name": member.path}));
    } else {
        records[at]["digest"] = json!(Digest::of(&member.content).as_str());
    }
    let record = records.last_mut().expect("a record");
    record["offset"] = json!(offset);
    record["chunkOffset"] = json!(n * step);
    record["chunkSize"] = json!(part.len());
    record["chunkDigest"] = json!(Digest::of(part).as_str());
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("write");
    encoder.finish().expect("finish")
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(512), 0);
}

/// A PAX record: its length counts itself.
fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

#[allow(clippy::too_many_arguments)]
fn header(
    path: &str,
    flag: u8,
    mode: u32,
    owner: (u32, u32),
    mtime: u64,
    size: usize,
    target: &str,
    device: (u32, u32),
) -> [u8; 512] {
    let mut header = [0u8; 512];
    let mut put = |at: usize, limit: usize, bytes: &[u8]| {
        let len = bytes.len().min(limit);
        header[at..at + len].copy_from_slice(&bytes[..len]);
    };
    put(0, 100, path.as_bytes());
    put(100, 8, format!("{mode:07o}").as_bytes());
    put(108, 8, format!("{:07o}", owner.0).as_bytes());
    put(116, 8, format!("{:07o}", owner.1).as_bytes());
    put(124, 12, format!("{size:011o}").as_bytes());
    put(136, 12, format!("{mtime:011o}").as_bytes());
    put(148, 8, b"        ");
    put(156, 1, &[flag]);
    put(157, 100, target.as_bytes());
    put(257, 8, b"ustar\x0000");
    put(329, 8, format!("{:07o}", device.0).as_bytes());
    put(337, 8, format!("{:07o}", device.1).as_bytes());
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
