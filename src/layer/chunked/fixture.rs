//! Small layers with tables of contents, made by hand for tests.

use super::Packing;
use crate::digest::Digest;
use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;

/// A layer under construction: chunks one after the other, and the records that tell of them.
pub(in crate::layer) struct Layer {
    pub(in crate::layer) blob: Vec<u8>,
    pub(in crate::layer) records: Vec<serde_json::Value>,
    packing: Packing,
}

impl Layer {
    pub(in crate::layer) fn new(packing: Packing) -> Layer {
        let mut layer = Layer { blob: Vec::new(), records: Vec::new(), packing };
        layer.pack(b"the first tar header");
        layer
    }

    /// Packs bytes on their own; where they start.
    pub(in crate::layer) fn pack(&mut self, bytes: &[u8]) -> u64 {
        let start = self.blob.len() as u64;
        self.blob.extend(match self.packing {
            Packing::Gzip => gzip(bytes),
            Packing::Zstd => zstd::bulk::compress(bytes, 3).expect("zstd"),
        });
        start
    }

    /// A file in chunks of `step` bytes.
    pub(in crate::layer) fn file(&mut self, name: &str, content: &[u8], step: usize) {
        let whole = Digest::of(content);
        for (index, part) in content.chunks(step).enumerate() {
            let kind = if index == 0 { "reg" } else { "chunk" };
            // What follows in a member is the next header.
            let offset = match self.packing {
                Packing::Gzip => self.pack(&[part, b"padding and the next header"].concat()),
                Packing::Zstd => self.pack(part),
            };
            let mut record = serde_json::json!({
                "type": kind, "name": name, "offset": offset, "chunkOffset": index * step,
                "chunkSize": part.len(), "chunkDigest": Digest::of(part).as_str(),
            });
            if index == 0 {
                record["size"] = content.len().into();
                record["digest"] = whole.as_str().into();
            }
            self.records.push(record);
        }
    }

    /// The JSON of the table.
    pub(in crate::layer) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({"version": 1, "entries": self.records})).expect("json")
    }
}

pub(in crate::layer) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("write");
    encoder.finish().expect("finish")
}

/// Lines that compress and differ.
pub(in crate::layer) fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("{line}: text\n").into_bytes()).take(len).collect()
}
