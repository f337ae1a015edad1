//! Locations: a path in the tree of a source, as `ls`, `cat` and `cp` take it: `SOURCE/PATH`.
//!
//! Promises: image references are understood as docker and skopeo write them, and become the path that they have in
//! the tree; a name that is none is left for the tree to refuse. Asks neither disk nor network: whether a directory
//! is an image layout is the caller's to tell.

use crate::error::{Error, Kind, Result};
use crate::name::{Tag, escape, is_component, parse_component, parse_digest, show_component};
use crate::source::{Source, is_hub, layout_path, split, within_limit};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A place in the tree of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The tree; of a registry always the whole one.
    pub source: Source,
    /// The names to walk from its root; empty for the root itself.
    pub path: Vec<OsString>,
}

/// Names of a repository's directory that are not repositories below it.
const VIEWS: [&str; 3] = ["tags", "manifests", "blobs"];

impl Location {
    /// Reads SOURCE/PATH. Image references are understood: `host/repository:tag/…` and `host/repository@digest/…`.
    ///
    /// Of `oci:PATH` the layout is the longest prefix of PATH for which `is_layout` holds (`oci:PATH:TAG`, skopeo's
    /// spelling, is understood too); what follows is walked in its tree. `NotFound` if there is none.
    pub fn parse(text: &OsStr, is_layout: &dyn Fn(&Path) -> bool) -> Result<Location> {
        within_limit(text)?;
        if let Some(path) = layout_path(text) {
            return in_layout(path, is_layout);
        }
        let (source, names) = split(text)?;
        let names = lexical(names);
        let path = match &source {
            Source::Registry { host, .. } => expand_reference(host, names)?,
            Source::All => match names.split_first() {
                Some((host, rest)) => {
                    let inside = expand_reference(&host.to_string_lossy(), rest.to_vec())?;
                    std::iter::once(host.clone()).chain(inside).collect()
                }
                None => names,
            },
            Source::Layout(_) => names,
        };
        Ok(Location { source, path })
    }
}

/// Takes `.` and `..` out of a path, as a shell that knows no links does.
fn lexical(names: Vec<OsString>) -> Vec<OsString> {
    let mut path = Vec::with_capacity(names.len());
    for name in names {
        match name.as_bytes() {
            b"." | b"" => {}
            b".." => {
                path.pop();
            }
            _ => path.push(name),
        }
    }
    path
}

/// Writes the image reference in `names`, if there is one, as the path that it has in the tree.
fn expand_reference(host: &str, names: Vec<OsString>) -> Result<Vec<OsString>> {
    let is_view = |name: &OsString| VIEWS.iter().any(|view| name == view);
    let mut path: Vec<OsString> = Vec::with_capacity(names.len() + 3);
    let mut names = names.into_iter().peekable();
    while let Some(name) = names.next() {
        // No name in `tags/` reads as `b:v1`: this is a repository's component, as other tools spell it. Not where
        // `%tags` was written: that is the tree's spelling.
        let is_ours = path.iter().any(|name| name.as_bytes().starts_with(b"%"));
        let is_spelled = !is_ours && names.peek().is_some_and(|next| matches!(reference_of(next), Ok(Some(_))));
        if let Some(text) = name.to_str().filter(|_| is_view(&name) && is_spelled) {
            path.push(show_component(text).into());
            continue;
        }
        if is_view(&name) {
            official_path(host, &mut path);
            path.push(name);
            break;
        }
        let Some((component, view, reference)) = reference_of(&name)? else {
            path.push(name);
            continue;
        };
        path.push(component);
        official_path(host, &mut path);
        path.extend([OsString::from(view), reference]);
        break;
    }
    path.extend(names);
    Ok(path)
}

fn official_path(host: &str, path: &mut Vec<OsString>) {
    if is_hub(host) && path.len() == 1 {
        path.insert(0, "library".into());
    }
}

/// `name:tag` or `name[:tag]@digest` in parts: component, directory, name in it.
fn reference_of(name: &OsStr) -> Result<Option<(OsString, &'static str, OsString)>> {
    let Some(text) = name.to_str() else { return Ok(None) };
    if let Some((before, digest)) = text.split_once('@') {
        // A digest decides, whatever tag stands beside it: so do docker and podman.
        let component = before.split_once(':').map_or(before, |(component, _)| component);
        let Some(digest) = parse_digest(OsStr::new(digest)) else {
            let words = format!("\"{}\" in \"{}\" is not a digest", escape(digest.as_bytes()), escape(text.as_bytes()));
            return Err(Error::new(Kind::Invalid, words));
        };
        let Some(component) = shown(component) else {
            let words = format!("\"{}\" in \"{}\" is no image", escape(component.as_bytes()), escape(text.as_bytes()));
            return Err(Error::new(Kind::Invalid, words));
        };
        return Ok(Some((component, "manifests", digest.as_str().into())));
    }
    // What could be a digest of some algorithm to come may be an image's name just as well: `b:v1`.
    let is_digest = parse_digest(name).is_some_and(|digest| digest.is_supported());
    match text.split_once(':').map(|(component, tag)| (shown(component), tag)) {
        Some((Some(component), tag)) if !is_digest => {
            let tag: Tag = tag.parse()?;
            Ok(Some((component, "tags", tag.as_str().into())))
        }
        _ => Ok(None),
    }
}

/// A component of an image reference as the tree shows it; `tags:v1` is of `%tags`, which may be written, too.
fn shown(component: &str) -> Option<OsString> {
    if is_component(component) {
        return Some(show_component(component).into());
    }
    parse_component(OsStr::new(component)).map(|_| component.into())
}

