//! The numbers of tar: octal and base-256 in headers, decimal in records, times with a fraction.
//!
//! Promises: reads what Go's `archive/tar` reads, and `None` where Go refuses; no value wraps. Knows nothing of what
//! the numbers mean.

use crate::layer::entry::Time;

/// A number of a header: base-256 if its first bit is set, else octal. It may be negative only in base-256.
pub(super) fn numeric(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field, first & 0x40 != 0),
        _ => octal(field),
    }
}

/// Octal digits among spaces and NULs; nothing at all is 0. What follows a NUL after the digits is ignored.
pub(super) fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !blank(byte)) else { return Some(0) };
    let end = field.iter().rposition(|byte| !blank(byte))? + 1;
    let digits = field.get(start..end)?;
    let digits = digits.split(|byte| *byte == 0).next()?;
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement in big-endian order, of any width; the first bit is a mark and the second the sign.
fn base256(field: &[u8], negative: bool) -> Option<i64> {
    // A negative number is read inverted, as `-a - 1 == !a`.
    let inverted = if negative { 0xff } else { 0 };
    let mut value = 0u64;
    for (at, byte) in field.iter().enumerate() {
        let mut byte = byte ^ inverted;
        if at == 0 {
            byte &= 0x7f;
        }
        if value >> 56 > 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

/// A decimal number of a record: digits with or without a sign.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A time of a record: decimal seconds, negative before the epoch, with any number of digits after a point, of which
/// nine count.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next().unwrap_or_default();
    let secs = decimal(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0u32, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    // The sign is of the whole: `-0.5` and `-1.5` lie before what their seconds say.
    if whole.first() == Some(&b'-') && nanos > 0 {
        return Some(Time { secs: secs.checked_sub(1)?, nanos: 1_000_000_000 - nanos });
    }
    Some(Time { secs, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn octal_as_writers_write_it() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"644\0\0\0\0\0", 0o644),
            (b"00000000000", 0),
            (b"77777777777 ", 0o77777777777),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"", 0),
            (b"\0\0 644", 0o644),
            // What follows a NUL is not looked at, as in Go.
            (b"12\x003xyz7", 0o12),
        ] {
            assert_eq!(numeric(field), Some(value), "{}", field.escape_ascii());
        }
        for field in [&b"0000648\0"[..], b"-644", b"+644", b"6 44", b"0x1f", b"fewa", b"7777777777777777777777777"] {
            assert_eq!(numeric(field), None, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn base256_as_gnu_and_go_write_it() {
        for (field, value) in [
            (&[0x80, 0, 0, 0, 0, 0, 0, 5][..], 5),
            (&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], i64::MAX),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb], -5),
            (&[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], i64::MIN),
            (&[0xff], -1),
            (&[0xbf], 0x3f),
        ] {
            assert_eq!(numeric(field), Some(value), "{field:02x?}");
        }
        for field in [
            &[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0][..],
            &[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xc0; 12],
        ] {
            assert_eq!(numeric(field), None, "{field:02x?}");
        }
    }

    #[test]
    fn times_of_records() {
        for (text, secs, nanos) in [
            ("1350244992.023960108", 1350244992, 23960108),
            ("1350244992.02396010899", 1350244992, 23960108),
            ("1350244992.5", 1350244992, 500_000_000),
            ("1350244992.", 1350244992, 0),
            ("0", 0, 0),
            ("-5", -5, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.5", -1, 500_000_000),
            ("-0.0", 0, 0),
            ("+1.25", 1, 250_000_000),
            ("-1.0000000001", -1, 0),
        ] {
            assert_eq!(time(text.as_bytes()), Some(Time { secs, nanos }), "{text}");
        }
        for text in
            ["", ".", ".5", "-", "-.5", "1.-5", "1.5.5", "1,5", "1e3", " 1", "0x1", "1_000", "9223372036854775808"]
        {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
        assert_eq!(time(b"-9223372036854775808.5"), None, "before what a time can say");
    }

    proptest! {
        #[test]
        fn base256_gives_back_what_was_written(value: i64, width in 9usize..13) {
            let sign = if value < 0 { 0xff } else { 0 };
            let mut field = vec![sign; width - 8];
            field.extend(value.to_be_bytes());
            field[0] |= 0x80;
            prop_assert_eq!(numeric(&field), Some(value));
        }

        #[test]
        fn octal_gives_back_what_was_written(value in 0i64..(1 << 33)) {
            prop_assert_eq!(numeric(format!("{value:011o}\0").as_bytes()), Some(value));
            prop_assert_eq!(numeric(format!("{value:>11o} ").as_bytes()), Some(value));
        }

        #[test]
        fn any_field_is_a_number_or_none(field in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (numeric(&field), octal(&field), decimal(&field));
            prop_assert!(time(&field).is_none_or(|time| time.nanos < 1_000_000_000));
        }
    }
}
