//! The clocks of a world: one true time, and for each host a wall clock that may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use holm_core::{Clock, Entropy as _, SeededEntropy, Timestamp};

use super::network::Host;

/// When every world begins: an hour that nothing depends on.
const BEGINNING_MS: u64 = 1_700_000_000_000;

/// The true time since the world began.
#[derive(Debug, Clone, Default)]
pub struct WorldTime(Arc<AtomicU64>);

impl WorldTime {
    /// The time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros, Ordering::Relaxed);
    }
}

/// How wrong the wall clocks of a world are by themselves. That is the time of day: how fast a process sees time pass, which the leases of leaders go
/// by, is the same everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clocks {
    /// The most that one is ahead or behind in the beginning.
    pub apart_ms: u32,
    /// The most that one gains or loses, in millionths of the time that passes.
    pub drift: u32,
}

impl Clocks {
    /// A third of the worlds has clocks that begin together, a third never drifts. The others are apart as without a time server for a day or for years,
    /// and drift as quartz does or as a virtual machine that is short of time.
    pub(super) fn draw(entropy: &mut SeededEntropy) -> Self {
        let mut one_of =
            |choices: [u32; 3]| choices[usize::try_from(entropy.below(3)).unwrap_or(0)];
        Self { apart_ms: one_of([0, 5_000, 600_000]), drift: one_of([0, 500, 50_000]) }
    }

    /// The clock of a host. Each has a stream of its own, so that nothing else is drawn otherwise because of it.
    pub(super) fn clock(self, seed: u64, host: Host, time: &WorldTime) -> WallClock {
        let mut entropy = SeededEntropy::new(seed ^ 0xC10C_C10C ^ (u64::from(host.0) << 32));
        let mut within = |most: u32| {
            let most = i64::from(most);
            i64::try_from(entropy.below(2 * most.unsigned_abs() + 1)).unwrap_or(0) - most
        };
        let (begins_ahead, drift) = (within(self.apart_ms), within(self.drift));
        WallClock { time: time.clone(), begins_ahead, drift, ahead: Arc::default() }
    }
}

/// A host's wall clock.
#[derive(Debug, Clone)]
pub struct WallClock {
    time: WorldTime,
    /// How many milliseconds it was ahead when the world began.
    begins_ahead: i64,
    /// How many microseconds it gains in a second.
    drift: i64,
    /// How many milliseconds it was set ahead since.
    ahead: Arc<AtomicI64>,
}

impl WallClock {
    /// One that is right.
    pub(super) fn right(time: &WorldTime) -> Self {
        Self { time: time.clone(), begins_ahead: 0, drift: 0, ahead: Arc::default() }
    }

    /// From now on it is so many milliseconds ahead of what it would show by itself.
    pub(super) fn set_ahead(&self, milliseconds: i64) {
        self.ahead.store(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let elapsed = u64::try_from(self.time.elapsed().as_millis()).unwrap_or(u64::MAX);
        let true_time = BEGINNING_MS + elapsed;
        let gained =
            i64::try_from(elapsed).unwrap_or(i64::MAX).saturating_mul(self.drift) / 1_000_000;
        let wrong = self.begins_ahead + gained + self.ahead.load(Ordering::Relaxed);
        Timestamp::from_millis(true_time.saturating_add_signed(wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(seed: u64, clocks: Clocks, time: &WorldTime) -> Vec<WallClock> {
        (1..=5).map(|host| clocks.clock(seed, Host(host), time)).collect()
    }

    fn ahead(clock: &WallClock) -> i64 {
        let right = WallClock::right(&clock.time).now().as_millis();
        clock.now().as_millis().cast_signed() - right.cast_signed()
    }

    #[test]
    fn clocks_begin_apart_and_drift_within_what_was_drawn() {
        let time = WorldTime::default();
        let wrong = Clocks { apart_ms: 5_000, drift: 50_000 };
        for seed in 0..50 {
            let clocks = clocks(seed, wrong, &time);
            time.set(Duration::ZERO);
            let begin: Vec<i64> = clocks.iter().map(ahead).collect();
            time.set(Duration::from_secs(60));
            let gained: Vec<i64> =
                clocks.iter().map(ahead).zip(&begin).map(|(e, b)| e - b).collect();
            assert!(begin.iter().all(|it| it.abs() <= 5_000), "{begin:?}");
            assert!(gained.iter().all(|it| it.abs() <= 3_000), "{gained:?}");
            assert!(begin.iter().chain(&gained).any(|it| it.abs() > 500), "{begin:?} {gained:?}");
            assert!(begin.windows(2).any(|two| two[0] != two[1]), "{begin:?}");
        }
    }

    #[test]
    fn a_clock_that_is_set_goes_back_to_its_own_time() {
        let time = WorldTime::default();
        let clock = Clocks { apart_ms: 1_000, drift: 0 }.clock(3, Host(1), &time);
        let own = ahead(&clock);
        clock.set_ahead(500);
        assert_eq!(ahead(&clock), own + 500);
        clock.set_ahead(0);
        assert_eq!(ahead(&clock), own);
    }

    #[test]
    fn without_a_rate_and_apart_by_nothing_all_are_right() {
        let time = WorldTime::default();
        time.set(Duration::from_secs(3_600));
        assert!(clocks(7, Clocks::default(), &time).iter().all(|clock| ahead(clock) == 0));
    }
}
