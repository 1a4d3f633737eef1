//! The time of day, finer than a millisecond: for what happened in several processes of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the epoch.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "timelines of several processes need one clock, finer than the millisecond of the clock seam"
)]
pub(crate) fn now_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
