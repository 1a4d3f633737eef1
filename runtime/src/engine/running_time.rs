//! The shard's own time: how long this leadership has run, as the age of an idempotency key is counted.
//!
//! A wall clock jumps: set back, or corrected, or another leader's is wrong. A key must not grow old by that (promise G2). So the shard's time goes
//! on with the clock, but only in the small steps in which a running shard looks at it; what is more than that was a jump or a pause, and a key is
//! then remembered longer than said, never shorter.

use holm_core::Timestamp;

/// The longest step that counts in full. A shard is ticked ten times a second.
const LONGEST_STEP_MS: u64 = 5_000;

/// Time since the leadership began.
#[derive(Debug, Default)]
pub(super) struct RunningTime {
    seen: Option<Timestamp>,
    passed_ms: u64,
}

impl RunningTime {
    /// The shard's time when the clock says `now`.
    pub(super) fn at(&mut self, now: Timestamp) -> Timestamp {
        if let Some(seen) = self.seen.replace(now) {
            let step_ms = now.as_millis().saturating_sub(seen.as_millis());
            self.passed_ms += step_ms.min(LONGEST_STEP_MS);
        }
        Timestamp::from_millis(self.passed_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_in_small_steps_and_never_back() {
        let mut time = RunningTime::default();
        let mut at = |millis| time.at(Timestamp::from_millis(millis)).as_millis();
        assert_eq!(at(1_000_000), 0);
        assert_eq!(at(1_000_100), 100);
        assert_eq!(at(4_600_100), 5_100, "an hour ahead in one step");
        assert_eq!(at(1_000_200), 5_100, "and back");
        assert_eq!(at(1_000_300), 5_200);
    }
}
