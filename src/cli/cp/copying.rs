//! From nodes of the tree to files of this machine, one after the other.
//!
//! Promises: nothing is written outside the destination, whatever an image's names and links say; what fails inside a
//! directory is told and the rest is copied.

use super::super::copy;
use super::super::out::{Out, Report, is_closed, tell};
use super::super::show;
use super::dress::Dress;
use super::local::{self, Care, Target};
use crate::error::{Error, Kind, Result};
use crate::name::escape;
use crate::tree::{Attr, Dir, File, Node, Special};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The deepest directory copied, in levels: nothing real comes near, and a tree without an end ends here.
const MAX_DEPTH: usize = 100;

/// How it is copied: the options of `cp`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    /// Directories with everything in them, and with all that `cp -a` keeps.
    pub(super) recursive: bool,
    /// Files that are there stay as they are.
    pub(super) no_clobber: bool,
    /// Each copy is named.
    pub(super) verbose: bool,
    /// No progress is shown.
    pub(super) quiet: bool,
}

/// One run of `cp`.
pub(super) struct Copying<'a> {
    pub(super) manner: Manner,
    pub(super) report: &'a mut Report,
    out: &'a mut Out,
    /// Where the first name was made of what has several: kind and identity tell which it is.
    linked: HashMap<(&'static str, u64), PathBuf>,
}

