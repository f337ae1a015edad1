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

/// Major and minor number of a device: `1, 3`.
pub(crate) fn device(node: &Node) -> Option<String> {
    match node {
        Node::Special(special) if matches!(special.kind, SpecialKind::Char | SpecialKind::Block) => {
            Some(format!("{}, {}", special.device.0, special.device.1))
        }
        _ => None,
    }
}

/// What only content with an owner of its own has, for JSON: owner, names, room, device; nothing of anything else.
pub(crate) fn extend(object: &mut serde_json::Value, node: &Node) {
    let attr = node.attr();
    if let Some((uid, gid)) = attr.owner {
        object["uid"] = uid.into();
        object["gid"] = gid.into();
        object["nlink"] = attr.nlink.into();
        object["stored"] = attr.stored.unwrap_or(attr.size).into();
    }
    if let Some(device) = device(node) {
        object["device"] = device.into();
    }
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
    use crate::tree::{Attr, Special, Xattrs};
    use std::time::Duration;

    #[test]
    fn devices_have_numbers_and_pipes_have_none() {
        let node = |kind| {
            let attr = Attr { mode: 0o1640, owner: Some((1, 2)), ..Attr::file(0) };
            Node::from(Special { kind, device: (1, 3), attr, xattrs: Xattrs::default() })
        };
        assert_eq!(
            (mode(&node(SpecialKind::Char)).as_str(), device(&node(SpecialKind::Char))),
            ("crw-r----T", Some("1, 3".into()))
        );
        assert_eq!((mode(&node(SpecialKind::Fifo)).as_str(), device(&node(SpecialKind::Fifo))), ("prw-r----T", None));
        let mut object = serde_json::json!({});
        extend(&mut object, &node(SpecialKind::Block));
        assert_eq!(object, serde_json::json!({"uid": 1, "gid": 2, "nlink": 1, "stored": 0, "device": "1, 3"}));
    }

    #[test]
    fn as_ls_writes_them() {
        assert_eq!(permissions(0o555), "r-xr-xr-x");
        assert_eq!(permissions(0o4755), "rwsr-xr-x");
        assert_eq!(permissions(0o7644), "rwSr-Sr-T");
        assert_eq!(minute(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045))), "2026-01-02 03:04");
        assert_eq!(minute(None), "               -");
    }
}
