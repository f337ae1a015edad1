//! Small facts that outlive a mount: a host's catalog, what a tag named. Checked when read, replaced whole.
//!
//! A file is blake3 of the rest (32 bytes), the key's length (u32, little-endian), the key, the fact.

use super::disk::layout::Layout;
use super::disk::table::sum;
use std::path::Path;

/// The largest fact that is kept.
pub(super) const MAX_KNOWN: usize = 16 << 20;

/// What is known under `key`; `None` if nothing, or if the file is damaged (it is then dropped).
pub(super) fn recall(layout: &Layout, key: &str) -> Option<Vec<u8>> {
    let path = layout.known(key);
    if std::fs::metadata(&path).ok()?.len() > (MAX_KNOWN + key.len() + 36) as u64 {
        return None;
    }
    let fact = decode(&std::fs::read(&path).ok()?, key);
    if fact.is_none() {
        let _ = std::fs::remove_file(&path);
    }
    fact
}

/// Keeps `bytes` under `key`. More than [`MAX_KNOWN`] is not kept.
pub(super) fn remember(layout: &Layout, key: &str, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.len() > MAX_KNOWN {
        return Ok(());
    }
    layout.replace(&layout.known(key), &encode(key, bytes))
}

/// Whether the file at `path` is sound.
pub(super) fn is_sound(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|file| split(&file).is_some())
}

fn encode(key: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 32];
    file.extend_from_slice(&(key.len() as u32).to_le_bytes());
    file.extend_from_slice(key.as_bytes());
    file.extend_from_slice(bytes);
    let check = sum(&file[32..]);
    file[..32].copy_from_slice(&check);
    file
}

fn split(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (check, rest) = file.split_at_checked(32)?;
    let (len, body) = rest.split_at_checked(4)?;
    if sum(rest)[..] != *check {
        return None;
    }
    body.split_at_checked(u32::from_le_bytes(len.try_into().ok()?) as usize)
}

fn decode(file: &[u8], key: &str) -> Option<Vec<u8>> {
    let (name, fact) = split(file)?;
    (name == key.as_bytes()).then(|| fact.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back_or_not_at_all(key in "\\PC{0,20}", fact in prop::collection::vec(any::<u8>(), 0..50), bit: usize) {
            let mut file = encode(&key, &fact);
            prop_assert_eq!(decode(&file, &key), Some(fact));
            prop_assert_eq!(decode(&file, "another key, longer than any"), None);
            let bit = bit % (file.len() * 8);
            file[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&file, &key), None);
        }
    }
}
