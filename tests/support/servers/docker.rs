//! docker-registry 2.8.2 (Debian) in the configurations that change what a reader sees.

use super::process::Process;
use super::tokens::TokenServer;
use crate::support::client::Ask;
use crate::support::run::{command, run};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The configuration.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    /// The storage directory; its own if `None`. Two registries may share one: fill by one, read by the other.
    pub root: Option<PathBuf>,
    pub auth: DockerAuth,
    /// Pull-through cache of this URL.
    pub proxy: Option<String>,
    /// Read-only maintenance mode.
    pub readonly: bool,
    /// Blobs are answered by a 307 to this URL, which serves the storage directory.
    pub redirect: Option<String>,
    /// Locations without a host.
    pub relative_urls: bool,
}

/// Who may read and write.
#[derive(Clone, Debug, Default)]
pub enum DockerAuth {
    #[default]
    None,
    /// One user; the realm has a comma.
    Basic { user: String, password: String },
    /// Tokens of a token server, by [`DockerAuth::bearer`].
    Bearer { realm: String, service: String, issuer: String, bundle: PathBuf },
}

/// A running docker-registry.
pub struct DockerRegistry {
    /// `None` while it is down.
    process: Option<Process>,
    directory: tempfile::TempDir,
    root: PathBuf,
    port: u16,
}

impl DockerRegistry {
    /// Starts it.
    pub fn start(config: Docker) -> DockerRegistry {
        let directory = tempfile::tempdir().expect("tempdir");
        let root = config.root.clone().unwrap_or_else(|| directory.path().join("storage"));
        std::fs::create_dir_all(&root).expect("create the storage directory");
        let process = Process::start(directory.path(), "docker-registry", "/v2/", |port| {
            std::fs::write(directory.path().join("config.yml"), yaml(&config, directory.path(), &root, port))
                .expect("write the configuration");
            serve(directory.path())
        });
        let port = process.port();
        DockerRegistry { process: Some(process), directory, root, port }
    }

    /// One without authentication.
    pub fn plain() -> DockerRegistry {
        DockerRegistry::start(Docker::default())
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its storage directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Kills it: connections are refused until [`DockerRegistry::up`].
    pub fn down(&mut self) {
        self.process = None;
    }

    /// Starts it again, on the same port.
    pub fn up(&mut self) {
        if self.process.is_none() {
            let command = serve(self.directory.path());
            self.process =
                Some(Process::start_on(self.directory.path(), "docker-registry", "/v2/", self.port, command));
        }
    }

    /// Deletes a manifest, with every tag of it.
    pub fn delete_manifest(&self, repository: &str, digest: &str) {
        let url = self.url(&format!("/v2/{repository}/manifests/{digest}"));
        let done = Ask::new("DELETE", &url).send().expect("delete");
        assert_eq!(done.status, 202, "{}", done.text());
    }

    /// Deletes a blob.
    pub fn delete_blob(&self, repository: &str, digest: &str) {
        let url = self.url(&format!("/v2/{repository}/blobs/{digest}"));
        let done = Ask::new("DELETE", &url).send().expect("delete");
        assert_eq!(done.status, 202, "{}", done.text());
    }

    /// Where a blob's bytes are stored.
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let encoded = digest.trim_start_matches("sha256:");
        self.root.join("docker/registry/v2/blobs/sha256").join(&encoded[..2]).join(encoded).join("data")
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}

impl DockerAuth {
    /// The user `me` with a password that has a colon and a space.
    pub fn basic() -> DockerAuth {
        DockerAuth::Basic { user: "me".to_owned(), password: "pass:wo rd".to_owned() }
    }

    /// Tokens of that server.
    pub fn bearer(tokens: &TokenServer) -> DockerAuth {
        DockerAuth::Bearer {
            realm: tokens.realm(),
            service: tokens.service().to_owned(),
            issuer: tokens.issuer().to_owned(),
            bundle: tokens.certificate(),
        }
    }
}

fn serve(directory: &Path) -> Command {
    let mut serve = command("docker-registry");
    serve.arg("serve").arg(directory.join("config.yml"));
    serve
}

fn yaml(config: &Docker, directory: &Path, root: &Path, port: u16) -> String {
    let mut text = format!(
        "version: 0.1\nlog:\n  level: warn\n  accesslog: {{disabled: true}}\nstorage:\n  filesystem:\n    \
         rootdirectory: {}\n    maxthreads: 100\n  delete: {{enabled: true}}\n",
        root.display()
    );
    if config.readonly {
        text.push_str("  maintenance:\n    readonly: {enabled: true}\n");
    }
    let _ = write!(
        text,
        "http:\n  addr: 127.0.0.1:{port}\n  secret: a-secret-that-stays\n  relativeurls: {}\n\
         validation:\n  manifests:\n    urls:\n      allow: ['^https?://']\n",
        config.relative_urls
    );
    match &config.auth {
        DockerAuth::None => {}
        DockerAuth::Basic { user, password } => {
            let file = directory.join("htpasswd");
            let line = run(command("htpasswd").args(["-Bbn", "-C", "4", user, password])).ok();
            std::fs::write(&file, line.out).expect("write htpasswd");
            let _ =
                write!(text, "auth:\n  htpasswd:\n    realm: 'a realm, with comma'\n    path: {}\n", file.display());
        }
        DockerAuth::Bearer { realm, service, issuer, bundle } => {
            let _ = write!(
                text,
                "auth:\n  token:\n    realm: '{realm}'\n    service: '{service}'\n    issuer: '{issuer}'\n    \
                 rootcertbundle: {}\n",
                bundle.display()
            );
        }
    }
    if let Some(url) = &config.proxy {
        let _ = write!(text, "proxy:\n  remoteurl: {url}\n");
    }
    if let Some(url) = &config.redirect {
        let _ =
            write!(text, "middleware:\n  storage:\n    - name: redirect\n      options:\n        baseurl: '{url}'\n");
    }
    text
}
