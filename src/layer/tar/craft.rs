//! Archives for tests, made by hand: any field of any header can be what no writer writes.

use super::header::{BLOCK, Block};

/// A header, and what comes after it.
#[derive(Clone)]
pub(super) struct Member {
    block: Block,
    content: Vec<u8>,
}

impl Member {
    /// An empty regular file in ustar.
    pub(super) fn file(name: &str) -> Member {
        let member = Member { block: [0; BLOCK], content: Vec::new() };
        member.field(0, name.as_bytes()).field(100, b"0000644\0").flag(b'0').field(257, b"ustar\x0000")
    }

    /// A member of another type.
    pub(super) fn of(flag: u8, name: &str) -> Member {
        Member::file(name).flag(flag)
    }

    /// Puts bytes anywhere into the header.
    pub(super) fn field(mut self, at: usize, bytes: &[u8]) -> Member {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(super) fn flag(self, flag: u8) -> Member {
        self.field(156, &[flag])
    }

    pub(super) fn link(self, target: &str) -> Member {
        self.field(157, target.as_bytes())
    }

    /// Claims a size, whatever the content.
    pub(super) fn size(self, size: u64) -> Member {
        self.field(124, format!("{size:011o}\0").as_bytes())
    }

    /// Sets content and size.
    pub(super) fn content(mut self, bytes: &[u8]) -> Member {
        self.content = bytes.to_vec();
        self.size(bytes.len() as u64)
    }

    pub(super) fn v7(self) -> Member {
        self.field(257, &[0; 8])
    }

    pub(super) fn gnu(self) -> Member {
        self.field(257, b"ustar  \0")
    }

    /// An old GNU sparse file: the first four parts, and whether blocks with more follow.
    pub(super) fn sparse(self, size: u64, parts: &[(u64, u64)], more: bool) -> Member {
        let member = self.gnu().flag(b'S').field(483, format!("{size:011o}\0").as_bytes());
        member.field(386, &gnu_parts(parts)).field(482, &[u8::from(more)])
    }

    /// The header, its checksum set.
    pub(super) fn header(&self) -> Block {
        let mut block = self.block;
        set_checksum(&mut block);
        block
    }

    /// Header and padded content.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.header()[..], &padded(&self.content)].concat()
    }
}

/// A block after an old GNU sparse header.
pub(super) fn gnu_block(parts: &[(u64, u64)], more: bool) -> Vec<u8> {
    let mut block = gnu_parts(parts);
    block.resize(504, 0);
    block.push(u8::from(more));
    padded(&block)
}

fn gnu_parts(parts: &[(u64, u64)]) -> Vec<u8> {
    parts.iter().flat_map(|(at, len)| format!("{at:011o}\0{len:011o}\0").into_bytes()).collect()
}

/// Makes the checksum of a header right.
pub(super) fn set_checksum(block: &mut Block) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// One PAX record.
pub(super) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    // The length counts its own digits.
    let len = (1..9).map(|digits| body.len() + digits).find(|len| len.to_string().len() + body.len() == *len);
    [len.expect("a length").to_string().as_bytes(), &body].concat()
}

/// An extended header of records.
pub(super) fn pax(flag: u8, records: &[(&str, &[u8])]) -> Vec<u8> {
    let text: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    Member::of(flag, "PaxHeaders/x").content(&text).bytes()
}

/// A GNU long name (`L`) or link (`K`).
pub(super) fn long(flag: u8, text: &str) -> Vec<u8> {
    Member::of(flag, "././@LongLink").gnu().content(&[text.as_bytes(), b"\0"].concat()).bytes()
}

/// The parts and a trailer.
pub(super) fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), vec![0; 2 * BLOCK]].concat()
}

/// Bytes, filled up to whole blocks.
pub(super) fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}
