//! Whole blobs of every kind, damaged ones too: scanned, resumed at every checkpoint, read at random.

use super::*;
use crate::digest::Digest;
use crate::error::{Kind, Result};
use crate::read_at::ReadAt;
use crate::span::Span;
use proptest::prelude::*;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

/// Bytes like those of a source tree: words that come again, near and far, and some noise.
fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let words: Vec<Vec<u8>> =
        (0..3000).map(|_| (0..random.usize(2..12)).map(|_| random.alphanumeric() as u8).collect()).collect();
    let mut bytes = Vec::with_capacity(len + 4096);
    while bytes.len() < len {
        match random.u8(..) {
            0 => bytes.extend((0..random.usize(..2000)).map(|_| random.u8(..))),
            1 => bytes.resize(bytes.len() + random.usize(..4000), 0),
            _ => {
                let most = random.usize(1..words.len());
                bytes.extend(&words[random.usize(..most)]);
                bytes.push(b' ');
            }
        }
    }
    bytes.truncate(len);
    bytes
}

fn gzip(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(plain).expect("write");
    encoder.finish().expect("finish")
}

/// A scan in pieces of `piece` bytes: the content and the checkpoints.
fn scan(packed: &[u8], piece: usize, spacing: u64) -> Result<(Vec<u8>, Vec<Checkpoint>)> {
    let table = Arc::new(Table::new());
    let mut scanner = Scanner::new(spacing, table.clone())?;
    let mut plain = Vec::new();
    for piece in packed.chunks(piece) {
        scanner.feed(piece, &mut |bytes| {
            plain.extend_from_slice(bytes);
            Ok(())
        })?;
        assert!(table.covered() <= plain.len() as u64);
    }
    scanner.finish()?;
    assert_eq!((scanner.position().1, table.covered()), (plain.len() as u64, plain.len() as u64));
    Ok((plain, table.with(<[Checkpoint]>::to_vec)))
}

fn open(packed: &[u8], checkpoints: &[Checkpoint], size: u64) -> Inflated {
    let table = Table::new();
    table.extend(checkpoints.iter().cloned());
    let blob: Arc<dyn ReadAt> = Arc::new(packed.to_vec());
    Inflated::new(blob, Arc::new(table), size, Arc::new(Cache::new(8 << 20)), Digest::of(packed))
}

/// Scans `packed`, compares it with `plain`, and resumes at every checkpoint, with its check and without.
fn whole(packed: &[u8], plain: &[u8], spacing: u64) -> Vec<Checkpoint> {
    let (found, checkpoints) = scan(packed, 10_000, spacing).expect("scan");
    assert!(found == plain, "the content differs");
    let mut at = 0;
    for checkpoint in &checkpoints {
        let Point { output, next_output, .. } = checkpoint.point;
        assert_eq!(output, at);
        assert!(next_output > at);
        at = next_output;
        for check in [checkpoint.point.check, None] {
            let point = Point { check, ..checkpoint.point };
            let alone = Table::new();
            alone.extend([Checkpoint { point, window: checkpoint.window.clone() }]);
            let bytes = resume::inflate(&packed.to_vec(), &alone, &point).expect("resume");
            assert!(bytes == plain[output as usize..next_output as usize], "span at {output} differs");
        }
    }
    assert_eq!(at, plain.len() as u64);
    checkpoints
}

#[test]
fn every_checkpoint_of_every_level_leads_to_the_content() {
    let plain = text(3_000_000, 1);
    for level in [0, 2, 6, 9] {
        let packed = gzip(&plain, level);
        let checkpoints = whole(&packed, &plain, MIN_SPACING);
        assert!(checkpoints.len() > 15, "level {level}: {}", checkpoints.len());
        let spaced = checkpoints.iter().rev().skip(1).all(|at| at.point.next_output - at.point.output >= MIN_SPACING);
        assert!(spaced, "level {level}");
        assert!(level == 0 || checkpoints.iter().any(|at| at.point.bits > 0), "within bytes too");
    }
}

