//! The hosts that the user's configuration names, for listing every registry at once.

use super::auth_file::AuthFile;
use super::places;
use crate::net::env::Env;
use crate::net::{hostname, mirrors, tls};
use std::collections::BTreeSet;

/// The hosts of credentials, registries.conf, hosts.toml and certificate directories: normal names, sorted, each once.
///
/// A file that cannot be read is said in the log and adds nothing: using one of its hosts tells the error.
pub fn known_hosts(env: &Env) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    let mut add = |spelled: &str| {
        let host = hostname::normal(spelled);
        if hostname::is_host(&host) {
            hosts.insert(host);
        }
    };
    for place in places::places(env) {
        match AuthFile::load(&place) {
            Ok(Some(file)) => file.hosts().for_each(&mut add),
            Ok(None) => {}
            Err(error) => log::warn!("{error}"),
        }
    }
    match mirrors::Mirrors::load(env) {
        Ok(mirrors) => mirrors.hosts().iter().for_each(|host| add(host)),
        Err(error) => log::warn!("{error}"),
    }
    tls::hosts(env).iter().for_each(|host| add(host));
    hosts.into_iter().collect()
}
