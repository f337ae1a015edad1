//! Content digests (OCI image-spec, descriptor.md, "Digests"): parsing, computing, checking.

use crate::error::{Error, Kind, Result};
use sha2::Digest as _;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A digest that fits the grammar `algorithm:encoded`; lower-case hex of the right length for sha256 and sha512.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

/// The longest digest accepted, in bytes: sha512 needs 135, other registered algorithms no more.
pub const MAX_DIGEST: usize = 255;

impl Digest {
    /// The sha256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes))).into())
    }

    /// The name before the colon: `sha256`.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// What follows the colon.
    pub fn encoded(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, encoded)| encoded)
    }

    /// The whole, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first characters, enough to tell digests apart in a message.
    pub fn short(&self) -> &str {
        self.0.get(..self.algorithm().len() + 13).unwrap_or(&self.0)
    }

    /// Whether this program can compute it; reading content under any other is `Unsupported`.
    pub fn is_supported(&self) -> bool {
        matches!(self.algorithm(), "sha256" | "sha512")
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        let bad = |why: &str| {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            Error::new(Kind::Invalid, format!("digest \"{shown}\" {why}"))
        };
        if text.len() > MAX_DIGEST {
            return Err(bad(&format!("is over the limit of {MAX_DIGEST} bytes")));
        }
        let (algorithm, encoded) = text.split_once(':').ok_or_else(|| bad("has no colon"))?;
        let component =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !algorithm.split(['+', '.', '_', '-']).all(component) {
            return Err(bad("has a malformed algorithm"));
        }
        let hex_of =
            |len: usize| encoded.len() == len && encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = match algorithm {
            "sha256" => hex_of(64),
            "sha512" => hex_of(128),
            _ => {
                !encoded.is_empty()
                    && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
            }
        };
        if !fits {
            return Err(bad("is malformed"));
        }
        Ok(Digest(text.into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest of bytes that come in parts.
#[derive(Clone)]
pub struct Hasher(Algorithm);

#[derive(Clone)]
enum Algorithm {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// A hasher for the algorithm of `digest`; `Unsupported` if it is not sha256 or sha512.
    pub fn like(digest: &Digest) -> Result<Hasher> {
        match digest.algorithm() {
            "sha256" => Ok(Hasher(Algorithm::Sha256(sha2::Sha256::new()))),
            "sha512" => Ok(Hasher(Algorithm::Sha512(Box::new(sha2::Sha512::new())))),
            other => Err(Error::new(Kind::Unsupported, format!("digest algorithm \"{other}\" is not known here"))),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Algorithm::Sha256(hasher) => hasher.update(bytes),
            Algorithm::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all that was taken.
    pub fn finish(self) -> Digest {
        match self.0 {
            Algorithm::Sha256(hasher) => Digest(format!("sha256:{}", hex::encode(hasher.finalize())).into()),
            Algorithm::Sha512(hasher) => Digest(format!("sha512:{}", hex::encode(hasher.finalize())).into()),
        }
    }
}

/// Checks that `bytes` are what `expected` names; `Corrupt` otherwise.
pub fn verify(expected: &Digest, bytes: &[u8]) -> Result<()> {
    let mut hasher = Hasher::like(expected)?;
    hasher.update(bytes);
    same(expected, hasher.finish())
}

/// Checks a computed digest against the expected one; `Corrupt` if they differ.
pub fn same(expected: &Digest, computed: Digest) -> Result<()> {
    if *expected == computed {
        return Ok(());
    }
    Err(Error::new(Kind::Corrupt, format!("content has digest {computed}, not {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn computes_and_checks() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        let digest: Digest = EMPTY.parse().expect("digest");
        verify(&digest, b"").expect("same");
        assert_eq!(verify(&digest, b"x").expect_err("differs").kind(), Kind::Corrupt);
        let long =
            Hasher::like(&format!("sha512:{}", "0".repeat(128)).parse().expect("digest")).expect("known").finish();
        assert!(long.as_str().starts_with("sha512:cf83e1357eefb8bd"));
    }

    #[test]
    fn grammar() {
        for good in [EMPTY, "blake3:abc", "sha256+b64:A_-=", "md5.x:1"] {
            good.parse::<Digest>().expect(good);
        }
        for bad in
            ["", ":", "sha256", "sha256:", "sha256:zz", "SHA256:00", "sha256:../../etc/passwd", "a:b/c", "+:x", "a::b"]
        {
            assert_eq!(bad.parse::<Digest>().expect_err(bad).kind(), Kind::Invalid);
        }
        bad_case(&EMPTY.to_uppercase());
        bad_case(&EMPTY.replace('e', "E"));
    }

    fn bad_case(text: &str) {
        assert!(text.parse::<Digest>().is_err());
    }

    #[test]
    fn unknown_algorithms_parse_but_do_not_compute() {
        let digest: Digest = "blake3:abc".parse().expect("grammar");
        assert!(!digest.is_supported());
        assert_eq!(verify(&digest, b"").expect_err("unknown").kind(), Kind::Unsupported);
    }

    proptest! {
        #[test]
        fn never_panics_and_keeps_what_it_accepts(text in "\\PC{0,300}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.as_str(), text.as_str());
                let _ = digest.short();
            }
        }
    }
}