fn in_layout(path: &Path, is_layout: &dyn Fn(&Path) -> bool) -> Result<Location> {
    let whole: Vec<OsString> = path.iter().map(OsStr::to_owned).collect();
    for taken in (0..=whole.len()).rev() {
        let prefix: PathBuf = whole[..taken].iter().collect();
        // `oci:tags` where the working directory is the layout.
        let prefix = if taken == 0 && path.is_relative() { PathBuf::from(".") } else { prefix };
        let rest = || lexical(whole[taken..].to_vec());
        if is_layout(&prefix) {
            return Ok(Location { source: Source::Layout(prefix), path: rest() });
        }
        let last = prefix.file_name().and_then(OsStr::to_str).and_then(|last| last.split_once(':'));
        if let Some((directory, tag)) = last.filter(|(_, tag)| tag.parse::<Tag>().is_ok()) {
            let prefix = prefix.with_file_name(directory);
            if is_layout(&prefix) {
                let path = [OsString::from("tags"), tag.into()].into_iter().chain(rest()).collect();
                return Ok(Location { source: Source::Layout(prefix), path });
            }
        }
    }
    let shown = escape(path.as_os_str().as_bytes());
    Err(Error::new(Kind::NotFound, format!("no OCI image layout at \"{shown}\": no directory of it holds oci-layout")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shows(text: &str, source: &str, path: &str) {
        let layouts = [Path::new("/l"), Path::new("/l/in"), Path::new("rel"), Path::new("/l/x:y")];
        let location = Location::parse(OsStr::new(text), &|path| layouts.contains(&path)).expect(text);
        let joined: Vec<_> = location.path.iter().map(|name| name.to_string_lossy()).collect();
        assert_eq!((location.source.to_string().as_str(), joined.join("/").as_str()), (source, path), "{text}");
    }

    #[test]
    fn plain_paths() {
        shows("host", "host", "");
        shows("host/", "host", "");
        shows("host/a//b/./tags/v1/", "host", "a/b/tags/v1");
        shows("host/a/../../b", "host", "b");
        shows("http://127.0.0.1:5000/a", "http://127.0.0.1:5000", "a");
        shows("host/.regfs/status", "host", ".regfs/status");
        shows("host/%tags/tags/x:y", "host", "%tags/tags/x:y");
        shows("all:", "all:", "");
        shows("all:/ghcr.io/a:v1", "all:", "ghcr.io/a/tags/v1");
    }

    #[test]
    fn references_of_repositories_with_reserved_components() {
        let digest = format!("sha256:{}", "a".repeat(64));
        shows("host/tags:ok", "host", "%tags/tags/ok");
        shows("host/%tags:ok", "host", "%tags/tags/ok");
        shows("host/a/tags/b:ok/digest", "host", "a/%tags/b/tags/ok/digest");
        shows("host/a/blobs:ok", "host", "a/%blobs/tags/ok");
        shows(&format!("host/tags/manifests@{digest}"), "host", &format!("%tags/%manifests/manifests/{digest}"));
        shows(&format!("host/a/manifests/{digest}"), "host", &format!("a/manifests/{digest}"));
        shows("host/a/tags/ok", "host", "a/tags/ok");
    }

    #[test]
    fn image_references() {
        let digest = format!("sha256:{}", "a".repeat(64));
        shows("host/a/b:v1", "host", "a/b/tags/v1");
        shows("host/a:v1/config.json", "host", "a/tags/v1/config.json");
        shows(&format!("host/a@{digest}/digest"), "host", &format!("a/manifests/{digest}/digest"));
        shows(&format!("host/a:v1@{digest}"), "host", &format!("a/manifests/{digest}"));
        shows(&format!("host/a/blobs/{digest}"), "host", &format!("a/blobs/{digest}"));
        shows("docker.io/ubuntu:22.04", "docker.io", "library/ubuntu/tags/22.04");
        shows("docker.io/ubuntu/tags", "docker.io", "library/ubuntu/tags");
        shows("docker.io/acme/app:1", "docker.io", "acme/app/tags/1");
        shows("docker.io/acme", "docker.io", "acme");
        shows("all:/docker.io/ubuntu:1", "all:", "docker.io/library/ubuntu/tags/1");
        for bad in ["host/a:", "host/a:-x", "host/a@sha256:zz", "host/a@", "all:a/@a:a", "host/..@a:a"] {
            let error = Location::parse(OsStr::new(bad), &|_| false).expect_err(bad);
            assert_eq!(error.kind(), Kind::Invalid, "{bad}");
        }
    }

    #[test]
    fn the_longest_layout_wins() {
        shows("oci:/l", "oci:/l", "");
        shows("oci:/l//tags/v1", "oci:/l", "tags/v1");
        shows("oci:/l/in/tags", "oci:/l/in", "tags");
        shows("oci:/l:v1", "oci:/l", "tags/v1");
        shows("oci:/l/x:y/tags", "oci:/l/x:y", "tags");
        shows("oci:rel/tags/../blobs", "oci:rel", "blobs");
        for none in ["oci:/nowhere/tags", "oci:a:", "oci:"] {
            let error = Location::parse(OsStr::new(none), &|path| path.ends_with("a")).expect_err(none);
            assert_eq!(error.kind(), Kind::NotFound, "{none}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_never_climbs(text in "\\PC{0,60}|(host|oci:|all:)[a-z:/@.%]{0,40}") {
            if let Ok(location) = Location::parse(OsStr::new(&text), &|path| path.ends_with("a")) {
                prop_assert!(location.path.iter().all(|name| name != ".." && name != "." && !name.is_empty()));
                prop_assert!(!location.path.iter().any(|name| name.as_bytes().contains(&b'/')));
            }
        }
    }
}
