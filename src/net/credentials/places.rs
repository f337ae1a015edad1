//! Which files hold credentials, in the order they are asked.
//!
//! The order is that of containers-auth.json(5), which podman, skopeo and buildah follow; docker's own file is part of
//! it, so what `docker login` wrote is found after what `podman login` wrote. `$REGISTRY_AUTH_FILE` replaces them all.

use crate::net::env::Env;
use std::path::{Path, PathBuf};

/// A file that may hold credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub path: PathBuf,
    pub kind: PlaceKind,
    /// The user named it: it has to be there.
    pub required: bool,
}

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceKind {
    /// podman's auth.json: keys may be paths.
    Podman,
    /// docker's config.json: also names a store of everything. Paths as keys are taken too, as podman takes them.
    Docker,
    /// `~/.dockercfg`: what is under `auths` elsewhere is the whole file.
    Legacy,
}

/// The files, first come first served.
///
/// `$REGISTRY_AUTH_FILE` alone where it is set. Otherwise `$XDG_RUNTIME_DIR/containers/auth.json`
/// (`/run/containers/<uid>/auth.json` without the variable), `${XDG_CONFIG_HOME:-~/.config}/containers/auth.json`,
/// `${DOCKER_CONFIG:-~/.docker}/config.json`, `~/.dockercfg`, and for root `/etc/containers/auth.json`.
pub(super) fn places(env: &Env) -> Vec<Place> {
    if let Some(path) = env.var_path("REGISTRY_AUTH_FILE") {
        return vec![Place { path, kind: PlaceKind::Podman, required: true }];
    }
    let runtime = match env.var("XDG_RUNTIME_DIR") {
        Some(directory) => Some(Path::new(directory).join("containers/auth.json")),
        None => env.system_path(&format!("/run/containers/{}/auth.json", env.uid)),
    };
    let docker = match env.var("DOCKER_CONFIG") {
        Some(directory) => Some(Path::new(directory).join("config.json")),
        None => env.home_path(".docker/config.json"),
    };
    let machine = if env.uid == 0 { env.system_path("/etc/containers/auth.json") } else { None };
    [
        (runtime, PlaceKind::Podman),
        (env.config_path("containers/auth.json"), PlaceKind::Podman),
        (docker, PlaceKind::Docker),
        (env.home_path(".dockercfg"), PlaceKind::Legacy),
        (machine, PlaceKind::Podman),
    ]
    .into_iter()
    .filter_map(|(path, kind)| Some(Place { path: path?, kind, required: false }))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(env: &Env) -> Vec<String> {
        places(env).into_iter().map(|place| place.path.display().to_string()).collect()
    }

    #[test]
    fn the_order_is_podmans() {
        let mut env = Env { root: "/r".into(), home: Some("/h".into()), uid: 1000, ..Env::default() };
        assert_eq!(
            shown(&env),
            [
                "/r/run/containers/1000/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json",
                "/h/.dockercfg"
            ]
        );
        env.uid = 0;
        for (name, value) in [("XDG_RUNTIME_DIR", "/run/u"), ("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d")] {
            env.vars.insert(name.into(), value.into());
        }
        assert_eq!(
            shown(&env),
            [
                "/run/u/containers/auth.json",
                "/c/containers/auth.json",
                "/d/config.json",
                "/h/.dockercfg",
                "/r/etc/containers/auth.json"
            ]
        );
        env.vars.insert("REGISTRY_AUTH_FILE".into(), "/x.json".into());
        assert_eq!(shown(&env), ["/x.json"]);
    }

    #[test]
    fn without_home_and_root_there_are_none() {
        assert_eq!(places(&Env::default()), []);
    }
}
