//! The options that every command which opens a source shares, and what they default to (design, section 4).

use super::log::Format;
use super::size;
use crate::error::{Error, Kind, Result};
use crate::manifest::Platform;
use crate::store::Verify;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that the cache takes of a disk unless told otherwise; a tenth of the disk where that is less.
pub const CACHE_SIZE: u64 = 10 << 30;

/// Options of the cache, the wire and the log.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cache, wire and log")]
pub struct Common {
    /// Directory of the cache; may be shared by any number of mounts and commands
    /// [default: $XDG_CACHE_HOME/regfs, or ~/.cache/regfs; without a HOME, for root, /var/cache/regfs]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub cache_dir: Option<PathBuf>,

    /// Size of the cache on disk, as bytes or with K, M, G, T; 0 uses no disk
    /// [default: 10G or a tenth of the disk, the smaller]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub cache_size: Option<u64>,

    /// Memory for the cache and for reading ahead, as bytes or with K, M, G
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size::parse)]
    pub memory: u64,

    /// When blobs of 8 MiB and more may be read: "lazy" while they arrive, checked at their end; "strict" only once
    /// they were checked. Anything smaller is always checked first
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = VerifyArg::Lazy)]
    pub verify: VerifyArg,

    /// Send no request: only what the cache holds can be read
    #[arg(long)]
    pub offline: bool,

    /// The platform whose image stands for an index, as os/arch or os/arch/variant [default: this host's]
    #[arg(long, value_name = "PLATFORM", value_parser = Platform::parse)]
    pub platform: Option<Platform>,

    /// How long tags and listings are believed, in seconds or with m, h, d; digests are for ever
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = size::parse_time)]
    pub metadata_ttl: Duration,

    /// Give a request up after this time without progress, in seconds or with m, h
    #[arg(long, value_name = "TIME", default_value = "30", value_parser = size::parse_deadline)]
    pub timeout: Duration,

    /// Allow clear HTTP, and certificates that cannot be checked, to hosts other than this one
    #[arg(long)]
    pub insecure: bool,

    /// Show digests as sha256:… or, for clients that cannot spell a colon, sha256-…; both are always understood
    #[arg(long, value_name = "CHAR", value_parser = separator, default_value = ":", hide_possible_values = true)]
    pub digest_separator: char,

    /// How log lines are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub log_format: Format,

    /// Append the log to this file instead of writing it to standard error
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,
}

/// `--verify`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyArg {
    /// Serve while the first pass streams.
    Lazy,
    /// Serve nothing before the check.
    Strict,
}

impl Common {
    /// `--verify`, as the store takes it.
    pub fn verify(&self) -> Verify {
        match self.verify {
            VerifyArg::Lazy => Verify::Lazy,
            VerifyArg::Strict => Verify::Strict,
        }
    }

    /// `--platform`, or this machine's.
    pub fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }

    /// The directory of the cache, absolute: later changes of the working directory do not move it.
    /// `Invalid` where neither the option nor the environment names one.
    pub fn cache_dir(&self) -> Result<PathBuf> {
        cache_dir(self.cache_dir.as_deref())
    }

    /// The bytes that the cache may take of the disk that holds `dir`.
    pub fn cache_size(&self, dir: &Path) -> u64 {
        self.cache_size.unwrap_or_else(|| disk_size(dir).map_or(CACHE_SIZE, |disk| CACHE_SIZE.min(disk / 10)))
    }
}

/// The cache of root where the environment names none.
const SYSTEM_CACHE: &str = "/var/cache/regfs";

/// `--cache-dir`, `$XDG_CACHE_HOME/regfs` or `~/.cache/regfs`, absolute; for root `/var/cache/regfs`. `Invalid` if there is none of them.
pub fn cache_dir(given: Option<&Path>) -> Result<PathBuf> {
    let absolute = |name: &str| {
        // As the XDG specification has it: a relative path is ignored.
        std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let dir = match given {
        Some(dir) if dir.as_os_str().is_empty() => {
            return Err(Error::new(Kind::Invalid, "--cache-dir is empty"));
        }
        Some(dir) => std::path::absolute(dir).map_err(|error| Error::io("find the cache directory", error))?,
        None => match (absolute("XDG_CACHE_HOME"), absolute("HOME")) {
            (Some(cache), _) => cache.join("regfs"),
            (None, Some(home)) => home.join(".cache/regfs"),
            // fstab at boot: there is no session, and this is where services keep theirs.
            (None, None) if nix::unistd::geteuid().is_root() => PathBuf::from(SYSTEM_CACHE),
            (None, None) => {
                let words = "no directory for the cache: neither XDG_CACHE_HOME nor HOME is set; give --cache-dir";
                return Err(Error::new(Kind::Invalid, words));
            }
        },
    };
    Ok(dir)
}

/// The size of the disk that holds `dir`, or would hold it once it is made.
fn disk_size(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|path| path.exists())?;
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    Some(stat.blocks().saturating_mul(stat.fragment_size()))
}

fn separator(text: &str) -> std::result::Result<char, &'static str> {
    match text {
        ":" => Ok(':'),
        "-" => Ok('-'),
        _ => Err("it is either : or -"),
    }
}

/// A path of the tree on the command line.
pub(crate) const PATH_HELP: &str = "\
A PATH is a source and a path in its tree:
  registry.example.com/team/app/tags/v1/config.json
  docker.io/library/ubuntu:22.04      image references are understood:
  ghcr.io/acme/app@sha256:<hex>       the same as …/tags/TAG and …/manifests/DIGEST
  http://localhost:5000/team          clear HTTP, to this host or with --insecure
  all:                                every registry that your credentials know
  oci:DIR/tags/v1                     an OCI image layout: the longest part of DIR that is one";
