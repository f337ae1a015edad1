//! What the user's environment says: variables, home, and the root below which `/etc` and `/run` are looked for.
//!
//! Promises: everything in `net/` that depends on the user's setup reads it through one [`Env`], so a test with its
//! own root and home sees nothing of the machine; no value of a variable is ever printed.
//! Does not know what any variable means: see `credentials`, `mirrors` and `tls`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The environment that credentials, mirrors, certificates and proxies are read from.
///
/// [`Env::default`] has no variables, no home and no root: nothing is configured.
#[derive(Clone, Default)]
pub struct Env {
    /// Environment variables; those that are not UTF-8 are left out.
    pub vars: BTreeMap<String, String>,
    /// The directory below which absolute system paths are looked for: `/` outside tests; empty for none.
    pub root: PathBuf,
    /// The user's home directory; `None` if there is none, then only `/etc` is read.
    pub home: Option<PathBuf>,
    /// The user's number, which names `/run/containers/<uid>/auth.json`.
    pub uid: u32,
}

impl Env {
    /// The process's own: its variables, `/`, `$HOME` or else the home of the password database.
    pub fn system() -> Env {
        let vars: BTreeMap<String, String> =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        Env { vars, root: PathBuf::from("/"), home, uid: nix::unistd::getuid().as_raw() }
    }

    /// A variable; set to nothing is as good as not set.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable that names a path.
    pub fn var_path(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from)
    }

    /// An absolute system path (`/etc/containers`) below the root; `None` without a root.
    pub fn system_path(&self, absolute: &str) -> Option<PathBuf> {
        (!self.root.as_os_str().is_empty()).then(|| self.root.join(absolute.trim_start_matches('/')))
    }

    /// A path in the user's home; `None` without a home.
    pub fn home_path(&self, relative: &str) -> Option<PathBuf> {
        self.home.as_deref().map(|home| home.join(relative))
    }

    /// A path in the user's configuration directory: `$XDG_CONFIG_HOME`, or else `~/.config`.
    pub fn config_path(&self, relative: &str) -> Option<PathBuf> {
        match self.var("XDG_CONFIG_HOME") {
            Some(directory) => Some(Path::new(directory).join(relative)),
            None => self.home.as_deref().map(|home| home.join(".config").join(relative)),
        }
    }
}

/// Names of variables only: values may be secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("vars", &self.vars.keys())
            .field("root", &self.root)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_configured_by_default() {
        let env = Env::default();
        assert_eq!(env.system_path("/etc/containers"), None);
        assert_eq!(env.config_path("containers"), None);
        assert_eq!(env.home_path(".docker"), None);
    }

    #[test]
    fn paths_stay_below_root_and_home() {
        let mut env = Env { root: "/r".into(), home: Some("/h".into()), ..Env::default() };
        assert_eq!(env.system_path("/etc/x").as_deref(), Some(Path::new("/r/etc/x")));
        assert_eq!(env.config_path("x").as_deref(), Some(Path::new("/h/.config/x")));
        env.vars.insert("XDG_CONFIG_HOME".into(), "/c".into());
        assert_eq!(env.config_path("x").as_deref(), Some(Path::new("/c/x")));
        env.vars.insert("XDG_CONFIG_HOME".into(), String::new());
        assert_eq!(env.config_path("x").as_deref(), Some(Path::new("/h/.config/x")));
    }

    #[test]
    fn values_are_never_printed() {
        let env = Env { vars: [("TOKEN".to_owned(), "hunter2".to_owned())].into(), ..Env::default() };
        let shown = format!("{env:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }
}
