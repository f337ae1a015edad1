//! `regfs umount`: takes a mount of regfs away, whether its process lives or not.

use super::presence::{self, Server};
use crate::error::{Error, Kind, Result};
use crate::fuse::{self, mounts};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the process of a mount may take to end once its mount is gone.
const END: Duration = Duration::from_secs(10);

/// How long those who were stuck may take to let go of the mount.
const PERSISTENCE: Duration = Duration::from_secs(4);

/// Unmount what regfs mounted, also after a crash
///
/// Waits until the process of the mount is gone. What is in use stays, unless it is unmounted lazily.
#[derive(Args, Debug)]
pub(super) struct UmountArgs {
    /// Where it is mounted
    #[arg(value_hint = clap::ValueHint::DirPath)]
    mountpoint: PathBuf,

    /// Take it from its place at once; those who use it keep it until they are done
    #[arg(short = 'l', long, short_alias = 'z')]
    lazy: bool,
}

/// Does it.
pub(super) fn run(args: &UmountArgs) -> Result<u8> {
    let point = mounts::locate(&args.mountpoint)?;
    let mount = mounts::at(&point)?.filter(mounts::Mount::is_ours);
    let mount = mount
        .ok_or_else(|| Error::new(Kind::Invalid, format!("{} is not a mount of regfs", args.mountpoint.display())))?;
    let mut server = presence::find(mount.device);
    unmount(&point, args.lazy, &mut server).map_err(|error| match error.kind() {
        // "In use" is no word of the remote's: to a script it is a plain failure.
        Kind::Busy => error.as_kind(Kind::Io),
        _ => error,
    })?;
    if !args.lazy && !server.ends_within(END) {
        let what = format!("{} is unmounted, but its process still runs after {} s", point.display(), END.as_secs());
        return Err(Error::new(Kind::Io, what));
    }
    Ok(0)
}

/// Unmounts. Who is stuck on a remote that does not answer does not keep the mount: they are told that the call was
/// interrupted. Who merely uses it does.
fn unmount(point: &Path, is_lazy: bool, server: &mut Server) -> Result<()> {
    let start = Instant::now();
    loop {
        match fuse::unmount(point, is_lazy) {
            Err(error) if error.kind() == Kind::Busy => {
                if server.is_killed() {
                    // Who still waits for it would wait for ever.
                    fuse::abort(point);
                } else if !server.end_stuck() {
                    return Err(error);
                }
                if start.elapsed() > PERSISTENCE {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            done => return done,
        }
    }
}
