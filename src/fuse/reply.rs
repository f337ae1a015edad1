//! The reply objects of fuser as [`Answer`]s: each can be an errno.

use super::interrupt::Answer;
use fuser::{
    Errno, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr,
};

macro_rules! answers {
    ($($reply:ty),*) => {$(
        impl Answer for $reply {
            fn fail(self, errno: i32) {
                self.error(Errno::from_i32(errno));
            }
        }
    )*};
}
answers!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr
);

/// Answers getxattr or listxattr: the size if the caller probes with `room` 0, the bytes if they fit.
pub(super) fn xattr(reply: ReplyXattr, room: u32, value: &[u8]) {
    match room {
        // Values are far below 4 GiB; one that is not does not fit anywhere.
        0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        room if value.len() > room as usize => reply.error(Errno::ERANGE),
        _ => reply.data(value),
    }
}
