//! Replicas that moved away: their logs are erased after a while, a little at a time, and never while the shard is wanted here.
//!
//! What may go and what must stay is decided in `raft/log_storage/away.rs`. A crash at any moment leaves a shorter log, and this goes on with it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use holm_core::ShardId;
use holm_persistence::forget_derived;
use tokio::time::Instant;

use super::core::{Core, lock};
use super::groups::{ShardGroup, open_log};
use super::messages::LedShard;

/// How often it looks whether a log may go.
const LOOK: Duration = Duration::from_millis(500);

/// Pause between two steps, so that the commits of the shards that are here come first.
const PAUSE: Duration = Duration::from_millis(10);

/// Pause after a step that failed, because the disk does not recover in a moment.
const AFTER_TROUBLE: Duration = Duration::from_secs(30);

impl Core {
    /// Stops the group of a shard that its leader says this node is no longer part of. What it voted is not forgotten, and its entries stay for
    /// a while: when it is wanted again soon, only the rest has to be sent.
    pub(super) async fn retire_if_out(self: &Arc<Self>, led: &LedShard) {
        if self.group_it_is_out_of(led).is_none() {
            return;
        }
        // Whoever starts groups waits meanwhile, and finds the log as it is then.
        let _turn = self.erasing.lock().await;
        let Some(group) = self.group_it_is_out_of(led) else { return };
        tracing::info!(shard = %led.shard, "this node no longer holds a replica");
        self.groups().remove(&led.shard);
        self.stop_group(&group).await;
        // When it cannot be remembered, the group is started with the node the next time, and told again that it is out.
        match group.replica.log().move_away().await {
            Ok(()) => self.erase_later(led.shard),
            Err(error) => {
                tracing::warn!(shard = %led.shard, %error, "a replica that moved away is not remembered as such");
            }
        }
        self.changed.notify_one();
    }

    /// The group that runs here although its leader, which is at least as new, says that this node is out and the plan does not want it in.
    fn group_it_is_out_of(&self, led: &LedShard) -> Option<Arc<ShardGroup>> {
        let planned = self.state().planned_for(self.me()).contains(&led.shard);
        if planned || !led.settled || led.members.contains(&self.me()) {
            return None;
        }
        let group = self.groups().get(&led.shard).cloned()?;
        (group.group.metrics().current_term <= led.term.0).then_some(group)
    }

    /// Has the log of a replica that moved away erased after a while.
    pub(super) fn erase_later(&self, shard: ShardId) {
        lock(&self.away).insert(shard, Instant::now() + self.setup.erase_after);
    }

    /// Erases what may go until the node stops.
    pub(super) async fn erase(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = Instant::now();
            let due: Vec<ShardId> = lock(&self.away)
                .iter()
                .filter(|(_, at)| **at <= now)
                .map(|(shard, _)| *shard)
                .collect();
            for shard in due {
                match self.erase_log(shard).await {
                    Ok(true) => {
                        tracing::info!(%shard, "the log of a replica that moved away is erased")
                    }
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(%shard, %error, "the log of a replica that moved away is not erased yet");
                        lock(&self.away).insert(shard, Instant::now() + AFTER_TROUBLE);
                    }
                }
            }
        }
    }

    /// Erases a whole log; false when the shard is wanted here again.
    async fn erase_log(self: &Arc<Self>, shard: ShardId) -> io::Result<bool> {
        loop {
            {
                // Whoever starts the group waits for this step, and the next one does not come then.
                let _turn = self.erasing.lock().await;
                if !lock(&self.away).contains_key(&shard) {
                    return Ok(false);
                }
                if !self.erase_step(shard).await? {
                    lock(&self.away).remove(&shard);
                    return Ok(true);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One step: entries first, so that nothing derived is ever missing of an entry that is there. False when nothing is left.
    async fn erase_step(self: &Arc<Self>, shard: ShardId) -> io::Result<bool> {
        let surroundings = &self.setup.surroundings;
        let core = self.clone();
        let log = surroundings.wait_for_disk(move || open_log(&core.setup, shard)).await??;
        if log.erase_some().await? || log.last_index().is_some() {
            return Ok(true);
        }
        let store = self.setup.store.clone();
        let forget = move || forget_derived(&store, shard);
        surroundings.wait_for_disk(forget).await?.map_err(io::Error::other)
    }
}
