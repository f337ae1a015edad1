//! Times as they are written everywhere: RFC 3339, UTC, to the millisecond, always of the same width.

use std::time::SystemTime;
use time::OffsetDateTime;

/// `2026-01-02T03:04:05.670Z`.
pub fn stamp(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", time.millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_digit_is_dropped() {
        for (millis, words) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_323_045_670, "2026-01-02T03:04:05.670Z"),
            (1_767_323_045_600, "2026-01-02T03:04:05.600Z"),
        ] {
            assert_eq!(stamp(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)), words);
        }
    }
}
