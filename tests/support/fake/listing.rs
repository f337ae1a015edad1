//! Catalog and tags, in the page forms of real registries.

use super::options::{Options, Paging, Tags};
use super::state::{State, lock};
use crate::support::http::{Reply, Request};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::fmt::Write as _;

/// More names in a page than this are refused by those registries that have a limit.
const MAX_PAGE: usize = 1000;

pub(super) fn catalog(state: &State, request: &Request) -> Reply {
    let options = state.options();
    if let Some((status, code, message)) = &options.catalog_refused {
        return Reply::error(*status, code, message);
    }
    let names: Vec<String> = lock(&state.stored).repositories.keys().cloned().collect();
    listing(state, request, &options, names, "repositories", None)
}

pub(super) fn tags(state: &State, request: &Request, repository: &str) -> Reply {
    let options = state.options();
    let names = {
        let stored = lock(&state.stored);
        stored.repositories.get(repository).map(|it| it.tags.iter().map(|(tag, _)| tag.clone()).collect::<Vec<_>>())
    };
    let Some(mut names) = names.filter(|_| options.tags != Tags::Unknown) else {
        return Reply::json(
            404,
            &json!({"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry",
                "detail": {"name": repository}}]}),
        );
    };
    match options.tags {
        Tags::Null => return Reply::json(200, &json!({"name": repository, "tags": null})),
        Tags::Missing => return Reply::json(200, &json!({"name": repository})),
        Tags::Listed | Tags::Unknown => {}
    }
    if options.paging == Paging::Docker {
        return Reply::json(200, &json!({"name": repository, "tags": names}));
    }
    names.sort();
    listing(state, request, &options, names, "tags", Some(repository))
}

fn listing(
    state: &State,
    request: &Request,
    options: &Options,
    names: Vec<String>,
    field: &str,
    repository: Option<&str>,
) -> Reply {
    let asked = request.query_value("n").and_then(|n| n.parse::<usize>().ok());
    let limited = matches!(options.paging, Paging::Docker | Paging::Ecr);
    if limited && asked.is_some_and(|n| n > MAX_PAGE) {
        let code = if options.paging == Paging::Ecr { "UNSUPPORTED" } else { "PAGINATION_NUMBER_INVALID" };
        return Reply::error(400, code, "invalid number of results requested: must be less than or equal to 1000");
    }
    // A registry of its own mind: what is asked for is an upper limit only.
    let n = asked.unwrap_or(options.page).min(options.page);
    let after = match options.paging {
        Paging::Quay => request.query_value("next_page").and_then(opened),
        Paging::Ecr => request.query_value("last").and_then(opened),
        Paging::Looping => None,
        _ => request.query_value("last"),
    };
    let names: Vec<String> = match (options.paging, &after) {
        (Paging::Endless, Some(after)) => endless(after, n),
        (_, Some(after)) => names.into_iter().filter(|name| name > after).collect(),
        (_, None) => names,
    };
    let page: Vec<&String> = names.iter().take(n).collect();
    let more = match options.paging {
        Paging::Looping | Paging::Endless => true,
        Paging::Unescaped => page.len() == n,
        _ => names.len() > n,
    };
    let mut body = json!({field: page});
    if let Some(repository) = repository {
        body["name"] = json!(repository);
    }
    let mut reply = Reply::json(200, &body);
    if options.paging == Paging::Ecr {
        reply = reply.set("Content-Type", "text/plain; charset=utf-8");
    }
    if more && n > 0 {
        let last = page.last().map_or("zz-0", |name| name.as_str());
        reply = reply.header("Link", format!("<{}>; rel=\"next\"", next(state, request, options.paging, last, n)));
    }
    reply
}

/// The address of the page after `last`.
fn next(state: &State, request: &Request, paging: Paging, last: &str, n: usize) -> String {
    let path = &request.path;
    let addresses = state.addresses();
    let sealed = URL_SAFE_NO_PAD.encode(format!("opaque:{last}"));
    match paging {
        Paging::Unescaped => format!("{path}?last={last}&n={n}"),
        Paging::Quay => format!("http://{}{path}?next_page={sealed}&n={n}", addresses.registry),
        Paging::Ecr => format!("http://{}{path}?last={sealed}&n={n}", addresses.registry),
        Paging::Foreign => format!("http://{}{path}?last={}&n={n}", addresses.objects, escaped(last)),
        _ => format!("{path}?last={}&n={n}", escaped(last)),
    }
}

fn opened(sealed: String) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    String::from_utf8(bytes).ok()?.strip_prefix("opaque:").map(str::to_owned)
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Names that follow `after`, never seen before.
fn endless(after: &str, n: usize) -> Vec<String> {
    let from = after.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok()).unwrap_or(0);
    (1..=n as u64)
        .map(|more| {
            let mut name = String::from("zz-");
            let _ = write!(name, "{:012}", from + more);
            name
        })
        .collect()
}
