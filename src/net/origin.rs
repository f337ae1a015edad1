//! Where a request goes: registry names as users write them, origins, and which of them may speak clear HTTP.
//!
//! Pure; promises that a name it accepts is a host with an optional port and nothing else. Knows the Docker Hub's
//! two names (protocols.md item 3).

use super::hostname;
use crate::error::{Error, Kind, Result};
use crate::name;
use std::net::IpAddr;
use url::{Host, Url};

/// The longest registry name taken, in bytes: a DNS name and a port.
pub(super) const MAX_NAME: usize = 270;

/// A registry as the user names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Named {
    /// `host` or `host:port`, in lower case; the Hub is always `docker.io`.
    pub(super) name: String,
    /// The scheme, where the user wrote one: whether it is `https`.
    pub(super) https: Option<bool>,
}

impl Named {
    /// Reads `registry.example.com:5000`, `docker.io` or `http://host:port`.
    pub(super) fn parse(text: &str) -> Result<Named> {
        let bad = |why: &str| Error::new(Kind::Invalid, format!("\"{}\" is not a registry: {why}", shorten(text)));
        if text.len() > MAX_NAME {
            return Err(bad("the name is too long"));
        }
        let (https, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            Some(_) => return Err(bad("the scheme is neither http nor https")),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '\\']) {
            return Err(bad("more than a host and a port"));
        }
        if rest.contains('@') {
            return Err(bad("user names and passwords belong into docker's or podman's credentials (docker login)"));
        }
        if rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(bad("a control character or a space"));
        }
        let name = hostname::normal(rest);
        if !hostname::is_host(&name) {
            return Err(bad("not a host with an optional port"));
        }
        Ok(Named { name, https })
    }
}

fn shorten(text: &str) -> String {
    name::escape(text.chars().take(100).collect::<String>().as_bytes())
}

/// Whether two URLs share scheme, host and port: the only case in which secrets may be repeated.
pub(super) fn same(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// `host` or `host:port` of a URL.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether the URL's host is this machine: `localhost`, 127.0.0.0/8 or `::1`.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

/// The URL as it may be shown and recorded: without query, fragment, user and password, which may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), authority(url), name::escape(url.path().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn item_3_names_are_a_host_and_a_port() {
        for (text, name, https) in [
            ("registry.example.com", "registry.example.com", None),
            ("Registry.Example.com:5000", "registry.example.com:5000", None),
            ("http://127.0.0.1:5000", "127.0.0.1:5000", Some(false)),
            ("https://r.example/", "r.example", Some(true)),
            ("[::1]:5000", "[::1]:5000", None),
            ("localhost:80", "localhost:80", None),
            ("docker.io", "docker.io", None),
            ("index.docker.io", "docker.io", None),
        ] {
            let named = Named::parse(text).expect(text);
            assert_eq!((named.name.as_str(), named.https), (name, https), "{text}");
        }
        for bad in ["", "a/b", "ftp://x", "u:p@host", "host:99999", "ho st", "a\nb", "http://", &"a".repeat(300)] {
            assert_eq!(Named::parse(bad).expect_err(bad).kind(), Kind::Invalid, "{bad:?}");
        }
    }

    #[test]
    fn loopback_is_this_machine_and_nothing_else() {
        let is = |url: &str| is_loopback(&url.parse().expect("url"));
        assert!(is("http://localhost:1/") && is("http://127.9.9.9/") && is("http://[::1]:5/"));
        assert!(!is("http://128.0.0.1/") && !is("http://localhost.example/") && !is("http://[::2]/"));
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let same = |a: &str, b: &str| same(&a.parse().expect("url"), &b.parse().expect("url"));
        assert!(same("https://a/x", "https://a:443/y"));
        assert!(!same("https://a/", "http://a/") && !same("https://a/", "https://b.a/"));
        assert!(!same("https://a/", "https://a:444/"));
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        let url: Url = "https://u:p@h:1/v2/x?sig=secret#f".parse().expect("url");
        assert_eq!(shown(&url), "https://h:1/v2/x");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_an_error(text in "\\PC{0,40}|[a-z0-9.:/@\\[\\]-]{0,30}") {
            if let Ok(named) = Named::parse(&text) {
                prop_assert!(!named.name.contains('/') && !named.name.contains('@') && !named.name.is_empty());
                prop_assert_eq!(Named::parse(&named.name).expect("again").name, named.name);
            }
        }
    }
}
