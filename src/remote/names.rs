//! Names as remotes list them, made fit to be shown: sorted, each once, without what is not a name.

use crate::digest::Digest;
use crate::name::{Repository, Tag, escape};
use crate::remote::Listing;
use std::str::FromStr;

/// The tags among `raw`, without those that stand for referrers of a manifest.
pub(super) fn tags(raw: impl IntoIterator<Item = String>, partial: Option<String>) -> Listing<Tag> {
    listing(fit("tag", raw.into_iter().filter(|text| !is_referrers_tag(text))), partial)
}

/// The repositories among `raw`.
pub(super) fn repositories(raw: impl IntoIterator<Item = String>, partial: Option<String>) -> Listing<Repository> {
    listing(fit("repository", raw), partial)
}

/// Those of `raw` that are names; one warning tells of the others.
fn fit<T: FromStr>(what: &str, raw: impl IntoIterator<Item = String>) -> Vec<T> {
    let (mut names, mut odd, mut first) = (Vec::new(), 0, String::new());
    for text in raw {
        match text.parse() {
            Ok(name) => names.push(name),
            Err(_) => {
                odd += 1;
                if odd == 1 {
                    first = text.chars().take(MAX_SHOWN).collect();
                }
            }
        }
    }
    if odd > 0 {
        log::warn!("{odd} names are left out of a listing: no {what} is called \"{}\"", escape(first.as_bytes()));
    }
    names
}

/// How much of a name that is none is shown, in characters.
const MAX_SHOWN: usize = 80;

fn listing<T: Ord>(mut names: Vec<T>, partial: Option<String>) -> Listing<T> {
    names.sort_unstable();
    names.dedup();
    Listing { names, partial }
}

/// The tag under which a registry without the referrers API keeps what refers to `digest`
/// (distribution-spec, "Referrers Tag Schema"): at most 32 bytes of algorithm and 64 of value.
pub(super) fn referrers_tag(digest: &Digest) -> Option<Tag> {
    let cut = |part: &str, limit: usize| -> String {
        let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
        part.chars().take(limit).map(fit).collect()
    };
    format!("{}-{}", cut(digest.algorithm(), 32), cut(digest.encoded(), 64)).parse().ok()
}

/// Whether a tag stands for a manifest's referrers rather than for something that was tagged: `sha256-<hex>`, and
/// cosign's `.sig`, `.att` and `.sbom` of it.
pub(super) fn is_referrers_tag(text: &str) -> bool {
    let stem = [".sig", ".att", ".sbom"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text);
    let Some((algorithm, hex)) = stem.split_once('-') else { return false };
    matches!(algorithm, "sha256" | "sha512")
        && matches!(hex.len(), 64 | 128)
        && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_and_filtered() {
        let hex = "0123456789abcdef".repeat(4);
        let raw = ["v2", "a/b", "", "v1", "v2", "-x", "latest", "\x1b[0m", "sha256-abc"].map(str::to_owned).into_iter();
        let referrers = ["", ".sig", ".att", ".sbom"].map(|end| format!("sha256-{hex}{end}"));
        let tags = tags(raw.chain(referrers), None);
        assert_eq!(tags.names.iter().map(Tag::as_str).collect::<Vec<_>>(), ["latest", "sha256-abc", "v1", "v2"]);
    }

    #[test]
    fn repositories_are_sorted_and_filtered() {
        let raw = ["b", "A", "a/b", "../x", "a", "b"].map(str::to_owned);
        let names = repositories(raw, None).names;
        assert_eq!(names.iter().map(Repository::as_str).collect::<Vec<_>>(), ["a", "a/b", "b"]);
    }

    #[test]
    fn referrers_tags_both_ways() {
        let digest = Digest::of(b"x");
        let tag = referrers_tag(&digest).expect("tag");
        assert_eq!(tag.as_str(), digest.as_str().replace(':', "-"));
        assert!(is_referrers_tag(tag.as_str()));
        let long: Digest = format!("sha512:{}", "a".repeat(128)).parse().expect("digest");
        assert_eq!(referrers_tag(&long).expect("tag").as_str(), format!("sha512-{}", "a".repeat(64)));
        let odd: Digest = "sha256+b64u:A_-=".parse().expect("digest");
        assert_eq!(referrers_tag(&odd).expect("tag").as_str(), "sha256-b64u-A_--");
    }
}
