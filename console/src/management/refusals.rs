//! Who was refused, in the log: the first of each kind at once, then one line in a while, so that nobody fills a disk by being refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about one reason.
const PAUSE: Duration = Duration::from_secs(10);

/// Bytes of a detail that are logged: it may quote a header, which may be as long as a head.
const DETAIL_BYTES: usize = 200;

/// The refusals of one node. There are as many reasons as the code has names for them.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<String, Told>>);

#[derive(Debug)]
struct Told {
    last: Instant,
    /// Refusals since then.
    untold: u64,
}

impl Refusals {
    /// Says that a client was refused, unless the same was said just now. `detail` may hold what the client sent; it is quoted.
    pub(super) fn tell(&self, peer: SocketAddr, reason: &str, detail: &str) {
        if let Some(untold) = self.due(reason, Instant::now()) {
            let detail = &detail[..detail.floor_char_boundary(DETAIL_BYTES)];
            tracing::warn!(%peer, reason, ?detail, untold, "refused a client of the management HTTP");
        }
    }

    /// How many were not told since the last line; none when it is too early for another one.
    fn due(&self, reason: &str, now: Instant) -> Option<u64> {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = reasons.get_mut(reason) else {
            reasons.insert(reason.to_owned(), Told { last: now, untold: 0 });
            return Some(0);
        };
        if now.duration_since(told.last) < PAUSE {
            told.untold += 1;
            return None;
        }
        told.last = now;
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_at_once_and_then_once_in_a_while() {
        let (refusals, begin) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.due("host-refused", begin), Some(0));
        for seconds in 1..10 {
            let now = begin + Duration::from_secs(seconds);
            assert_eq!(refusals.due("host-refused", now), None);
        }
        assert_eq!(refusals.due("token-missing", begin), Some(0), "another reason");
        assert_eq!(refusals.due("host-refused", begin + PAUSE), Some(9));
        assert_eq!(refusals.due("host-refused", begin + 2 * PAUSE), Some(0));
    }
}
