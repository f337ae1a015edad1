//! Which files give mirrors, and which of two systems decides (protocols.md items 9, 26 and 27).

use crate::setup::Setup;
use regfs::error::Kind;
use regfs::net::mirrors::Mirrors;

/// The roots that a request for the repository would try.
fn roots(setup: &Setup, host: &str, repository: Option<&str>) -> Vec<String> {
    let route = Mirrors::load(&setup.env).expect("configuration").route(host, repository).expect("a route");
    assert!(route.origin().is_some_and(|origin| !origin.is_mirror));
    route.endpoints.iter().map(|endpoint| endpoint.base.to_string()).collect()
}

fn entry(prefix: &str, mirror: &str) -> String {
    format!("[[registry]]\nprefix = \"{prefix}\"\n[[registry.mirror]]\nlocation = \"{mirror}\"\n")
}

#[test]
fn nothing_configured_is_the_host_itself() {
    let setup = Setup::new();
    assert_eq!(roots(&setup, "r.io:5000", Some("a")), ["https://r.io:5000/v2"]);
    assert_eq!(roots(&setup, "docker.io", None), ["https://registry-1.docker.io/v2"]);
    assert_eq!(roots(&setup, "https://index.docker.io/v1/", None), ["https://registry-1.docker.io/v2"]);
    let mirrors = Mirrors::load(&setup.env).expect("configuration");
    for bad in ["", "a b", "*.io", "a\nb", "a:b"] {
        assert_eq!(mirrors.route(bad, None).expect_err(bad).kind(), Kind::Invalid);
    }
}

#[test]
fn item_26_files_of_registries_conf() {
    let mut setup = Setup::new();
    setup.write("root/etc/containers/registries.conf", entry("a.io", "system") + &entry("b.io", "system"));
    setup.write("root/etc/containers/registries.conf.d/10-x.conf", entry("b.io", "dropin-10"));
    setup.write("root/etc/containers/registries.conf.d/20-x.conf", entry("b.io", "dropin-20"));
    setup.write("root/etc/containers/registries.conf.d/30-x.conf.bak", "not TOML");
    setup.write("home/.config/containers/registries.conf.d/00-x.conf", entry("c.io", "user-dropin"));
    let first = |setup: &Setup, host: &str| roots(setup, host, Some("x")).remove(0);
    assert_eq!(first(&setup, "a.io"), "https://system/v2");
    assert_eq!(first(&setup, "b.io"), "https://dropin-20/v2");
    assert_eq!(first(&setup, "c.io"), "https://user-dropin/v2");
    // A main file of the user's replaces everything of the machine.
    setup.write("home/.config/containers/registries.conf", entry("a.io", "user"));
    assert_eq!(first(&setup, "a.io"), "https://user/v2");
    assert_eq!(first(&setup, "b.io"), "https://b.io/v2");
    assert_eq!(first(&setup, "c.io"), "https://user-dropin/v2");
    // A main file that is named replaces main files only.
    let named = setup.write("named.conf", entry("a.io", "named"));
    setup.set("CONTAINERS_REGISTRIES_CONF", &named);
    assert_eq!(first(&setup, "a.io"), "https://named/v2");
    assert_eq!(first(&setup, "b.io"), "https://dropin-20/v2");
    setup.set("CONTAINERS_REGISTRIES_CONF", "/dev/null");
    assert_eq!(first(&setup, "a.io"), "https://a.io/v2");
    setup.set("CONTAINERS_REGISTRIES_CONF", "/nonexistent");
    assert_eq!(Mirrors::load(&setup.env).expect_err("named").kind(), Kind::NotFound);
}

#[test]
fn item_26_blocked_is_denied() {
    let setup = Setup::new();
    setup.write("root/etc/containers/registries.conf", "[[registry]]\nlocation = \"evil.io/x\"\nblocked = true");
    let mirrors = Mirrors::load(&setup.env).expect("configuration");
    let error = mirrors.route("evil.io", Some("x/y")).expect_err("blocked");
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().starts_with("evil.io/x/y is blocked by "), "{error}");
    mirrors.route("evil.io", Some("other")).expect("not blocked");
}

#[test]
fn item_27_directories_of_containerd() {
    let setup = Setup::new();
    setup.write("root/etc/containerd/certs.d/r.io_5000_/hosts.toml", "[host.\"https://first\"]");
    setup.write("root/etc/containerd/certs.d/r.io:5000/hosts.toml", "[host.\"https://second\"]");
    setup.write("root/etc/containerd/certs.d/s.io:5000/hosts.toml", "[host.\"https://third\"]");
    setup.write("root/etc/containerd/certs.d/_default/hosts.toml", "[host.\"https://default\"]");
    assert_eq!(roots(&setup, "r.io:5000", None), ["https://first/v2", "https://r.io:5000/v2"]);
    assert_eq!(roots(&setup, "s.io:5000", None), ["https://third/v2", "https://s.io:5000/v2"]);
    assert_eq!(roots(&setup, "docker.io", None), ["https://default/v2", "https://registry-1.docker.io/v2"]);
    setup.write("home/.config/containerd/certs.d/r.io_5000_/hosts.toml", "[host.\"https://rootless\"]");
    assert_eq!(roots(&setup, "r.io:5000", None)[0], "https://rootless/v2");
}

#[test]
fn item_27_a_broken_file_is_an_error_for_its_host_alone() {
    let setup = Setup::new();
    let path = setup.write("root/etc/containerd/certs.d/r.io/hosts.toml", "server = \"https://r.io\"\nca = {");
    let mirrors = Mirrors::load(&setup.env).expect("configuration");
    let error = mirrors.route("r.io", None).expect_err("broken");
    assert!(error.to_string().starts_with(&format!("{} line 2", path.display())), "{error}");
    mirrors.route("s.io", None).expect("fine");
}

#[test]
fn a_broken_registries_conf_is_an_error_for_all() {
    let setup = Setup::new();
    for text in [b"[[registry]]\nprefix = ".as_slice(), b"x = 1\n\xff\n", &vec![b'#'; 2 << 20]] {
        let path = setup.write("root/etc/containers/registries.conf.d/x.conf", text);
        let error = Mirrors::load(&setup.env).expect_err("broken");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn registries_conf_decides_where_it_matches() {
    let setup = Setup::new();
    setup.write("root/etc/containers/registries.conf", entry("r.io/ns", "podman.io"));
    setup.write("root/etc/containerd/certs.d/_default/hosts.toml", "[host.\"https://containerd.io\"]");
    assert_eq!(roots(&setup, "r.io", Some("ns/x")), ["https://podman.io/v2", "https://r.io/v2"]);
    assert_eq!(roots(&setup, "r.io", Some("other")), ["https://containerd.io/v2", "https://r.io/v2"]);
    assert_eq!(roots(&setup, "r.io", None), ["https://containerd.io/v2", "https://r.io/v2"]);
}
