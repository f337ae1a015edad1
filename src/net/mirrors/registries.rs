//! containers-registries.conf(5), as podman, skopeo and buildah read it.
//!
//! Promises: the files, their order and the choice of one entry are theirs: the longest prefix wins, `*.example.com`
//! matches any host below it, an entry of a later file replaces one of the same prefix. Version 1's lists of insecure
//! and blocked registries are taken too. Short names and aliases are not: regfs knows full names only.

use super::endpoint::{Endpoint, Renaming};
use super::namespace::Namespace;
use crate::error::{Error, Kind, Result};
use crate::name::escape;
use crate::net::env::Env;
use crate::net::files;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The entries of all files.
#[derive(Debug, Default)]
pub(super) struct Registries {
    rules: Vec<Rule>,
    /// Where short names would be searched: hosts that the user works with.
    search: Vec<String>,
    /// Helpers that are asked for credentials, in order; none for the files alone.
    helpers: Vec<String>,
}

/// One `[[registry]]`.
#[derive(Debug)]
struct Rule {
    prefix: Namespace,
    location: Option<Namespace>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
    file: PathBuf,
}

/// One `[[registry.mirror]]`.
#[derive(Debug)]
struct Mirror {
    location: Namespace,
    insecure: bool,
    digests: bool,
    tags: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct FileText {
    registry: Vec<RegistryText>,
    unqualified_search_registries: Vec<String>,
    credential_helpers: Vec<String>,
    registries: VersionOne,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RegistryText {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<MirrorText>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct MirrorText {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VersionOne {
    search: List,
    insecure: List,
    block: List,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct List {
    registries: Vec<String>,
}

impl Registries {
    /// Reads the main file and its drop-ins.
    ///
    /// `$CONTAINERS_REGISTRIES_CONF`, else the user's `containers/registries.conf` if there is one, else
    /// `/etc/containers/registries.conf`. Drop-ins are `registries.conf.d/*.conf` by name, the machine's before the
    /// user's; the machine's are left out where the user has a main file.
    ///
    /// # Errors
    /// A file is unreadable or malformed, or the one that the variable names is not there.
    pub(super) fn load(env: &Env) -> Result<Registries> {
        let mut all = Registries::default();
        let machine_drop_ins = env.system_path("/etc/containers/registries.conf.d");
        let user_drop_ins = env.config_path("containers/registries.conf.d");
        let mut drop_ins = vec![machine_drop_ins, user_drop_ins.clone()];
        if let Some(path) = env.var_path("CONTAINERS_REGISTRIES_CONF") {
            let text = files::read_text(&path, files::MAX_CONFIG)?.ok_or_else(|| {
                Error::new(Kind::NotFound, format!("CONTAINERS_REGISTRIES_CONF: {}: no such file", path.display()))
            })?;
            all.add(&path, &text)?;
        } else if !all.add_file(env.config_path("containers/registries.conf"))? {
            all.add_file(env.system_path("/etc/containers/registries.conf"))?;
        } else {
            drop_ins = vec![user_drop_ins];
        }
        for directory in drop_ins.into_iter().flatten() {
            for path in files::list(&directory)? {
                if path.extension().is_some_and(|extension| extension == "conf") {
                    all.add_file(Some(path))?;
                }
            }
        }
        Ok(all)
    }

    /// Adds a file; whether there is one.
    fn add_file(&mut self, path: Option<PathBuf>) -> Result<bool> {
        let Some(path) = path else { return Ok(false) };
        let Some(text) = files::read_text(&path, files::MAX_CONFIG)? else { return Ok(false) };
        self.add(&path, &text)?;
        Ok(true)
    }

    /// Adds a file's entries, which replace earlier ones of the same prefix.
    fn add(&mut self, path: &Path, text: &str) -> Result<()> {
        let parsed: FileText = toml::from_str(text).map_err(|error| {
            let line = files::line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
            Error::new(Kind::Invalid, format!("{} line {line}: {}", path.display(), error.message()))
        })?;
        let in_file = |why: String| Error::new(Kind::Invalid, format!("{}: {why}", path.display()));
        for entry in parsed.registry {
            if let Some(rule) = Rule::from(entry, path).map_err(in_file)? {
                self.put(rule);
            }
        }
        let VersionOne { search, insecure, block } = parsed.registries;
        for (list, is_blocked) in [(&insecure.registries, false), (&block.registries, true)] {
            for spelled in list {
                let prefix = Namespace::parse(spelled).map_err(in_file)?;
                match self.rules.iter_mut().find(|rule| rule.prefix == prefix) {
                    Some(rule) if is_blocked => rule.blocked = true,
                    Some(rule) => rule.insecure = true,
                    None => self.put(Rule {
                        prefix,
                        location: None,
                        insecure: !is_blocked,
                        blocked: is_blocked,
                        mirrors: Vec::new(),
                        file: path.to_owned(),
                    }),
                }
            }
        }
        if !parsed.credential_helpers.is_empty() {
            self.helpers = parsed.credential_helpers;
        }
        let searched = [parsed.unqualified_search_registries, search.registries];
        if let Some(search) = searched.into_iter().find(|list| !list.is_empty()) {
            self.search = search;
        }
        Ok(())
    }

    fn put(&mut self, rule: Rule) {
        self.rules.retain(|earlier| earlier.prefix != rule.prefix);
        self.rules.push(rule);
    }

    /// The endpoints of the entry that matches best; `None` if none matches.
    ///
    /// # Errors
    /// `Denied` if that entry is blocked.
    pub(super) fn endpoints(&self, host: &str, repository: Option<&str>) -> Result<Option<Vec<Endpoint>>> {
        let best =
            self.rules.iter().filter(|rule| rule.prefix.covers(host, repository)).max_by_key(|rule| rule.prefix.len());
        let Some(rule) = best else { return Ok(None) };
        if rule.blocked {
            let what = repository.map(|repository| format!("/{repository}")).unwrap_or_default();
            return Err(Error::new(Kind::Denied, format!("{host}{what} is blocked by {}", rule.file.display())));
        }
        let mut endpoints = Vec::new();
        for mirror in &rule.mirrors {
            let mut endpoint = Endpoint::origin(&mirror.location.host)?;
            endpoint.is_mirror = true;
            endpoint.insecure = mirror.insecure;
            endpoint.by_digest_only = !mirror.tags;
            endpoint.by_tag_only = !mirror.digests;
            endpoint.renaming = rule.renaming(&mirror.location);
            endpoints.push(endpoint);
        }
        // A prefix without a port covers hosts with one, which keep it.
        let moved = rule.location.as_ref().filter(|location| **location != rule.prefix);
        let mut origin = Endpoint::origin(moved.map_or(host, |location| &location.host))?;
        origin.insecure = rule.insecure;
        if let Some(location) = moved {
            origin.renaming = rule.renaming(location);
        }
        endpoints.push(origin);
        Ok(Some(endpoints))
    }

    /// `credential-helpers`: what is asked for credentials, in order.
    pub(super) fn helpers(&self) -> &[String] {
        &self.helpers
    }

    /// The hosts that are named, without wildcards and without those that are blocked.
    pub(super) fn hosts(&self) -> impl Iterator<Item = String> {
        let prefixes = self.rules.iter().filter(|rule| !rule.blocked).map(|rule| rule.prefix.host.clone());
        prefixes.filter(|host| !host.starts_with("*.")).chain(self.search.iter().cloned())
    }
}

impl Rule {
    /// An entry of a file; `None` if regfs has no use for it.
    fn from(entry: RegistryText, file: &Path) -> Result<Option<Rule>, String> {
        let location = if entry.location.is_empty() { None } else { Some(Namespace::parse(&entry.location)?) };
        let prefix = match (entry.prefix.as_str(), &location) {
            ("", Some(location)) => location.clone(),
            ("", None) => return Err("a [[registry]] has neither prefix nor location".to_owned()),
            (prefix, _) => Namespace::parse_prefix(prefix)?,
        };
        if prefix.path.contains([':', '@']) {
            log::warn!(
                "{}: prefix \"{}\" names a tag or digest: left out",
                file.display(),
                escape(entry.prefix.as_bytes())
            );
            return Ok(None);
        }
        let mut mirrors = Vec::new();
        for mirror in entry.mirror {
            let (digests, tags) = match mirror.pull_from_mirror.as_str() {
                "" => (true, !entry.mirror_by_digest_only),
                _ if entry.mirror_by_digest_only => {
                    return Err("mirror-by-digest-only and pull-from-mirror cannot be set together".to_owned());
                }
                "all" => (true, true),
                "digest-only" => (true, false),
                "tag-only" => (false, true),
                other => return Err(format!("pull-from-mirror cannot be \"{}\"", escape(other.as_bytes()))),
            };
            let location = Namespace::parse(&mirror.location)?;
            mirrors.push(Mirror { location, insecure: mirror.insecure, digests, tags });
        }
        let (insecure, blocked) = (entry.insecure, entry.blocked);
        Ok(Some(Rule { prefix, location, insecure, blocked, mirrors, file: file.to_owned() }))
    }

    /// How repositories below the prefix are called at `location`.
    fn renaming(&self, location: &Namespace) -> Renaming {
        Renaming { from: self.prefix.path.clone(), to: location.path.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(text: &str) -> Registries {
        let mut all = Registries::default();
        all.add(Path::new("/r.conf"), text).expect(text);
        all
    }

    /// The URLs that a pull of the manifest tries, mirrors marked.
    fn tries(all: &Registries, host: &str, repository: &str) -> Vec<String> {
        let endpoints = all.endpoints(host, Some(repository)).expect("not blocked").expect("a match");
        endpoints
            .iter()
            .map(|endpoint| {
                let url = endpoint.url(&format!("/v2/{repository}/manifests/1"), Some(repository));
                format!("{}{}", if endpoint.is_mirror { "mirror " } else { "" }, url.as_str())
            })
            .collect()
    }

    #[test]
    fn the_example_of_the_manual() {
        let all = registries(
            r#"
            unqualified-search-registries = ["example.com"]
            [[registry]]
            prefix = "example.com/foo"
            location = "internal-registry-for-example.com/bar"
            [[registry.mirror]]
            location = "example-mirror-0.local/mirror-for-foo"
            [[registry.mirror]]
            location = "example-mirror-1.local/mirrors/foo"
            insecure = true
            "#,
        );
        assert_eq!(
            tries(&all, "example.com", "foo/image"),
            [
                "mirror https://example-mirror-0.local/v2/mirror-for-foo/image/manifests/1",
                "mirror https://example-mirror-1.local/v2/mirrors/foo/image/manifests/1",
                "https://internal-registry-for-example.com/v2/bar/image/manifests/1",
            ]
        );
        let endpoints = all.endpoints("example.com", Some("foo/image")).expect("allowed").expect("a match");
        assert_eq!(endpoints.iter().map(|e| e.insecure).collect::<Vec<_>>(), [false, true, false]);
        for other in ["foobar/image", "other"] {
            assert!(all.endpoints("example.com", Some(other)).expect("allowed").is_none(), "{other}");
        }
        assert!(all.endpoints("example.com", None).expect("allowed").is_none());
        assert_eq!(all.hosts().collect::<Vec<_>>(), ["example.com", "example.com"]);
    }

    #[test]
    fn the_longest_prefix_decides() {
        let all = registries(
            r#"
            [[registry]]
            prefix = "*.example.com"
            [[registry.mirror]]
            location = "wild"
            [[registry]]
            prefix = "a.example.com"
            location = "host"
            [[registry]]
            prefix = "a.example.com/ns"
            location = "namespace/x"
            [[registry]]
            prefix = "a.example.com/ns/repo"
            blocked = true
            "#,
        );
        let tried = tries(&all, "b.c.example.com:5000", "r");
        assert_eq!(tried, ["mirror https://wild/v2/r/manifests/1", "https://b.c.example.com:5000/v2/r/manifests/1"]);
        assert_eq!(tries(&all, "a.example.com", "r"), ["https://host/v2/r/manifests/1"]);
        assert_eq!(tries(&all, "a.example.com", "ns/r"), ["https://namespace/v2/x/r/manifests/1"]);
        assert_eq!(tries(&all, "a.example.com", "ns"), ["https://namespace/v2/x/manifests/1"]);
        let error = all.endpoints("a.example.com", Some("ns/repo")).expect_err("blocked");
        assert_eq!(error.kind(), Kind::Denied);
        assert_eq!(error.to_string(), "a.example.com/ns/repo is blocked by /r.conf");
        assert!(all.endpoints("example.com", Some("r")).expect("allowed").is_none());
        assert!(all.endpoints("xexample.com", Some("r")).expect("allowed").is_none());
    }

    #[test]
    fn a_prefix_without_a_port_covers_every_port() {
        let all = registries("[[registry]]\nlocation = \"localhost\"\ninsecure = true");
        assert_eq!(tries(&all, "localhost:5000", "r"), ["https://localhost:5000/v2/r/manifests/1"]);
        assert!(all.endpoints("localhost:5000", None).expect("allowed").expect("a match")[0].insecure);
        assert!(!all.endpoints("localhost:5000", None).expect("allowed").expect("a match")[0].scheme_known);
    }

    #[test]
    fn the_hub_is_matched_in_every_spelling() {
        let all =
            registries("[[registry]]\nprefix = \"index.docker.io\"\n[[registry.mirror]]\nlocation = \"m:5000/hub\"");
        assert_eq!(
            tries(&all, "docker.io", "library/ubuntu"),
            [
                "mirror https://m:5000/v2/hub/library/ubuntu/manifests/1",
                "https://registry-1.docker.io/v2/library/ubuntu/manifests/1"
            ]
        );
    }

    #[test]
    fn mirrors_may_be_for_tags_or_digests_only() {
        let asked = |text: &str| {
            let all = registries(&format!("[[registry]]\nlocation = \"r.io\"\n{text}"));
            let endpoints = all.endpoints("r.io", None).expect("allowed").expect("a match");
            (endpoints[0].answers(true), endpoints[0].answers(false))
        };
        let mirror = "[[registry.mirror]]\nlocation = \"m\"\n";
        assert_eq!(asked(mirror), (true, true));
        assert_eq!(asked(&format!("mirror-by-digest-only = true\n{mirror}")), (false, true));
        assert_eq!(asked(&format!("{mirror}pull-from-mirror = \"all\"")), (true, true));
        assert_eq!(asked(&format!("{mirror}pull-from-mirror = \"digest-only\"")), (false, true));
        assert_eq!(asked(&format!("{mirror}pull-from-mirror = \"tag-only\"")), (true, false));
    }

    #[test]
    fn version_one_is_understood() {
        let all = registries(
            "[registries.search]\nregistries = ['a.io']\n[registries.insecure]\nregistries = ['b.io']\n\
             [registries.block]\nregistries = ['c.io', 'b.io/secret']",
        );
        assert!(all.endpoints("b.io", Some("x")).expect("allowed").expect("a match")[0].insecure);
        assert_eq!(all.endpoints("c.io", Some("x")).expect_err("blocked").kind(), Kind::Denied);
        assert_eq!(all.endpoints("b.io", Some("secret/x")).expect_err("blocked").kind(), Kind::Denied);
        assert_eq!(all.hosts().collect::<Vec<_>>(), ["b.io", "a.io"]);
    }

    #[test]
    fn later_files_replace_entries() {
        let mut all = registries("[[registry]]\nprefix = \"a.io\"\nlocation = \"old\"");
        all.add(Path::new("/s.conf"), "[[registry]]\nprefix = \"A.io/\"\nlocation = \"new\"").expect("well formed");
        assert_eq!(tries(&all, "a.io", "r"), ["https://new/v2/r/manifests/1"]);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        for (text, said) in [
            ("x = 1\n[[registry]\n", "/r.conf line 2"),
            ("[[registry]]\ninsecure = \"yes\"", "/r.conf line 2"),
            ("[[registry]]\ninsecure = true", "neither prefix nor location"),
            ("[[registry]]\nlocation = \"https://a.io\"", "has a scheme"),
            ("[[registry]]\nlocation = \"a b\"", "host[:port]"),
            ("[[registry]]\nprefix = \"a.*.io\"", "host[:port]"),
            ("[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\ninsecure = true", "host[:port]"),
            (
                "[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"x\"",
                "pull-from-mirror",
            ),
        ] {
            let error = Registries::default().add(Path::new("/r.conf"), text).expect_err(text);
            assert!(error.to_string().starts_with("/r.conf") && error.to_string().contains(said), "{error}");
            assert_eq!(error.kind(), Kind::Invalid);
        }
        let text = "[[registry]]\nlocation = \"user:hunter2@a.io\"";
        let error = Registries::default().add(Path::new("/r.conf"), text).expect_err("a user");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(\\[\\[registry(\\.mirror)?\\]\\]\n|(prefix|location) = \"[*.a:/@1\\[\\]]{0,9}\"\n){0,6}") {
            let mut all = Registries::default();
            if all.add(Path::new("/r.conf"), &text).is_ok() {
                let _ = all.endpoints("a.a:1", Some("a/a"));
                let _ = all.hosts().count();
            }
        }
    }
}
