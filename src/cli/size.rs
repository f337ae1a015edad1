//! Sizes and times as people write and read them: `64M`, `10G`, `30`, `5m`.

use crate::error::{Error, Kind, Result};
use crate::name::escape;
use std::time::Duration;

/// The longest time that an option takes: a year.
pub const MAX_SECONDS: u64 = 366 * 24 * 3600;

/// Reads a number of bytes: digits, then `K`, `M`, `G` or `T` (powers of 1024, also written `KiB`), or `KB`, `MB` …
/// (powers of 1000), in either case. `Invalid` for anything else and for what does not fit 64 bits.
pub fn parse(text: &str) -> Result<u64> {
    let bad = |why: &str| {
        Error::new(Kind::Invalid, format!("size \"{}\" {why}: write bytes, or 64M, 10G", escape(text.as_bytes())))
    };
    let (number, unit) = split(text);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(bad(if number.is_empty() { "is not a number" } else { "has an unknown unit" })),
    };
    if number.is_empty() {
        return Err(bad("is not a number"));
    }
    let number: u64 = number.parse().map_err(|_| bad("is too large"))?;
    number.checked_mul(factor).ok_or_else(|| bad("is too large"))
}

/// Reads a time: digits, then nothing or `s` for seconds, `m`, `h` or `d`.
pub fn parse_time(text: &str) -> Result<Duration> {
    let bad = |why: &str| {
        Error::new(Kind::Invalid, format!("time \"{}\" {why}: write seconds, or 5m, 2h, 1d", escape(text.as_bytes())))
    };
    let (number, unit) = split(text);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(bad(if number.is_empty() { "is not a number" } else { "has an unknown unit" })),
    };
    if number.is_empty() {
        return Err(bad("is not a number"));
    }
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds.filter(|seconds| *seconds <= MAX_SECONDS) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(bad("is over the limit of a year")),
    }
}

/// Reads a time that may not be zero.
pub fn parse_deadline(text: &str) -> Result<Duration> {
    match parse_time(text)? {
        Duration::ZERO => Err(Error::new(Kind::Invalid, "a deadline of 0 seconds would let nothing through")),
        time => Ok(time),
    }
}

/// Bytes for people: `512`, `1.5K`, `64M`; three significant digits at most, as `ls -h` has them.
pub fn show(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    // 1023.95K would be rounded to 1024.0K.
    while value >= 1023.95 {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.95 { 1 } else { 0 };
    format!("{value:.digits$}{}", UNITS[unit])
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64M", 64 << 20),
            ("10g", 10 << 30),
            ("1KiB", 1024),
            ("2kb", 2000),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse(text).expect(text), bytes);
        }
        for bad in ["", "M", "1.5G", "-1", "1X", "10 G", "99999999999999999999", "99999999T", "1\u{1b}", "\u{661}"] {
            let error = parse(bad).expect_err(bad);
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("30").expect("30"), Duration::from_secs(30));
        assert_eq!(parse_time("5m").expect("5m"), Duration::from_secs(300));
        assert_eq!(parse_time("0").expect("0"), Duration::ZERO);
        for bad in ["", "s", "1y", "1.5", "999999999999", "400d"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
        assert!(parse_deadline("0s").is_err());
    }

    #[test]
    fn shown() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (10 << 10, "10K"),
            (1_048_575, "1.0M"),
            (1 << 20, "1.0M"),
            (500 << 20, "500M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(show(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,20}|[0-9]{0,25}[a-zA-Z]{0,3}") {
            let _ = (parse(&text), parse_time(&text));
        }
    }
}
