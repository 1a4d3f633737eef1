//! The heartbeats of all groups that this node leads, sent at the same moment.
//!
//! Together they are one wake-up of this thread, a few writes to each peer and as few answers, whatever the number of shards. Left to the
//! groups, each would wake up by itself, and would drop an answer that is later than the next heartbeat: on a machine that is short of CPU
//! every answer is, and a leader that followers obey would believe that it had lost them.
//!
//! Groups that rest are left out: for them the node gives a sign to each of the others, every other time.

use std::sync::Arc;

use futures::future::join_all;
use tokio::time::MissedTickBehavior;

use super::core::Core;
use crate::raft::group::Group;

/// Heartbeats from one sign to the next: [`crate::raft::ConsensusTimes::sign`] as a number.
const SIGN_ROUNDS: u64 = 2;

impl Core {
    /// Beats until the node stops.
    pub(super) async fn beat(self: Arc<Self>) {
        let period = self.setup.times.heartbeat;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round = 0_u64;
        loop {
            ticks.tick().await;
            round += 1;
            let groups = self.all_groups();
            if round.is_multiple_of(SIGN_ROUNDS) {
                self.keep_company(&groups);
            }
            self.put_to_rest(&groups);
            let awake = groups.iter().map(|shard| &shard.group).filter(|it| it.rest().is_awake());
            let led = awake.chain([&self.cluster_group]).filter(|group| group.leads());
            // A group that takes no order now must not keep the others from theirs.
            let _ = tokio::time::timeout(period, join_all(led.map(Group::beat))).await;
        }
    }
}
