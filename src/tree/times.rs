//! When images were made: told by their configs, once those are at hand. Never a reason to ask for anything.

use super::metadata::Metadata;
use super::snapshot::Snapshot;
use crate::digest::Digest;
use crate::name::{Repository, Tag};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest config that is read for its time, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

impl Metadata {
    /// When the image of that manifest was made; of an index, the image for this platform.
    pub(super) fn created(&self, repository: &Repository, digest: &Digest) -> Option<SystemTime> {
        if let Some(known) = self.created.peek(digest) {
            return known;
        }
        let image = self.image_at_hand(repository, digest)?;
        self.created_of(repository, &image)
    }

    /// The same, of a manifest in memory.
    pub(super) fn created_of(&self, repository: &Repository, image: &Arc<Snapshot>) -> Option<SystemTime> {
        if let Some(known) = self.created.peek(&image.digest) {
            return known;
        }
        let config = self.chosen_at_hand(repository, image)?.config()?.clone();
        if config.size > MAX_CONFIG {
            return None;
        }
        let created = created(&self.store.get(&config.digest)?);
        self.created.put(&image.digest, created, &self.lives);
        created
    }

    /// When the image was made that a tag names, or named when last asked.
    pub(super) fn tag_created(&self, repository: &Repository, tag: &Tag) -> Option<SystemTime> {
        let named = self.tag_last(repository, tag)?;
        let known = named.created.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        let found = known.or_else(|| self.created(repository, &named.digest))?;
        if named.created.is_none() {
            // For the next mount.
            let seconds = found.duration_since(UNIX_EPOCH).ok()?.as_secs();
            let learnt = super::known::Named { created: Some(seconds), ..(*named).clone() };
            if self.known.tag(repository, tag).is_none_or(|known| known.created.is_none()) {
                self.known.learn_tag(repository, tag, learnt);
            }
        }
        Some(found)
    }
}

/// The `created` of an image config; `None` if it has none, or one before the epoch or after the year 9999.
fn created(config: &[u8]) -> Option<SystemTime> {
    #[derive(serde::Deserialize)]
    struct Config {
        created: Option<String>,
    }
    let text = serde_json::from_slice::<Config>(config).ok()?.created?;
    let time = time::OffsetDateTime::parse(&text, &time::format_description::well_known::Rfc3339).ok()?;
    let seconds = u64::try_from(time.unix_timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, time.nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_configs() {
        let seconds = |text: &str| {
            let time = created(format!(r#"{{"created":"{text}","x":[]}}"#).as_bytes())?;
            time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis())
        };
        assert_eq!(seconds("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(seconds("1970-01-01T01:00:00.5+01:00"), Some(500));
        assert_eq!(seconds("2024-02-29T12:00:00.123456789Z"), Some(1_709_208_000_123));
        for bad in ["", "yesterday", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2024-13-01T00:00:00Z"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(created(b"{}"), None);
        assert_eq!(created(b"not json"), None);
        assert_eq!(created(br#"{"created":7}"#), None);
    }
}