#[test]
fn windows_hold_little_of_what_is_not_referred_to() {
    let plain = text(4_000_000, 2);
    let checkpoints = whole(&gzip(&plain, 6), &plain, SPACING);
    let windows: usize = checkpoints.iter().map(|at| at.window.len()).sum();
    let whole: usize = checkpoints
        .iter()
        .filter_map(|at| plain.get((at.point.output as usize).checked_sub(WINDOW)?..at.point.output as usize))
        .map(|window| zstd::bulk::compress(window, 3).expect("compress").len())
        .sum();
    assert!(windows > 0 && windows < whole, "{windows} of {whole} bytes");
}

#[test]
fn pieces_do_not_matter() {
    let plain = text(300_000, 3);
    let mut packed = gzip(&plain[..200_000], 6);
    packed.extend(gzip(&plain[200_000..], 1));
    let expected = scan(&packed, packed.len(), MIN_SPACING).expect("in one piece");
    assert!(expected.0 == plain);
    for piece in [1, 2, 3, 1000, 65_536] {
        assert!(scan(&packed, piece, MIN_SPACING).expect("in pieces") == expected, "pieces of {piece}");
    }
}

#[test]
fn members_follow_each_other_whatever_is_within() {
    let plain = text(1_000_000, 4);
    let mut packed = Vec::new();
    for part in plain.chunks(777) {
        packed.extend(gzip(part, 6));
        packed.extend(gzip(b"", 6));
    }
    let checkpoints = whole(&packed, &plain, MIN_SPACING);
    assert!((8..=16).contains(&checkpoints.len()), "at most one per spacing: {}", checkpoints.len());
    assert_eq!(scan(&gzip(b"", 6), 1, SPACING).expect("empty"), (Vec::new(), Vec::new()));
    assert_eq!(whole(&gzip(b"x", 6), b"x", SPACING).len(), 1);
}

#[test]
fn what_follows_the_members_is_ignored_unless_it_is_a_member() {
    let packed = gzip(b"content", 6);
    for rest in [&[0; 10_000][..], b"\0\0\x1f\x8b", b"\x1f", b"\x1f\x1f\x8b", b"garbage"] {
        let blob = [&packed[..], rest].concat();
        assert_eq!(scan(&blob, 3, SPACING).expect("ignored").0, b"content");
        let mut scanner = Scanner::new(SPACING, Arc::default()).expect("new");
        scanner.feed(&blob, &mut |_| Ok(())).expect("feed");
        assert!(scanner.position().0 <= packed.len() as u64 + 1);
    }
    for (rest, kind) in [(&b"\x1f\x8b"[..], Kind::Corrupt), (b"\x1f\x8b\x07", Kind::Unsupported)] {
        assert_eq!(scan(&[&packed[..], rest].concat(), 3, SPACING).expect_err("a member").kind(), kind);
    }
}

#[test]
fn trailers_and_ends_are_checked() {
    let packed = gzip(&text(5000, 5), 6);
    assert_eq!(scan(b"", 1, SPACING).expect_err("nothing").kind(), Kind::Corrupt);
    for len in 1..packed.len() {
        assert_eq!(scan(&packed[..len], 999, SPACING).expect_err("cut").kind(), Kind::Corrupt, "at {len}");
    }
    for at in packed.len() - 8..packed.len() {
        let mut wrong = packed.clone();
        wrong[at] ^= 1;
        let error = scan(&wrong, 999, SPACING).expect_err("flipped");
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}

#[test]
fn failures_stay_and_the_takers_are_told() {
    let packed = gzip(&text(500_000, 6), 6);
    let mut scanner = Scanner::new(SPACING, Arc::default()).expect("new");
    let mut refuse = |_: &[u8]| Err(crate::error::Error::new(Kind::NoSpace, "full"));
    assert_eq!(scanner.feed(&packed, &mut refuse).expect_err("refused").kind(), Kind::NoSpace);
    assert_eq!(scanner.feed(&packed, &mut |_| Ok(())).expect_err("stays").kind(), Kind::NoSpace);
    assert_eq!(scanner.finish().expect_err("stays").kind(), Kind::NoSpace);
}

#[test]
fn blocks_without_content_do_not_fill_memory_or_the_index() {
    // A member of empty stored blocks, and one byte in the last.
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let start = text(MIN_SPACING as usize, 7);
    for part in start.chunks(50_000) {
        packed.push(0);
        packed.extend((part.len() as u16).to_le_bytes());
        packed.extend((!(part.len() as u16)).to_le_bytes());
        packed.extend(part);
    }
    packed.extend([0, 0, 0, 0xff, 0xff].repeat(400_000));
    packed.extend([1, 1, 0, 0xfe, 0xff, b'x']);
    let plain = [&start[..], b"x"].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&plain);
    packed.extend(crc.sum().to_le_bytes());
    packed.extend(crc.amount().to_le_bytes());
    let checkpoints = whole(&packed, &plain, MIN_SPACING);
    assert!(checkpoints.len() < 4, "{}", checkpoints.len());
}

