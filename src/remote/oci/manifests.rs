//! Manifests: what a tag names, and the bytes of a manifest (distribution-spec, "Pulling manifests").

use super::client::Client;
use super::headers;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Descriptor, MAX_MANIFEST, Manifest};
use crate::name::{Reference, Repository, Tag};
use crate::net::Method;
use crate::net::http::{Ask, What};
use crate::remote::check::{self, Against};
use std::collections::BTreeMap;

/// `host/repository:tag` or `host/repository@digest`, as people write it.
fn spell(client: &Client, repository: &Repository, reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("{}/{repository}:{tag}", client.host.name()),
        Reference::Digest(digest) => format!("{}/{repository}@{digest}", client.host.name()),
    }
}

/// What `tag` names now: by HEAD, which costs nothing of a pull limit; by GET where HEAD does not tell.
pub(super) fn resolve(
    client: &Client,
    repository: &Repository,
    tag: &Tag,
    known: Option<&Descriptor>,
) -> Result<Descriptor> {
    let reference = Reference::Tag(tag.clone());
    match by_head(client, repository, tag, known) {
        Ok(Some(descriptor)) => return Ok(descriptor),
        Ok(None) => {}
        // Registries refuse HEAD in many ways; GET has the last word, and words at all.
        Err(error) if is_refused_head(&error) => {}
        Err(error) => return Err(error.context(format!("resolve {}", spell(client, repository, &reference)))),
    }
    let manifest = fetch(client, repository, &reference)
        .map_err(|error| error.context(format!("resolve {}", spell(client, repository, &reference))))?;
    Ok(descriptor(manifest.digest, manifest.bytes.len() as u64, manifest.media_type))
}

/// Whether a HEAD may have failed for being a HEAD: a GET of the same may do better. Answers without a body also
/// leave some of these kinds unsaid.
pub(super) fn is_refused_head(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::NotFound
            | Kind::Denied
            | Kind::Forbidden
            | Kind::Unsupported
            | Kind::Invalid
            | Kind::Protocol
            | Kind::ReadOnly
    )
}

/// What HEAD tells of `tag`; `None` if that is not all of it.
fn by_head(
    client: &Client,
    repository: &Repository,
    tag: &Tag,
    known: Option<&Descriptor>,
) -> Result<Option<Descriptor>> {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let mut wanted = headers::for_manifest();
    if let Some(known) = known {
        headers::unless(&mut wanted, &known.digest);
    }
    let what = What::Metadata { repository, by_tag: true };
    let ask = Ask { method: Method::HEAD, path: &path, what, headers: wanted, range: None };
    let answer = client.host.send(&ask, &[404, 405])?;
    match (answer.status, known) {
        (304, Some(known)) => return Ok(Some(known.clone())),
        (200, _) => {}
        _ => return Ok(None),
    }
    let media_type = headers::content_type(&answer.headers).split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    // A type that says only that it is text leaves the question open.
    let says = media_type.starts_with("application/vnd.");
    let digest = headers::content_digest(&answer.headers).filter(crate::digest::Digest::is_supported);
    let size = headers::content_length(&answer.headers).filter(|size| (1..=MAX_MANIFEST).contains(size));
    Ok(match (says, digest, size) {
        (true, Some(digest), Some(size)) => Some(descriptor(digest, size, media_type)),
        _ => None,
    })
}

/// A manifest, checked.
pub(super) fn manifest(client: &Client, repository: &Repository, reference: &Reference) -> Result<Manifest> {
    fetch(client, repository, reference)
        .map_err(|error| error.context(format!("read manifest {}", spell(client, repository, reference))))
}

fn fetch(client: &Client, repository: &Repository, reference: &Reference) -> Result<Manifest> {
    if let Reference::Digest(digest) = reference
        && !digest.is_supported()
    {
        let why = format!("digest algorithm \"{}\" is not known here", digest.algorithm());
        return Err(Error::new(Kind::Unsupported, why));
    }
    let path = format!("/v2/{repository}/manifests/{reference}");
    let what = What::Metadata { repository, by_tag: matches!(reference, Reference::Tag(_)) };
    let ask = Ask { method: Method::GET, path: &path, what, headers: headers::for_manifest(), range: None };
    let fetched = client.fetch(&ask, &[], MAX_MANIFEST)?;
    if fetched.status != 200 {
        return Err(Error::new(Kind::Protocol, format!("the registry answers {}", fetched.status)));
    }
    let claimed = headers::content_digest(&fetched.headers);
    let against = match reference {
        Reference::Digest(digest) => Against::Asked(digest),
        Reference::Tag(_) => Against::Claimed(claimed.as_ref()),
    };
    check::manifest(against, headers::content_type(&fetched.headers), fetched.bytes)
}

fn descriptor(digest: crate::digest::Digest, size: u64, media_type: String) -> Descriptor {
    Descriptor {
        digest,
        size,
        media_type,
        annotations: BTreeMap::new(),
        artifact_type: None,
        platform: None,
        urls: Vec::new(),
        data: None,
    }
}
