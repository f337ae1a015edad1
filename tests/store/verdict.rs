//! Who has read a blob to its end knows at once whether it is what its digest names.

use crate::remote::*;
use regfs::error::Kind;
use regfs::store::{State, Verify};
use std::time::Duration;

/// Small, just large, large; an odd number of bytes in the last span.
const SIZES: [u64; 5] = [0, 1000, 7 * MIB, 9 * MIB + 5, 45 * MIB + 77_777];

#[test]
fn a_blob_that_was_read_to_its_end_is_verified_or_has_failed() {
    let mut random = fastrand::Rng::with_seed(seed());
    for (memory, disk) in [(64 * MIB, None), (MIB, None), (4 * MIB, Some(1 << 40)), (64 * MIB, Some(10 * MIB))] {
        for verify in [Verify::Lazy, Verify::Strict] {
            for size in SIZES {
                let dir = tempfile::tempdir().expect("tempdir");
                let setup = Setup { memory, disk: disk.unwrap_or(0), verify, ..Setup::default() };
                let store = setup.open(disk.map(|_| dir.path()));
                let (bytes, digest) = content(size, random.u64(..));
                let slow = Duration::from_micros(random.u64(0..300));
                let remote = Remote::with(&bytes, Faults { slow, ..Faults::default() });
                let blob = store.blob(&digest, size, remote.clone()).expect("blob");
                let handle = blob.open();
                read_through(handle.as_ref(), &bytes, random.u64(30_000..2 * MIB)).expect("read");
                let what = format!("{size} bytes, {memory} of memory, disk {disk:?}, {verify:?}");
                assert!(size == 0 || blob.state() == State::Verified, "{what}: {:?}", blob.state());
                assert_eq!(handle.state(), blob.state());
            }
        }
    }
}

#[test]
fn a_blob_of_other_bytes_fails_before_its_end() {
    let mut random = fastrand::Rng::with_seed(seed());
    for memory in [MIB, 64 * MIB] {
        for size in &SIZES[1..] {
            let store = Setup { memory, ..Setup::default() }.open(None);
            let (bytes, digest) = content(*size, random.u64(..));
            let mut other = bytes.to_vec();
            other[random.usize(0..*size as usize)] ^= 1;
            let blob = store.blob(&digest, *size, Remote::new(&other.clone().into())).expect("blob");
            let handle = blob.open();
            let failed = read_through(handle.as_ref(), &other, random.u64(30_000..2 * MIB)).expect_err("other bytes");
            assert_eq!(failed.kind(), Kind::Corrupt);
            assert_ne!(blob.state(), State::Verified);
        }
    }
}
