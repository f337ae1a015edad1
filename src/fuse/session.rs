//! One mount from its beginning to its end.

use super::attr::Look;
use super::core::Core;
use super::frontend::Frontend;
use super::handles::Handles;
use super::inodes::Inodes;
use super::interrupt::{Waiting, Watch};
use super::mounts::{self, Device};
use super::pool::{Limits, Pool};
use super::{Options, kernel, unmount};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::journal::Journal;
use crate::store::Store;
use crate::tree::{Dir, Node};
use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use nix::unistd::{getegid, geteuid};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Threads that read the device. They never wait, so a few are plenty.
const THREADS: usize = 4;

/// Threads that have the kernel forget the files of one blob, and how long the answers to its readers are held back
/// for that.
const FORGETTERS: usize = 16;
const FORGETTING: Duration = Duration::from_millis(200);

/// The configuration in which unprivileged users are allowed `allow_other`.
const FUSE_CONF: &str = "/etc/fuse.conf";

/// A mount that is served.
pub struct Mounted {
    ended: Receiver<()>,
    unmounter: Unmounter,
}

/// Ends a mount, or what waits for it, from anywhere.
#[derive(Clone)]
pub struct Unmounter {
    point: PathBuf,
    device: Option<Device>,
    core: Weak<Core>,
}

/// Mounts `root` at `mountpoint`, an absolute path ([`super::mountpoint::prepare`]), and serves it until it is
/// unmounted. It is usable when this returns.
///
/// Fails with the kernel's or fusermount3's own words where they say best what is wrong.
pub fn mount(
    root: Arc<dyn Dir>,
    store: Arc<Store>,
    journal: Arc<Journal>,
    mountpoint: &Path,
    options: Options,
) -> Result<Mounted> {
    let options = implied(options);
    let config = config(&options)?;
    let look = Look {
        user: (geteuid().as_raw(), getegid().as_raw()),
        uid: options.uid,
        gid: options.gid,
        umask: options.umask,
    };
    let core = Arc::new(Core {
        inodes: Inodes::new(Node::Dir(root)),
        handles: Handles::default(),
        buffers: Default::default(),
        passthrough: Default::default(),
        pool: Pool::new(Limits::default()),
        watch: Watch::start(),
        look,
        lookers: Default::default(),
        store,
        journal,
    });
    let (ends, ended) = mpsc::channel();
    let frontend = Frontend { core: core.clone(), ends };
    let session = Session::new(frontend, mountpoint, &config).map_err(|error| refused(mountpoint, error))?;
    let session = session.spawn().map_err(|error| Error::io("start the threads of the mount", error))?;
    let notifier = session.notifier();
    // Dropped, it would unmount whatever is mounted at this path by then, ours or not: fuser 0.18 takes the sign that
    // ours is gone (POLLERR) for the sign that it is there.
    std::mem::forget(session);
    // Not asked of the mount itself: what asks the kernel may be told by us alone.
    let device = mounts::at(mountpoint)?.map(|mount| mount.device);
    if let Some(device) = device {
        kernel::raise_read_ahead(device);
    }
    hear_of_poison(&core, notifier);
    let core = Arc::downgrade(&core);
    Ok(Mounted { ended, unmounter: Unmounter { point: mountpoint.to_owned(), device, core } })
}

/// What options imply: where the kernel lets others in that only fuser keeps out again, what it keeps of names and
/// attributes would be theirs to see.
fn implied(mut options: Options) -> Options {
    if !options.allow_other && options.allow_root {
        options.umask |= 0o077;
    }
    // A umask that hides something from others is meant, although only the kernel can enforce it.
    let is_shared = options.allow_other || options.allow_root;
    options.default_permissions |= is_shared && options.umask != 0;
    options
}

/// The options in fuser's words.
fn config(options: &Options) -> Result<Config> {
    // fusermount3 splits its options at commas; the name is only for people.
    let name = options.source.replace([',', '\\'], "_");
    let mut mount_options = vec![
        MountOption::FSName(if name.is_empty() { "regfs".to_owned() } else { name }),
        // Not `Subtype`: fuser leaves that out where it mounts without fusermount3.
        MountOption::CUSTOM("subtype=regfs".into()),
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
    ];
    if options.default_permissions {
        mount_options.push(MountOption::DefaultPermissions);
    }
    if options.noexec {
        mount_options.push(MountOption::NoExec);
    }
    let acl = match options {
        Options { allow_other: true, .. } => SessionACL::All,
        Options { allow_root: true, .. } => SessionACL::RootAndOwner,
        _ => SessionACL::Owner,
    };
    if acl != SessionACL::Owner && !geteuid().is_root() && !others_allowed() {
        let option = if options.allow_other { "allow_other" } else { "allow_root" };
        let what = format!("-o {option} needs the line \"user_allow_other\" in {FUSE_CONF}");
        return Err(Error::new(Kind::Forbidden, what));
    }
    let mut config = Config::default();
    config.mount_options = mount_options;
    config.acl = acl;
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    Ok(config)
}

