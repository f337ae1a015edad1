//! The operations: what each asks of the tree, and how the answer looks to the kernel.

use super::attr;
use super::buffers::Buffer;
use super::core::{Call, Core, Place};
use super::handles::{MAX_NAME, OpenDir, OpenFile};
use super::passthrough::Open;
use crate::error::{Error, Kind, Result};
use crate::tree::{Handle, Node};
use fuser::{
    FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry,
    ReplyOpen, ReplyStatfs,
};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, PoisonError};

/// Numbers are not used again for something else: a node with another identity has another number.
const GENERATION: Generation = Generation(0);

/// LOOKUP: the name in the directory, or in a way that the kernel keeps that there is none.
pub(super) fn lookup(call: Call, reply: ReplyEntry) {
    let name = call.name.clone().unwrap_or_default();
    if name.len() > MAX_NAME {
        return call.fail(reply, &Error::new(Kind::NameTooLong, format!("a name of {} bytes", name.len())));
    }
    let dir = match call.dir() {
        Ok(dir) => dir,
        Err(error) => return call.fail(reply, &error),
    };
    let place = dir.clone();
    call.run(
        Place::of(place.is_ready(&name), place.lane()),
        reply,
        move |call| {
            let name = call.name.as_deref().unwrap_or_default();
            match dir.lookup(name) {
                Err(error) if error.kind() == Kind::NotFound && !dir.negative_ttl().is_zero() => {
                    Ok(Err(attr::ttl(dir.negative_ttl())))
                }
                found => found.map(Ok),
            }
        },
        |call, reply, found| match found {
            Ok(node) => {
                if matches!(node, Node::File(_)) {
                    call.core.lookers.saw(call.caller);
                }
                let name = call.name.as_deref().unwrap_or_default();
                let inode = call.core.inodes.intern(&call.inode, name, node.clone());
                let (attr, ttl) = call.core.look.show(inode.ino, &node);
                reply.entry(&ttl, &attr, GENERATION);
            }
            Err(ttl) => reply.entry(&ttl, &attr::nothing(), GENERATION),
        },
    );
}

/// READLINK.
pub(super) fn readlink(call: Call, reply: ReplyData) {
    match call.inode.node() {
        Node::Link(link) => reply.data(link.target.as_bytes()),
        _ => call.fail(reply, &Error::new(Kind::Invalid, "it is not a symbolic link")),
    }
}

/// OPEN.
pub(super) fn open(call: Call, reply: ReplyOpen) {
    let file = match call.file() {
        Ok(file) => file,
        Err(error) => return call.fail(reply, &error),
    };
    let place = file.clone();
    call.run(
        Place::of(place.is_ready(), place.lane()),
        reply,
        move |call| {
            let handle = file.open()?;
            let backing = if call.core.passthrough.is_on() { handle.backing() } else { None };
            // Kept as it is now: a later look at the name may find another node.
            Ok((handle, backing, file))
        },
        |call, reply, (handle, backing, file)| {
            let (inode, lane) = (call.inode.clone(), file.lane());
            if !handle.is_immutable() {
                let file = OpenFile::new(inode, handle, None, lane, Open::Direct);
                return reply.opened(FileHandle(call.core.handles.keep_file(file)), FopenFlags::FOPEN_DIRECT_IO);
            }
            let open = {
                let mut opens = call.inode.opens.lock().unwrap_or_else(PoisonError::into_inner);
                call.core.passthrough.open(&mut opens, &reply, backing.as_deref())
            };
            let id = match &open {
                Open::Through(id) => Some(id.clone()),
                _ => None,
            };
            let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
            let file = OpenFile::new(inode, handle, Some(file.attr().size), lane, open);
            let number = FileHandle(call.core.handles.keep_file(file));
            match id {
                Some(id) => reply.opened_passthrough(number, FopenFlags::FOPEN_NOFLUSH, &id),
                None => reply.opened(number, flags),
            }
        },
    );
}

/// READ.
pub(super) fn read(call: Call, file: Arc<OpenFile>, offset: u64, len: usize, reply: ReplyData) {
    let is_ready = file.handle.is_ready(offset, len);
    let lane = file.lane.clone();
    call.run(
        Place::of(is_ready, &lane),
        reply,
        move |call| {
            let mut buffer = call.core.buffers.take(len);
            let got = fill(file.handle.as_ref(), &mut buffer, offset)?;
            if let Some(size) = file.size {
                is_whole(offset, len, got, size)?;
            }
            Ok((buffer, got))
        },
        |_, reply, (buffer, got): (Buffer, usize)| reply.data(&buffer[..got]),
    );
}

