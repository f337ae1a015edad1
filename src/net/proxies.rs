//! Proxies by environment, as Go's programs (docker, podman, skopeo) and curl take them.
//!
//! `HTTP_PROXY` and `HTTPS_PROXY` by the request's scheme, else `ALL_PROXY`; each in lower case first, a value without a
//! scheme is `http://`. `NO_PROXY` lists names (`example.com` covers what is below it, `.example.com` only that), also
//! with a port, addresses, networks (`10.0.0.0/8`) and `*`. Loopback is never asked through a proxy.
//!
//! Promises: no value is ever repeated in an error, it may hold a password. Pure; sends nothing.

use super::env::Env;
use super::origin;
use crate::error::{Error, Kind, Result};
use std::net::IpAddr;
use url::Url;

/// What proxies are understood.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The user's proxies.
#[derive(Clone, Default)]
pub(super) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    except: Vec<Except>,
}

/// What is asked directly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Except {
    All,
    Network(IpAddr, u8),
    /// A name, whether it covers itself, and the one port that it is for.
    Name {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// Reads the variables.
    ///
    /// # Errors
    /// `Invalid` if one is no URL of a proxy.
    pub(super) fn load(env: &Env) -> Result<Proxies> {
        let var = |name: &str| -> Option<(String, String)> {
            let names = [name.to_ascii_lowercase(), name.to_owned()];
            names
                .into_iter()
                .find_map(|name| Some((env.var(&name)?.trim().to_owned(), name)))
                .filter(|(v, _)| !v.is_empty())
        };
        let proxy = |name: &str| match var(name).or_else(|| var("ALL_PROXY")) {
            None => Ok(None),
            Some((value, name)) => {
                let url = if value.contains("://") { value } else { format!("http://{value}") };
                match Url::parse(&url) {
                    Ok(url) if SCHEMES.contains(&url.scheme()) && url.has_host() => Ok(Some(url)),
                    _ => Err(Error::new(Kind::Invalid, format!("${name} is not the URL of a proxy"))),
                }
            }
        };
        let except = var("NO_PROXY").map(|(list, _)| list.split([',', ' ']).filter_map(Except::parse).collect());
        Ok(Proxies { http: proxy("HTTP_PROXY")?, https: proxy("HTTPS_PROXY")?, except: except.unwrap_or_default() })
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.http.is_some() || self.https.is_some()
    }

    /// The proxy to ask for a URL; `None` to ask directly.
    pub(super) fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !origin::is_loopback(url) && !self.except.iter().any(|except| except.covers(url)))
    }
}

impl Except {
    /// One entry of the list; `None` for an empty one.
    fn parse(entry: &str) -> Option<Except> {
        let entry = entry.trim().to_ascii_lowercase();
        if entry == "*" {
            return Some(Except::All);
        }
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Except::Network(address, 128));
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return Some(Except::Network(address, bits));
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        let below = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
        let (name, itself) = (below.unwrap_or(name).trim_matches(['[', ']']).to_owned(), below.is_none());
        (!name.is_empty()).then_some(Except::Name { name, itself, port })
    }

    fn covers(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match self {
            Except::All => true,
            Except::Network(network, bits) => match (network, host.parse()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(host))) => {
                    let mask = u32::MAX.checked_shl(32 - u32::from(*bits.min(&32))).unwrap_or(0);
                    network.to_bits() & mask == host.to_bits() & mask
                }
                (IpAddr::V6(network), Ok(IpAddr::V6(host))) => {
                    let mask = u128::MAX.checked_shl(128 - u32::from(*bits.min(&128))).unwrap_or(0);
                    network.to_bits() & mask == host.to_bits() & mask
                }
                _ => false,
            },
            Except::Name { name, itself, port } => {
                let named = host == name && *itself;
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (named || below) && port.is_none_or(|port| url.port_or_known_default() == Some(port))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(vars: &[(&str, &str)]) -> Proxies {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Proxies::load(&Env { vars, ..Env::default() }).expect("proxies")
    }

    fn of(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&url.parse().expect("a url")).map(|url| url.host_str().expect("a host").to_owned())
    }

    #[test]
    fn by_scheme_then_all_and_lower_case_first() {
        let all = proxies(&[("HTTP_PROXY", "a:1"), ("http_proxy", "socks5h://b:1"), ("ALL_PROXY", "https://u:p@c")]);
        assert_eq!(of(&all, "http://r.io/").as_deref(), Some("b"));
        assert_eq!(of(&all, "https://r.io/").as_deref(), Some("c"));
        let some = proxies(&[("https_proxy", "http://a"), ("HTTP_PROXY", " ")]);
        assert_eq!(of(&some, "http://r.io/"), None);
        assert_eq!(of(&some, "https://r.io/").as_deref(), Some("a"));
        assert_eq!(of(&proxies(&[]), "https://r.io/"), None);
    }

    #[test]
    fn loopback_is_asked_directly() {
        let all = proxies(&[("ALL_PROXY", "http://p")]);
        for url in ["http://localhost:5000/", "https://127.0.0.5/", "http://[::1]:1/"] {
            assert_eq!(of(&all, url), None, "{url}");
        }
    }

    #[test]
    fn exceptions() {
        let list =
            "example.com, .sub.org *.star.org,10.0.0.0/8,192.0.2.7,ported:5000,[2001:db8::1],2001:db9::/32,,bad:port";
        let all = proxies(&[("ALL_PROXY", "http://p"), ("NO_PROXY", list)]);
        for direct in [
            "https://example.com/",
            "https://a.b.EXAMPLE.com:5000/",
            "https://a.sub.org/",
            "https://a.star.org/",
            "https://10.9.8.7/",
            "https://192.0.2.7:5000/",
            "https://ported:5000/",
            "https://[2001:db8::1]/",
            "https://[2001:db9:5::1]/",
        ] {
            assert_eq!(of(&all, direct), None, "{direct}");
        }
        for proxied in [
            "https://notexample.com/",
            "https://example.com.org/",
            "https://sub.org/",
            "https://11.0.0.1/",
            "https://192.0.2.8/",
            "https://ported/",
            "https://[2001:db8::2]/",
        ] {
            assert_eq!(of(&all, proxied).as_deref(), Some("p"), "{proxied}");
        }
        assert_eq!(of(&proxies(&[("ALL_PROXY", "p"), ("no_proxy", "*")]), "https://r.io/"), None);
    }

    #[test]
    fn what_is_no_proxy_is_told_without_its_value() {
        for value in ["ftp://u:hunter2@p", "http://", "http://u:hunter2@p:port"] {
            let vars = [("HTTPS_PROXY".to_owned(), value.to_owned())].into();
            let error = Proxies::load(&Env { vars, ..Env::default() }).err().expect(value);
            assert_eq!(error.to_string(), "$HTTPS_PROXY is not the URL of a proxy");
        }
    }
}
