//! `-o`: sshfs's, FUSE's and fstab's options by their names, and our own without their dashes.
//!
//! Promises: an option that is not known is an error that names it; one that has no meaning for a registry is said
//! to have none; nothing is ignored in silence but what mount(8) itself adds.

use super::common::Common;
use crate::error::{Error, Kind, Result};
use crate::fuse;
use clap::{Args, Parser};

/// What `-o` says.
#[derive(Debug, Default)]
pub(super) struct MountOptions {
    /// How the mount looks and who may use it.
    pub(super) fuse: fuse::Options,
    /// Whether a directory with entries may be mounted over.
    pub(super) nonempty: bool,
    /// Unmounted when the process of the mount ends, however it does.
    pub(super) auto_unmount: bool,
    /// As `-d`.
    pub(super) debug: bool,
    /// What the user should know of what was given.
    pub(super) notices: Vec<String>,
}

/// Options of mount(8) and fstab(5) that are not for us, or that we do anyway.
const USUAL: [&str; 31] = [
    "_netdev",
    "async",
    "atime",
    "auto",
    "auto_cache",
    "defaults",
    "diratime",
    "dirsync",
    "exec",
    "group",
    "kernel_cache",
    "lazytime",
    "noatime",
    "noauto",
    "nodev",
    "nodiratime",
    "nofail",
    "nolazytime",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nouser",
    "nousers",
    "owner",
    "relatime",
    "ro",
    "silent",
    "strictatime",
    "sync",
    "user",
    "users",
];

/// Options of ssh sources: sshfs has them, a registry has no use for them.
const OF_SSH: [&str; 35] = [
    "cache",
    "cache_timeout",
    "Ciphers",
    "compression",
    "Compression",
    "delay_connect",
    "direct_io",
    "directport",
    "disable_hardlink",
    "fsync",
    "follow_symlinks",
    "gidfile",
    "idmap",
    "IdentitiesOnly",
    "IdentityFile",
    "intr",
    "max_conns",
    "no_check_root",
    "nomap",
    "noauto_cache",
    "passive",
    "password_stdin",
    "port",
    "Port",
    "ProxyJump",
    "reconnect",
    "ServerAliveCountMax",
    "ServerAliveInterval",
    "sftp_server",
    "ssh_command",
    "ssh_protocol",
    "StrictHostKeyChecking",
    "transform_symlinks",
    "uidfile",
    "UserKnownHostsFile",
];

/// Options of libfuse that it, not the kernel, understands; ours are chosen for what a registry needs.
const OF_LIBFUSE: [&str; 22] = [
    "ac_attr_timeout",
    "attr_timeout",
    "big_writes",
    "blksize",
    "clone_fd",
    "congestion_threshold",
    "dir_cache",
    "entry_timeout",
    "hard_remove",
    "large_read",
    "max_background",
    "max_idle_threads",
    "max_read",
    "max_readahead",
    "max_threads",
    "max_write",
    "negative_timeout",
    "noforget",
    "readdir_ino",
    "remember",
    "subtype",
    "use_ino",
];

/// Reads every `-o` given; those that are options of the command line change `common`.
///
/// `of_mount` says that mount(8) calls, which adds `rw` where fstab does not say `ro`.
pub(super) fn parse(lists: &[String], of_mount: bool, common: &mut Common) -> Result<MountOptions> {
    let mut options = MountOptions::default();
    for item in lists.iter().flat_map(|list| split(list)) {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (item.as_str(), None),
        };
        options.set(name, value, of_mount, common).map_err(|error| error.context(format!("-o {name}")))?;
    }
    Ok(options)
}

/// The items of a list; `\,` is a comma within one.
fn split(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = list.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' => items.push(String::new()),
            '\\' => items.last_mut().into_iter().for_each(|item| item.extend(chars.next())),
            c => items.last_mut().into_iter().for_each(|item| item.push(c)),
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, what)
}

impl MountOptions {
    fn set(&mut self, name: &str, value: Option<&str>, of_mount: bool, common: &mut Common) -> Result<()> {
        let fuse = &mut self.fuse;
        let flag = match name {
            "allow_other" => Some(&mut fuse.allow_other),
            "allow_root" => Some(&mut fuse.allow_root),
            "auto_unmount" => Some(&mut self.auto_unmount),
            "default_permissions" => Some(&mut fuse.default_permissions),
            "noexec" => Some(&mut fuse.noexec),
            "nonempty" => Some(&mut self.nonempty),
            "debug" => Some(&mut self.debug),
            _ => None,
        };
        if let Some(flag) = flag {
            if value.is_some() {
                return Err(invalid("takes no value"));
            }
            *flag = true;
            return Ok(());
        }
        let number = |radix: u32| {
            let value = value.ok_or_else(|| invalid("needs a value"))?;
            u32::from_str_radix(value, radix)
                .map_err(|_| invalid(format!("\"{}\" is not a number", crate::name::escape(value.as_bytes()))))
        };
        match name {
            "uid" => fuse.uid = Some(number(10)?),
            "gid" => fuse.gid = Some(number(10)?),
            "umask" => {
                let mask = u16::try_from(number(8)?).ok().filter(|mask| *mask <= 0o777);
                fuse.umask = mask.ok_or_else(|| invalid("a umask is at most 777"))?;
            }
            "fsname" => value.ok_or_else(|| invalid("needs a value"))?.clone_into(&mut fuse.source),
            "rw" if of_mount => self.notices.push("mounted read-only: writing is not supported by this version".into()),
            // mount.fuse3(8) itself adds them for root.
            "dev" | "suid" if of_mount => (),
            "rw" => return Err(Error::new(Kind::Unsupported, "writing is not supported by this version")),
            "dev" | "suid" => self.notices.push(format!("-o {name} is not heeded: mounts are nodev and nosuid")),
            _ if USUAL.contains(&name) || name == "comment" => (),
            _ if name.starts_with("x-") || name.starts_with("X-") => (),
            _ if OF_SSH.contains(&name) => {
                self.notices.push(format!("-o {name} has no meaning for a registry, only for SSH sources"));
            }
            _ if OF_LIBFUSE.contains(&name) => {
                self.notices.push(format!("-o {name} has no meaning here: regfs does not use libfuse"));
            }
            _ if is_common(name) => set_common(common, name, value)?,
            _ => return Err(invalid("no such option")),
        }
        Ok(())
    }
}

