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

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(name: &str, text: &str) -> HostDirs {
        let directory = Path::new("/d").join(name);
        HostDirs([(name.to_owned(), HostDir::parse(&directory.join("hosts.toml"), &directory, text))].into())
    }

    fn endpoints(name: &str, text: &str, host: &str) -> Vec<Endpoint> {
        dirs(name, text).endpoints(host).expect("well formed").expect("a match")
    }

    #[test]
    fn hosts_are_tried_in_the_order_of_the_file() {
        let text = r#"
            server = "https://docker.io"
            [host."https://z.example.com"]
            capabilities = ["pull"]
            [host."http://a.example.com:5000/hub"]
            [host."m.example.com".header]
            x = "y"
            [host."https://b.example.com/v2"]
            capabilities = ["Pull", "resolve", "push"]
        "#;
        let found = endpoints("docker.io", text, "docker.io");
        let bases: Vec<_> = found.iter().map(|e| (e.base.as_str(), e.is_mirror, e.pull, e.resolve)).collect();
        assert_eq!(
            bases,
            [
                ("https://z.example.com/v2", true, true, false),
                ("http://a.example.com:5000/hub/v2", true, true, true),
                ("https://m.example.com/v2", true, true, true),
                ("https://b.example.com/v2", true, true, true),
                ("https://registry-1.docker.io/v2", false, true, true),
            ]
        );
        let ns: Vec<_> = found.iter().map(|e| e.ns.as_deref()).collect();
        let hub = Some("docker.io");
        assert_eq!(ns, [hub, hub, hub, hub, None]);
    }

    #[test]
    fn every_key() {
        let text = r#"
            ca = "root.pem"
            [host."https://m"]
            ca = ["/abs.pem", "rel.pem"]
            client = [["c.cert", "c.key"], ["both.pem", ""]]
            skip_verify = true
            override_path = true
            dial_timeout = "1m1.5s"
            [host."https://m".header]
            x-one = "1"
            x-two = ["a", "b"]
        "#;
        let found = endpoints("r.io", text, "r.io");
        let mirror = &found[0];
        assert_eq!(mirror.base.as_str(), "https://m/");
        assert_eq!(mirror.url("/v2/a/tags/list", Some("a")).as_str(), "https://m/a/tags/list?ns=r.io");
        assert_eq!(mirror.ca, [PathBuf::from("/abs.pem"), PathBuf::from("/d/r.io/rel.pem")]);
        let pair = |cert: &str, key: Option<&str>| ClientFiles { cert: cert.into(), key: key.map(PathBuf::from) };
        assert_eq!(mirror.client, [pair("/d/r.io/c.cert", Some("/d/r.io/c.key")), pair("/d/r.io/both.pem", None)]);
        assert!(mirror.skip_verify);
        assert_eq!(mirror.dial_timeout, Some(Duration::from_millis(61_500)));
        let headers: Vec<_> = mirror.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        assert_eq!(headers, ["x-one: 1", "x-two: a", "x-two: b"]);
        let origin = &found[1];
        assert_eq!((origin.base.as_str(), origin.is_mirror, origin.scheme_known), ("https://r.io/v2", false, false));
        assert_eq!(origin.ca, [PathBuf::from("/d/r.io/root.pem")]);
        assert_eq!(origin.ns, None);
        for client in ["\"both.pem\"", "[\"both.pem\"]"] {
            let found = endpoints("r.io", &format!("client = {client}"), "r.io");
            assert_eq!(found[0].client, [pair("/d/r.io/both.pem", None)]);
        }
    }

    #[test]
    fn directories_are_chosen_as_containerd_does() {
        let all = ["r.io_5000_", "r.io:5000", "r.io", "_default"].map(|name| {
            let text = format!("[host.\"https://{}\"]", name.replace(['_', ':'], "-"));
            (name.to_owned(), HostDir::parse(Path::new("/h"), Path::new("/"), &text))
        });
        let mut all = HostDirs(all.into());
        let first = |all: &HostDirs, host: &str| all.endpoints(host).expect("fine").map(|found| found[0].host());
        assert_eq!(first(&all, "r.io:5000").as_deref(), Some("r.io-5000-"));
        assert_eq!(first(&all, "r.io").as_deref(), Some("r.io"));
        assert_eq!(first(&all, "r.io:6000").as_deref(), Some("-default"));
        assert_eq!(all.hosts().collect::<Vec<_>>(), ["r.io", "r.io:5000", "r.io:5000"]);
        all.0.remove("r.io_5000_");
        assert_eq!(first(&all, "r.io:5000").as_deref(), Some("r.io-5000"));
        all.0.remove("_default");
        assert_eq!(first(&all, "other"), None);
        let found = endpoints("_default", "[host.\"https://m\"]", "other.io:1");
        assert_eq!(found[1].base.as_str(), "https://other.io:1/v2");
        assert_eq!(found[0].ns.as_deref(), Some("other.io:1"));
    }

    #[test]
    fn errors_are_for_the_host_and_name_the_file() {
        for (text, said) in [
            ("server = \"https://a\"\n[host.\"https://b\"\n", "line 2"),
            ("server = 1", "server"),
            ("server = \"ftp://a\"", "http"),
            ("server = \"https://bob:hunter2@a\"", "docker login"),
            ("host = 1", "host"),
            ("[host]\nx = 1", "[host.\"x\"]"),
            ("[host.\"https://m\"]\ncapabilities = 1", "[host.\"https://m\"]: capabilities"),
            ("[host.\"https://m\"]\nca = 1", "ca"),
            ("[host.\"https://m\"]\nclient = [[\"a\"]]", "client"),
            ("[host.\"https://m\"]\nskip_verify = \"yes\"", "skip_verify"),
            ("[host.\"https://m\"]\noverride_path = 1", "override_path"),
            ("[host.\"https://m\"]\ndial_timeout = \"5\"", "dial_timeout"),
            ("[host.\"https://m\"]\nheader = {Authorization = [\"hunter2\", 1]}", "Authorization"),
            ("[host.\"https://m\"]\nheader = {Authorization = \"hunter2\\n\"}", "Authorization"),
        ] {
            let error = dirs("r.io", text).endpoints("r.io").expect_err(text);
            let words = error.to_string();
            assert!(words.starts_with("/d/r.io/hosts.toml") && words.contains(said), "{words}");
            assert!(!words.contains("hunter2"), "{words}");
            assert_eq!(error.kind(), Kind::Invalid);
        }
        let all = dirs("r.io", "server = 1");
        assert!(all.endpoints("other.io").expect("not its own").is_none());
    }

    #[test]
    fn durations_are_gos() {
        for (text, millis) in
            [("5s", 5000), ("300ms", 300), ("1.5s", 1500), ("1m1s", 61_000), ("0", 0), ("2h", 7_200_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-5s", "5 s", "5y", "..s", "99999999999999999999999h", "5s5"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(server = |\\[host\\.|ca = |client = |\\[|\\]|\"|https://|m|\n|dial_timeout = \"[0-9.smh]{0,6}\"){0,12}") {
            let _ = dirs("r.io", &text).endpoints("r.io");
            let _ = parse_duration(&text);
        }
    }
}
