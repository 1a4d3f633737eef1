//! What a replica may have promised in its life before: to elect nobody but the leader that it followed, for the length of a lease.
//!
//! openraft keeps such a promise in memory. A follower that is killed and back within the lease would vote for another, while the leader still counts its last answer
//! (promise G5). So a replica that followed somebody neither votes nor stands for that long after its start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The promise of one replica. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Promise(Arc<Made>);

#[derive(Debug)]
struct Made {
    until: Instant,
    let_go: AtomicBool,
}

impl Promise {
    /// A replica starts now that may have promised something, or surely has not.
    pub(super) fn since_now(perhaps: bool, lease: Duration) -> Self {
        let until = Instant::now() + if perhaps { lease } else { Duration::ZERO };
        Self(Arc::new(Made { until, let_go: AtomicBool::new(false) }))
    }

    pub(super) fn holds(&self) -> bool {
        !self.0.let_go.load(Ordering::SeqCst) && Instant::now() < self.0.until
    }

    /// When it is over at the latest.
    pub(super) fn until(&self) -> Instant {
        self.0.until
    }

    /// Whom it was made to is gone for good.
    pub(super) fn let_go(&self) {
        self.0.let_go.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(450);

    #[tokio::test(start_paused = true)]
    async fn it_holds_for_a_lease_or_until_it_is_let_go() {
        assert!(!Promise::since_now(false, LEASE).holds());
        let promise = Promise::since_now(true, LEASE);
        tokio::time::advance(LEASE - Duration::from_millis(1)).await;
        assert!(promise.holds());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!promise.holds());
        let promise = Promise::since_now(true, LEASE);
        promise.let_go();
        assert!(!promise.holds());
    }
}
