//! The clocks of a world: one true time, and for each host a wall clock that may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use holm_core::{Clock, Timestamp};

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

/// A host's wall clock.
#[derive(Debug, Clone)]
pub struct WallClock {
    time: WorldTime,
    /// How many milliseconds it is ahead.
    ahead: Arc<AtomicI64>,
}

impl WallClock {
    pub(super) fn new(time: &WorldTime) -> Self {
        Self { time: time.clone(), ahead: Arc::default() }
    }

    /// From now on it is so many milliseconds ahead of the true time.
    pub(super) fn set_ahead(&self, milliseconds: i64) {
        self.ahead.store(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let elapsed = u64::try_from(self.time.elapsed().as_millis()).unwrap_or(u64::MAX);
        let true_time = BEGINNING_MS + elapsed;
        Timestamp::from_millis(true_time.saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }
}
