//! The first pass: frames of every kind, damaged and cut.

use super::*;
use crate::layer::zstd::cache::Cache;
use crate::layer::zstd::framed::Framed;
use crate::read_at::read_all;
use proptest::prelude::*;
use std::io::Write as _;
use std::sync::Arc;

/// Text that compresses, with numbers that make every place different.
fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("line {line} of the text\n").into_bytes()).take(len).collect()
}

/// A frame as streams make them: a window, a checksum, no size.
fn stream(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("encoder");
    encoder.include_checksum(true).expect("checksum");
    encoder.write_all(content).expect("write");
    encoder.finish().expect("finish")
}

fn skippable(len: usize) -> Vec<u8> {
    [&[0x53, 0x2a, 0x4d, 0x18][..], &(len as u32).to_le_bytes(), &vec![0xaa; len]].concat()
}

fn scan(blob: &[u8], step: usize) -> Result<(Vec<u8>, Frames)> {
    let mut scanner = Scanner::new()?;
    let mut content = Vec::new();
    for part in blob.chunks(step) {
        scanner.feed(part, &mut |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        })?;
    }
    Ok((content, scanner.finish()?))
}

fn framed(blob: Vec<u8>, frames: Frames) -> Framed {
    Framed::new(Arc::new(blob), Arc::new(frames), Arc::new(Cache::new(1 << 20))).expect("framed")
}

#[test]
fn frames_of_all_kinds_one_after_the_other() {
    let content = text(3_000_000);
    let (a, rest) = content.split_at(1_000_000);
    let (b, c) = rest.split_at(131_072);
    let blob = [
        skippable(0),
        stream(a),
        skippable(70_000),
        zstd::bulk::compress(b, 1).expect("compress"),
        stream(b""),
        skippable(3),
        stream(c),
        skippable(1),
    ]
    .concat();
    for step in [1, 7, 4096, blob.len()] {
        let (got, frames) = scan(&blob, step).expect("valid");
        assert!(got == content, "step {step}");
        assert_eq!(frames.len(), content.len() as u64);
        assert_eq!(frames.blob_len(), blob.len() as u64);
        let first = frames.pieces()[0];
        assert_eq!((first.blob.start, first.content.end), (8, a.len() as u64), "step {step}");
        assert!(read_all(&framed(blob.clone(), frames), 1 << 30).expect("read") == content, "step {step}");
    }
}

#[test]
fn nothing_is_a_layer_too() {
    assert!(scan(&[], 1).expect("empty").1.is_empty());
    assert!(scan(&skippable(5), 2).expect("skipped").1.is_empty());
}

#[test]
fn a_large_frame_is_not_read_by_frames() {
    let blob = stream(&text(9 << 20));
    let (_, frames) = scan(&blob, 1 << 16).expect("valid");
    assert!(!frames.is_seekable());
    let refused = Framed::new(Arc::new(blob), Arc::new(frames), Arc::new(Cache::new(0))).err().expect("refused");
    assert_eq!(refused.kind(), Kind::Unsupported);
}

#[test]
fn a_blob_of_another_length_is_refused() {
    let mut blob = stream(&text(1000));
    let (_, frames) = scan(&blob, 100).expect("valid");
    blob.push(0);
    let refused = Framed::new(Arc::new(blob), Arc::new(frames), Arc::new(Cache::new(0))).err().expect("refused");
    assert_eq!(refused.kind(), Kind::Corrupt);
}

#[test]
fn an_end_within_a_frame_is_noticed() {
    let blob = [stream(&text(1000)), skippable(9)].concat();
    let whole = stream(&text(1000)).len();
    for cut in 0..blob.len() {
        let result = scan(&blob[..cut], 64);
        if cut == 0 || cut == whole {
            result.expect("between frames");
        } else {
            assert_eq!(result.expect_err("cut").kind(), Kind::Corrupt, "{cut}");
        }
    }
}

#[test]
fn rubbish_after_a_frame_is_named() {
    let error = scan(&[stream(b"x"), b"rubbish".to_vec()].concat(), 5).expect_err("rubbish");
    assert!(error.to_string().contains("zstd frame at byte"), "{error}");
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[test]
fn a_wrong_checksum_is_noticed() {
    let mut blob = stream(&text(1000));
    *blob.last_mut().expect("not empty") ^= 1;
    let error = scan(&blob, 100).expect_err("checksum");
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn what_takes_the_content_can_stop_it() {
    let mut scanner = Scanner::new().expect("scanner");
    let blob = stream(&text(1000));
    let error = scanner.feed(&blob, &mut |_| Err(Error::new(Kind::Interrupted, "enough"))).expect_err("stopped");
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(scanner.feed(&blob, &mut |_| Ok(())).expect_err("of no more use").kind(), Kind::Corrupt);
}

#[test]
fn a_bomb_comes_in_small_parts() {
    let blob = stream(&vec![0; 64 << 20]);
    let mut scanner = Scanner::new().expect("scanner");
    let mut made = 0;
    scanner
        .feed(&blob, &mut |part| {
            assert!(part.len() <= STEP);
            made += part.len();
            Ok(())
        })
        .expect("valid");
    assert_eq!(made, 64 << 20);
    assert_eq!(scanner.made(), made as u64);
}

proptest! {
    /// With checksums, damage is an error or does not matter; never another content.
    #[test]
    fn flips_and_cuts(at in any::<usize>(), bit in 0u8..8, cut in any::<bool>(), step in 1usize..300) {
        let content = text(5000);
        let mut blob = [stream(&content[..2000]), skippable(40), stream(&content[2000..])].concat();
        let at = at % blob.len();
        if cut { blob.truncate(at) } else { blob[at] ^= 1 << bit }
        if let Ok((got, frames)) = scan(&blob, step) {
            prop_assert!(content.starts_with(&got) || got == content[2000..], "{} bytes", got.len());
            prop_assert!(cut || got == content || got.len() < content.len());
            prop_assert!(read_all(&framed(blob, frames), 1 << 20).expect("read") == got);
        }
    }

    #[test]
    fn any_bytes(blob in prop::collection::vec(any::<u8>(), 0..300), good in any::<bool>()) {
        let head: &[u8] = if good { &[0x28, 0xb5, 0x2f, 0xfd] } else { &[] };
        let _ = scan(&[head, &blob].concat(), 17);
    }
}
