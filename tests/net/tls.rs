//! Which certificates are used for which host (protocols.md item 27, certs.d).

use crate::setup::Setup;
use crate::support::run::{command, run};
use regfs::error::Kind;
use regfs::net::mirrors::Mirrors;
use regfs::net::tls::{self, Trust};
use std::fs;

/// A certificate and its key, made by openssl: `name.pem` and `name.key` below the setup.
fn certificate(setup: &Setup, name: &str) -> (String, String) {
    let (cert, key) = (setup.path(&format!("{name}.pem")), setup.path(&format!("{name}.key")));
    run(command("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}")])
        .args(["-out".as_ref(), cert.as_os_str(), "-keyout".as_ref(), key.as_os_str()]))
    .ok();
    (fs::read_to_string(cert).expect("a certificate"), fs::read_to_string(key).expect("a key"))
}

fn trust(setup: &Setup, host: &str) -> regfs::error::Result<Trust> {
    let route = Mirrors::load(&setup.env)?.route(host, None)?;
    tls::for_endpoint(&setup.env, route.origin().expect("an origin"))
}

/// The names of the authorities' files and of the identities' files.
fn names(trust: &Trust) -> (Vec<String>, Vec<String>) {
    let name = |pem: &tls::Pem| pem.path.file_name().expect("a name").to_string_lossy().into_owned();
    (trust.authorities.iter().map(name).collect(), trust.identities.iter().map(name).collect())
}

#[test]
fn certs_d_gives_authorities_and_clients() {
    let setup = Setup::new();
    let (cert, key) = certificate(&setup, "a");
    let directory = "root/etc/docker/certs.d/r.io:5000";
    setup.write(&format!("{directory}/one.crt"), &cert);
    setup.write(&format!("{directory}/two.crt"), format!("comment\n{cert}{cert}"));
    setup.write(&format!("{directory}/client.cert"), &cert);
    setup.write(&format!("{directory}/client.key"), &key);
    setup.write(&format!("{directory}/README"), "else");
    let found = trust(&setup, "r.io:5000").expect("certificates");
    assert_eq!(names(&found), (vec!["one.crt".into(), "two.crt".into()], vec!["client.cert".into()]));
    assert_eq!(found.identities[0].bytes, format!("{cert}\n{key}").into_bytes());
    let shown = format!("{found:?}");
    assert!(!shown.contains("BEGIN") && !shown.contains(&format!("{:?}", key.as_bytes())), "{shown}");
    for other in ["r.io", "r.io:5001", "docker.io"] {
        assert_eq!(trust(&setup, other).expect("none"), Trust::default(), "{other}");
    }
}

#[test]
fn the_first_directory_wins() {
    let setup = Setup::new();
    let (cert, _) = certificate(&setup, "a");
    let order = [
        ("root/etc/docker/certs.d/docker.io", "docker"),
        ("root/etc/containers/certs.d/docker.io", "containers"),
        ("home/.config/docker/certs.d/registry-1.docker.io", "rootless"),
        ("home/.config/containers/certs.d/docker.io", "user"),
    ];
    for (directory, name) in order {
        setup.write(&format!("{directory}/{name}.crt"), &cert);
        assert_eq!(names(&trust(&setup, "docker.io").expect("certificates")).0, [format!("{name}.crt")]);
    }
}

#[test]
fn hosts_toml_names_certificates_and_a_directory_without_it_gives_its_own() {
    let setup = Setup::new();
    let (cert, key) = certificate(&setup, "a");
    let directory = "root/etc/containerd/certs.d/r.io";
    setup.write(&format!("{directory}/own.crt"), &cert);
    setup.write("root/etc/docker/certs.d/r.io/docker.crt", &cert);
    assert_eq!(names(&trust(&setup, "r.io").expect("certificates")).0, ["own.crt", "docker.crt"]);
    setup.write(&format!("{directory}/both.pem"), format!("{key}{cert}"));
    setup.write(&format!("{directory}/hosts.toml"), "ca = \"own.crt\"\nclient = \"both.pem\"");
    let found = names(&trust(&setup, "r.io").expect("certificates"));
    assert_eq!(found, (vec!["own.crt".into(), "docker.crt".into()], vec!["both.pem".into()]));
}

#[test]
fn what_is_wrong_is_told() {
    let setup = Setup::new();
    let (cert, key) = certificate(&setup, "a");
    let directory = "root/etc/docker/certs.d/r.io";
    let fails = |said: &str| {
        let error = trust(&setup, "r.io").expect_err(said);
        assert!(error.to_string().contains(said) && error.to_string().contains(directory), "{error}");
        assert_eq!(error.kind(), Kind::Invalid);
        fs::remove_dir_all(setup.path(directory)).expect("removed");
    };
    setup.write(&format!("{directory}/x.crt"), "nothing");
    fails("x.crt holds no certificate in PEM");
    setup.write(&format!("{directory}/x.cert"), &cert);
    fails("x.cert has no");
    setup.write(&format!("{directory}/x.key"), &key);
    fails("x.key has no");
    setup.write(&format!("{directory}/x.cert"), &cert);
    setup.write(&format!("{directory}/x.key"), &cert);
    fails("x.key holds no private key in PEM");

    setup.write("root/etc/containerd/certs.d/r.io/hosts.toml", "ca = \"gone.pem\"");
    let error = trust(&setup, "r.io").expect_err("gone");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("gone.pem: no such file"), "{error}");
}

#[test]
fn the_systems_authorities_and_the_variables_that_replace_them() {
    let mut setup = Setup::new();
    let (cert, _) = certificate(&setup, "a");
    let paths = |setup: &Setup| -> Vec<_> {
        let found = tls::system_authorities(&setup.env).expect("authorities");
        found.into_iter().map(|pem| pem.path).collect()
    };
    assert!(paths(&setup).is_empty());
    let bundle = setup.write("root/etc/ssl/certs/ca-certificates.crt", &cert);
    assert_eq!(paths(&setup), [bundle]);
    let one = setup.write("one.pem", &cert);
    setup.set("SSL_CERT_FILE", &one);
    assert_eq!(paths(&setup), std::slice::from_ref(&one));
    let two = setup.write("dir/two.pem", &cert);
    setup.write("dir/README", "no certificate");
    let directory = setup.path("dir");
    setup.set("SSL_CERT_DIR", &directory);
    assert_eq!(paths(&setup), [one, two]);
    setup.set("SSL_CERT_FILE", "/nonexistent.pem");
    let error = tls::system_authorities(&setup.env).expect_err("gone");
    assert!(error.to_string().contains("SSL_CERT_FILE") && error.to_string().contains("/nonexistent.pem"), "{error}");
}
