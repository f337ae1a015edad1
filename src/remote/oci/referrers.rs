//! What refers to a manifest: the referrers API, or the tag that stands in for it where there is none
//! (distribution-spec, "Listing Referrers" and "Referrers Tag Schema").

use super::client::Client;
use super::pages::{self, Took};
use super::{headers, manifests};
use crate::digest::Digest;
use crate::error::{Kind, Result};
use crate::manifest::{self, Descriptor, Document, MAX_DESCRIPTORS};
use crate::name::{Reference, Repository};
use crate::net::http::What;
use crate::remote::names;
use std::collections::HashSet;

/// Everything that refers to `digest`, in the registry's order, each once.
pub(super) fn referrers(client: &Client, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
    let say = |error: crate::error::Error| {
        error.context(format!("list referrers of {}/{repository}@{digest}", client.host.name()))
    };
    if let Some(found) = by_api(client, repository, digest).map_err(say)? {
        return Ok(found);
    }
    let Some(tag) = names::referrers_tag(digest) else { return Ok(Vec::new()) };
    match manifests::manifest(client, repository, &Reference::Tag(tag)) {
        Ok(manifest) => match manifest::parse(&manifest.media_type, &manifest.bytes).map_err(say)?.1 {
            Document::Index(index) => Ok(index.manifests),
            // Somebody's tag that only looks like it.
            Document::Image(_) | Document::Schema1 { .. } | Document::Other | Document::Unreadable => Ok(Vec::new()),
        },
        Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
        Err(error) => Err(say(error)),
    }
}

/// What the API says; `None` if there is no such API: a 404, or an answer that is not an index.
fn by_api(client: &Client, repository: &Repository, digest: &Digest) -> Result<Option<Vec<Descriptor>>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut spoken = false;
    let what = What::List { repository };
    let first = |_| format!("/v2/{repository}/referrers/{digest}");
    let walked = pages::walk(client, what, &headers::for_referrers(), &[404, 405], first, |page| {
        if page.status != 200 {
            return Ok(Took::New(0));
        }
        let Document::Index(index) = manifest::parse(headers::content_type(&page.headers), &page.bytes)?.1 else {
            return Ok(Took::New(0));
        };
        spoken = true;
        let before = found.len();
        for descriptor in index.manifests {
            if found.len() >= MAX_DESCRIPTORS {
                return Ok(Took::Full(format!("only {MAX_DESCRIPTORS} referrers are listed")));
            }
            if seen.insert(descriptor.digest.clone()) {
                found.push(descriptor);
            }
        }
        Ok(Took::New(found.len() - before))
    });
    match walked {
        Ok(cut) => {
            if let Some(cut) = cut {
                log::warn!("the referrers of {}/{repository}@{digest} are not whole: {}", client.host.name(), cut.why);
            }
            Ok(spoken.then_some(found))
        }
        Err(error) if is_absent(error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The kinds of failure of a path that a registry does not know. Not `Denied`: the tag would be denied as well.
fn is_absent(kind: Kind) -> bool {
    matches!(kind, Kind::NotFound | Kind::Unsupported | Kind::Invalid | Kind::Protocol | Kind::ReadOnly)
}
