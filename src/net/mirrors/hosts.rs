//! containerd's `certs.d/<host>/hosts.toml` (containerd, docs/hosts.md).
//!
//! Promises: the directory is chosen as containerd does (`host_port_`, `host:port`, `_default`), its hosts are tried in
//! the order of the file, `server` last; a directory without a file gives its certificates; a malformed file is an error
//! for the hosts that it is for, with the file's name and line, never a header's value.

use super::endpoint::{ClientFiles, Endpoint};
use crate::error::{Error, Kind, Result};
use crate::name::escape;
use crate::net::env::Env;
use crate::net::{files, hostname, tls};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::{Table, Value};
use url::Url;

/// The directory for hosts that have none of their own.
const DEFAULT: &str = "_default";

/// Every directory, by name, with its settings or what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct HostDirs(BTreeMap<String, Result<HostDir>>);

/// One directory: the hosts to try, and the server itself. Without a URL, the server is the host asked for.
#[derive(Clone, Debug)]
struct HostDir {
    hosts: Vec<Endpoint>,
    server: Server,
}

#[derive(Clone, Debug)]
enum Server {
    /// `server = "…"`.
    Named(Endpoint),
    /// The host asked for; only the settings of this count, not its address.
    Asked(Endpoint),
}

impl HostDirs {
    /// Reads `/etc/containerd/certs.d`, and the user's `containerd/certs.d` (rootless), which wins name by name.
    pub(super) fn load(env: &Env) -> HostDirs {
        let mut all = BTreeMap::new();
        let roots = [env.system_path("/etc/containerd/certs.d"), env.config_path("containerd/certs.d")];
        for root in roots.into_iter().flatten() {
            match files::list(&root) {
                Ok(directories) => {
                    for directory in directories.into_iter().filter(|path| path.is_dir()) {
                        if let Some(name) = directory.file_name().and_then(|name| name.to_str()) {
                            all.insert(name.to_owned(), HostDir::load(&directory));
                        }
                    }
                }
                Err(error) => log::warn!("{error}"),
            }
        }
        HostDirs(all)
    }

    /// The endpoints of a host (a normal name); `None` if no directory is for it.
    ///
    /// # Errors
    /// Its `hosts.toml` is unreadable or malformed.
    pub(super) fn endpoints(&self, host: &str) -> Result<Option<Vec<Endpoint>>> {
        let mut names = vec![host.to_owned(), DEFAULT.to_owned()];
        if let (name, Some(port)) = hostname::split_port(host) {
            names.insert(0, format!("{name}_{port}_"));
        }
        let Some(found) = names.iter().find_map(|name| self.0.get(name)) else { return Ok(None) };
        let HostDir { hosts, server } = found.clone()?;
        let server = match server {
            Server::Named(endpoint) => endpoint,
            Server::Asked(settings) => {
                let Endpoint { base, scheme_known, .. } = Endpoint::origin(host)?;
                Endpoint { base, scheme_known, ..settings }
            }
        };
        let mut endpoints: Vec<Endpoint> =
            hosts.into_iter().map(|endpoint| Endpoint { is_mirror: true, ..endpoint }).chain([server]).collect();
        for endpoint in &mut endpoints {
            endpoint.ns = (endpoint.host() != host).then(|| host.to_owned());
        }
        Ok(Some(endpoints))
    }

    /// The hosts that have a directory of their own.
    pub(super) fn hosts(&self) -> impl Iterator<Item = String> {
        self.0.keys().filter(|name| *name != DEFAULT).map(|name| host_of_directory(name))
    }
}

/// The host that a directory is for: `host_5000_` is `host:5000`.
fn host_of_directory(name: &str) -> String {
    match name.strip_suffix('_').and_then(|rest| rest.rsplit_once('_')) {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => format!("{host}:{port}"),
        _ => name.to_owned(),
    }
}

impl HostDir {
    fn load(directory: &Path) -> Result<HostDir> {
        let path = directory.join("hosts.toml");
        match files::read_text(&path, files::MAX_CONFIG)? {
            Some(text) if !text.is_empty() => HostDir::parse(&path, directory, &text),
            _ => {
                let mut settings = nowhere()?;
                (settings.ca, settings.client) = tls::files_of(directory)?;
                Ok(HostDir { hosts: Vec::new(), server: Server::Asked(settings) })
            }
        }
    }

    fn parse(path: &Path, directory: &Path, text: &str) -> Result<HostDir> {
        let table: Table = toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = files::line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
            Error::new(Kind::Invalid, format!("{} line {line}: {}", path.display(), error.message()))
        })?;
        let in_file = |why: String| Error::new(Kind::Invalid, format!("{}: {why}", path.display()));
        let mut hosts = Vec::new();
        match table.get("host") {
            None => {}
            Some(Value::Table(named)) => {
                for (url, settings) in named {
                    let shown = escape(url.as_bytes());
                    let settings =
                        settings.as_table().ok_or_else(|| in_file(format!("[host.\"{shown}\"] is not a table")))?;
                    let in_host = |why: String| in_file(format!("[host.\"{shown}\"]: {why}"));
                    let mut endpoint = at(url, settings).map_err(in_host)?;
                    configure(&mut endpoint, settings, directory).map_err(in_host)?;
                    hosts.push(endpoint);
                }
            }
            Some(_) => return Err(in_file("host is not a table".to_owned())),
        }
        let server = match table.get("server") {
            None => None,
            Some(Value::String(url)) if url.is_empty() => None,
            Some(Value::String(url)) => Some(at(url, &table).map_err(in_file)?),
            Some(_) => return Err(in_file("server is not a string".to_owned())),
        };
        let server = match server {
            Some(mut endpoint) => {
                configure(&mut endpoint, &table, directory).map_err(in_file)?;
                Server::Named(endpoint)
            }
            None => {
                let mut settings = nowhere()?;
                configure(&mut settings, &table, directory).map_err(in_file)?;
                Server::Asked(settings)
            }
        };
        Ok(HostDir { hosts, server })
    }
}