fn others_allowed() -> bool {
    let text = std::fs::read_to_string(FUSE_CONF).unwrap_or_default();
    text.lines().any(|line| line.trim() == "user_allow_other")
}

/// Why mounting failed, in words that say what to do where we know.
fn refused(mountpoint: &Path, error: std::io::Error) -> Error {
    let what = format!("mount at {}", mountpoint.display());
    let device = Path::new("/dev/fuse");
    if !device.exists() {
        return Error::new(
            Kind::Unsupported,
            format!("{what}: there is no /dev/fuse (modprobe fuse; containers: --device /dev/fuse)"),
        );
    }
    let is_closed = std::fs::OpenOptions::new().read(true).write(true).open(device).is_err();
    if error.kind() == std::io::ErrorKind::PermissionDenied && is_closed {
        return Error::new(Kind::Denied, format!("{what}: this user may not open /dev/fuse (its mode should be 0666)"));
    }
    // fusermount3 ends its words with a newline.
    let words = error.to_string();
    let words = words.trim();
    let kind = match words {
        words if words.contains("EBUSY") || words.contains("resource busy") => Kind::Busy,
        words if words.contains("ermission denied") || words.contains("not permitted") => Kind::Denied,
        words if words.contains("no write access") => Kind::Denied,
        _ => Kind::Io,
    };
    Error::new(kind, format!("{what}: {words}"))
}

/// Drops what the kernel keeps of a blob whose digest turned out not to match, as far as that can be done before its
/// readers are told.
///
/// The kernel goes through the pages of a file in order, and waits at one that a read is under way for: at the end of
/// the file as a rule, where those reads are that wait for the verdict, and which is answered only when this returns.
/// What lies behind such a page is dropped right after that answer.
fn hear_of_poison(core: &Arc<Core>, notifier: Notifier) {
    let known: Weak<Core> = Arc::downgrade(core);
    core.store.on_poison(Box::new(move |digest: &Digest| {
        let Some(core) = known.upgrade() else { return };
        let inodes = core.inodes.select(|node| match node {
            Node::File(file) => file.blob().as_ref() == Some(digest),
            // Names that may not be relied on: what was read of a layer that was wrong.
            Node::Link(link) => link.attr.ttl.is_zero(),
            _ => false,
        });
        let (done, dones) = mpsc::channel();
        for inodes in inodes.chunks(inodes.len().div_ceil(FORGETTERS).max(1)) {
            let (notifier, inodes, done) = (notifier.clone(), inodes.to_vec(), done.clone());
            let told = std::thread::Builder::new().name("regfs-poison".into()).spawn(move || {
                for ino in inodes {
                    if let Err(error) = notifier.inval_inode(INodeNo(ino), 0, 0) {
                        log::warn!("the kernel keeps pages of a blob that is wrong: {error}");
                    }
                }
                drop(done);
            });
            if let Err(error) = told {
                log::warn!("the kernel keeps pages of a blob that is wrong: {error}");
            }
        }
        drop(done);
        // Ends when all are through, or when some of them have to wait for readers.
        let _: Result<(), _> = dones.recv_timeout(FORGETTING);
    }));
}

impl Mounted {
    /// What ends it from elsewhere: from a signal, another thread.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// The device of the mount, if the table of mounts shows it.
    pub fn device(&self) -> Option<Device> {
        self.unmounter.device
    }

    /// Waits until it is unmounted, by whomever. Fails if it ended by itself.
    pub fn wait(self) -> Result<()> {
        // Closed is as good as told: nothing serves the mount any more.
        self.ended.recv().ok();
        if !self.unmounter.is_mounted()? {
            return Ok(());
        }
        self.unmounter.detach()?;
        Err(Error::new(Kind::Io, "the kernel cannot be heard any more: the mount has ended by itself"))
    }
}

impl Unmounter {
    /// Ends the calls that have waited for longer than `patience`: what holds them is not going to answer.
    pub fn end_stuck(&self, patience: Duration) -> Waiting {
        self.core.upgrade().map_or(Waiting { ended: 0, left: 0 }, |core| core.watch.end_older(patience))
    }

    /// Whether it is in its place.
    fn is_mounted(&self) -> Result<bool> {
        // Another may be mounted there by now.
        let mount = mounts::at(&self.point)?;
        Ok(mount.is_some_and(|mount| Some(mount.device) == self.device))
    }

    /// Takes the mount from its place at once; those who still use it keep it until they are done.
    pub fn detach(&self) -> Result<()> {
        if self.is_mounted()? { unmount::unmount(&self.point, true) } else { Ok(()) }
    }
}
