//! When to ask again, and how long to wait before: a pure policy by kind of failure (protocols.md item 61).
//!
//! 502, 503, 504 and broken connections: exponential pauses with jitter, a bounded number of times. 408 and 429: as
//! long as the server asks for, if that is within the budget. Everything else: never. Knows no clock but the one it
//! is given.

use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// How often one question is asked at most of what is broken.
const MAX_TRIES: u32 = 4;
/// The same of what is only overloaded: there, the budget of time ends it.
const MAX_TRIES_BUSY: u32 = 16;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The first pause where a server says that we ask too much, but not how long to wait (Docker Hub).
const FIRST_PAUSE_BUSY: Duration = Duration::from_millis(500);

/// A longer wait is as good as this one: nobody has a budget for it.
const MAX_ASKED: Duration = Duration::from_secs(24 * 3600);

/// How often it was asked.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// The pause before asking again after a status; `None`: do not. `left` is the time that remains.
    pub(super) fn after_status(&mut self, status: u16, headers: &HeaderMap, left: Duration) -> Option<Duration> {
        let (first, tries) = match status {
            502..=504 => (FIRST_PAUSE, MAX_TRIES),
            408 | 429 => (FIRST_PAUSE_BUSY, MAX_TRIES_BUSY),
            _ => return None,
        };
        let pause = match retry_after(headers, SystemTime::now()) {
            // A little later than asked, each by another little; a server that asks for nothing is not believed.
            Some(asked) => asked.mul_f64(1.0 + fastrand::f64() / 4.0).max(self.pause(FIRST_PAUSE)),
            None => self.pause(first),
        };
        self.next(pause, tries, left)
    }

    /// The pause before asking again after the wire failed.
    pub(super) fn after_fault(&mut self, left: Duration) -> Option<Duration> {
        self.next(self.pause(FIRST_PAUSE), MAX_TRIES, left)
    }

    fn pause(&self, first: Duration) -> Duration {
        // Jitter keeps many readers of one failed server from coming back at once.
        first.saturating_mul(1 << self.0.min(16)).mul_f64(0.5 + fastrand::f64())
    }

    fn next(&mut self, pause: Duration, tries: u32, left: Duration) -> Option<Duration> {
        self.0 += 1;
        (self.0 < tries && pause < left).then_some(pause)
    }
}

/// What `Retry-After` asks for: seconds, or an HTTP date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(MAX_ASKED).min(MAX_ASKED));
    }
    let at: SystemTime = OffsetDateTime::parse(value, &Rfc2822).ok()?.into();
    Some(at.duration_since(now).unwrap_or_default().min(MAX_ASKED))
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
    fn item_61_what_is_overloaded_is_asked_as_long_as_the_budget_lasts() {
        let (mut tries, mut left, mut asked) = (Tries::default(), Duration::from_secs(30), 0);
        while let Some(pause) = tries.after_status(429, &asking("1"), left) {
            left -= pause;
            asked += 1;
            assert!(asked < MAX_TRIES_BUSY);
        }
        assert!(asked > MAX_TRIES, "{asked}");
        // One that asks for no wait at all is not asked without end.
        let mut tries = Tries::default();
        assert!(std::iter::from_fn(|| tries.after_status(429, &asking("0"), LONG)).count() < MAX_TRIES_BUSY as usize);
    }

    #[test]
    fn item_61_retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(&asking("7"), now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&asking("1.5"), now), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after(&asking("Sun, 06 Nov 1994 08:49:47 GMT"), now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after(&asking("Sun, 06 Nov 1994 08:00:00 GMT"), now), Some(Duration::ZERO));
        for junk in ["soon", "", "now, please"] {
            assert_eq!(retry_after(&asking(junk), now), None, "{junk}");
        }
        for endless in ["1e400", "inf", "99999999999999999999", "Sun, 06 Nov 2994 08:49:47 GMT"] {
            assert_eq!(retry_after(&asking(endless), now), Some(MAX_ASKED), "{endless}");
        }
        assert_eq!(retry_after(&asking("NaN"), now), Some(Duration::ZERO));
        assert_eq!(retry_after(&asking("-5"), now), Some(Duration::ZERO));
    }

    #[test]
    fn a_wait_that_is_longer_than_what_is_left_is_not_begun() {
        let left = Duration::from_secs(5);
        let pause = Tries::default().after_status(429, &asking("3"), left).expect("within the budget");
        assert!((3.0..3.76).contains(&pause.as_secs_f64()), "{pause:?}");
        assert_eq!(Tries::default().after_status(429, &asking("6"), left), None);
        assert_eq!(Tries::default().after_fault(Duration::ZERO), None);
    }
}
