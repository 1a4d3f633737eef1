//! Policies inside the nodes: each carries out the same policy, beside its shards, as in production.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holm_core::CommandEnvelope;
use holm_persistence::Pending;
use holm_runtime::bus::Bus;
use holm_runtime::{Asker, Asking, Policies, PolicyError, ShardHost};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::met::Met;
use crate::sometimes::Situation;
use crate::tally;

/// Who decided last about events of each shard, in all nodes of one world. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Decided(Arc<Mutex<BTreeMap<u32, Last>>>);

struct Last {
    /// A process, by its seed.
    by: u64,
    offset: u64,
    index: u32,
}

impl Decided {
    fn note(&self, met: &Met, by: u64, (shard, offset, index): (u32, u64, u32)) {
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = decided.get(&shard) else {
            decided.insert(shard, Last { by, offset, index });
            return;
        };
        if (offset, index) <= (last.offset, last.index) {
            met.met(Situation::DecidedAgain);
            return;
        }
        met.met_times(Situation::PolicyTakenOver, (last.by != by).into());
        decided.insert(shard, Last { by, offset, index });
    }
}

/// The policy of a process, under way.
pub(super) struct Carrying {
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl Carrying {
    /// Begins to carry it out. `by` names the process.
    pub(super) fn begin(
        (bus, host): (Bus, ShardHost),
        met: Met,
        decided: Decided,
        by: u64,
    ) -> Result<Self, PolicyError> {
        let decided = move |shard, offset, index| decided.note(&met, by, (shard, offset, index));
        let policies = Policies::new(vec![tally::policy(decided)], bus, host)?;
        let (stop, stopped) = watch::channel(false);
        let work = tokio::task::spawn_local(policies.run(watch::Sender::new(0), stopped));
        Ok(Self { stop, work })
    }

    /// Lets the others take over.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        // An error means that it has ended otherwise.
        _ = self.work.await;
    }
}

/// The way to the entities, as a policy has it: it sees which decisions were handed over before.
pub(super) struct HandedOver {
    pub(super) asker: Arc<dyn Asker>,
    pub(super) met: Met,
}

impl Asker for HandedOver {
    fn ask(&self, envelope: CommandEnvelope) -> Asking {
        let (answer, met) = (self.asker.ask(envelope), self.met.clone());
        let answer: Pending<_> = Box::pin(async move {
            let answer = answer.await;
            let again = answer.as_ref().is_ok_and(|answer| answer.replayed);
            met.met_times(Situation::DecisionRepeated, again.into());
            answer
        });
        answer.into()
    }
}
