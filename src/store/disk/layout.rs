//! Where things are in the cache directory, and whose directory it may be.
//!
//! ```text
//! v1/blobs/<algorithm>/<ab>/<hex>    whole blobs, verified: a name here is the proof
//! v1/parts/<algorithm>-<hex>         sparse files of what is here so far, with <…>.table beside
//! v1/spans/<algorithm>/<ab>/<hex>    tables of whole blobs, kept when the blob is evicted
//! v1/index/<algorithm>/<ab>/<hex>    what was made from a layer: its table of contents
//! v1/chunks/<algorithm>/<ab>/<hex>   and its content, compressed anew in chunks; both are checked by who reads them
//! v1/known/<hex>                     small facts
//! v1/tmp/                            files on their way to a name; what a crash leaves is swept
//! ```
//! Directories are 0700, files 0600. A directory that somebody else owns, or others may write to, is refused:
//! whoever can write there decides what is served.

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::store::derived::Derived;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The version of the layout: another one gets another directory.
const VERSION: &str = "v1";
/// How old a temporary file must be to be what a crash left.
const STALE: Duration = Duration::from_secs(3600);

/// The paths of one cache directory.
pub(in crate::store) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes what is missing of the cache directory `dir`; an error says why it cannot be used.
    pub(in crate::store) fn create(dir: &Path) -> Result<Layout> {
        make(dir).map_err(|error| Error::io(format!("use cache directory {}", dir.display()), error))?;
        own(dir)?;
        let layout = Layout { root: dir.join(VERSION) };
        for name in ["", "blobs", "parts", "spans", "index", "chunks", "known", "tmp"] {
            let path = layout.root.join(name);
            make(&path).map_err(|error| Error::io(format!("use cache directory {}", path.display()), error))?;
            own(&path)?;
        }
        // Whether it can be written, and not only be made.
        layout.temp().map_err(|error| Error::io(format!("write to cache directory {}", dir.display()), error))?;
        layout.sweep();
        Ok(layout)
    }

    /// The layout of a directory that may not exist: nothing is made.
    pub(in crate::store) fn at(dir: &Path) -> Layout {
        Layout { root: dir.join(VERSION) }
    }

    /// A directory of the layout.
    pub(in crate::store) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where the verified content of `digest` is.
    pub(in crate::store) fn blob(&self, digest: &Digest) -> PathBuf {
        self.sharded("blobs", digest)
    }

    /// Where the table of a whole blob is.
    pub(in crate::store) fn spans(&self, digest: &Digest) -> PathBuf {
        self.sharded("spans", digest)
    }

    /// Where a blob is gathered.
    pub(in crate::store) fn part(&self, digest: &Digest) -> PathBuf {
        self.root.join("parts").join(format!("{}-{}", digest.algorithm(), digest.encoded()))
    }

    /// Where what was made from the layer `digest` is.
    pub(in crate::store) fn derived(&self, kind: Derived, digest: &Digest) -> PathBuf {
        self.sharded(kind.name(), digest)
    }

    /// What a file under `blobs/`, `parts/`, `spans/`, `index/` or `chunks/` is of; `None` for any other.
    pub(in crate::store) fn digest_of(&self, path: &Path) -> Option<Digest> {
        let within = path.strip_prefix(&self.root).ok()?;
        let mut names = within.iter().map(|name| name.to_str());
        let digest = match (names.next()??, names.next()??, names.next(), names.next()) {
            ("parts", name, None, None) => name.replacen('-', ":", 1),
            ("blobs" | "spans" | "index" | "chunks", algorithm, Some(shard), Some(hex)) => {
                let (shard, hex) = (shard?, hex?);
                hex.starts_with(shard).then(|| format!("{algorithm}:{hex}"))?
            }
            _ => return None,
        };
        digest.parse().ok().filter(Digest::is_supported)
    }

    /// Where the small fact `key` is.
    pub(in crate::store) fn known(&self, key: &str) -> PathBuf {
        self.root.join("known").join(Digest::of(key.as_bytes()).encoded())
    }

    fn sharded(&self, name: &str, digest: &Digest) -> PathBuf {
        let hex = digest.encoded();
        self.root.join(name).join(digest.algorithm()).join(hex.get(..2).unwrap_or("xx")).join(hex)
    }

    /// A file of no name, or of one in `tmp/` where the filesystem knows no unnamed files.
    pub(in crate::store) fn temp(&self) -> io::Result<Temp> {
        let unnamed = open_options().custom_flags(libc::O_TMPFILE).open(self.dir("tmp"));
        match unnamed {
            Ok(file) => Ok(Temp { file, path: None }),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
                self.named_temp()
            }
            Err(error) => Err(error),
        }
    }

    /// A file in `tmp/`, to be renamed.
    pub(in crate::store) fn named_temp(&self) -> io::Result<Temp> {
        let path = self.passing();
        let file = open_options().create_new(true).open(&path)?;
        Ok(Temp { file, path: Some(path) })
    }

    /// A name in `tmp/` that nobody has.
    fn passing(&self) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.dir("tmp").join(format!("{pid}-{number}-{:016x}", fastrand::u64(..)))
    }

    /// Replaces `path` by `bytes`: whole or not at all, even if the machine stops.
    pub(in crate::store) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        use std::io::Write;
        let mut temp = self.named_temp()?;
        temp.file.write_all(bytes)?;
        self.name(&mut temp, path)
    }

    /// Gives `temp` the name `path`, in place of what has it.
    pub(in crate::store) fn name(&self, temp: &mut Temp, path: &Path) -> io::Result<()> {
        if temp.path.is_none() {
            // A link does not replace, a rename does: it has a name in `tmp/` in between.
            let (from, passing) = (format!("/proc/self/fd/{}", temp.file.as_raw_fd()), self.passing());
            linkat(AT_FDCWD, from.as_str(), AT_FDCWD, &passing, AtFlags::AT_SYMLINK_FOLLOW)?;
            temp.path = Some(passing);
        }
        if let Some(from) = &temp.path {
            with_parent(path, || std::fs::rename(from, path))?;
        }
        temp.path = None;
        Ok(())
    }

    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(self.dir("tmp")) else { return };
        let now = SystemTime::now();
        for entry in entries.flatten() {
            let age = entry.metadata().and_then(|meta| meta.modified()).map(|time| now.duration_since(time));
            if matches!(age, Ok(Ok(age)) if age > STALE) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// A file on its way to a name; what has a name in `tmp/` loses it when this is dropped.
pub(in crate::store) struct Temp {
    pub(in crate::store) file: File,
    path: Option<PathBuf>,
}

impl Temp {
    /// The file alone, its name gone: for content that is never published under this process's hand.
    pub(in crate::store) fn into_file(self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// How every file of the cache is opened.
pub(in crate::store) fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

/// Does `act`, which makes the name `path`; where its directory is missing, makes that and tries once more.
pub(in crate::store) fn with_parent(path: &Path, act: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match act() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                make(parent)?;
            }
            act()
        }
        done => done,
    }
}

fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn own(dir: &Path) -> Result<()> {
    let refuse = |why: &str| Error::new(Kind::Forbidden, format!("cache directory {} {why}", dir.display()));
    let meta =
        std::fs::metadata(dir).map_err(|error| Error::io(format!("use cache directory {}", dir.display()), error))?;
    if !meta.is_dir() {
        return Err(refuse("is not a directory"));
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(refuse("belongs to somebody else"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(refuse("can be written to by others (chmod go-w it)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn makes_private_directories_and_refuses_shared_ones() {
        let dir = tempfile::tempdir().expect("tempdir");
        let layout = Layout::create(&dir.path().join("a/b")).expect("created");
        let mode = |path: &Path| std::fs::metadata(path).expect("stat").mode() & 0o777;
        assert_eq!(mode(&layout.dir("blobs")), 0o700);
        let temp = layout.named_temp().expect("temp");
        let path = temp.path.clone().expect("named");
        assert_eq!(mode(&path), 0o600);
        drop(temp);
        assert!(!path.exists());
        let shared = dir.path().join("shared");
        std::fs::create_dir(&shared).expect("mkdir");
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).expect("chmod");
        assert_eq!(Layout::create(&shared).err().expect("refused").kind(), Kind::Forbidden);
    }

    #[test]
    fn paths_tell_their_digest() {
        let layout = Layout::at(Path::new("/cache"));
        let digest = Digest::of(b"x");
        for path in [layout.blob(&digest), layout.spans(&digest), layout.part(&digest)]
            .into_iter()
            .chain([Derived::Index, Derived::Chunks].map(|kind| layout.derived(kind, &digest)))
        {
            assert_eq!(layout.digest_of(&path), Some(digest.clone()));
            assert_eq!(layout.digest_of(&path.with_extension("table")), None);
        }
        assert_eq!(layout.digest_of(&layout.known("x")), None);
        assert_eq!(layout.digest_of(Path::new("/elsewhere")), None);
    }

    #[test]
    fn replaces_whole_files() {
        let dir = tempfile::tempdir().expect("tempdir");
        let layout = Layout::create(dir.path()).expect("created");
        let path = layout.spans(&Digest::of(b"x"));
        for text in ["one", "two"] {
            layout.replace(&path, text.as_bytes()).expect("replaced");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
        assert_eq!(std::fs::read_dir(layout.dir("tmp")).expect("tmp").count(), 0);
    }
}
