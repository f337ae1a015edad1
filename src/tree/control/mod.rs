//! `.regfs/`: what a mount says of itself, beside whatever it shows. Never listed, always found.
//!
//! Promises: it is made from memory alone, so it answers while every remote is dead; a file that is opened keeps
//! what it said then. Knows nothing of how the facts came to be.

mod metrics;
mod status;

use super::content::{Opened, dir_attr, file_attr};
use super::{Attr, Dir, Entry, File, Handle, Node, not_found};
use crate::error::Result;
use crate::journal::{Journal, MAX_ERRORS, MAX_REQUESTS};
use crate::name::escape;
use crate::stamp::stamp;
use crate::store::Store;
use bytes::Bytes;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The directory's name.
pub const NAME: &str = ".regfs";
/// Its files.
const FILES: [&str; 4] = ["errors", "metrics", "requests", "status"];

/// What the mount is, as the user asked for it.
#[derive(Clone, Debug)]
pub struct Info {
    /// The source, without secrets: `registry.example.com/library`.
    pub source: String,
    /// Where it is mounted; empty where it is not.
    pub mountpoint: String,
    /// When it began.
    pub started: SystemTime,
    /// Whether nothing is asked of remotes.
    pub offline: bool,
}

/// A root with `.regfs/` beside what it shows.
pub struct Control {
    root: Arc<dyn Dir>,
    facts: Arc<Facts>,
}

/// Where the files are made from.
struct Facts {
    journal: Arc<Journal>,
    store: Arc<Store>,
    info: Info,
}

impl Control {
    /// `root`, and `.regfs/` made from the rest.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(root: Arc<dyn Dir>, journal: Arc<Journal>, store: Arc<Store>, info: Info) -> Arc<dyn Dir> {
        Arc::new(Control { root, facts: Arc::new(Facts { journal, store, info }) })
    }
}

impl Dir for Control {
    fn attr(&self) -> Attr {
        self.root.attr()
    }
    fn list(&self) -> Result<Vec<Entry>> {
        self.root.list()
    }
    fn lookup(&self, name: &OsStr) -> Result<Node> {
        if name == NAME {
            return Ok(Node::Dir(Arc::new(Files(self.facts.clone()))));
        }
        self.root.lookup(name)
    }
    fn is_ready(&self, name: &OsStr) -> bool {
        name == NAME || self.root.is_ready(name)
    }
    fn negative_ttl(&self) -> Duration {
        self.root.negative_ttl()
    }
    fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        self.root.xattrs()
    }
    fn xattr(&self, name: &OsStr) -> Result<Option<Vec<u8>>> {
        self.root.xattr(name)
    }
    fn refresh(&self) {
        self.root.refresh();
    }
    fn lane(&self) -> &str {
        self.root.lane()
    }
}

/// `.regfs/` itself.
struct Files(Arc<Facts>);

impl Files {
    fn node(&self, name: &'static str) -> Node {
        Node::File(Arc::new(Page { facts: self.0.clone(), name }))
    }
}

impl Dir for Files {
    fn attr(&self) -> Attr {
        dir_attr(Some(self.0.info.started), super::FOREVER, 0)
    }
    fn list(&self) -> Result<Vec<Entry>> {
        Ok(FILES.into_iter().map(|name| Entry { name: name.into(), node: self.node(name) }).collect())
    }
    fn lookup(&self, name: &OsStr) -> Result<Node> {
        let found = FILES.into_iter().find(|own| OsStr::new(own) == name);
        found.map(|name| self.node(name)).ok_or_else(|| not_found(name))
    }
    fn is_ready(&self, _name: &OsStr) -> bool {
        true
    }
    fn negative_ttl(&self) -> Duration {
        super::FOREVER
    }
}

/// One of the files; each look at it is a new one.
struct Page {
    facts: Arc<Facts>,
    name: &'static str,
}

impl Page {
    fn text(&self) -> String {
        let Facts { journal, store, info } = &*self.facts;
        match self.name {
            "errors" => errors(journal),
            "requests" => requests(journal),
            "metrics" => metrics::text(journal, &store.usage()),
            _ => status::json(journal, &store.usage(), info),
        }
    }
}

impl File for Page {
    fn attr(&self) -> Attr {
        let size = self.text().len() as u64;
        Attr { mode: 0o400 | 0o044, ..file_attr(size, Some(SystemTime::now()), Duration::ZERO, 0) }
    }
    fn open(&self) -> Result<Arc<dyn Handle>> {
        Ok(Arc::new(Opened { bytes: Bytes::from(self.text()), is_immutable: false }))
    }
    fn is_ready(&self) -> bool {
        true
    }
}

/// The last [`MAX_ERRORS`] failures, one line each: time, path, errno, the cause.
fn errors(journal: &Journal) -> String {
    let mut text = String::new();
    for failure in journal.errors().into_iter().rev().take(MAX_ERRORS).rev() {
        let errno = nix::errno::Errno::from_raw(failure.error.errno());
        let path = escape(failure.path.as_bytes());
        let cause = escape(failure.error.to_string().as_bytes());
        let _ = writeln!(text, "{} {path} {errno:?} {cause}", stamp(failure.time));
    }
    text
}

/// The last [`MAX_REQUESTS`] requests, one line each.
fn requests(journal: &Journal) -> String {
    let mut text = String::new();
    for request in journal.requests().into_iter().rev().take(MAX_REQUESTS).rev() {
        let range = if request.range.is_empty() { "-" } else { &request.range };
        let _ = writeln!(
            text,
            "{} {} {} {} {} {} bytes {} ms {}",
            stamp(request.time),
            escape(request.remote.as_bytes()),
            request.method,
            escape(request.url.as_bytes()),
            escape(range.as_bytes()),
            request.bytes,
            request.took.as_millis(),
            escape(request.outcome.as_bytes()),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};
    use crate::journal::Request;

    #[test]
    fn lines_cannot_be_forged() {
        let journal = Journal::new();
        journal.failed("tags/\n2026 fake", &Error::new(Kind::Timeout, "no answer\nin \x1b[31m30 s"));
        journal.requested(Request {
            time: SystemTime::UNIX_EPOCH,
            remote: "registry.example.com".to_owned(),
            method: "GET",
            url: "https://registry.example.com/v2/".to_owned(),
            range: String::new(),
            outcome: "200".to_owned(),
            bytes: 2,
            took: Duration::from_millis(7),
        });
        let errors = errors(&journal);
        assert_eq!(errors.lines().count(), 1);
        assert!(errors.contains(" tags/\\n2026 fake ETIMEDOUT no answer\\nin \\u{1b}[31m30 s"), "{errors}");
        assert_eq!(
            requests(&journal),
            "1970-01-01T00:00:00.000Z registry.example.com GET https://registry.example.com/v2/ - 2 bytes 7 ms 200\n"
        );
    }
}
