//! How `regfs umount` knows when the process of a mount is gone: the process holds a socket that ends with it.
//!
//! The socket is in the abstract namespace, so that nothing stays behind, and named by the device of the mount. It
//! carries no data; who cannot reach it (another network namespace) does not wait.

use crate::fuse::mounts::Device;
use std::io::{ErrorKind, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// Held by the process of a mount for as long as it lives.
pub(super) struct Presence(#[allow(dead_code)] UnixListener);

/// Shows that this process serves the mount of that device.
pub(super) fn show(device: Device) -> Option<Presence> {
    let listener = address(device).and_then(|address| UnixListener::bind_addr(&address));
    listener.inspect_err(|error| log::debug!("umount will not wait for this process: {error}")).ok().map(Presence)
}

/// Waits for the end of a process.
pub(super) struct Departure(Receiver<()>);

/// Begins to wait for the process of the mount of that device; before it is unmounted, for the device may be another's
/// afterwards.
pub(super) fn watch(device: Device) -> Departure {
    let (gone, departure) = mpsc::channel();
    // On a thread of its own: a socket that nobody accepts from may let us wait.
    let (begun, beginning) = mpsc::channel();
    std::thread::spawn(move || {
        let stream = address(device).and_then(|address| UnixStream::connect_addr(&address));
        begun.send(()).ok();
        if let Ok(mut stream) = stream {
            // Nothing is ever sent: this ends with the process.
            while stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::Interrupted) {}
        }
        gone.send(()).ok();
    });
    beginning.recv_timeout(Duration::from_secs(1)).ok();
    Departure(departure)
}

impl Departure {
    /// Whether the process is gone within `limit`, or was never to be seen.
    pub(super) fn within(self, limit: Duration) -> bool {
        !matches!(self.0.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
    }
}

fn address(device: Device) -> std::io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("regfs/mount/{}:{}", device.major, device.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_departure_is_noticed() {
        // A major number that no mount has.
        let device = Device { major: 4095, minor: std::process::id() };
        assert!(watch(device).within(Duration::from_secs(10)), "nobody is there");
        let presence = show(device).expect("a name of our own");
        assert!(!watch(device).within(Duration::from_millis(50)));
        let departure = watch(device);
        drop(presence);
        assert!(departure.within(Duration::from_secs(10)));
    }
}
