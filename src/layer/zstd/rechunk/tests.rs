//! The copy: what goes in comes out, whatever is damaged is refused.

use super::*;
use crate::error::Kind;
use crate::layer::zstd::cache::Cache;
use crate::read_at::{ReadAt, read_all};
use proptest::prelude::*;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that compress in some chunks and do not in others.
fn content(len: usize) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    (0..len)
        .map(|at| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if (at >> 20) % 2 == 0 { (at >> 8) as u8 } else { (random >> 56) as u8 }
        })
        .collect()
}

fn write(content: &[u8], step: usize) -> (File, Table) {
    let file = tempfile::tempfile().expect("file");
    let mut writer = Writer::new(file.try_clone().expect("clone")).expect("writer");
    for part in content.chunks(step) {
        writer.push(part).expect("push");
    }
    let table = writer.finish().expect("finish");
    (file, table)
}

fn read(file: File, table: Table) -> Rechunked {
    Rechunked::new(file, Arc::new(table), Arc::new(Cache::new(4 << 20)))
}

#[test]
fn what_was_pushed_is_read() {
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77] {
        let content = content(len);
        let (file, table) = write(&content, 100_003);
        assert_eq!(table.file_len(), file.metadata().expect("metadata").len());
        assert!(len < CHUNK || table.file_len() < len as u64);
        let table = Table::from_bytes(&table.to_bytes()).expect("whole");
        assert!(read_all(&read(file, table), 1 << 30).expect("read") == content, "{len}");
    }
}

#[test]
fn a_short_file_is_noticed() {
    let content = content(2 * CHUNK);
    let (file, table) = write(&content, CHUNK);
    file.set_len(table.file_len() - 1).expect("cut");
    let copy = read(file, table);
    let mut buf = [0; 10];
    assert_eq!(copy.read_at(&mut buf, 0).expect("the first chunk is whole"), 10);
    assert_eq!(buf, content[..10]);
    assert_eq!(copy.read_at(&mut buf, CHUNK as u64).expect_err("cut").kind(), Kind::Corrupt);
}

#[test]
fn tables_that_do_not_add_up() {
    let (_, table) = write(&content(2 * CHUNK), CHUNK);
    for bend in [
        |table: &mut Table| table.len += 1,
        |table: &mut Table| table.len = u64::MAX,
        |table: &mut Table| table.chunks[1].0 = table.chunks[0].0,
        |table: &mut Table| table.chunks[1].0 = table.chunks[0].0 + CHUNK as u64 + 1,
        |table: &mut Table| table.chunks.truncate(1),
    ] {
        let mut bent = table.clone();
        bend(&mut bent);
        assert_eq!(Table::from_bytes(&bent.to_bytes()).expect_err("bent").kind(), Kind::Corrupt);
    }
    let mut other = table.to_bytes();
    other[7] = 2;
    assert_eq!(Table::from_bytes(&other).expect_err("version").kind(), Kind::Corrupt);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_flip_in_the_file_is_noticed(at in any::<u64>(), bit in 0u8..8, from in 0usize..2 * CHUNK, len in 1usize..CHUNK) {
        let content = content(2 * CHUNK + 5);
        let (file, table) = write(&content, 1 << 16);
        let at = at % table.file_len();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ (1 << bit)], at).expect("write");
        let mut buf = vec![0; len];
        match read(file, table).read_at(&mut buf, from as u64) {
            Ok(got) => prop_assert!(buf[..got] == content[from..from + got]),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Corrupt),
        }
    }
}
