//! The listener of a host: hears of callers to whom their shard says nothing, and of answers whose arbiter does not let them go. It runs on a thread on which no handler runs, where there is one.

use std::sync::{Arc, Weak};

use holm_core::Clock;

use super::afterwards::Afterwards;
use crate::ask::slip::{LOOK_EVERY, Slips};
use crate::failures::Outlet;

/// Who is listened for.
pub(crate) struct Listener {
    /// Of every shard.
    pub(crate) slips: Vec<Arc<Slips>>,
    /// Of every arbiter: one of them may be held by a handler that does not come back.
    pub(crate) afterwards: Vec<Arc<Afterwards>>,
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
            self.afterwards.iter().for_each(|afterwards| afterwards.carry_out());
        }
    }
}

/// Nobody listens any more, so nobody may go on waiting: a handler that does not come back outlives its host.
impl Drop for Listener {
    fn drop(&mut self) {
        self.slips.iter().for_each(|slips| slips.end());
        self.afterwards.iter().for_each(|afterwards| afterwards.carry_out());
    }
}
