//! Certificates made by openssl for the run of a test.

use crate::support::run::{command, run};
use std::path::{Path, PathBuf};

/// A certificate authority with one server certificate for 127.0.0.1 and localhost, and one client certificate.
pub struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    /// Makes keys and certificates.
    pub fn new() -> Authority {
        let directory = tempfile::tempdir().expect("tempdir");
        let authority = Authority { directory };
        authority.request("ca", "/CN=regfs test authority", &["basicConstraints=critical,CA:TRUE"], false);
        let names = ["subjectAltName=IP:127.0.0.1,DNS:localhost", "basicConstraints=CA:FALSE"];
        authority.request("server", "/CN=127.0.0.1", &names, true);
        let usage = ["extendedKeyUsage=clientAuth", "basicConstraints=CA:FALSE"];
        authority.request("client", "/CN=a client", &usage, true);
        authority
    }

    fn request(&self, name: &str, subject: &str, extensions: &[&str], signed: bool) {
        let mut openssl = command("openssl");
        openssl.current_dir(self.directory.path());
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        openssl.args(["-days", "2", "-subj", subject]);
        openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
        for extension in extensions {
            openssl.args(["-addext", extension]);
        }
        if signed {
            openssl.args(["-CA", "ca.crt", "-CAkey", "ca.key"]);
        }
        run(&mut openssl).ok();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The authority's certificate (PEM).
    pub fn ca(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// The server's certificate and key.
    pub fn server(&self) -> (PathBuf, PathBuf) {
        (self.file("server.crt"), self.file("server.key"))
    }

    /// The client's certificate and key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.file("client.crt"), self.file("client.key"))
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}