#[test]
fn a_block_that_has_no_end_is_only_inflated() {
    // One block of fixed codes: a literal, then copies of 258 bytes from one byte back, a bit pattern of 13 bits each.
    let mut bits: Vec<bool> = vec![false, true, false];
    bits.extend([0, 0, 1, 1, 0, 0, 0, 0].map(|bit| bit == 1));
    let copy = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0].map(|bit| bit == 1);
    (0..8 * 100).for_each(|_| bits.extend(copy));
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    packed.extend(bits.chunks(8).map(|byte| byte.iter().rev().fold(0u8, |sum, bit| sum << 1 | u8::from(*bit))));
    // Eight copies are 13 bytes: from here on the bytes repeat.
    let (start, more) = (packed[..10 + 13].to_vec(), packed[10 + 13..10 + 26].repeat(1000));
    let run = |mut scanner: Scanner| {
        let mut inflated = 0u64;
        for piece in std::iter::once(&start).chain(std::iter::repeat_n(&more, 100)) {
            scanner.feed(piece, &mut |bytes| {
                inflated += bytes.len() as u64;
                assert!(bytes.iter().all(|byte| *byte == 0));
                Ok(())
            })?;
        }
        Ok::<u64, crate::error::Error>(inflated)
    };
    let error = run(Scanner::new(SPACING, Arc::default()).expect("new")).expect_err("no end");
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(run(Scanner::plain().expect("new")).expect("inflated") > 2 * MAX_SPAN);
}

#[test]
fn reads_anywhere_give_the_content() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let plain = text(2_000_000, 8);
    let packed = gzip(&plain, 6);
    let (_, checkpoints) = scan(&packed, 5000, MIN_SPACING).expect("scan");
    let inflated = open(&packed, &checkpoints, plain.len() as u64);
    for _ in 0..500 {
        let at = random.usize(..plain.len() + 10);
        let mut buf = vec![0; random.usize(..200_000)];
        let got = inflated.read_at(&mut buf, at as u64).expect("read");
        let expected = plain.get(at..(at + buf.len()).min(plain.len())).unwrap_or_default();
        assert!(buf[..got] == *expected, "seed {seed}: {} bytes at {at}", buf.len());
    }
    let mut all = Vec::new();
    inflated
        .stream(Span::new(10, u64::MAX), &mut |at, bytes| {
            assert_eq!(at, 10 + all.len() as u64);
            all.extend_from_slice(bytes);
            Ok(())
        })
        .expect("stream");
    assert!(all == plain[10..]);
    assert_eq!(inflated.read_at(&mut [0; 9], u64::MAX).expect("past the end"), 0);
    assert_eq!(inflated.len().expect("len"), plain.len() as u64);
}

/// Counts what is read of it.
struct Counted(Vec<u8>, std::sync::atomic::AtomicU64);

impl ReadAt for Counted {
    fn len(&self) -> Result<u64> {
        ReadAt::len(&self.0)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.1.fetch_add(buf.len() as u64, std::sync::atomic::Ordering::Relaxed);
        self.0.read_at(buf, offset)
    }
}

