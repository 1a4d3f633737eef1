//! A point in an entity's past, as people name it: a sequence number, a time, or so long ago.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::api_client::{ApiClient, ClientError};
use crate::wall_clock::now_us;

/// A point in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The newest event.
    Now,
    /// After the event with this sequence number.
    Seq(u64),
    /// After the last event at or before this instant.
    Instant(Timestamp),
    /// After the last event at or before this time of today, in the local time zone.
    TimeOfDay(Time),
    /// So long ago.
    Ago(Duration),
}

impl Point {
    /// The sequence number of the last event up to this point; 0 before the first one.
    ///
    /// # Errors
    /// As the client's.
    pub(super) async fn seq(
        self,
        client: &ApiClient,
        entity_type: &str,
        id: &str,
    ) -> Result<Option<u64>, ClientError> {
        let now = Timestamp::from_microsecond(i64::try_from(now_us()).unwrap_or(i64::MAX));
        let now = now.unwrap_or(Timestamp::MAX);
        let until = match self {
            Self::Now => return Ok(None),
            Self::Seq(seq) => return Ok(Some(seq)),
            Self::Instant(at) => at,
            Self::TimeOfDay(time) => {
                let today = now.to_zoned(TimeZone::system()).with().time(time).build();
                today.map_or(now, |zoned| zoned.timestamp())
            }
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        };
        let highest = client.state(entity_type, id, None).await?.body.highest_seq;
        // Events stand in the order of their times, as far as the clocks of those who led the shard agreed; so the last one is found in as many steps
        // as its number has bits.
        let (mut before, mut after) = (0, highest + 1);
        while before + 1 < after {
            let middle = before + (after - before) / 2;
            let page = client.history(entity_type, id, middle - 1, 1).await?.body;
            let event = page.events.first();
            if event
                .and_then(|event| event.at.parse::<Timestamp>().ok())
                .is_some_and(|at| at <= until)
            {
                before = middle;
            } else {
                after = middle;
            }
        }
        Ok(Some(before))
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self::Now);
        }
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        if let Some(ago) = text.strip_prefix('-') {
            return duration(ago).map(Self::Ago).ok_or_else(|| explain(text));
        }
        if let Ok(instant) = text.parse() {
            return Ok(Self::Instant(instant));
        }
        text.parse().map(Self::TimeOfDay).map_err(|_| explain(text))
    }
}

/// `5m`, `90s`, `2h`, `1d`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(seconds)?))
}

fn explain(text: &str) -> String {
    format!(
        "`{text}` is no point in time: write a sequence number, now, 16:14:22, -5m or 2026-01-31T16:14:22Z"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_as_people_write_them() {
        assert_eq!("187".parse(), Ok(Point::Seq(187)));
        assert_eq!("now".parse(), Ok(Point::Now));
        assert_eq!("-5m".parse(), Ok(Point::Ago(Duration::from_secs(300))));
        assert!(matches!("16:14:22".parse(), Ok(Point::TimeOfDay(_))));
        assert!(matches!("2026-01-31T16:14:22Z".parse(), Ok(Point::Instant(_))));
        for nonsense in ["", "-5", "-5y", "yesterday", "25:00"] {
            assert!(nonsense.parse::<Point>().is_err(), "{nonsense}");
        }
    }
}
