//! How far a durable subscription is behind, and when that is said.

use std::time::Duration;

use metrics::gauge;

/// Behind this far a subscription is said to lag, and by half of it to have caught up.
const LAGGING: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Lag {
    name: Box<str>,
    behind: Duration,
    said: bool,
}

impl Lag {
    pub(super) fn of(name: &str) -> Self {
        Self { name: name.into(), behind: Duration::ZERO, said: false }
    }

    pub(super) fn behind(&self) -> Duration {
        self.behind
    }

    /// A fact that happened so long ago was given out.
    pub(super) fn note(&mut self, behind: Duration) {
        self.behind = behind;
        gauge!("holm_subscription_lag_time_seconds", "subscription" => self.name.to_string())
            .set(behind.as_secs_f64());
        let name = &*self.name;
        if !self.said && behind > LAGGING {
            self.said = true;
            tracing::warn!(subscription = name, ?behind, "a subscription lags");
        } else if self.said && behind < LAGGING / 2 {
            self.said = false;
            tracing::info!(subscription = name, ?behind, "a subscription has caught up");
        }
    }
}
