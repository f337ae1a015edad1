//! `-o auto_unmount`: a small process that outlives the mount's, and takes away what it leaves behind when it crashes.
//!
//! The program runs itself once more, with a pipe whose other end only the process of the mount holds: the kernel
//! closes it however that process ends. It unmounts as the mounting user can, so it needs nothing in /etc/fuse.conf,
//! and only what is dead: what was unmounted properly, and mounted anew, is not its business.

use crate::error::{Error, Result};
use crate::fuse::mounts::{self, Device};
use crate::fuse::{self, mountpoint};
use nix::sys::signal::SigSet;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The first argument of the process that watches; after it come the mountpoint and the device.
const WATCH: &str = "watch-a-mount";

/// How long the kernel may take to see that nobody serves the mount any more.
const DEATH: Duration = Duration::from_secs(5);

/// What the process of a mount keeps for as long as it lives.
#[derive(Debug)]
pub(super) struct Watched {
    _pipe: Option<ChildStdin>,
}

/// Has the mount of this process watched.
pub(super) fn start(point: &Path, device: Device) -> Result<Watched> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("regfs").arg(WATCH).arg(point).arg(format!("{}:{}", device.major, device.minor));
    // A group of its own: what ends the mount's from a terminal does not end the one who tidies up.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| Error::io("start the process that unmounts", error))?;
    Ok(Watched { _pipe: child.stdin })
}

/// If this is the process that watches: does so, to its end, and says so.
pub(super) fn run(arguments: &[OsString]) -> bool {
    let [_, first, point, device] = arguments else { return false };
    let device = device.to_str().and_then(|text| text.split_once(':'));
    let device = device.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (true, Some((major, minor))) = (first == WATCH, device) else { return false };
    // None of these can be told to anybody; each alone is no reason not to watch.
    SigSet::all().thread_block().ok();
    nix::unistd::chdir("/").ok();
    std::fs::write("/proc/self/comm", "regfs-watcher").ok();
    let mut input = std::io::stdin().lock();
    while input.read(&mut [0; 16]).is_ok_and(|got| got > 0) {}
    take_away(Path::new(point), Device { major, minor });
    true
}

fn take_away(point: &Path, device: Device) {
    let start = Instant::now();
    let is_there = || mounts::at(point).is_ok_and(|mount| mount.is_some_and(|m| m.is_ours() && m.device == device));
    while is_there() && start.elapsed() < DEATH {
        if mountpoint::is_dead(point) && fuse::unmount(point, true).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
