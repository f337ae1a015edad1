//! The listings of names: the catalog and the tags of a repository.

use super::client::Client;
use super::pages::{self, Took};
use crate::error::{Error, Kind, Result};
use crate::name::{Repository, Tag};
use crate::net::header::HeaderMap;
use crate::net::http::What;
use crate::remote::{Listing, names};
use serde::Deserialize;
use std::collections::HashSet;

/// The most names of one listing.
const MAX_NAMES: usize = 200_000;

/// A page of either listing; `null` and a missing list are as good as empty, and what is no text names nothing.
#[derive(Deserialize)]
struct Page {
    #[serde(alias = "repositories")]
    tags: Option<Vec<serde_json::Value>>,
}

/// The names of a listing, as they came, each once.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn take(&mut self, body: &[u8]) -> Result<Took> {
        let page: Page = serde_json::from_slice(body)
            .map_err(|error| Error::with(Kind::Protocol, "the answer is not a list of names", error))?;
        let before = self.0.len();
        for name in page.tags.unwrap_or_default() {
            let serde_json::Value::String(name) = name else { continue };
            if self.0.len() >= MAX_NAMES {
                return Ok(Took::Full(format!("it goes on after {MAX_NAMES} names, the limit")));
            }
            self.0.insert(name);
        }
        Ok(Took::New(self.0.len() - before))
    }
}

/// The catalog. A registry that refuses it, or answers with something else, has an empty, partial one.
///
/// Where the registry as a whole is refused, for credentials that are missing or wrong, that is the error: `Denied`.
pub(super) fn repositories(client: &Client) -> Result<Listing<Repository>> {
    let mut found = Names::default();
    let first = |size| format!("/v2/_catalog?n={size}");
    let walked = pages::walk(client, What::Catalog, &HeaderMap::new(), &[], first, |page| found.take(&page.bytes));
    let partial = match walked {
        Ok(cut) => cut.map(|cut| {
            let why = format!("the catalog of {} is not whole: {}", client.host.name(), cut.why);
            if cut.endless {
                log::warn!("{why}");
            }
            why
        }),
        Err(error) if pages::is_refusal(&error) => {
            if matches!(error.kind(), Kind::Denied | Kind::Forbidden)
                && let Err(refusal) = client.ping()
                && matches!(refusal.kind(), Kind::Denied | Kind::Forbidden)
            {
                return Err(refusal.context(format!("list repositories of {}", client.host.name())));
            }
            Some(format!("{} does not list its repositories: {error}", client.host.name()))
        }
        Err(error) => return Err(error.context(format!("list repositories of {}", client.host.name()))),
    };
    Ok(names::repositories(found.0, partial))
}

/// The tags of `repository`. `TooBig` where they do not end.
pub(super) fn tags(client: &Client, repository: &Repository) -> Result<Listing<Tag>> {
    let mut found = Names::default();
    let what = What::List { repository };
    let first = |size| format!("/v2/{repository}/tags/list?n={size}");
    let say = |error: Error| error.context(format!("list tags of {}/{repository}", client.host.name()));
    let cut = pages::walk(client, what, &HeaderMap::new(), &[], first, |page| found.take(&page.bytes)).map_err(say)?;
    let partial = match cut {
        Some(cut) if cut.endless => {
            return Err(say(Error::new(Kind::TooBig, format!("the listing does not end: {}", cut.why))));
        }
        cut => cut.map(|cut| format!("the tags of {}/{repository} are not whole: {}", client.host.name(), cut.why)),
    };
    Ok(names::tags(found.0, partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_every_spelling() {
        for (body, count) in [
            (r#"{"name":"x","tags":["a","b","a"]}"#, 2),
            (r#"{"name":"x","tags":null}"#, 0),
            (r#"{"name":"x"}"#, 0),
            (r#"{"repositories":["a/b"]}"#, 1),
            (r#"{"repositories":[],"next":"x"}"#, 0),
            (r#"{"tags":["a",1,null,{"b":2},"c"]}"#, 2),
        ] {
            let mut names = Names::default();
            assert!(matches!(names.take(body.as_bytes()), Ok(Took::New(new)) if new == count), "{body}");
        }
        for bad in ["", "<html>", "[]", r#"{"tags":{"a":1}}"#] {
            assert_eq!(Names::default().take(bad.as_bytes()).err().expect(bad).kind(), Kind::Protocol, "{bad}");
        }
    }
}
