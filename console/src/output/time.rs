//! Times as text: RFC 3339 for machines, the local time of day and ages for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Milliseconds since the epoch as RFC 3339 in UTC, as in `2026-11-20T16:21:07.015Z`.
#[must_use]
pub fn rfc3339(millis: u64) -> String {
    at(millis).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The local time of day, as in `16:21:07.015`, of a time given in RFC 3339; what cannot be read is shown as it is.
#[must_use]
pub fn clock_of_day(rfc3339: &str) -> String {
    rfc3339.parse::<Timestamp>().map_or_else(
        |_| rfc3339.to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f").to_string(),
    )
}

/// An age in the unit that a person would choose: `4 s`, `3 min`, `2 h`, `5 d`.
#[must_use]
pub fn short_age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn at(millis: u64) -> Timestamp {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_191_667_015), "2026-11-20T16:21:07.015Z");
        assert!(rfc3339(u64::MAX).starts_with("9999-12-30"));
    }

    #[test]
    fn what_is_no_time_is_shown_as_it_is() {
        assert_eq!(clock_of_day("soon"), "soon");
    }
}
