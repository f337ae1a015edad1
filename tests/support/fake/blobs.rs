//! Blobs: by Range or against it, directly or from an object store behind presigned URLs.

use super::options::{Options, Ranges};
use super::state::{State, lock};
use crate::support::content::Content;
use crate::support::http::{Length, Reply, Request};
use std::time::Instant;

pub(super) fn blob(state: &State, request: &Request, repository: &str, digest: &str) -> Reply {
    let options = state.options();
    let Some(content) = lock(&state.stored).blob(repository, digest) else {
        return Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    if let Some(redirect) = &options.redirect {
        let number = state.serial();
        let uses = redirect.uses.unwrap_or(u32::MAX);
        lock(&state.presigned).insert(number, (uses, Instant::now()));
        let location = format!(
            "http://{}/{repository}/{digest}?X-Amz-Signature={number}&hops={}",
            state.addresses().objects,
            redirect.hops
        );
        return Reply::redirect(redirect.status, location);
    }
    served(request, &options, &content)
        .header("Docker-Content-Digest", digest)
        .header("Content-Type", "application/octet-stream")
}

/// What the object store answers.
pub(super) fn object(state: &State, request: &Request) -> Reply {
    let options = state.options();
    let Some(redirect) = &options.redirect else { return xml(404, "NoSuchBucket", "no redirects here") };
    if request.header("authorization").is_some() {
        return xml(400, "InvalidArgument", "Only one auth mechanism allowed");
    }
    let number = request.query_value("X-Amz-Signature").and_then(|number| number.parse::<u64>().ok());
    let Some(number) = number else { return xml(403, "AccessDenied", "Access Denied") };
    let hops = request.query_value("hops").and_then(|hops| hops.parse::<u32>().ok()).unwrap_or(0);
    if hops > 0 {
        let location = format!("{}?X-Amz-Signature={number}&hops={}", request.path, hops - 1);
        return Reply::redirect(redirect.status, location);
    }
    if request.method == "HEAD" && redirect.no_head {
        return Reply::new(403);
    }
    {
        let mut presigned = lock(&state.presigned);
        let Some((uses, since)) = presigned.get_mut(&number) else {
            return xml(403, "SignatureDoesNotMatch", "the signature is not known");
        };
        let expired = *uses == 0 || redirect.life.is_some_and(|life| since.elapsed() > life);
        if expired {
            return xml(403, "AccessDenied", "Request has expired");
        }
        *uses -= 1;
    }
    let path = request.path.replace("%3A", ":");
    let (repository, digest) = path.trim_start_matches('/').rsplit_once('/').unwrap_or(("", ""));
    match lock(&state.stored).blob(repository, digest) {
        Some(content) => served(request, &options, &content).header("Content-Type", "binary/octet-stream"),
        None => xml(404, "NoSuchKey", "The specified key does not exist."),
    }
}

fn xml(status: u16, code: &str, message: &str) -> Reply {
    Reply::new(status).header("Content-Type", "application/xml").body(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    ))
}

fn served(request: &Request, options: &Options, content: &Content) -> Reply {
    let total = content.len();
    let whole = || {
        let reply = Reply::ok(content.clone());
        if options.chunked { reply.length(Length::Chunked) } else { reply }
    };
    if options.ranges == Ranges::Ignored {
        return whole();
    }
    let Some((first, last)) = request.range() else {
        if request.header("range").is_some_and(|range| range.contains(',')) {
            return Reply::error(400, "UNSUPPORTED", "several ranges");
        }
        return whole().header("Accept-Ranges", "bytes");
    };
    if first >= total || options.ranges == Ranges::Refused {
        // As docker-registry: the length of the blob is claimed, a short text is sent.
        return Reply::new(416)
            .header("Content-Range", format!("bytes */{total}"))
            .header("Content-Type", "text/plain")
            .body("invalid range: failed to overlap\n")
            .length(Length::Claimed(total.max(34)));
    }
    let end = last.map_or(total, |last| (last + 1).min(total));
    let (said, sent, of) = match options.ranges {
        Ranges::Shifted => ((0, end - first), (0, end - first), total),
        Ranges::Lying => ((first, end), (0, end - first), total),
        Ranges::Short => {
            let short = (first, first + (end - first).div_ceil(2));
            (short, short, total)
        }
        Ranges::WrongTotal => ((first, end), (first, end), total + 1),
        Ranges::Honoured | Ranges::Ignored | Ranges::Refused => ((first, end), (first, end), total),
    };
    let reply = Reply::new(206)
        .header("Accept-Ranges", "bytes")
        .header("Content-Range", format!("bytes {}-{}/{of}", said.0, said.1 - 1))
        .body(content.slice(sent.0, sent.1));
    if options.chunked { reply.length(Length::Chunked) } else { reply }
}
