//! How a fake registry behaves when nothing is wrong with it: each choice is what some real registry does.

use std::time::Duration;

/// The choices. All of it can be changed while the fake runs, by [`super::Registry::set`].
#[derive(Clone, Debug)]
pub struct Options {
    pub auth: Auth,
    pub paging: Paging,
    /// Names in a page where the request does not say how many.
    pub page: usize,
    /// What the catalog is refused with: status, code, message.
    pub catalog_refused: Option<(u16, String, String)>,
    pub tags: Tags,
    pub ranges: Ranges,
    /// Blobs are answered by a redirect to the object store.
    pub redirect: Option<Redirect>,
    /// Whether there is a referrers API, and how many entries a page of it holds.
    pub referrers: Option<usize>,
    pub digest_header: DigestHeader,
    /// Manifests have an ETag, and `If-None-Match` is answered by 304.
    pub etag: bool,
    /// Content-Type of manifests, if not their own; an empty one is left out.
    pub manifest_type: Option<String>,
    /// A manifest whose type the request does not accept is answered by 404, as docker-registry does.
    pub strict_accept: bool,
    /// The status of HEAD of a manifest, where it is not served.
    pub head_status: Option<u16>,
    /// Blobs are sent chunked, without a length.
    pub chunked: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            auth: Auth::None,
            paging: Paging::Linked,
            page: 100,
            catalog_refused: None,
            tags: Tags::Listed,
            ranges: Ranges::Honoured,
            redirect: None,
            referrers: None,
            digest_header: DigestHeader::Right,
            etag: true,
            manifest_type: None,
            strict_accept: true,
            head_status: None,
            chunked: false,
        }
    }
}

/// Who may read.
#[derive(Clone, Debug)]
pub enum Auth {
    None,
    /// One user, whose password may be anything.
    Basic {
        user: String,
        password: String,
    },
    /// A token from a token endpoint on another port.
    Bearer(Tokens),
}

/// How the token endpoint behaves.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The user that gets a token by Basic; `None`: only anonymous ones.
    pub user: Option<(String, String)>,
    /// Tokens for reading are given to anybody.
    pub anonymous: bool,
    /// The answer's field: `token`, `access_token`, or both.
    pub fields: &'static [&'static str],
    /// `expires_in` as it stands in the answer; absent if `None`.
    pub expires_in: Option<serde_json::Value>,
    /// How long a token really holds.
    pub life: Duration,
    /// `issued_at` as it stands in the answer; absent if `None`.
    pub issued_at: Option<String>,
    /// The identity token that POST with `grant_type=refresh_token` takes; without one POST is 404.
    pub identity: Option<String>,
    /// The challenge has a scope.
    pub scope_in_challenge: bool,
    /// The realm has a query of its own.
    pub realm_query: bool,
    /// Every token is good for no action at all.
    pub powerless: bool,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens {
            user: None,
            anonymous: true,
            fields: &["token"],
            expires_in: Some(serde_json::json!(300)),
            life: Duration::from_secs(300),
            issued_at: None,
            identity: None,
            scope_in_challenge: true,
            realm_query: true,
            powerless: false,
        }
    }
}

/// How long lists are cut into pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// `n`, `last`, a relative Link, sorted.
    Linked,
    /// As docker-registry 2.8.2: the catalog by Link, n over 1000 refused; tags whole, unsorted, n and last ignored.
    Docker,
    /// As Quay: absolute Links with an opaque `next_page`.
    Quay,
    /// As ECR: absolute Links with an opaque `last`, n over 1000 refused, `text/plain`.
    Ecr,
    /// As ferro: relative Links with nothing escaped; an empty last page.
    Unescaped,
    /// A Link that always leads to the same page.
    Looping,
    /// A Link that always leads to a page of names never seen before.
    Endless,
    /// A Link that leads to another host.
    Foreign,
}

/// The form of a repository's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    Listed,
    /// `"tags": null`.
    Null,
    /// No such field.
    Missing,
    /// 404 NAME_UNKNOWN though the catalog names the repository.
    Unknown,
}

/// What becomes of `Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    Honoured,
    /// 200 with everything.
    Ignored,
    /// 206 that starts elsewhere than asked, and says so.
    Shifted,
    /// 206 that says what was asked, with bytes from elsewhere.
    Lying,
    /// 206 that ends earlier than asked, and says so.
    Short,
    /// 206 with a wrong total.
    WrongTotal,
    /// 416 with a Content-Length of the whole blob, a short body, and a closed connection.
    Refused,
}

/// How blobs are redirected.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// How many requests a presigned URL is good for; afterwards it answers 403 with XML.
    pub uses: Option<u32>,
    /// How long a presigned URL is good for.
    pub life: Option<Duration>,
    /// The store refuses HEAD, as a URL presigned for GET does.
    pub no_head: bool,
    /// Further hops before the store.
    pub hops: u32,
}

impl Default for Redirect {
    fn default() -> Redirect {
        Redirect { status: 307, uses: None, life: None, no_head: true, hops: 0 }
    }
}

/// The form of `Docker-Content-Digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestHeader {
    Right,
    Absent,
    /// Another digest.
    Wrong,
    /// The hex alone.
    Bare,
    /// A digest of another algorithm.
    Sha512,
}
