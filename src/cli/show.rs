//! Attributes as ls(1) and stat(1) write them.

use crate::tree::{Node, SpecialKind};
use std::time::SystemTime;
use time::OffsetDateTime;

/// `directory`, `file`, `link`, `block device` and so on.
pub(crate) fn kind(node: &Node) -> &'static str {
    match node {
        Node::Dir(_) => "directory",
        Node::File(_) => "file",
        Node::Link(_) => "link",
        Node::Special(special) => match special.kind {
            SpecialKind::Char => "character device",
            SpecialKind::Block => "block device",
            SpecialKind::Fifo => "pipe",
            SpecialKind::Socket => "socket",
        },
    }
}

/// `dr-xr-xr-x`.
pub(crate) fn mode(node: &Node) -> String {
    let kind = match node {
        Node::Dir(_) => 'd',
        Node::File(_) => '-',
        Node::Link(_) => 'l',
        Node::Special(special) => match special.kind {
            SpecialKind::Char => 'c',
            SpecialKind::Block => 'b',
            SpecialKind::Fifo => 'p',
            SpecialKind::Socket => 's',
        },
    };
    format!("{kind}{}", permissions(node.attr().mode))
}

/// `r-xr-xr-x`, with `s`, `S`, `t`, `T` where they are set.
pub(crate) fn permissions(mode: u16) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// `2026-01-02 03:04`, in UTC; `-`, as wide, while it is not known.
pub(crate) fn minute(time: Option<SystemTime>) -> String {
    let shown = time.map(|time| {
        let time = OffsetDateTime::from(time);
        let (month, day) = (u8::from(time.month()), time.day());
        format!("{:04}-{month:02}-{day:02} {:02}:{:02}", time.year(), time.hour(), time.minute())
    });
    format!("{:>16}", shown.as_deref().unwrap_or("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn as_ls_writes_them() {
        assert_eq!(permissions(0o555), "r-xr-xr-x");
        assert_eq!(permissions(0o4755), "rwsr-xr-x");
        assert_eq!(permissions(0o7644), "rwSr-Sr-T");
        assert_eq!(minute(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045))), "2026-01-02 03:04");
        assert_eq!(minute(None), "               -");
    }
}
