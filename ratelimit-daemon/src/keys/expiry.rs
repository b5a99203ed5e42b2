//! When a key expires, as people write it.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

const EXPECTED: &str =
    "write a time with its offset, such as 2027-01-31T12:00:00Z, or a span from now, such as 90d or 12h";

/// The time that `text` means at `now`, to the second; it lies in the future. Else why it means none.
pub fn parse_expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => after(text, now).ok_or_else(|| format!("{text:?} is no time; {EXPECTED}"))?,
    };
    let seconds = Timestamp::from_second(time.as_second());
    match seconds.ok().filter(|seconds| *seconds > now) {
        Some(seconds) => Ok(seconds),
        None => Err(format!("{time} is not in the future; {EXPECTED}, or disable the key")),
    }
}

/// Days are 24 hours and years are the calendar's, as they are in UTC.
fn after(text: &str, now: Timestamp) -> Option<Timestamp> {
    let span: Span = text.parse().ok()?;
    let time = now.to_zoned_datetime(TimeZone::UTC).checked_add(span).ok()?;
    Some(time.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_understood() {
        let now: Timestamp = "2026-12-01T10:00:00.5Z".parse().unwrap();
        let cases = [
            ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
            ("2027-01-31T12:00:00.9+02:00", "2027-01-31T10:00:00Z"),
            ("90d", "2027-03-01T10:00:00Z"),
            ("12h", "2026-12-01T22:00:00Z"),
            ("1y 2mo", "2028-02-01T10:00:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_expiry(text, now).unwrap().to_string(), expected, "{text}");
        }
        for wrong in
            ["", "tomorrow", "2027-01-31", "2027-01-31T12:00:00", "12", "2026-12-01T10:00:00Z", "-1d"]
        {
            assert!(parse_expiry(wrong, now).unwrap_err().contains("2027-01-31T12:00:00Z"), "{wrong}");
        }
    }
}