/// Reads until the buffer is full or the end is reached.
fn fill(handle: &dyn Handle, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match handle.read_at(&mut buffer[got..], offset + got as u64)? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

/// The kernel fills up a short answer with zeros, and keeps them: what is shorter than promised is a failure.
fn is_whole(offset: u64, len: usize, got: usize, size: u64) -> Result<()> {
    let promised = size.saturating_sub(offset).min(len as u64);
    if (got as u64) < promised {
        let end = offset + got as u64;
        return Err(Error::new(Kind::Corrupt, format!("ends at byte {end}, before its size of {size} bytes")));
    }
    Ok(())
}

/// OPENDIR: lists the directory, once for this handle.
pub(super) fn opendir(call: Call, reply: ReplyOpen) {
    let dir = match call.dir() {
        Ok(dir) => dir,
        Err(error) => return call.fail(reply, &error),
    };
    let place = dir.clone();
    call.run(
        Place::Lane(place.lane()),
        reply,
        move |_| dir.list(),
        |call, reply, entries| {
            let dir = OpenDir::new(call.inode.clone(), entries);
            reply.opened(FileHandle(call.core.handles.keep_dir(dir)), FopenFlags::empty());
        },
    );
}

/// The offsets of `.` and `..`, which come before the entries.
const DOTS: usize = 2;

/// READDIR: names and kinds.
pub(super) fn readdir(core: &Core, dir: &OpenDir, offset: u64, mut reply: ReplyDirectory) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    for at in start..dir.entries.len() + DOTS {
        let next = at as u64 + 1;
        let is_full = match at.checked_sub(DOTS).map(|entry| &dir.entries[entry]) {
            None if at == 0 => reply.add(INodeNo(dir.inode.ino), next, FileType::Directory, "."),
            None => reply.add(INodeNo(dir.inode.parent_ino()), next, FileType::Directory, ".."),
            Some(entry) => {
                let ino = core.inodes.peek(&dir.inode, &entry.name, &entry.node);
                reply.add(INodeNo(ino), next, attr::kind(&entry.node), &entry.name)
            }
        };
        if is_full {
            break;
        }
    }
    reply.ok();
}

/// READDIRPLUS: names and attributes, each a lookup of its own.
///
/// The kernel asks so for the beginning of every directory, and for the rest when somebody looks at the names. Who is
/// not known to do that gets a page of what counts no lookup, after which the kernel asks for names alone.
pub(super) fn readdirplus(core: &Core, caller: u32, dir: &OpenDir, offset: u64, mut reply: ReplyDirectoryPlus) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let all = dir.entries.len() + DOTS;
    let end = if start == 0 && !core.lookers.looks(caller) { DOTS } else { all };
    for at in start..end {
        let next = at as u64 + 1;
        let is_full = match at.checked_sub(DOTS).map(|entry| &dir.entries[entry]) {
            // The kernel takes no attributes and counts no lookup for these two.
            None => {
                let (name, ino) = if at == 0 { (".", dir.inode.ino) } else { ("..", dir.inode.parent_ino()) };
                let (attr, ttl) = core.look.show(ino, &dir.inode.node());
                reply.add(INodeNo(ino), next, name, &ttl, &attr, GENERATION)
            }
            Some(entry) => {
                let inode = core.inodes.intern(&dir.inode, &entry.name, entry.node.clone());
                let (attr, ttl) = core.look.show(inode.ino, &entry.node);
                let is_full = reply.add(INodeNo(inode.ino), next, &entry.name, &ttl, &attr, GENERATION);
                if is_full {
                    core.inodes.forget(inode.ino, 1);
                }
                is_full
            }
        };
        if is_full {
            break;
        }
    }
    reply.ok();
}

/// STATFS: the cache is what can be full.
pub(super) fn statfs(core: &Core, reply: ReplyStatfs) {
    const BLOCK: u64 = 4096;
    let usage = core.store.usage();
    let (used, limit) = match usage.disk_limit {
        0 => (usage.memory_used, usage.memory_limit),
        limit => (usage.disk_used, limit),
    };
    let free = limit.saturating_sub(used) / BLOCK;
    reply.statfs(limit / BLOCK, free, free, 0, 0, BLOCK as u32, MAX_NAME as u32, BLOCK as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shorter_than_promised_is_refused() {
        assert!(is_whole(0, 10, 10, 10).is_ok());
        assert!(is_whole(8, 10, 2, 10).is_ok());
        assert!(is_whole(20, 10, 0, 10).is_ok());
        assert_eq!(is_whole(0, 10, 9, 10).expect_err("short").kind(), Kind::Corrupt);
        assert_eq!(is_whole(0, 10, 0, 11).expect_err("short").kind(), Kind::Corrupt);
    }
}
