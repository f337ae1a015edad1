//! gzip layers as gzip, pigz and Python write them, of a tar of this machine's own files.

use regfs::digest::Digest;
use regfs::error::Result;
use regfs::layer::gzip::{Cache, Checkpoint, Inflated, SPACING, Scanner, Table};
use regfs::read_at::ReadAt;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A tar of what every build has: its sources and some of what was compiled of them.
fn tar() -> Vec<u8> {
    let program = std::env::current_exe().expect("this program");
    let out = Command::new("tar")
        .args(["-cf", "-", "--ignore-failed-read", "-C", "/", "usr/share/doc", "etc"])
        .arg(program.strip_prefix("/").expect("absolute"))
        .stderr(Stdio::null())
        .output()
        .expect("tar");
    assert!(out.stdout.len() > 4 << 20, "too little to test with: {} bytes", out.stdout.len());
    let mut bytes = out.stdout;
    bytes.truncate(24 << 20);
    bytes
}

/// What `program` writes when given `input`; `None` if it is not installed.
fn filter(program: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = match Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{program}: {error}"),
    };
    let mut stdin = child.stdin.take().expect("stdin");
    let out = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).expect("write"));
        child.wait_with_output().expect("output")
    });
    assert!(out.status.success(), "{program} {args:?}");
    Some(out.stdout)
}

fn scan(packed: &[u8], plain: &[u8]) -> Result<Vec<Checkpoint>> {
    let table = Arc::new(Table::new());
    let mut scanner = Scanner::new(SPACING, table.clone())?;
    let mut at = 0;
    for piece in packed.chunks(64 << 10) {
        scanner.feed(piece, &mut |bytes| {
            assert!(plain[at..].starts_with(bytes), "the content differs after byte {at}");
            at += bytes.len();
            Ok(())
        })?;
    }
    scanner.finish()?;
    assert_eq!(at, plain.len());
    Ok(table.with(<[Checkpoint]>::to_vec))
}

/// Scans, reads every span, then reads at random.
fn holds(name: &str, packed: Vec<u8>, plain: &[u8]) {
    let seed = fastrand::u64(..);
    let checkpoints = scan(&packed, plain).expect(name);
    let ends = checkpoints.last().map_or(0, |last| last.point.next_output);
    assert_eq!(ends, plain.len() as u64, "{name}");
    let most = plain.len() / SPACING as usize + 1;
    assert!((most / 8..=most).contains(&checkpoints.len()), "{name}: {} checkpoints", checkpoints.len());
    let windows: usize = checkpoints.iter().map(|at| at.window.len() + 64).sum();
    assert!(windows * 100 < plain.len(), "{name}: {windows} bytes of checkpoints");
    let starts: Vec<u64> = checkpoints.iter().map(|at| at.point.output).collect();
    let table = Table::new();
    table.extend(checkpoints);
    let (cache, digest) = (Arc::new(Cache::new(4 << 20)), Digest::of(&packed));
    let inflated = Inflated::new(Arc::new(packed), Arc::new(table), plain.len() as u64, cache, digest);
    let mut random = fastrand::Rng::with_seed(seed);
    let anywhere = (0..200).map(|_| random.u64(..plain.len() as u64)).collect::<Vec<_>>();
    let mut buf = vec![0; 300_000];
    for at in starts.into_iter().rev().chain(anywhere) {
        let got = inflated.read_at(&mut buf, at).expect(name);
        let expected = &plain[at as usize..(at as usize + buf.len()).min(plain.len())];
        assert!(buf[..got] == *expected, "{name}, seed {seed}: differs at {at}");
    }
}

#[test]
fn what_gzip_writes() {
    let plain = tar();
    for level in ["-1", "-6", "-9"] {
        holds(level, filter("gzip", &[level, "-c"], &plain).expect("gzip"), &plain);
    }
    holds("rsyncable", filter("gzip", &["--rsyncable", "-c"], &plain).expect("gzip"), &plain);
}

