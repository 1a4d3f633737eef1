//! How fast something goes, as a figure that forgets: what happened some seconds ago counts less and less.

use std::time::Duration;

/// The time in which what was counted loses two thirds of its weight.
const MEMORY: Duration = Duration::from_secs(10);

/// A count for each second, smoothed. Times are given as the time since some beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rate {
    weight: f64,
    at: Duration,
    since: Duration,
}

impl Rate {
    /// Of what is watched from now on.
    pub(crate) fn since(now: Duration) -> Self {
        Self { weight: 0.0, at: now, since: now }
    }

    pub(crate) fn count(&mut self, number: u64, now: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a rate is a rough figure")]
        let number = number as f64;
        self.weight = self.faded(now) + number;
        self.at = now;
    }

    pub(crate) fn per_second(&self, now: Duration) -> f64 {
        // In its first seconds it was not watched for longer than that.
        let watched = now.saturating_sub(self.since).as_secs_f64().max(0.1);
        let memory = MEMORY.as_secs_f64() * (1.0 - (-watched / MEMORY.as_secs_f64()).exp());
        self.faded(now) / memory
    }

    fn faded(&self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.weight * (-passed / MEMORY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found_soon_and_forgotten_soon() {
        let mut rate = Rate::default();
        for tenth in 1..=300u64 {
            rate.count(50, Duration::from_millis(tenth * 100));
            let shown = rate.per_second(Duration::from_millis(tenth * 100));
            assert!(tenth < 10 || (450.0..560.0).contains(&shown), "{shown} after {tenth}");
        }
        assert!(rate.per_second(Duration::from_secs(100)) < 1.0);
    }

    #[test]
    fn what_began_late_is_not_slow_for_that() {
        let (began, now) = (Duration::from_secs(1_000), Duration::from_secs(1_002));
        let mut rate = Rate::since(began);
        rate.count(100, now);
        let shown = rate.per_second(now);
        assert!((45.0..60.0).contains(&shown), "{shown}");
    }
}
