//! Whether manifest bytes are what they were asked for, and of which type they are: the one rule of all remotes.
//!
//! Promises: a [`Manifest`] is made here only from bytes that match a digest. Knows nothing of where they came from.

use crate::digest::{self, Digest};
use crate::error::{Kind, Result};
use crate::manifest::{self, Document, Manifest, media};
use bytes::Bytes;

/// What the bytes must match.
pub(super) enum Against<'a> {
    /// Exactly this: the manifest was asked for by it, and whatever the remote says of it does not count.
    Asked(&'a Digest),
    /// What the remote claims, if it says anything: the manifest was asked for by tag.
    Claimed(Option<&'a Digest>),
}

/// Checks `bytes`, given with the header `content_type` (empty if none), and decides digest and type.
///
/// Asked by tag, a claim under an algorithm that is not known here is as good as none: the digest is then sha256.
/// The digest of signed schema1 manifests is that of their payload. `Corrupt` if the bytes are others,
/// `Unsupported` if they were asked for by an algorithm not known here, `Protocol` if they are no manifest
/// and no digest vouches for them; what was pushed as a manifest is given as it is, under the type that it came with.
/// Obeys distribution-spec, "Pulling manifests", and protocols.md 40 to 42.
pub(super) fn manifest(against: Against<'_>, content_type: &str, bytes: Bytes) -> Result<Manifest> {
    let is_vouched = !matches!(&against, Against::Claimed(claimed) if !claimed.is_some_and(Digest::is_supported));
    let digest = match against {
        Against::Asked(asked) => {
            matches(asked, content_type, &bytes)?;
            asked.clone()
        }
        Against::Claimed(Some(claimed)) if claimed.is_supported() => {
            matches(claimed, content_type, &bytes)?;
            claimed.clone()
        }
        Against::Claimed(_) => match is_schema1(content_type, &bytes) {
            true => Digest::of(&manifest::schema1_payload(&bytes)?),
            false => Digest::of(&bytes),
        },
    };
    let media_type = match manifest::parse(content_type, &bytes) {
        Ok((media_type, _)) => media_type,
        // A header that contradicts the document is another day's answer; that the document itself is none is not.
        Err(error) if is_vouched && error.kind() == Kind::Protocol && is_unreadable(&bytes) => {
            content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
        }
        Err(error) => return Err(error),
    };
    Ok(Manifest { digest, media_type, bytes })
}

/// Whether `expected` names the bytes, or the payload that a signature of schema1 is taken of.
fn matches(expected: &Digest, content_type: &str, bytes: &[u8]) -> Result<()> {
    let Err(error) = digest::verify(expected, bytes) else { return Ok(()) };
    // Hashed first and parsed only on a mismatch: bytes that are what was asked for need no second opinion.
    if error.kind() == Kind::Corrupt && is_schema1(content_type, bytes) {
        return digest::verify(expected, &manifest::schema1_payload(bytes)?);
    }
    Err(error)
}

fn is_unreadable(bytes: &[u8]) -> bool {
    manifest::parse("", bytes).is_err_and(|error| error.kind() == Kind::Protocol)
}

fn is_schema1(content_type: &str, bytes: &[u8]) -> bool {
    match manifest::parse(content_type, bytes) {
        Ok((media_type, document)) => {
            matches!(document, Document::Schema1 { .. })
                || matches!(media_type.as_str(), media::SCHEMA1 | media::SCHEMA1_SIGNED)
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = r#"{"schemaVersion":2,"layers":[]}"#;

    fn check(against: Against<'_>, text: &str) -> Result<Manifest> {
        manifest(against, "text/plain; charset=utf-8", Bytes::copy_from_slice(text.as_bytes()))
    }

    fn sha512(text: &str) -> Digest {
        let like = format!("sha512:{}", "0".repeat(128)).parse().expect("digest");
        let mut hasher = digest::Hasher::like(&like).expect("known");
        hasher.update(text.as_bytes());
        hasher.finish()
    }

    fn signed(payload: &str) -> String {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let cut = payload.len() - 2;
        let header = encode(&format!(r#"{{"formatLength":{cut},"formatTail":"{}"}}"#, encode("\n}")));
        format!("{},\"signatures\":[{{\"protected\":\"{header}\"}}]\n}}", &payload[..cut])
    }

    #[test]
    fn asked_by_digest_only_that_digest_counts() {
        let digest = Digest::of(IMAGE.as_bytes());
        let manifest = check(Against::Asked(&digest), IMAGE).expect("matches");
        assert_eq!((manifest.digest, manifest.media_type.as_str()), (digest, media::OCI_MANIFEST));
        check(Against::Asked(&sha512(IMAGE)), IMAGE).expect("sha512");
        let other = Digest::of(b"other");
        assert_eq!(check(Against::Asked(&other), IMAGE).expect_err("other").kind(), Kind::Corrupt);
        let foreign = "blake3:abc".parse().expect("grammar");
        assert_eq!(check(Against::Asked(&foreign), IMAGE).expect_err("unknown").kind(), Kind::Unsupported);
    }

    #[test]
    fn asked_by_tag_a_claim_is_checked_if_it_can_be() {
        let own = Digest::of(IMAGE.as_bytes());
        assert_eq!(check(Against::Claimed(None), IMAGE).expect("none").digest, own);
        let foreign = "blake3:abc".parse().expect("grammar");
        assert_eq!(check(Against::Claimed(Some(&foreign)), IMAGE).expect("foreign").digest, own);
        let long = sha512(IMAGE);
        assert_eq!(check(Against::Claimed(Some(&long)), IMAGE).expect("sha512").digest, long);
        let wrong = Digest::of(b"other");
        assert_eq!(check(Against::Claimed(Some(&wrong)), IMAGE).expect_err("wrong").kind(), Kind::Corrupt);
    }

    #[test]
    fn schema1_is_named_by_its_payload() {
        let payload = "{\"schemaVersion\":1,\"fsLayers\":[]\n}";
        let text = signed(payload);
        let digest = Digest::of(payload.as_bytes());
        assert_eq!(check(Against::Asked(&digest), &text).expect("asked").media_type, media::SCHEMA1_SIGNED);
        assert_eq!(check(Against::Claimed(None), &text).expect("tag").digest, digest);
        assert_eq!(check(Against::Claimed(Some(&digest)), &text).expect("claimed").bytes, text.as_bytes());
        let whole = Digest::of(text.as_bytes());
        check(Against::Asked(&whole), &text).expect("a registry that hashes all of it");
        let wrong = Digest::of(b"other");
        assert_eq!(check(Against::Asked(&wrong), &text).expect_err("wrong").kind(), Kind::Corrupt);
    }

    #[test]
    fn what_is_no_manifest_is_refused_after_the_digest() {
        let html = "<html>";
        assert_eq!(check(Against::Claimed(None), html).expect_err("html").kind(), Kind::Protocol);
        let digest = Digest::of(IMAGE.as_bytes());
        assert_eq!(check(Against::Asked(&digest), html).expect_err("html").kind(), Kind::Corrupt);
    }
}
