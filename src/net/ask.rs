//! What is asked of a registry: method, path, purpose. Plain data.

use crate::name::Repository;
use crate::span::Span;
use reqwest::header::HeaderMap;

/// What a request asks.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// `GET` or `HEAD`; nothing else is sent.
    pub method: reqwest::Method,
    /// The path from `/v2/` on, with its query: `/v2/library/ubuntu/tags/list?n=100`. Or the absolute URL that an
    /// answer linked to: it gets credentials only if its origin is the host's or one of its mirrors'.
    pub path: &'a str,
    /// What is asked for, for scopes, mirrors and bounds.
    pub what: What<'a>,
    /// More headers (`Accept`, `If-None-Match`).
    pub headers: HeaderMap,
    /// One range of bytes, not empty.
    pub range: Option<Span>,
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// `/v2/`: is it a registry, do the credentials hold.
    Base,
    /// The list of repositories.
    Catalog,
    /// What a repository has: its tags, the referrers of a manifest. The host itself knows them all and is asked
    /// first, a mirror may hold a part of them.
    List {
        /// The repository.
        repository: &'a Repository,
    },
    /// Manifests of a repository.
    Metadata {
        /// The repository.
        repository: &'a Repository,
        /// Whether the answer decides what a tag means: mirrors that may not resolve are passed over then.
        by_tag: bool,
    },
    /// Bytes of a blob.
    Blob {
        /// The repository.
        repository: &'a Repository,
    },
}

impl<'a> What<'a> {
    /// The repository that is asked about, if one is.
    pub fn repository(&self) -> Option<&'a Repository> {
        match self {
            What::Base | What::Catalog => None,
            What::List { repository } | What::Metadata { repository, .. } | What::Blob { repository } => {
                Some(repository)
            }
        }
    }

    /// Whether the answer decides what a tag means.
    pub(super) fn by_tag(&self) -> bool {
        matches!(self, What::List { .. } | What::Metadata { by_tag: true, .. })
    }

    /// Whether it is a list of what a repository has.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, What::List { .. })
    }

    /// Whether these are bytes of a blob.
    pub(super) fn is_blob(&self) -> bool {
        matches!(self, What::Blob { .. })
    }
}

impl Ask<'_> {
    /// The `Range` header's value, empty if there is none.
    pub(super) fn range_header(&self) -> String {
        match self.range {
            Some(span) if !span.is_empty() => format!("bytes={}-{}", span.start, span.end - 1),
            _ => String::new(),
        }
    }
}
