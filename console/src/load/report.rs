//! What the load generator says about itself, several times a second: one JSON document a line.

use serde::{Deserialize, Serialize};

/// One window of time, and the sums so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// The end of the window, in microseconds since the epoch.
    pub at_us: u64,
    /// How long the window was.
    pub window_us: u64,
    /// Accounts that are open, by this run or an earlier one.
    pub accounts: u32,
    /// Accounts of which that is not known.
    pub accounts_given_up: u32,
    /// Accounts that are to be opened.
    pub accounts_wanted: u32,
    /// Commands sent in the window.
    pub sent: u64,
    /// Commands accepted, reads included.
    pub answered: u64,
    /// Commands that their entity rejected.
    pub rejected: u64,
    /// Events that the accepted commands stored.
    pub events: u64,
    /// Tries beyond the first.
    pub retries: u64,
    /// Commands sent later than planned by more than a millisecond.
    pub late: u64,
    /// Commands that wait for their answer now.
    pub in_flight: u64,
    /// Half of the answers came within this, counted from the planned send time.
    pub p50_us: u64,
    /// 99 of 100 did.
    pub p99_us: u64,
    /// All did.
    pub max_us: u64,
    /// Since the start: commands sent.
    pub total_sent: u64,
    /// Since the start: accepted.
    pub total_answered: u64,
    /// Since the start: rejected by their entity.
    pub total_rejected: u64,
    /// Since the start: given up, surely not applied or with an unknown outcome.
    pub total_failed: u64,
}

impl LoadReport {
    /// True when no account is still being opened and the fixed rate runs.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.accounts + self.accounts_given_up >= self.accounts_wanted
    }

    /// A count of the window as a rate.
    #[must_use]
    pub const fn per_second(&self, count: u64) -> u64 {
        match count.saturating_mul(1_000_000).checked_div(self.window_us) {
            Some(rate) => rate,
            None => 0,
        }
    }

    /// Several windows as one. The percentiles are the worst of the windows': they cannot be added, and this errs to the safe side.
    pub fn merged<'a>(reports: impl Iterator<Item = &'a Self>) -> Option<Self> {
        reports.fold(None, |sum: Option<Self>, report| {
            let Some(sum) = sum else { return Some(report.clone()) };
            let newest = if sum.at_us >= report.at_us { &sum } else { report };
            Some(Self {
                window_us: sum.window_us + report.window_us,
                sent: sum.sent + report.sent,
                answered: sum.answered + report.answered,
                rejected: sum.rejected + report.rejected,
                events: sum.events + report.events,
                retries: sum.retries + report.retries,
                late: sum.late + report.late,
                p50_us: sum.p50_us.max(report.p50_us),
                p99_us: sum.p99_us.max(report.p99_us),
                max_us: sum.max_us.max(report.max_us),
                ..newest.clone()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_add_up_and_the_newest_gives_the_sums() {
        let first = LoadReport {
            at_us: 1,
            window_us: 200_000,
            answered: 10,
            p99_us: 5,
            total_sent: 10,
            ..LoadReport::default()
        };
        let second =
            LoadReport { at_us: 2, answered: 30, p99_us: 3, total_sent: 40, ..first.clone() };
        let merged = LoadReport::merged([&second, &first].into_iter()).unwrap();
        assert_eq!((merged.answered, merged.p99_us, merged.total_sent), (40, 5, 40));
        assert_eq!(merged.per_second(merged.answered), 100);
        assert_eq!(LoadReport::merged(std::iter::empty()), None);
    }
}
