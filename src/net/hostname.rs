//! Names of registry hosts as users and files spell them, and the one spelling used here.
//!
//! Promises: `docker.io`, `index.docker.io` and `registry-1.docker.io` are one host, with or without a scheme, in any
//! case; a normal name has no scheme, path, user or control character. Does not resolve anything.

/// Docker Hub as users call it.
pub const HUB: &str = "docker.io";
/// Docker Hub as requests are sent to it.
pub const HUB_SERVER: &str = "registry-1.docker.io";
/// Docker Hub as docker's credentials call it.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The normal name of a host: `host[:port]` in lower case, without scheme, user, path and the port of https; [`HUB`]
/// for its aliases.
pub fn normal(spelled: &str) -> String {
    let (scheme, rest) = spelled.split_once("://").unwrap_or(("https", spelled));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.trim().to_ascii_lowercase();
    let host = if scheme.eq_ignore_ascii_case("http") { &host } else { host.strip_suffix(":443").unwrap_or(&host) };
    match host.trim_end_matches('.') {
        "index.docker.io" | HUB_SERVER => HUB.to_owned(),
        host => host.to_owned(),
    }
}

/// The `host[:port]` that requests for a normal name are sent to.
pub fn server(normal: &str) -> &str {
    if normal == HUB { HUB_SERVER } else { normal }
}

/// A host name without its port, and the port if there is one: `[::1]:5000` is `[::1]` and `5000`.
pub fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            (name, Some(port))
        }
        _ => (host, None),
    }
}

/// Whether `name` can be a host: letters, digits, dots and dashes or a bracketed address, and maybe a port.
pub fn is_host(name: &str) -> bool {
    let (host, port) = split_port(name);
    let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let numbered = address.is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok());
    (named || numbered) && port.is_none_or(|port| port.parse::<u16>().is_ok()) && name.len() <= 261
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_has_one_name() {
        for spelled in [
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
            "https://index.docker.io/v1/",
            "HTTPS://Docker.IO",
            "docker.io:443",
            "https://registry-1.docker.io/v2/",
        ] {
            assert_eq!(normal(spelled), HUB, "{spelled}");
        }
        assert_eq!(server(HUB), HUB_SERVER);
        assert_eq!(server("ghcr.io"), "ghcr.io");
    }

    #[test]
    fn names_are_normal() {
        assert_eq!(normal("https://User:Secret@Registry.Example.com:5000/v2/x?y"), "registry.example.com:5000");
        assert_eq!(normal("[::1]:5000"), "[::1]:5000");
        assert_eq!(normal("r.io:443"), "r.io");
        assert_eq!(normal("http://r.io:443"), "r.io:443");
        assert_eq!(normal("registry.example.com."), "registry.example.com");
        assert_eq!(normal(&normal("A.B/c")), "a.b");
    }

    #[test]
    fn ports_are_split() {
        assert_eq!(split_port("a:1"), ("a", Some("1")));
        assert_eq!(split_port("[::1]:5000"), ("[::1]", Some("5000")));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("a"), ("a", None));
    }

    #[test]
    fn hosts() {
        for good in ["a", "a.b-c:5000", "127.0.0.1:5000", "[::1]:443", "my_registry"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "*.a", "a/b", "a b", "a\n", "a:b", "a:99999", "[x]:1", "ü"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