impl<'a> Copying<'a> {
    /// Begins with nothing copied.
    pub(super) fn new(manner: Manner, report: &'a mut Report, out: &'a mut Out) -> Copying<'a> {
        Copying { manner, report, out, linked: HashMap::new() }
    }

    /// Copies one node; whether there was something to do.
    pub(super) fn node(&mut self, node: &Node, from: &OsStr, to: &Path, depth: usize) -> Result<bool> {
        let attr = node.attr();
        // Of an image, only what was named on the command line may be there as a link that leads elsewhere.
        let care = Care { no_clobber: self.manner.no_clobber, follow: depth == 0 || attr.owner.is_none() };
        if let Node::Dir(dir) = node {
            return self.directory(dir.as_ref(), from, to, depth, care).map(|()| true);
        }
        let is_linked = self.manner.recursive && attr.nlink > 1;
        let key = (show::kind(node), attr.identity);
        let is_made = match self.linked.get(&key) {
            Some(first) if is_linked => self.again(first, node, &attr, from, to, care)?,
            _ => self.made(node, &attr, from, to, care)?,
        };
        if is_made {
            if is_linked {
                self.linked.entry(key).or_insert_with(|| to.to_owned());
            }
            self.say(from, to)?;
        }
        Ok(is_made)
    }

    /// Another name of what was copied; a copy of its own where the file system has no hard links, or no more.
    fn again(&self, first: &Path, node: &Node, attr: &Attr, from: &OsStr, to: &Path, care: Care) -> Result<bool> {
        match local::hard_link(first, to, care.no_clobber) {
            Err(error) if error.kind() != Kind::IsDir => {
                log::debug!("{}: copied once more: {error}", to.display());
                self.made(node, attr, from, to, care)
            }
            done => done,
        }
    }

    /// A copy of what is not a directory.
    fn made(&self, node: &Node, attr: &Attr, from: &OsStr, to: &Path, care: Care) -> Result<bool> {
        // Everything with -r; a single file is the caller's own.
        let dress = if self.manner.recursive && attr.owner.is_some() {
            Dress::whole(attr, 0o200, node.xattrs()?)
        } else {
            Dress::plain(attr, 0o200)
        };
        match node {
            Node::File(file) => self.file(file.as_ref(), attr, &dress, from, to, care),
            Node::Link(link) => local::link(&link.target, to, care.no_clobber, &dress),
            Node::Special(special) if self.manner.recursive => self.special(special, &dress, from, to, care),
            // cp(1) would read a device: there is nothing behind this one.
            _ => Err(Error::new(Kind::Unsupported, format!("is a {}, copied only with -r", show::kind(node)))),
        }
    }

    fn file(&self, file: &dyn File, attr: &Attr, dress: &Dress, from: &OsStr, to: &Path, care: Care) -> Result<bool> {
        let is_sparse = attr.stored.is_some_and(|stored| stored < attr.size);
        let Some(mut target) = Target::open(to, care, is_sparse)? else { return Ok(false) };
        copy::stream(file, from, self.manner.quiet, &mut |bytes| target.write(bytes))?;
        // A time that was not known may be, now that it was read.
        let known = if attr.mtime.is_none() { file.attr().mtime } else { None };
        target.publish(&dress.clone().at(known))?;
        Ok(true)
    }

    /// A device, a pipe or a socket; nothing but a warning if this user may not make one.
    fn special(&self, special: &Special, dress: &Dress, from: &OsStr, to: &Path, care: Care) -> Result<bool> {
        match local::special(special, to, care.no_clobber, dress) {
            Err(error) if error.kind() == Kind::Forbidden => {
                let kind = show::kind(&special.clone().into());
                tell("cp", &format!("{}: not copied: only root can make a {kind}", escape(from.as_bytes())));
                Ok(false)
            }
            done => done,
        }
    }

    fn directory(&mut self, dir: &dyn Dir, from: &OsStr, to: &Path, depth: usize, care: Care) -> Result<()> {
        if depth == MAX_DEPTH {
            return Err(Error::new(Kind::TooBig, format!("is nested deeper than {MAX_DEPTH} directories")));
        }
        let mut entries = dir.list()?;
        // Of an image its layout: what is inside it is copied by its own name.
        entries.retain(|entry| !matches!(&entry.node, Node::Dir(dir) if dir.is_view()));
        local::directory(to, care)?;
        self.say(from, to)?;
        let mut timeless = HashSet::new();
        for entry in entries {
            let inner: PathBuf = Path::new(from).join(&entry.name);
            let copied =
                safe(&entry.name).and_then(|name| self.node(&entry.node, inner.as_os_str(), &to.join(name), depth + 1));
            match copied {
                // Nothing that follows would fit either.
                Err(error) if error.kind() == Kind::NoSpace || is_closed(&error) => return Err(error),
                Err(error) => self.report.failed(inner.as_os_str(), &error)?,
                Ok(true) if entry.node.attr().mtime.is_none() => {
                    timeless.insert(entry.name);
                }
                Ok(_) => {}
            }
        }
        times(dir, &timeless, to)?;
        let attr = dir.attr();
        let xattrs = if attr.owner.is_some() { dir.xattrs()? } else { Vec::new() };
        local::finish(to, &Dress::whole(&attr, 0o300, xattrs))
    }

    fn say(&mut self, from: &OsStr, to: &Path) -> Result<()> {
        if self.manner.verbose {
            self.out.name(from)?;
            self.out.text(" -> ")?;
            self.out.name(to.as_os_str())?;
            self.out.text("\n")?;
            self.out.flush()?;
        }
        Ok(())
    }
}

/// Times that reading made known: an image's is in its config, which is no reason to fetch it, but now it is here.
fn times(dir: &dyn Dir, timeless: &HashSet<OsString>, to: &Path) -> Result<()> {
    if timeless.is_empty() {
        return Ok(());
    }
    for entry in dir.list()? {
        if let (true, Some(mtime)) = (timeless.contains(&entry.name), entry.node.attr().mtime) {
            local::touch(&to.join(entry.name), mtime)?;
        }
    }
    Ok(())
}

/// A name that stays in the directory that it is made in. The tree shows no other; this is the last gate.
fn safe(name: &OsStr) -> Result<&OsStr> {
    match name.as_bytes() {
        b"" | b"." | b".." => Err(Error::new(Kind::Invalid, "is not a file name")),
        bytes if bytes.contains(&b'/') => Err(Error::new(Kind::Invalid, "is not a file name")),
        _ => Ok(name),
    }
}
