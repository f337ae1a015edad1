//! From a request to its answer: what is asked for, whether it may be had, what goes wrong.

use super::faults::What;
use super::state::{State, lock};
use super::{auth, blobs, listing, manifests};
use crate::support::http::{Reply, Request};

/// A path of the registry, taken apart.
enum Route<'a> {
    Ping,
    Catalog,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Referrers(&'a str, &'a str),
    Other,
}

fn route(path: &str) -> Route<'_> {
    let Some(rest) = path.strip_prefix("/v2/") else { return Route::Other };
    if rest.is_empty() {
        return Route::Ping;
    }
    if rest == "_catalog" {
        return Route::Catalog;
    }
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        return Route::Tags(repository);
    }
    let Some((front, last)) = rest.rsplit_once('/') else { return Route::Other };
    match front.rsplit_once('/') {
        Some((repository, "manifests")) => Route::Manifest(repository, last),
        Some((repository, "blobs")) => Route::Blob(repository, last),
        Some((repository, "referrers")) => Route::Referrers(repository, last),
        _ => Route::Other,
    }
}

/// Answers for the registry itself.
pub(super) fn registry(state: &State, request: &Request) -> Reply {
    let path = request.path.replace("%3A", ":").replace("%3a", ":");
    let route = route(&path);
    let (what, scope) = match &route {
        Route::Ping => (What::Ping, None),
        Route::Catalog => (What::Catalog, Some("registry:catalog:*".to_owned())),
        Route::Tags(repository) => (What::Tags, Some(pull(repository))),
        Route::Manifest(repository, _) => (What::Manifest, Some(pull(repository))),
        Route::Blob(repository, _) => (What::Blob, Some(pull(repository))),
        Route::Referrers(repository, _) => (What::Referrers, Some(pull(repository))),
        Route::Other => (What::Other, None),
    };
    lock(&state.log).push((what, request.clone()));
    if let Some(refusal) = auth::refuse(state, request, scope.as_deref()) {
        return refusal;
    }
    let reply = if !matches!(request.method.as_str(), "GET" | "HEAD") {
        Reply::error(405, "UNSUPPORTED", "The operation is unsupported.")
    } else {
        match route {
            Route::Ping => Reply::ok("{}")
                .header("Content-Type", "application/json")
                .header("Docker-Distribution-API-Version", "registry/2.0"),
            Route::Catalog => listing::catalog(state, request),
            Route::Tags(repository) => listing::tags(state, request, repository),
            Route::Manifest(repository, reference) => manifests::manifest(state, request, repository, reference),
            Route::Blob(repository, digest) => blobs::blob(state, request, repository, digest),
            Route::Referrers(repository, digest) => manifests::referrers(state, request, repository, digest),
            Route::Other => {
                Reply::new(404).header("Content-Type", "text/plain; charset=utf-8").body("404 page not found\n")
            }
        }
    };
    struck(state, what, request, reply)
}

/// Answers for the object store.
pub(super) fn objects(state: &State, request: &Request) -> Reply {
    lock(&state.log).push((What::Object, request.clone()));
    let reply = blobs::object(state, request);
    struck(state, What::Object, request, reply)
}

/// Answers for the token endpoint.
pub(super) fn tokens(state: &State, request: &Request) -> Reply {
    lock(&state.log).push((What::Token, request.clone()));
    let reply = auth::token(state, request);
    struck(state, What::Token, request, reply)
}

fn struck(state: &State, what: What, request: &Request, reply: Reply) -> Reply {
    match state.fault(what, request) {
        Some(fault) => fault.apply(request, reply),
        None => reply,
    }
}

fn pull(repository: &str) -> String {
    format!("repository:{repository}:pull")
}
