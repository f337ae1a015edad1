//! Manifests and referrers.

use super::options::DigestHeader;
use super::state::{State, lock};
use crate::support::http::{Reply, Request};
use crate::support::image::OCI_INDEX;
use regfs::digest::{Digest, Hasher};
use serde_json::{Value, json};

pub(super) fn manifest(state: &State, request: &Request, repository: &str, reference: &str) -> Reply {
    let options = state.options();
    if let Some(status) = options.head_status.filter(|_| request.method == "HEAD") {
        return Reply::new(status);
    }
    let found = lock(&state.stored).manifest(repository, reference);
    let Some((digest, media_type, content)) = found else {
        return Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    // Every Accept header counts; a bare wildcard is not enough for docker-registry.
    let accepted = request
        .headers
        .iter()
        .filter(|(name, _)| name == "accept")
        .flat_map(|(_, value)| value.split(','))
        .any(|entry| entry.split(';').next().unwrap_or("").trim() == media_type);
    if options.strict_accept && !accepted && !media_type.is_empty() {
        return Reply::error(
            404,
            "MANIFEST_UNKNOWN",
            "OCI manifest found, but accept header does not support OCI manifests",
        );
    }
    let etag = format!("\"{digest}\"");
    if options.etag && request.header("if-none-match").is_some_and(|known| known.contains(&etag)) {
        return Reply::new(304).header("ETag", etag).header("Docker-Content-Digest", digest);
    }
    let mut reply = Reply::ok(content.clone());
    match options.manifest_type.as_deref() {
        None => reply = reply.header("Content-Type", media_type),
        Some("") => {}
        Some(other) => reply = reply.header("Content-Type", other),
    }
    if options.etag {
        reply = reply.header("ETag", etag);
    }
    match options.digest_header {
        DigestHeader::Right => reply.header("Docker-Content-Digest", digest),
        DigestHeader::Absent => reply,
        DigestHeader::Wrong => reply.header("Docker-Content-Digest", Digest::of(b"something else").as_str()),
        DigestHeader::Bare => reply.header("Docker-Content-Digest", digest.trim_start_matches("sha256:")),
        DigestHeader::Sha512 => {
            let like = format!("sha512:{}", "0".repeat(128)).parse().expect("a digest");
            let mut hasher = Hasher::like(&like).expect("sha512 is known");
            content.each(|part| hasher.update(part));
            reply.header("Docker-Content-Digest", hasher.finish().as_str())
        }
    }
}

/// The referrers API (distribution-spec 1.1, "Listing Referrers").
pub(super) fn referrers(state: &State, request: &Request, repository: &str, digest: &str) -> Reply {
    let Some(page) = state.options().referrers else {
        return Reply::new(404).header("Content-Type", "text/plain; charset=utf-8").body("404 page not found\n");
    };
    let mut entries: Vec<Value> = Vec::new();
    {
        let stored = lock(&state.stored);
        let manifests = stored.repositories.get(repository).map(|it| &it.manifests);
        for (of, (media_type, content)) in manifests.into_iter().flatten() {
            let Ok(manifest) = serde_json::from_slice::<Value>(&content.to_vec()) else { continue };
            if manifest["subject"]["digest"] != json!(digest) {
                continue;
            }
            let artifact_type = match &manifest["artifactType"] {
                Value::Null => manifest["config"]["mediaType"].clone(),
                given => given.clone(),
            };
            entries.push(json!({
                "mediaType": media_type, "digest": of, "size": content.len(),
                "artifactType": artifact_type, "annotations": manifest["annotations"],
            }));
        }
    }
    let wanted = request.query_value("artifactType");
    if let Some(wanted) = &wanted {
        entries.retain(|entry| entry["artifactType"] == json!(wanted));
    }
    let from = request.query_value("from").and_then(|from| from.parse::<usize>().ok()).unwrap_or(0);
    let more = entries.len() > from + page;
    let entries: Vec<Value> = entries.into_iter().skip(from).take(page).collect();
    let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    let mut reply = Reply::json(200, &body).set("Content-Type", OCI_INDEX);
    if wanted.is_some() {
        reply = reply.header("OCI-Filters-Applied", "artifactType");
    }
    if more {
        reply = reply.header("Link", format!("<{}?from={}>; rel=\"next\"", request.path, from + page));
    }
    reply
}
