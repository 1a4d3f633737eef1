//! What one world met, counted where it is seen. Some of it is understood only at the end: whether a leader died before it had answered what was durable
//! already is told by its last offset at that moment and by the history of the whole run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_core::{Offset, ShardId};

use super::clients::moment;
use crate::checks::logs::Logs;
use crate::history::{History, Operation};
use crate::sometimes::{Situation, Sometimes, derive};

/// The situations of one world. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Met(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    situations: Sometimes,
    deaths: Vec<Death>,
}

/// The end of a process that led a shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    pub(super) at: Duration,
    pub(super) shard: ShardId,
    /// The last offset that a majority had, as far as the leader knew.
    pub(super) last: Offset,
}

impl Met {
    pub(super) fn met(&self, situation: Situation) {
        self.lock().situations.met(situation);
    }

    pub(super) fn met_times(&self, situation: Situation, times: u64) {
        self.lock().situations.met_times(situation, times);
    }

    pub(super) fn leader_died(&self, death: Death) {
        self.lock().deaths.push(death);
    }

    /// Everything that the world saw, with what its finished history tells.
    pub(super) fn all(&self, history: &History) -> Sometimes {
        let seen = self.lock();
        let mut all = seen.situations.clone();
        all.merge(&derive(history));
        let logs = Logs::of(history);
        let unanswered =
            seen.deaths.iter().filter(|death| died_before_reply(death, history, &logs));
        all.met_times(Situation::CrashBeforeReply, unanswered.count() as u64);
        all
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody waited for the answer to a command that was durable when its leader died.
fn died_before_reply(death: &Death, history: &History, logs: &Logs<'_>) -> bool {
    let at = moment(death.at);
    let over = |operation: &Operation| operation.completed.is_some_and(|completed| completed <= at);
    let operations = history.operations();
    operations.iter().filter(|it| !it.call.reads && it.call.invoked <= at && !over(it)).any(
        |waits| {
            let call = &waits.call;
            let records = logs.under((&call.entity, &call.key));
            let durable =
                records.iter().any(|it| it.shard == death.shard && it.offset <= death.last);
            let same_key =
                |it: &&Operation| it.call.entity == call.entity && it.call.key == call.key;
            durable
                && !operations
                    .iter()
                    .filter(same_key)
                    .any(|it| it.told.place().is_some() && over(it))
        },
    )
}
