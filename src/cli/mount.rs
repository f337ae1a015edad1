//! `regfs mount`: puts a source together, mounts it, and serves it until it is unmounted.

use super::assemble::assemble;
use super::common::Common;
use super::signals::{self, Asked, Stage};
use super::{daemon, log, options, out, presence, systemd, watcher};
use crate::error::{Error, Kind, Result};
use crate::fuse::{self, Unmounter, mountpoint, mounts};
use crate::read_at::read_all;
use crate::source::Source;
use crate::tree::{Dir, Node};
use ::log::LevelFilter;
use clap::Args;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// Mount a registry as a directory
///
/// Goes to the background once the mount is usable; fails with the cause otherwise. Without SOURCE every registry
/// is mounted, each host a directory.
#[derive(Args, Debug)]
#[command(override_usage = "regfs mount [OPTIONS] [SOURCE] MOUNTPOINT")]
pub(super) struct MountArgs {
    /// What to mount, and where: registry.example.com[:PORT][/REPOSITORY], oci:DIR, or all: (the default); an empty
    /// directory
    #[arg(required = true, num_args = 1..=2, value_names = ["SOURCE", "MOUNTPOINT"])]
    places: Vec<OsString>,

    /// Mount options, by sshfs's and FUSE's names, separated by commas: allow_other, default_permissions, uid=N,
    /// gid=N, umask=M, auto_unmount, nonempty, ro …, and any long option without its dashes
    #[arg(short = 'o', value_name = "OPTIONS", action = clap::ArgAction::Append)]
    options: Vec<String>,

    /// Stay in the foreground
    #[arg(short = 'f', long)]
    foreground: bool,

    /// Stay in the foreground and log everything
    #[arg(short = 'd', id = "d")]
    debug: bool,

    /// Called by mount(8)
    #[arg(long, hide = true)]
    from_fstab: bool,

    #[command(flatten)]
    common: Common,
}

/// What is mounted how, once the command line is understood.
struct Plan {
    source: Source,
    point: PathBuf,
    common: Common,
    options: options::MountOptions,
    level: LevelFilter,
}

/// Does it.
pub(super) fn run(args: &MountArgs, debug: bool) -> Result<u8> {
    let is_child = daemon::is_child();
    let plan = Plan::new(args, debug)?;
    let stays = args.foreground || args.debug || plan.options.debug;
    if stays {
        plan.tell_notices();
        return plan.serve(|| Ok(())).map(|()| 0);
    }
    if !is_child {
        plan.tell_notices();
        return daemon::start().map(|()| 0);
    }
    // From here on the one who waits tells the failure.
    match daemon::detach().and_then(|()| plan.serve(daemon::ready)) {
        Ok(()) => Ok(0),
        Err(error) => {
            ::log::debug!("{error}");
            daemon::fail(&error);
            Ok(1)
        }
    }
}

impl Plan {
    fn new(args: &MountArgs, debug: bool) -> Result<Plan> {
        let mut common = args.common.clone();
        let mut options = options::parse(&args.options, args.from_fstab, &mut common)?;
        let (source, point) = match args.places.as_slice() {
            [source, point] => (source.as_os_str(), point),
            [point] => (OsStr::new("all:"), point),
            _ => return Err(Error::new(Kind::Invalid, "give a source and a mountpoint")),
        };
        let source = match Source::parse(source)? {
            // The process of the mount does not stay in this directory.
            Source::Layout(path) => Source::Layout(
                std::path::absolute(&path).map_err(|error| Error::io(format!("find {}", path.display()), error))?,
            ),
            source => source,
        };
        if options.fuse.source.is_empty() {
            options.fuse.source = source.to_string();
        }
        let is_debug = debug || args.debug || options.debug;
        let level = if is_debug { LevelFilter::Debug } else { LevelFilter::Info };
        Ok(Plan { source, point: point.into(), common, options, level })
    }

    fn tell_notices(&self) {
        for notice in &self.options.notices {
            out::tell("mount", notice);
        }
    }

