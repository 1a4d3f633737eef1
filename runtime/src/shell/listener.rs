//! The listener of a host: hears of callers to whom their shard says nothing. It runs on a thread on which no handler runs, where there is one.

use std::sync::{Arc, Weak};

use holm_core::Clock;

use crate::ask::slip::{LOOK_EVERY, Slips};
use crate::failures::Outlet;

/// Who is listened for.
pub(crate) struct Listener {
    /// Of every shard.
    pub(crate) slips: Vec<Arc<Slips>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The host is gone when this is, or takes nothing any more.
    pub(crate) failures: Weak<Outlet>,
}

impl Listener {
    pub(crate) async fn run(self) {
        while self.failures.upgrade().is_some_and(|failures| !failures.is_closed()) {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.clock.now();
            self.slips.iter().for_each(|slips| slips.look(now));
        }
    }
}

/// Nobody listens any more, so nobody may go on waiting: a handler that does not come back outlives its host.
impl Drop for Listener {
    fn drop(&mut self) {
        self.slips.iter().for_each(|slips| slips.end());
    }
}