/// The options of the command line by themselves.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Alone {
    #[command(flatten)]
    common: Common,
}

/// `cache_dir` and `cache-dir` are `--cache-dir`.
fn long(name: &str) -> String {
    name.replace('_', "-")
}

fn is_common(name: &str) -> bool {
    let command = Common::augment_args(clap::Command::new("regfs"));
    command.get_arguments().any(|argument| argument.get_long() == Some(&long(name)))
}

fn set_common(common: &mut Common, name: &str, value: Option<&str>) -> Result<()> {
    let long = long(name);
    let flag = value.map_or(format!("--{long}"), |value| format!("--{long}={value}"));
    let given = Alone::try_parse_from([flag]).map_err(|error| {
        let words = error.to_string();
        let first = words.lines().next().unwrap_or_default();
        invalid(first.strip_prefix("error: ").unwrap_or(first))
    })?;
    let given = given.common;
    match long.as_str() {
        "cache-dir" => common.cache_dir = given.cache_dir,
        "cache-size" => common.cache_size = given.cache_size,
        "memory" => common.memory = given.memory,
        "verify" => common.verify = given.verify,
        "offline" => common.offline = given.offline,
        "platform" => common.platform = given.platform,
        "metadata-ttl" => common.metadata_ttl = given.metadata_ttl,
        "timeout" => common.timeout = given.timeout,
        "insecure" => common.insecure = given.insecure,
        "digest-separator" => common.digest_separator = given.digest_separator,
        "log-format" => common.log_format = given.log_format,
        "log-file" => common.log_file = given.log_file,
        _ => return Err(invalid(format!("can only be given as --{long}"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn common() -> Common {
        Alone::try_parse_from([] as [&str; 0]).expect("defaults").common
    }

    fn parse_one(list: &str) -> Result<MountOptions> {
        parse(&[list.to_owned()], false, &mut common())
    }

    #[test]
    fn fuse_options_are_taken() {
        let options =
            parse_one("allow_other,uid=7,gid=8,umask=022,,nonempty,ro,kernel_cache,fsname=a\\,b").expect("ok");
        assert!(options.fuse.allow_other && options.nonempty && options.notices.is_empty());
        assert_eq!((options.fuse.uid, options.fuse.gid, options.fuse.umask), (Some(7), Some(8), 0o022));
        assert_eq!(options.fuse.source, "a,b");
    }

    #[test]
    fn errors_name_the_option() {
        for (list, words) in [
            ("allow_othr", "-o allow_othr: no such option"),
            ("uid=me", "-o uid: \"me\" is not a number"),
            ("uid", "-o uid: needs a value"),
            ("umask=1777", "-o umask: a umask is at most 777"),
            ("allow_other=1", "-o allow_other: takes no value"),
            ("rw", "-o rw: writing is not supported by this version"),
            ("timeout=soon", "-o timeout: "),
            ("offline=yes", "-o offline: "),
        ] {
            let error = parse_one(list).expect_err(list).to_string();
            assert!(error.starts_with(words), "{list}: {error}");
        }
    }

    #[test]
    fn what_mount_adds_is_no_error() {
        let lists = ["rw,dev,suid,dirsync,noauto,user,x-systemd.automount,_netdev,comment=x".to_owned()];
        let notices = parse(&lists, true, &mut common()).expect("ok").notices;
        assert!(notices.len() == 1 && notices[0].contains("read-only"), "{notices:?}");
    }

    #[test]
    fn options_without_meaning_say_so() {
        let options = parse_one("reconnect,IdentityFile=/k,entry_timeout=5").expect("ok");
        assert_eq!(options.notices.len(), 3);
        assert!(options.notices[0].contains("-o reconnect"));
    }

    #[test]
    fn every_option_of_the_command_line_can_be_given() {
        let mut changed = common();
        parse(&["cache_dir=/c,timeout=7,offline,log-file=/l".to_owned()], false, &mut changed).expect("ok");
        assert_eq!(changed.cache_dir.as_deref(), Some(std::path::Path::new("/c")));
        assert_eq!((changed.timeout, changed.offline), (Duration::from_secs(7), true));
        let command = Common::augment_args(clap::Command::new("regfs"));
        for argument in command.get_arguments() {
            let name = argument.get_long().expect("a long name");
            let error = set_common(&mut common(), name, Some("?")).err().map(|error| error.to_string());
            assert!(!error.is_some_and(|error| error.contains("only be given")), "--{name}");
        }
    }
}
