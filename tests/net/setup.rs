//! A machine of the test's own: root, home and variables in a directory that goes away.

use regfs::net::env::Env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The machine. Nothing is configured at first; programs are found where the system has them, after its own `bin`.
pub struct Setup {
    directory: TempDir,
    pub env: Env,
}

impl Setup {
    pub fn new() -> Setup {
        let directory = tempfile::tempdir().expect("a directory");
        let mut env = Env {
            root: directory.path().join("root"),
            home: Some(directory.path().join("home")),
            uid: 1000,
            ..Env::default()
        };
        let path = format!("{}:/usr/bin:/bin", directory.path().join("bin").display());
        env.vars.insert("PATH".into(), path);
        Setup { directory, env }
    }

    /// A path below the directory: `root/etc/…`, `home/.docker/…`, `bin/…`.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// Writes a file there.
    pub fn write(&self, relative: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, text).expect("a file");
        path
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl AsRef<Path>) {
        self.env.vars.insert(name.into(), value.as_ref().to_str().expect("text").into());
    }

    /// Writes a credential helper: a shell script that is run with `get` and the host on its input.
    pub fn helper(&self, name: &str, script: &str) -> PathBuf {
        let path = self.write(&format!("bin/docker-credential-{name}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        path
    }
}

/// An entry of `auths`.
pub fn auth(user: &str, password: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!(r#"{{"auth": "{text}"}}"#)
}
