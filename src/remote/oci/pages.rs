//! Walking a paged listing: one page after the other, to its end and never for ever.

use super::client::{Client, Fetched};
use super::link::{self, Next};
use crate::error::{Error, Kind, Result};
use crate::net::Method;
use crate::net::header::HeaderMap;
use crate::net::http::{Ask, What};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How many names are asked for at once: registries refuse more than 1000 (protocols.md 28).
const PAGE: u32 = 1000;
/// The code of a registry that takes fewer at once; it is docker-registry's own, in no specification.
const PAGE_TOO_LARGE: &str = "PAGINATION_NUMBER_INVALID";
/// The largest page read, in bytes: some registries send everything at once.
const MAX_PAGE_BYTES: u64 = 32 << 20;
/// The most pages of one listing.
const MAX_PAGES: usize = 2000;
/// How long one listing may go on, or twice the timeout if that is longer.
const MAX_TIME: Duration = Duration::from_secs(60);
/// How many pages in a row may add nothing: registries that filter by permission send empty ones.
const MAX_IDLE: usize = 3;

/// What a page did for the listing.
pub(super) enum Took {
    /// It added so many entries that were not there.
    New(usize),
    /// The listing holds as much as it may: why the rest is left out.
    Full(String),
}

/// Why a listing is not whole.
pub(super) struct Cut {
    pub(super) why: String,
    /// Whether it went on past a limit: for all that is known it never ends.
    pub(super) endless: bool,
}

impl Cut {
    fn refused(why: String) -> Cut {
        Cut { why, endless: false }
    }

    fn endless(why: String) -> Cut {
        Cut { why, endless: true }
    }
}

/// The limit that a listing has reached which goes on after so many pages and so much time.
fn limit(pages: usize, took: Duration, timeout: Duration) -> Option<String> {
    let most = MAX_TIME.max(timeout.saturating_mul(2));
    if pages >= MAX_PAGES {
        return Some(format!("it goes on after {MAX_PAGES} pages, the limit"));
    }
    (took >= most).then(|| format!("it goes on after {} s, the limit (a longer --timeout raises it)", most.as_secs()))
}

/// Fetches page after page and gives each to `take`; `first` is the path of the first one for a page size.
///
/// Statuses of `accept` are given to `take` as any page. Returns why the listing is not whole, if it is not.
/// A registry that refuses in the middle gives what came before; failures of the wire are errors.
pub(super) fn walk(
    client: &Client,
    what: What<'_>,
    headers: &HeaderMap,
    accept: &[u16],
    first: impl Fn(u32) -> String,
    mut take: impl FnMut(&Fetched) -> Result<Took>,
) -> Result<Option<Cut>> {
    let mut size = PAGE;
    let mut path = first(size);
    let mut asked = HashSet::new();
    let mut idle = 0;
    let mut pages = 0;
    let started = Instant::now();
    loop {
        asked.insert(path.clone());
        let ask = Ask { method: Method::GET, path: &path, what, headers: headers.clone(), range: None };
        let fetched = match client.fetch(&ask, accept, MAX_PAGE_BYTES) {
            Ok(fetched) => fetched,
            Err(error) if pages == 0 && size > 1 && error.to_string().contains(PAGE_TOO_LARGE) => {
                size /= 2;
                path = first(size);
                continue;
            }
            Err(error) if pages > 0 && is_refusal(&error) => {
                return Ok(Some(Cut::refused(format!("page {} is refused: {error}", pages + 1))));
            }
            Err(error) => return Err(error),
        };
        pages += 1;
        match take(&fetched)? {
            Took::Full(why) => return Ok(Some(Cut::endless(why))),
            Took::New(0) => idle += 1,
            Took::New(_) => idle = 0,
        }
        path = match link::next(&fetched.headers, &fetched.url) {
            Next::End => return Ok(None),
            Next::Elsewhere(place) => {
                return Ok(Some(Cut::refused(format!("its next page is at {place}, which is not followed"))));
            }
            Next::At(url) => url.into(),
        };
        if idle >= MAX_IDLE || asked.contains(&path) {
            return Ok(Some(Cut::refused("its pages go on without adding anything".to_owned())));
        }
        if let Some(why) = limit(pages, started.elapsed(), client.host.timeout()) {
            return Ok(Some(Cut::endless(why)));
        }
    }
}

/// Whether a registry says that it will not, rather than that it cannot right now.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Denied
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::Unsupported
            | Kind::Invalid
            | Kind::Protocol
            | Kind::ReadOnly
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_go_on_up_to_a_limit_that_is_named() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        assert_eq!(limit(MAX_PAGES - 1, MAX_TIME - second, second), None);
        assert!(limit(MAX_PAGES, second, second).expect("pages").contains("2000 pages"));
        assert!(limit(1, MAX_TIME, second).expect("time").contains("60 s"));
        assert_eq!(limit(1, MAX_TIME, hour), None, "who is patient waits longer");
        assert!(limit(1, hour * 2, hour).expect("time").contains("7200 s"));
    }
}
