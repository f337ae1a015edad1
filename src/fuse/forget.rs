//! Has the kernel drop the pages that it keeps of a file (`FUSE_NOTIFY_INVAL_INODE`).
//!
//! The kernel waits at pages that a read is under way for, in a call that nothing interrupts. Such a call keeps its
//! descriptor open even if the process is killed, and reads that were taken from that descriptor are then never
//! ended: neither would ever go on. So it goes through a descriptor of its own, from which nothing is read.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The kernel's number of the message (`enum fuse_notify_code`).
const INVAL_INODE: i32 = 2;
/// Bytes of a header (`struct fuse_out_header`) and of the message (`struct fuse_notify_inval_inode_out`).
const MESSAGE: usize = 16 + 24;

mod sys {
    // `FUSE_DEV_IOC_CLONE`: makes a new descriptor of the device one of the connection of another.
    #![allow(unsafe_code, missing_docs)]
    nix::ioctl_read!(clone, 229, 0, u32);
}

/// A descriptor of a connection that is written to, and never read.
pub(super) struct Forgetter(File);

impl Forgetter {
    /// One more descriptor of the connection of `session`.
    pub(super) fn new(session: BorrowedFd<'_>) -> Result<Forgetter> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|error| Error::io("open /dev/fuse", error))?;
        let mut master = session.as_raw_fd() as u32;
        // SAFETY: both descriptors are open for the length of the call, which reads the number it is given.
        #[allow(unsafe_code)]
        let cloned = unsafe { sys::clone(device.as_raw_fd(), &mut master) };
        cloned.map_err(|error| Error::io("share the connection with the kernel", error.into()))?;
        Ok(Forgetter(device))
    }

    /// Drops all pages of inode `ino`, if the kernel knows it. May wait for reads of it that are under way.
    pub(super) fn forget(&self, ino: u64) -> Result<()> {
        let mut message = Vec::with_capacity(MESSAGE);
        message.extend((MESSAGE as u32).to_ne_bytes());
        message.extend(INVAL_INODE.to_ne_bytes());
        // No request is answered by it: 0. Then the inode, from its first byte on, without end.
        for number in [0, ino, 0, 0] {
            message.extend(number.to_ne_bytes());
        }
        match (&self.0).write(&message) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(format!("drop the pages of inode {ino}"), error)),
        }
    }
}
