//! What a process holds of things that have a limit, looked at once in a second. A mailbox does not tell its length; it is bounded by what it is made of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use holm_core::{ShardId, Term};
use holm_persistence::Store;
use holm_runtime::{ShardHost, ShardStats};
use holm_sharding::{ClusterNode, Lane};

use crate::history::{Measure, Moment, Sample};

/// Where a process shows what it holds. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Gauges {
    host: Arc<OnceLock<ShardHost>>,
    flights: Flights,
}

/// The batches that are on their way to the log. Apart from the rest, because the host holds the log that counts them.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Counted>>);

#[derive(Default)]
struct Counted {
    now: BTreeMap<(ShardId, Term), u64>,
    /// The most of any since that was last asked.
    most: u64,
}

impl Gauges {
    pub(super) fn host_starts(&self, host: &ShardHost) {
        // A process has one host.
        let _ = self.host.set(host.clone());
    }

    pub(super) fn host(&self) -> Option<ShardHost> {
        self.host.get().cloned()
    }

    pub(super) fn flights(&self) -> Flights {
        self.flights.clone()
    }

    /// What there is at this moment.
    pub(super) fn read(&self, at: Moment, node: &ClusterNode, store: &Store) -> [Sample; 6] {
        let stats = self.host.get().map(ShardHost::stats).unwrap_or_default();
        let most = |of: fn(&ShardStats) -> u64| stats.shards.iter().map(of).max().unwrap_or(0);
        let unsent = node.most_unsent();
        let unsent = |lane: Lane| unsent[lane as usize] as u64;
        let amounts = [
            (Measure::LiveEntities, most(|shard| shard.live_entities)),
            (Measure::HeldCommands, most(|shard| shard.held)),
            (Measure::BatchesInFlight, self.flights.take_most()),
            (Measure::QueuedBytes, store.queued_bytes()),
            (Measure::UnsentBytes, unsent(Lane::Control).max(unsent(Lane::Commands))),
            (Measure::UnsentBulkBytes, unsent(Lane::Bulk)),
        ];
        amounts.map(|(measure, amount)| Sample { at, node: node.node(), measure, amount })
    }
}

impl Flights {
    pub(super) fn leaves(&self, shard: ShardId, term: Term) {
        let mut counted = self.lock();
        let now = counted.now.entry((shard, term)).or_default();
        *now += 1;
        let now = *now;
        counted.most = counted.most.max(now);
    }

    pub(super) fn arrives(&self, shard: ShardId, term: Term) {
        let mut counted = self.lock();
        let left = counted.now.get(&(shard, term)).map_or(0, |now| now.saturating_sub(1));
        if left == 0 {
            counted.now.remove(&(shard, term));
        } else {
            counted.now.insert((shard, term), left);
        }
    }

    fn take_most(&self) -> u64 {
        let mut counted = self.lock();
        let now = counted.now.values().copied().max().unwrap_or(0);
        std::mem::replace(&mut counted.most, now)
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