#[test]
fn reading_on_reads_every_compressed_byte_once() {
    let plain = text(2_000_000, 9);
    let packed = gzip(&plain, 6);
    let (_, checkpoints) = scan(&packed, 5000, MIN_SPACING).expect("scan");
    let count = checkpoints.len() as u64;
    // With less than a span, the one that is being read stays nevertheless; with more, the next is made beside it.
    for budget in [1, 8 << 20] {
        let table = Table::new();
        table.extend(checkpoints.iter().cloned());
        let blob = Arc::new(Counted(packed.clone(), Default::default()));
        let cache = Arc::new(Cache::new(budget));
        let inflated =
            Inflated::new(blob.clone(), Arc::new(table), plain.len() as u64, cache.clone(), Digest::of(&packed));
        let mut buf = vec![0; 4096];
        for at in (0..plain.len()).step_by(4096) {
            let got = inflated.read_at(&mut buf, at as u64).expect("read");
            assert!(buf[..got] == plain[at..at + got]);
        }
        let read = blob.1.load(std::sync::atomic::Ordering::Relaxed);
        assert!(read <= packed.len() as u64 + count, "{read} bytes of {} with {budget}", packed.len());
    }
}

#[test]
fn who_reads_on_finds_the_next_span_made() {
    let plain = text(2_000_000, 10);
    let packed = gzip(&plain, 6);
    let (_, checkpoints) = scan(&packed, 5000, MIN_SPACING).expect("scan");
    let ends: Vec<u64> = checkpoints.iter().map(|at| at.point.next_output).collect();
    let table = Table::new();
    table.extend(checkpoints);
    let cache = Arc::new(Cache::new(8 << 20));
    let blob: Arc<dyn ReadAt> = Arc::new(packed.clone());
    let inflated = Inflated::new(blob, Arc::new(table), plain.len() as u64, cache.clone(), Digest::of(&packed));
    let read = |at: u64| inflated.read_at(&mut [0; 9], at).expect("read");
    for at in [ends[5], ends[9], 0, ends[0]] {
        read(at);
    }
    // Nobody read on so far: nothing was made that was not asked for.
    let made = |from: usize, to: usize| ends[to] - ends[from];
    let asked = made(5, 6) + made(9, 10) + ends[1];
    assert_eq!(cache.used(), asked);
    read(ends[1]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while cache.used() < asked + made(1, 3) {
        assert!(std::time::Instant::now() < deadline, "the next span was not made");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn lies_of_an_index_are_corrupt() {
    let plain = text(1_000_000, 10);
    let packed = gzip(&plain, 6);
    let (_, checkpoints) = scan(&packed, 5000, MIN_SPACING).expect("scan");
    let size = plain.len() as u64;
    let lie = |change: &dyn Fn(&mut Checkpoint)| {
        let mut lying = checkpoints[5].clone();
        change(&mut lying);
        let at = lying.point.output;
        open(&packed, &[lying], size).read_at(&mut [0; 100], at).map_err(|error| error.kind())
    };
    assert_eq!(lie(&|_| ()), Ok(100));
    let corrupt = Err(Kind::Corrupt);
    assert_eq!(lie(&|it| it.point.bits = 8), corrupt);
    assert_eq!(lie(&|it| it.point.bits = 255), corrupt);
    assert_eq!(lie(&|it| it.point.bits = (it.point.bits + 1) % 8), corrupt);
    assert_eq!(lie(&|it| it.point.input += 1), corrupt);
    assert_eq!(lie(&|it| it.point.input = u64::MAX), corrupt);
    assert_eq!(lie(&|it| (it.point.input, it.point.bits) = (0, 1)), corrupt);
    assert_eq!(lie(&|it| it.point.next_input = it.point.input + 10), corrupt);
    assert_eq!(lie(&|it| it.point.next_input -= 10), corrupt);
    assert_eq!(lie(&|it| it.point.next_output += 1), corrupt);
    assert_eq!(lie(&|it| it.point.next_output = u64::MAX), corrupt);
    assert_eq!(lie(&|it| it.point.next_output -= 1), corrupt);
    assert_eq!(lie(&|it| (it.point.next_input, it.point.next_output) = (u64::MAX, u64::MAX)), corrupt);
    assert_eq!(lie(&|it| it.point.output += 1), corrupt);
    assert_eq!(lie(&|it| it.window.clear()), corrupt);
    assert_eq!(lie(&|it| it.window.truncate(9)), corrupt);
    assert_eq!(lie(&|it| it.window = zstd::bulk::compress(&[b'x'; WINDOW], 3).expect("pack")), corrupt);
    assert_eq!(lie(&|it| it.point.check = Some([7; 32])), corrupt);
    let short = open(&packed[..packed.len() / 2], &checkpoints, size);
    assert_eq!(short.read_at(&mut [0; 100], size - 100).expect_err("cut").kind(), Kind::Corrupt);
    let more = open(&packed, &checkpoints, size + 1);
    assert_eq!(more.read_at(&mut [0; 100], size - 10).expect_err("not there").kind(), Kind::Busy);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The same content, or the same refusal, as flate2's reader of many members.
    #[test]
    fn agrees_with_another_reader(
        parts in prop::collection::vec((0usize..40_000, 0u32..10, any::<u64>()), 1..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..2),
        cut in prop::option::of(any::<prop::sample::Index>()),
        piece in 1usize..5000,
    ) {
        let mut packed = Vec::new();
        for (len, level, seed) in parts {
            packed.extend(gzip(&text(len, seed), level));
        }
        if let Some(cut) = cut {
            packed.truncate(cut.index(packed.len()).max(1));
        }
        for (at, bit) in &flips {
            let at = at.index(packed.len());
            packed[at] ^= 1 << bit;
        }
        let mut other = Vec::new();
        let read = flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut other);
        match (scan(&packed, piece, SPACING), read) {
            (Ok((plain, _)), Ok(_)) => prop_assert!(plain == other),
            // It refuses what is ignored here: what follows a member and is none.
            (Ok((plain, _)), Err(_)) => prop_assert!(other == plain),
            // Reserved flags are no matter to it.
            (Err(error), Ok(_)) => prop_assert_eq!(error.kind(), Kind::Unsupported),
            (Err(_), Err(_)) => {}
        }
    }

    /// Whatever happens to the blob or to the checkpoints after the first pass: the right bytes or an error.
    #[test]
    fn damage_after_the_first_pass_is_seen(
        seed in any::<u64>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
        windows in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let plain = text(400_000, seed);
        let mut packed = gzip(&plain, 6);
        let (_, mut checkpoints) = scan(&packed, 5000, MIN_SPACING).expect("scan");
        for (at, bit) in &flips {
            let damaged = match checkpoints.iter_mut().find(|it| windows && !it.window.is_empty()) {
                Some(checkpoint) => &mut checkpoint.window,
                None => &mut packed,
            };
            let at = at.index(damaged.len());
            damaged[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            packed.truncate(cut.index(packed.len()));
        }
        let inflated = open(&packed, &checkpoints, plain.len() as u64);
        for at in (0..plain.len()).step_by(30_000) {
            let mut buf = vec![0; 30_000];
            match inflated.read_at(&mut buf, at as u64) {
                Ok(got) => prop_assert!(buf[..got] == plain[at..(at + 30_000).min(plain.len())]),
                Err(error) => prop_assert_eq!(error.kind(), Kind::Corrupt),
            }
        }
    }

    /// Points made of anything: no panic, and nothing but what they claim.
    #[test]
    fn any_point_is_answered(
        input in 0u64..3000, bits in 0u8..10, output in any::<u64>(), inputs in 0u64..3000, outputs in 0u64..3_000_000,
        window in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let packed = gzip(&text(10_000, 11), 6);
        let next_output = output.saturating_add(outputs);
        let point = Point { input, bits, output, next_input: input + inputs, next_output, check: None };
        let table = Table::new();
        table.extend([Checkpoint { point, window: zstd::bulk::compress(&window, 3).expect("pack") }]);
        if let Ok(bytes) = resume::inflate(&packed, &table, &point) {
            prop_assert_eq!(bytes.len() as u64, next_output - output);
        }
    }
}
