//! What becomes of a record that its handler cannot handle.

use std::time::Duration;

/// What to do when a handler fails (law O2): try again so many times, then this.
///
/// The group of records that failed is undone and done again record by record, so that only the one that fails is concerned. The shards go on
/// together: while one record is tried again, the others wait, because the view is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnFailure {
    pub(crate) retries: u32,
    pub(crate) pause: Duration,
    pub(crate) then: Then,
}

/// What to do when trying again did not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Stop, stay before the record, and say why. A person looks, and resumes.
    Fail,
    /// Leave the record out for good.
    Skip,
    /// Leave the record out for now: [`crate::ProjectionHandle::retry_parked`] handles it later, which is out of order.
    Park,
}

impl OnFailure {
    /// Stops before the record.
    #[must_use]
    pub const fn fail() -> Self {
        Self::with(Then::Fail)
    }

    /// Leaves the record out for good.
    #[must_use]
    pub const fn skip() -> Self {
        Self::with(Then::Skip)
    }

    /// Leaves the record out for now.
    #[must_use]
    pub const fn park() -> Self {
        Self::with(Then::Park)
    }

    /// Tries so many times before that, with this pause before each.
    #[must_use]
    pub const fn after_retries(mut self, times: u32, pause: Duration) -> Self {
        (self.retries, self.pause) = (times, pause);
        self
    }

    const fn with(then: Then) -> Self {
        Self { retries: 0, pause: Duration::ZERO, then }
    }
}

impl Default for OnFailure {
    /// Three times in a second and a half, then it stops: nothing is left out unless somebody chose it.
    fn default() -> Self {
        Self::fail().after_retries(3, Duration::from_millis(500))
    }
}