    /// Mounts, says so by `ready`, and serves until the mount is gone or a signal ends it.
    fn serve(self, ready: impl FnOnce() -> Result<()>) -> Result<()> {
        let (events, coming) = mpsc::channel();
        let stage = Stage::default();
        // Before any other thread is started.
        signals::listen(events.clone(), stage.clone())?;
        log::start(self.common.log_format, self.common.log_file.as_deref(), self.level)?;
        end_killed(&self.point);
        let point = mountpoint::prepare(&self.point, self.options.nonempty).map_err(in_use)?;
        let shown = point.to_string_lossy();
        let assembled = assemble(&self.source, &self.common, &shown)?;
        (assembled.ping)()?;
        let root = assembled.root.clone();
        let mounted = stage.mounting(|| {
            // From the last look at the mountpoint until it is one: whoever else mounts there takes turns with us.
            let _claim = mountpoint::claim(&point, self.options.nonempty).map_err(in_use)?;
            fuse::mount(assembled.root, assembled.store, assembled.journal, &point, self.options.fuse)
        })?;
        let unmounter = mounted.unmounter();
        if let Some(device) = mounted.device() {
            presence::show(device, unmounter.clone());
        }
        // Kept until this process ends.
        let watched = match mounted.device() {
            Some(device) if self.options.auto_unmount => watcher::start(&point, device).map(Some),
            _ => Ok(None),
        };
        let _watched = match watched.and_then(|watched| ready().map(|()| watched)) {
            Ok(watched) => watched,
            Err(error) => {
                unmounter.detach()?;
                return Err(error);
            }
        };
        // Only now: who waited for the mount has no use for a line of log.
        ::log::info!("{} is mounted at {shown}", self.source);
        systemd::notify(&format!("READY=1\nMAINPID={}\nSTATUS={} at {shown}", std::process::id(), self.source));
        serve_until_end(events, &coming, &unmounter, mounted, root.as_ref())
    }
}

/// Ends what is left of a mount of ours whose process was killed and still hangs in the kernel: it would keep whoever
/// looks at it waiting.
fn end_killed(point: &Path) {
    let Ok(point) = mounts::locate(point) else { return };
    if let Ok(Some(mount)) = mounts::at(&point)
        && mount.is_ours()
        && presence::find(mount.device).is_killed()
    {
        fuse::abort(&point);
    }
}

/// "In use" is no word of the remote's: to a script it is a plain failure.
fn in_use(error: Error) -> Error {
    if error.kind() == Kind::Busy { error.as_kind(Kind::Io) } else { error }
}

/// What the mount waits for.
enum Event {
    Asked(Asked),
    Ended(Result<()>),
}

impl From<Asked> for Event {
    fn from(asked: Asked) -> Event {
        Event::Asked(asked)
    }
}

/// How long those who still use a mount that was ended may take. What is left of it then ends with this process, and
/// they are told ENOTCONN.
const LINGER: Duration = Duration::from_secs(1);

fn serve_until_end(
    events: Sender<Event>,
    coming: &Receiver<Event>,
    unmounter: &Unmounter,
    mounted: fuse::Mounted,
    root: &dyn Dir,
) -> Result<()> {
    let waiter = std::thread::Builder::new().name("regfs-wait".into());
    let spawned = waiter.spawn(move || events.send(Event::Ended(mounted.wait())).ok());
    spawned.map_err(|error| Error::io("start a thread for the mount", error))?;
    loop {
        // The channel cannot close: the thread of the signals holds it.
        let Ok(event) = coming.recv() else { return Ok(()) };
        match event {
            Event::Ended(result) => return result,
            Event::Asked(Asked::End) => break,
            Event::Asked(Asked::Refresh) => {
                ::log::info!("what may have changed is asked for anew");
                root.refresh();
            }
            Event::Asked(Asked::Status) => match status(root) {
                Ok(status) => ::log::info!("status: {status}"),
                Err(error) => ::log::warn!("no status: {error}"),
            },
            Event::Asked(Asked::Debug) => ::log::info!("logging at level {}", log::toggle_debug()),
        }
    }
    systemd::notify("STOPPING=1");
    unmounter.detach()?;
    match coming.recv_timeout(LINGER) {
        Ok(Event::Ended(result)) => result,
        // A second signal, or users that stay: they lose it with us.
        Ok(Event::Asked(_)) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(()),
    }
}

/// The most that is logged of the status.
const MAX_STATUS: u64 = 1 << 20;

/// What `.regfs/status` says.
fn status(root: &dyn Dir) -> Result<String> {
    let Node::Dir(control) = root.lookup(OsStr::new(".regfs"))? else {
        return Err(Error::new(Kind::NotDir, ".regfs is not a directory"));
    };
    let Node::File(file) = control.lookup(OsStr::new("status"))? else {
        return Err(Error::new(Kind::IsDir, ".regfs/status is not a file"));
    };
    let bytes = read_all(file.open()?.as_ref(), MAX_STATUS)?;
    Ok(String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" "))
}