/// An endpoint whose address is put in later.
fn nowhere() -> Result<Endpoint> {
    Endpoint::origin("invalid")
}

/// An endpoint at the URL of a `server` or `[host]`; the API is below `/v2` unless `override_path`.
fn at(text: &str, settings: &Table) -> Result<Endpoint, String> {
    // containerd takes everything that begins with "http" for a URL; hosts called httpbin.org are hosts here.
    let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let shown = || escape(text.rsplit_once('@').map_or(text, |(_, host)| host).as_bytes());
    let mut base = Url::parse(&url).map_err(|error| format!("\"{}\" is not a URL: {error}", shown()))?;
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
        return Err(format!("\"{}\" is not an http or https URL", shown()));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(format!("\"{}\": a user in the URL is not supported, use docker login", shown()));
    }
    base.set_query(None);
    base.set_fragment(None);
    if base.host_str() == Some(hostname::HUB) {
        base.set_host(Some(hostname::HUB_SERVER)).map_err(|error| error.to_string())?;
    }
    let overridden = flag(settings, "override_path")?.unwrap_or(false);
    let path = base.path().trim_end_matches('/').to_owned();
    if overridden || path.ends_with("/v2") {
        base.set_path(&path);
    } else {
        base.set_path(&format!("{path}/v2"));
    }
    Ok(Endpoint::at(base, true))
}

/// Reads the settings of one host.
fn configure(endpoint: &mut Endpoint, settings: &Table, directory: &Path) -> Result<(), String> {
    if let Some(value) = settings.get("capabilities") {
        let named = strings(value).ok_or("capabilities is not a list of strings")?;
        let can = |what: &str| named.is_empty() || named.iter().any(|name| name.eq_ignore_ascii_case(what));
        (endpoint.pull, endpoint.resolve) = (can("pull"), can("resolve"));
    }
    if let Some(value) = settings.get("ca") {
        let paths = strings(value).ok_or("ca is neither a string nor a list of strings")?;
        endpoint.ca = paths.iter().map(|path| directory.join(path)).collect();
    }
    if let Some(value) = settings.get("client") {
        endpoint.client =
            clients(value, directory).ok_or("client is not a path, a list of paths, or a list of pairs")?;
    }
    endpoint.skip_verify = flag(settings, "skip_verify")?.unwrap_or(false);
    if let Some(value) = settings.get("header") {
        let named = value.as_table().ok_or("header is not a table")?;
        for (name, value) in named {
            let bad = || format!("header \"{}\" is neither a string nor a list of strings", escape(name.as_bytes()));
            let values = strings(value).ok_or_else(bad)?;
            if name.bytes().any(|b| !b.is_ascii_graphic() || b == b':')
                || values.iter().any(|v| v.contains(['\r', '\n']))
            {
                return Err(format!("\"{}\" cannot be sent as a header", escape(name.as_bytes())));
            }
            endpoint.headers.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
    }
    if let Some(value) = settings.get("dial_timeout") {
        let text = value.as_str().ok_or("dial_timeout is not a string such as \"5s\"")?;
        if !text.is_empty() {
            let bad = || format!("dial_timeout \"{}\" is not a duration such as \"5s\"", escape(text.as_bytes()));
            endpoint.dial_timeout = Some(parse_duration(text).ok_or_else(bad)?);
        }
    }
    Ok(())
}

/// A boolean that may be absent.
fn flag(settings: &Table, name: &str) -> Result<Option<bool>, String> {
    match settings.get(name) {
        None => Ok(None),
        Some(value) => value.as_bool().map(Some).ok_or_else(|| format!("{name} is neither true nor false")),
    }
}

/// A string, or a list of strings.
fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// A path to a file with certificate and key, or a list of such paths or of pairs of certificate and key.
fn clients(value: &Value, directory: &Path) -> Option<Vec<ClientFiles>> {
    let path = |text: &str| -> PathBuf { directory.join(text) };
    match value {
        Value::String(both) => Some(vec![ClientFiles { cert: path(both), key: None }]),
        Value::Array(many) => many
            .iter()
            .map(|one| match one {
                Value::String(both) => Some(ClientFiles { cert: path(both), key: None }),
                Value::Array(pair) => match pair.as_slice() {
                    [cert, key] => {
                        let key = key.as_str().filter(|key| !key.is_empty()).map(path);
                        Some(ClientFiles { cert: path(cert.as_str()?), key })
                    }
                    _ => None,
                },
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// A duration as Go writes them: `300ms`, `1.5s`, `1m30s`; not negative.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() || total.is_zero() && rest.len() == text.len() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[end..];
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
    }
    Some(total)
}