#[test]
fn what_pigz_writes() {
    let plain = tar();
    for args in [&["-c"][..], &["-c", "-i"], &["-c", "-p", "1", "-1"]] {
        let Some(packed) = filter("pigz", args, &plain) else { return };
        holds(&format!("pigz {args:?}"), packed, &plain);
    }
}

#[test]
fn what_other_makers_write() {
    let plain = tar();
    let python = "import sys,zlib;d=sys.stdin.buffer.read();o=sys.stdout.buffer
for i in range(0,len(d),300000):
 c=zlib.compressobj(%s);o.write(c.compress(d[i:i+300000])+c.flush())
o.write(b'\\0'*500)";
    for how in ["6,8,31", "1,8,31,1", "0,8,31", "6,8,31,8,2", "6,8,31,8,4", "9,8,25"] {
        let packed = filter("python3", &["-c", &python.replace("%s", how)], &plain).expect("python3");
        holds(&format!("zlib {how}"), packed, &plain);
    }
}

/// zlib itself, member after member: for each flip of a bit, what the content's digest is, or that there is none.
const VERDICTS: &str = "
import hashlib,sys,zlib
data=sys.stdin.buffer.read()
for flip in sys.argv[1:]:
    blob=bytearray(data); at,bit=map(int,flip.split(':')); blob[at]^=1<<bit
    rest,plain=bytes(blob),b''
    try:
        while True:
            member=zlib.decompressobj(31); plain+=member.decompress(rest)
            if not member.eof: raise zlib.error('cut')
            rest=member.unused_data
            if rest[:2]!=b'\\x1f\\x8b': break
        print('sha256:'+hashlib.sha256(plain).hexdigest())
    except zlib.error: print('damaged')
";

#[test]
fn damage_is_seen_as_zlib_sees_it() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let plain = &tar()[..60_000];
    let packed: Vec<u8> = plain.chunks(20_000).flat_map(|part| filter("gzip", &["-c"], part).expect("gzip")).collect();
    let headers = (0..30).chain(packed.len() - 10..packed.len()).flat_map(|at| (0..8).map(move |bit| (at, bit)));
    let flips: Vec<(usize, u8)> =
        headers.chain((0..600).map(|_| (random.usize(..packed.len()), random.u8(..8)))).collect();
    let args: Vec<String> = flips.iter().map(|(at, bit)| format!("{at}:{bit}")).collect();
    let args: Vec<&str> = ["-c", VERDICTS].into_iter().chain(args.iter().map(String::as_str)).collect();
    let verdicts = String::from_utf8(filter("python3", &args, &packed).expect("python3")).expect("text");
    assert_eq!(verdicts.lines().count(), flips.len());
    for ((at, bit), verdict) in flips.into_iter().zip(verdicts.lines()) {
        let mut blob = packed.clone();
        blob[at] ^= 1 << bit;
        let mut content = Vec::new();
        let mut scanner = Scanner::new(SPACING, Arc::default()).expect("new");
        let scanned = scanner.feed(&blob, &mut |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        });
        let ours = match scanned.and_then(|()| scanner.finish()) {
            Ok(()) => Digest::of(&content).to_string(),
            Err(_) => "damaged".to_owned(),
        };
        assert_eq!(ours, verdict, "seed {seed}, bit {bit} of byte {at}");
    }
}

#[test]
fn readers_of_one_layer_share_what_is_inflated() {
    let plain = tar();
    let packed = filter("gzip", &["-6", "-c"], &plain).expect("gzip");
    let table = Table::new();
    table.extend(scan(&packed, &plain).expect("scan"));
    let (cache, digest) = (Arc::new(Cache::new(64 << 20)), Digest::of(&packed));
    let inflated = Inflated::new(Arc::new(packed), Arc::new(table), plain.len() as u64, cache.clone(), digest);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut buf = vec![0; 128 << 10];
                for at in (0..plain.len()).step_by(buf.len()) {
                    let got = inflated.read_at(&mut buf, at as u64).expect("read");
                    assert!(plain[at..].starts_with(&buf[..got]));
                }
            });
        }
    });
    assert_eq!(cache.used(), plain.len() as u64, "every span is there once");
}
