//! One file of credentials: podman's auth.json, docker's config.json, or `.dockercfg`.
//!
//! Promises: keys are matched in every spelling that docker and podman write (`host`, `https://host/v1/`, paths,
//! longest first); a malformed file or entry is an error that names the file, the line or the key, never the content.
//! Does not run helpers; says which one to run.

use super::Secret;
use super::places::{Place, PlaceKind};
use crate::error::{Error, Kind, Result};
use crate::net::{files, hostname};
use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::Deserialize;
use std::collections::BTreeMap;

/// base64 as docker writes it, and as hands write it: padding or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is read of such a file; everything else in it is somebody else's.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthFile {
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

/// What is known for one key.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFile {
    /// Reads it; `None` if there is no such file.
    ///
    /// # Errors
    /// The file is unreadable, over its limit or malformed, or absent though the user named it.
    pub(super) fn load(place: &Place) -> Result<Option<AuthFile>> {
        let path = &place.path;
        let read = if place.required {
            files::read_existing(path, files::MAX_CONFIG).map(Some)
        } else {
            files::read(path, files::MAX_CONFIG)
        };
        let Some(bytes) = read.map_err(|error| error.context("credentials"))? else { return Ok(None) };
        AuthFile::parse(place, &bytes).map(Some)
    }

    /// Parses its bytes; `place` is for messages and for the layout.
    fn parse(place: &Place, bytes: &[u8]) -> Result<AuthFile> {
        // The words of the JSON library quote the value that surprised it, which may be a secret.
        let malformed = |error: serde_json::Error| {
            let (at, why) = match error.classify() {
                serde_json::error::Category::Data => (error.line(), "a value is not what it has to be"),
                serde_json::error::Category::Eof => (error.line(), "the file ends in the middle"),
                _ => (error.line(), "not valid JSON"),
            };
            Error::new(Kind::Invalid, format!("credentials: {} line {at}: {why}", place.path.display()))
        };
        match place.kind {
            PlaceKind::Legacy => {
                let auths = serde_json::from_slice(bytes).map_err(malformed)?;
                Ok(AuthFile { auths, ..AuthFile::default() })
            }
            PlaceKind::Podman | PlaceKind::Docker => serde_json::from_slice(bytes).map_err(malformed),
        }
    }

    /// The helper that keeps the credentials of `host` (a normal name).
    pub(super) fn helper_of(&self, host: &str) -> Option<&str> {
        let spelled = self.helpers.get(host);
        let name = spelled
            .or_else(|| self.helpers.iter().find(|(key, _)| hostname::normal(key) == host).map(|(_, name)| name))?;
        (!name.is_empty()).then_some(name)
    }

    /// The helper that keeps everything.
    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref().filter(|name| !name.is_empty())
    }

    /// What is written for the repository, its namespaces from the closest to the widest, or the host.
    ///
    /// # Errors
    /// `Invalid` if the entry that matches cannot be decoded.
    pub(super) fn find(&self, place: &Place, host: &str, repository: Option<&str>) -> Result<Option<Secret>> {
        let mut wanted = repository.map(|repository| format!("{host}/{repository}")).unwrap_or_else(|| host.to_owned());
        loop {
            let mut matching: Vec<(&String, &Entry)> = self
                .auths
                .iter()
                .filter(|(key, _)| normal_key(key) == wanted)
                .filter_map(|(key, entry)| Some((key, entry.as_ref()?)))
                .collect();
            // Of several spellings, what `docker login` writes for the Hub, then the plain one.
            matching.sort_by_key(|(key, _)| {
                (place.kind == PlaceKind::Podman || *key != hostname::HUB_KEY, **key != wanted)
            });
            for (key, entry) in matching {
                let found = entry.secret().map_err(|why| {
                    let key = crate::name::escape(key.as_bytes());
                    Error::new(
                        Kind::Invalid,
                        format!("credentials: {}: the entry of {key}: {why}", place.path.display()),
                    )
                })?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            match wanted.rsplit_once('/') {
                Some((wider, _)) => wanted.truncate(wider.len()),
                None => return Ok(None),
            }
        }
    }

    /// Whether there are keys for paths on `host` (a normal name).
    pub(super) fn has_paths(&self, host: &str) -> bool {
        self.auths.keys().any(|key| normal_key(key).strip_prefix(host).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The hosts that the file knows, as it spells them.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.auths.keys().chain(self.helpers.keys()).map(String::as_str)
    }
}

/// The key as `host` or `host/path`. A scheme, or `/v1/` or `/v2/` at the end, marks docker's spelling of a host.
fn normal_key(key: &str) -> String {
    let (host, path) = match key.split_once("://") {
        Some(_) => (key, ""),
        None => key.split_once('/').unwrap_or((key, "")),
    };
    match path.trim_end_matches('/') {
        "" => hostname::normal(host),
        "v1" | "v2" if path.ends_with('/') => hostname::normal(host),
        path => format!("{}/{path}", hostname::normal(host)),
    }
}

impl Entry {
    /// What it proves; `None` if it is empty, as entries are that a helper keeps.
    fn secret(&self) -> Result<Option<Secret>, &'static str> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Secret::RegistryToken { token }));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Secret::IdentityToken { token }));
        }
        if let Some(auth) = given(&self.auth) {
            let bytes = BASE64.decode(auth.trim()).map_err(|_| "\"auth\" is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "\"auth\" is not UTF-8")?;
            let (user, password) = text.split_once(':').ok_or("\"auth\" is not the base64 of user:password")?;
            // Old dockers padded passwords with NUL.
            let password = password.trim_matches('\0').to_owned();
            return Ok(Some(Secret::Basic { user: user.to_owned(), password }));
        }
        match (given(&self.username), given(&self.password)) {
            (Some(user), Some(password)) => Ok(Some(Secret::Basic { user, password })),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: PlaceKind) -> Place {
        Place { path: "/h/config.json".into(), kind, required: false }
    }

    fn file(text: &str) -> AuthFile {
        AuthFile::parse(&place(PlaceKind::Docker), text.as_bytes()).expect(text)
    }

    fn basic(user: &str, password: &str) -> Secret {
        Secret::Basic { user: user.into(), password: password.into() }
    }

    fn auth(user: &str, password: &str) -> String {
        BASE64.encode(format!("{user}:{password}"))
    }

    fn find(file: &AuthFile, host: &str, repository: Option<&str>) -> Option<Secret> {
        file.find(&place(PlaceKind::Docker), host, repository).expect("well formed")
    }

    #[test]
    fn every_spelling_of_a_host() {
        for key in ["r.io:5000", "https://r.io:5000", "http://R.io:5000/", "https://r.io:5000/v1/", "r.io:5000/v2/"] {
            let file = file(&format!(r#"{{"auths": {{"{key}": {{"auth": "{}"}}}}}}"#, auth("u", "p")));
            assert_eq!(find(&file, "r.io:5000", None), Some(basic("u", "p")), "{key}");
            assert_eq!(find(&file, "r.io", None), None, "{key}");
        }
    }

    #[test]
    fn the_hub() {
        let text = format!(
            r#"{{"auths": {{"docker.io": {{"auth": "{}"}}, "https://index.docker.io/v1/": {{"auth": "{}"}}}}}}"#,
            auth("podman", "p"),
            auth("docker", "d")
        );
        let file = file(&text);
        assert_eq!(find(&file, "docker.io", None), Some(basic("docker", "d")));
        let podman = file.find(&place(PlaceKind::Podman), "docker.io", Some("library/ubuntu")).expect("well formed");
        assert_eq!(podman, Some(basic("podman", "p")));
    }

    #[test]
    fn the_longest_path_wins() {
        let text = format!(
            r#"{{"auths": {{"r.io": {{"auth": "{}"}}, "r.io/ns": {{"auth": "{}"}}, "r.io/ns/user/image": {{"auth": "{}"}}}}}}"#,
            auth("host", "p"),
            auth("ns", "p"),
            auth("image", "p"),
        );
        let file = file(&text);
        assert_eq!(find(&file, "r.io", Some("ns/user/image")), Some(basic("image", "p")));
        assert_eq!(find(&file, "r.io", Some("ns/user/other")), Some(basic("ns", "p")));
        assert_eq!(find(&file, "r.io", Some("nsx/user")), Some(basic("host", "p")));
        assert_eq!(find(&file, "r.io", None), Some(basic("host", "p")));
    }

    #[test]
    fn kinds_of_entries() {
        let text = r#"{"auths": {
            "empty": {}, "null": null, "hash": {"auth": ""},
            "plain": {"username": "u", "password": "p:q r"},
            "colon": {"auth": "dTpwOnEgcg=="}, "unpadded": {"auth": "dTpwOnEgcg"},
            "identity": {"auth": "dTpw", "identitytoken": "i"}, "registry": {"registrytoken": "r"}
        }, "HttpHeaders": {"x": ["y"]}, "psFormat": 1}"#;
        let file = file(text);
        for host in ["empty", "null", "hash", "unknown"] {
            assert_eq!(find(&file, host, None), None, "{host}");
        }
        for host in ["plain", "colon", "unpadded"] {
            assert_eq!(find(&file, host, None), Some(basic("u", "p:q r")), "{host}");
        }
        assert_eq!(find(&file, "identity", None), Some(Secret::IdentityToken { token: "i".into() }));
        assert_eq!(find(&file, "registry", None), Some(Secret::RegistryToken { token: "r".into() }));
    }

    #[test]
    fn helpers_are_found_in_every_spelling() {
        let file = file(
            r#"{"credsStore": "pass", "credHelpers": {"https://index.docker.io/v1/": "hub", "r.io": "r", "s.io": ""}}"#,
        );
        assert_eq!(file.helper_of("docker.io"), Some("hub"));
        assert_eq!(file.helper_of("r.io"), Some("r"));
        assert_eq!(file.helper_of("s.io"), None);
        assert_eq!(file.helper_of("t.io"), None);
        assert_eq!(file.store(), Some("pass"));
    }

    #[test]
    fn the_legacy_file_is_all_entries() {
        let text = r#"{"https://index.docker.io/v1/": {"auth": "dTpw", "email": "x@y"}}"#;
        let file = AuthFile::parse(&place(PlaceKind::Legacy), text.as_bytes()).expect("well formed");
        assert_eq!(find(&file, "docker.io", None), Some(basic("u", "p")));
    }

    #[test]
    fn errors_name_the_file_and_never_the_secret() {
        for text in [
            "{\n\"auths\": {\"r.io\": \"hunter2\"}}",
            "{\n\"auths\": {\"r.io\": {\"auth\": hunter2}}}",
            "{\n\"auths\": {\"r.io\": {\"auth\": \"hunter2",
            "{\n\"auths\": [\"hunter2\"]}",
        ] {
            let error = AuthFile::parse(&place(PlaceKind::Docker), text.as_bytes()).err().expect("malformed");
            let words = error.to_string();
            assert!(words.contains("/h/config.json line 2") && !words.contains("hunter2"), "{words}");
            assert_eq!(error.kind(), Kind::Invalid);
        }
        for auth in ["hunter2:pass", "aHVudGVyMg==", "/w=="] {
            let file = file(&format!(r#"{{"auths": {{"r.io": {{"auth": "{auth}"}}}}}}"#));
            let words = file.find(&place(PlaceKind::Docker), "r.io", None).expect_err("malformed").to_string();
            assert!(words.contains("/h/config.json") && words.contains("r.io"), "{words}");
            assert!(!words.contains("hunter2") && !words.contains(auth), "{words}");
        }
    }
}
