//! How `regfs umount` finds the process of a mount: to end what is stuck in it, and to see when it is gone.
//!
//! The process holds a socket in the abstract namespace, so that nothing stays behind, named by the device of the
//! mount. Who is neither root nor the mounting user is not heard; who cannot reach it (another network namespace)
//! does not wait.

use crate::fuse::Unmounter;
use crate::fuse::mounts::Device;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// Calls that have waited for this long are stuck.
const STUCK: Duration = Duration::from_secs(1);
/// How long the process of a mount may take to answer, which it does from memory.
const ANSWER: Duration = Duration::from_secs(2);
/// Those who are heard at once: one is usual.
const MAX_CALLERS: usize = 8;

/// "End what is stuck."
const END_STUCK: u8 = b'i';
/// "Some call waits, or did until now."
const SOME: u8 = b'y';
/// "No call waits."
const NONE: u8 = b'n';

/// Shows, for as long as this process lives, that it serves the mount of that device.
pub(super) fn show(device: Device, unmounter: Unmounter) {
    let listener = address(device).and_then(|address| UnixListener::bind_addr(&address));
    let spawned = listener.and_then(|listener| {
        std::thread::Builder::new().name("regfs-presence".into()).spawn(move || listen(&listener, &unmounter))
    });
    if let Err(error) = spawned {
        log::debug!("umount will not find this process: {error}");
    }
}

fn listen(listener: &UnixListener, unmounter: &Unmounter) {
    let (gone, departures) = mpsc::channel();
    let mut callers = 0;
    for stream in listener.incoming().filter_map(Result::ok) {
        callers -= departures.try_iter().count();
        if callers == MAX_CALLERS || !is_trusted(&stream) {
            continue;
        }
        let (unmounter, gone) = (unmounter.clone(), gone.clone());
        let heard = std::thread::Builder::new().spawn(move || {
            hear(stream, &unmounter);
            gone.send(()).ok();
        });
        callers += usize::from(heard.is_ok());
    }
}

/// Does what is asked until the caller leaves.
fn hear(mut stream: UnixStream, unmounter: &Unmounter) {
    let mut asked = [0];
    while stream.read(&mut asked).is_ok_and(|got| got > 0) {
        let mut answer = NONE;
        if asked[0] == END_STUCK {
            let waiting = unmounter.end_stuck(STUCK);
            if waiting.ended > 0 {
                log::info!("{} calls that were stuck are ended for umount", waiting.ended);
            }
            answer = if waiting.ended + waiting.left > 0 { SOME } else { NONE };
        }
        if stream.write_all(&[answer]).is_err() {
            return;
        }
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// The process that serves a mount, as `regfs umount` sees it.
pub(super) struct Server {
    /// Questions for it.
    ask: Sender<()>,
    /// Whether calls waited; closed once the process is gone, or if it was never to be seen.
    answers: Receiver<bool>,
    /// Whether a call ever waited.
    waited: bool,
    /// Its process, if it could be seen.
    process: Option<i32>,
}

/// Finds the process of the mount of that device; before it is unmounted, for the device may be another's afterwards.
pub(super) fn find(device: Device) -> Server {
    let (ask, questions) = mpsc::channel();
    let (answered, answers) = mpsc::channel();
    let (begun, beginning) = mpsc::channel();
    // On a thread of its own: a socket that nobody accepts from may let us wait.
    std::thread::spawn(move || {
        let stream = address(device).and_then(|address| UnixStream::connect_addr(&address));
        let peer = stream.as_ref().ok().and_then(|stream| getsockopt(stream, PeerCredentials).ok());
        begun.send(peer.map(|peer| peer.pid())).ok();
        if let Ok(stream) = stream {
            converse(stream, &questions, &answered);
        }
    });
    let process = beginning.recv_timeout(ANSWER).ok().flatten();
    Server { ask, answers, waited: false, process }
}

/// Passes questions on; returns once the other side is gone.
fn converse(mut stream: UnixStream, questions: &Receiver<()>, answered: &Sender<bool>) {
    let mut answer = [NONE];
    while questions.recv().is_ok() {
        let asked = stream.write_all(&[END_STUCK]).and_then(|()| stream.read_exact(&mut answer));
        if asked.is_err() || answered.send(answer[0] == SOME).is_err() {
            return;
        }
    }
    // Nothing more is sent by either: this ends with the process.
    while stream.read(&mut answer).is_err_and(|error| error.kind() == ErrorKind::Interrupted) {}
}

impl Server {
    /// Whether its process was killed, though some thread of it may still hang in the kernel.
    pub(super) fn is_killed(&self) -> bool {
        let Some(process) = self.process else { return false };
        match std::fs::read_to_string(format!("/proc/{process}/stat")) {
            // The state follows the name, which is in brackets and may hold anything.
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
            Err(_) => true,
        }
    }

    /// Ends the calls that are stuck; whether any call waits, or did since this was first asked.
    pub(super) fn end_stuck(&mut self) -> bool {
        if self.ask.send(()).is_err() {
            return false;
        }
        self.waited |= self.answers.recv_timeout(ANSWER).unwrap_or(false);
        self.waited
    }

    /// Whether the process is gone within `limit`, or was never to be seen.
    pub(super) fn ends_within(self, limit: Duration) -> bool {
        drop(self.ask);
        !matches!(self.answers.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
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
        let mut nobody = find(device);
        assert!(!nobody.end_stuck());
        assert!(nobody.ends_within(Duration::from_secs(10)), "nobody is there");
        let listener = UnixListener::bind_addr(&address(device).expect("address")).expect("a name of our own");
        assert!(!find(device).ends_within(Duration::from_millis(50)));
        let server = find(device);
        drop(listener);
        assert!(server.ends_within(Duration::from_secs(10)));
    }
}
