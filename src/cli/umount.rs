//! `regfs umount`: takes a mount of regfs away, whether its process lives or not.

use super::presence;
use crate::error::{Error, Kind, Result};
use crate::fuse::{self, mounts};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// How long the process of a mount may take to end once its mount is gone.
const END: Duration = Duration::from_secs(10);

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
    let departure = presence::watch(mount.device);
    // "In use" is no word of the remote's: to a script it is a plain failure.
    fuse::unmount(&point, args.lazy).map_err(|error| match error.kind() {
        Kind::Busy => error.as_kind(Kind::Io),
        _ => error,
    })?;
    if !args.lazy && !departure.within(END) {
        let what = format!("{} is unmounted, but its process still runs after {} s", point.display(), END.as_secs());
        return Err(Error::new(Kind::Io, what));
    }
    Ok(0)
}
