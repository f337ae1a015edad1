//! From the paths of a command line to nodes: each source is assembled once, however many paths are in it.

use super::assemble::Stack;
use super::common::Common;
use crate::error::{Error, Kind, Result};
use crate::location::Location;
use crate::source::Source;
use crate::tree::walk::{Last, walk};
use crate::tree::{Dir, Node};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

/// The trees that a command reads.
pub(crate) struct Trees<'a> {
    options: &'a Common,
    stack: Option<Stack>,
    roots: HashMap<Source, Arc<dyn Dir>>,
}

impl<'a> Trees<'a> {
    /// None yet.
    pub(crate) fn new(options: &'a Common) -> Trees<'a> {
        Trees { options, stack: None, roots: HashMap::new() }
    }

    /// The node at `SOURCE/PATH`.
    pub(crate) fn find(&mut self, text: &OsStr, last: Last) -> Result<Node> {
        let location = Location::parse(text, &is_layout)?;
        let root = self.root(&location.source)?;
        // A trailing slash asks for the directory behind a link, as it does everywhere.
        let last = if text.as_encoded_bytes().ends_with(b"/") { Last::Follow } else { last };
        walk(&root, &location.path.join(OsStr::new("/")), last)
    }

    fn root(&mut self, source: &Source) -> Result<Arc<dyn Dir>> {
        if let Some(root) = self.roots.get(source) {
            return Ok(root.clone());
        }
        let stack = match self.stack.take() {
            Some(stack) => stack,
            None => Stack::new(self.options)?,
        };
        let root = self.stack.insert(stack).tree(source)?;
        self.roots.insert(source.clone(), root.clone());
        Ok(root)
    }
}

/// A failure at `text`, with what may have been meant: docker's `ubuntu` is an image of the Hub, here it is a host.
pub(crate) fn explain(text: &OsStr, error: &Error) -> Error {
    let source = Location::parse(text, &|_| false).map(|location| location.source);
    let is_plain = |host: &str| !host.contains(['.', ':']) && text.as_encoded_bytes().starts_with(host.as_bytes());
    match source {
        Ok(Source::Registry { host, .. })
            if matches!(error.kind(), Kind::Unreachable | Kind::Timeout)
                && is_plain(&host)
                && Path::new(&host).is_dir() =>
        {
            error
                .context(format!("\"{host}\" was taken for a registry; it is a local directory too: plain ls reads it"))
        }
        Ok(Source::Registry { host, .. }) if error.kind() == Kind::Unreachable && !host.contains(['.', ':']) => {
            error.context(format!("\"{host}\" was taken for a registry (the Hub's image is docker.io/library/{host})"))
        }
        _ => error.clone(),
    }
}

/// However a command ends, what it read is worth keeping.
impl Drop for Trees<'_> {
    fn drop(&mut self) {
        if let Some(stack) = &self.stack {
            stack.settle();
        }
    }
}

/// Whether a directory is an OCI image layout.
fn is_layout(path: &Path) -> bool {
    path.join("oci-layout").is_file()
}

/// The last name of a location: what `cp` calls its copy.
pub(crate) fn basename(text: &OsStr) -> Result<Option<OsString>> {
    Ok(Location::parse(text, &is_layout)?.path.pop())
}
