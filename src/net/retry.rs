//! When to ask again, and how long to wait before: a pure policy by kind of failure (protocols.md item 61).
//!
//! 502, 503, 504 and broken connections: exponential pauses with jitter, a bounded number of times. 408 and 429: as
//! long as the server asks for, if that is within the budget. Everything else: never. Knows no clock but the one it
//! is given.

use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// How often one question is asked at most.
const MAX_TRIES: u32 = 4;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The first pause where a server says that we ask too much, but not how long to wait (Docker Hub).
const FIRST_PAUSE_BUSY: Duration = Duration::from_millis(500);

/// How often it was asked.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// The pause before asking again after a status; `None`: do not. `left` is the time that remains.
    pub(super) fn after_status(&mut self, status: u16, headers: &HeaderMap, left: Duration) -> Option<Duration> {
        let first = match status {
            502..=504 => FIRST_PAUSE,
            408 | 429 => FIRST_PAUSE_BUSY,
            _ => return None,
        };
        let asked = retry_after(headers, SystemTime::now());
        // A server may ask for no wait at all, again and again.
        self.next(asked.map_or_else(|| self.pause(first), |asked| asked.max(FIRST_PAUSE)), left)
    }

    /// The pause before asking again after the wire failed.
    pub(super) fn after_fault(&mut self, left: Duration) -> Option<Duration> {
        self.next(self.pause(FIRST_PAUSE), left)
    }

    fn pause(&self, first: Duration) -> Duration {
        // Jitter keeps many readers of one failed server from coming back at once.
        first.saturating_mul(1 << self.0.min(16)).mul_f64(0.5 + fastrand::f64())
    }

    fn next(&mut self, pause: Duration, left: Duration) -> Option<Duration> {
        self.0 += 1;
        (self.0 < MAX_TRIES && pause < left).then_some(pause)
    }
}

/// What `Retry-After` asks for: seconds, or an HTTP date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let at: SystemTime = OffsetDateTime::parse(value, &Rfc2822).ok()?.into();
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    const LONG: Duration = Duration::from_secs(1000);

    fn asking(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).expect("a header"))])
    }

    #[test]
    fn item_61_only_502_503_504_408_429_are_asked_again() {
        for status in 400..600 {
            let again = Tries::default().after_status(status, &HeaderMap::new(), LONG).is_some();
            assert_eq!(again, matches!(status, 502..=504 | 408 | 429), "{status}");
        }
    }

    #[test]
    fn item_61_pauses_grow_and_end() {
        let mut tries = Tries::default();
        let pauses: Vec<_> = std::iter::from_fn(|| tries.after_status(503, &HeaderMap::new(), LONG)).collect();
        assert_eq!(pauses.len(), MAX_TRIES as usize - 1);
        for (n, pause) in pauses.iter().enumerate() {
            let base = FIRST_PAUSE * (1 << n);
            assert!((base / 2..base * 2).contains(pause), "{n}: {pause:?}");
        }
    }

    #[test]
    fn item_61_retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(&asking("7"), now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&asking("1.5"), now), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after(&asking("Sun, 06 Nov 1994 08:49:47 GMT"), now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after(&asking("Sun, 06 Nov 1994 08:00:00 GMT"), now), Some(Duration::ZERO));
        for junk in ["soon", "", "1e400", "NaN"] {
            assert!(retry_after(&asking(junk), now).is_none_or(|wait| wait.is_zero()), "{junk}");
        }
        assert_eq!(retry_after(&asking("-5"), now), Some(Duration::ZERO));
    }

    #[test]
    fn a_wait_that_is_longer_than_what_is_left_is_not_begun() {
        let left = Duration::from_secs(5);
        assert_eq!(Tries::default().after_status(429, &asking("3"), left), Some(Duration::from_secs(3)));
        assert_eq!(Tries::default().after_status(429, &asking("6"), left), None);
        assert_eq!(Tries::default().after_fault(Duration::ZERO), None);
    }
}
