//! How far a policy is in one shard, as an entity of Holm's own in that very shard: with each step it stores what is to be sent because of an event.
//!
//! A step is an event further on in the log, or it is none: whoever comes with an event that was carried out before, because it read the log again or was
//! cut off and does not know that another reads on, changes nothing. So once does not hang on the window of keys. Nothing is left out either: a
//! member comes with an event only after the one before it was taken.

use holm_core::{EntityAddress, ShardId, shard_of};
use serde::{Deserialize, Serialize};

use crate::reaction::Passed;
use crate::{Command, Commands, Context, Effect, Entity, Event, Handle, NoRejection};

/// The progress of one policy in one shard.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PolicyLog {
    /// Offset and index of the event that was carried out last; none before the first.
    last: Option<(u64, u32)>,
}

/// Carries out what a policy decided about one event. The reply says whether that was news.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = bool, internal)]
pub(crate) struct Carry {
    pub(crate) offset: u64,
    pub(crate) index: u32,
    /// To whom it happened, and what; for those who read the history.
    pub(crate) entity: Box<str>,
    pub(crate) event: Box<str>,
    pub(crate) letters: Vec<Passed>,
}

#[derive(Debug, Event, Serialize, Deserialize)]
pub(crate) enum PolicyEvent {
    /// What follows from an event is on its way.
    Carried { offset: u64, index: u32, entity: Box<str>, event: Box<str>, commands: u32 },
}

impl Entity for PolicyLog {
    const TYPE: &'static str = "holm-policy";
    type Event = PolicyEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, PolicyEvent::Carried { offset, index, .. }: &PolicyEvent) {
        self.last = Some((*offset, *index));
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Carry>();
    }
}

impl Handle<Carry> for PolicyLog {
    fn handle(
        &self,
        carry: Carry,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, bool>, NoRejection> {
        let Carry { offset, index, entity, event, letters } = carry;
        if self.last.is_some_and(|last| (offset, index) <= last) {
            return Ok(cx.none().reply(|_| false));
        }
        let commands = u32::try_from(letters.len()).unwrap_or(u32::MAX);
        let carried = PolicyEvent::Carried { offset, index, entity, event, commands };
        Ok(cx.persist(carried).pass_on(letters).reply(|_| true))
    }
}

/// The address of a policy's progress in a shard: the first of `NAME/SHARD.0`, `NAME/SHARD.1` and so on that hashes to that shard, as for an outbox.
pub(super) fn record_of(policy: &str, shard: ShardId, shards: u32) -> EntityAddress {
    let candidate = |count: u32| {
        EntityAddress::new(PolicyLog::TYPE, format!("{policy}/{shard}.{count}"))
            .expect("the name of a policy is checked, and short")
    };
    (0..=u32::MAX)
        .map(candidate)
        .find(|address| shard_of(address, shards) == shard)
        .expect("of four thousand million texts one hashes to each shard")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address is derived anew at each start, so it must never change.
    #[test]
    fn a_policys_progress_lives_in_the_shard_that_it_is_about() {
        for shards in [1, 2, 32, 1_000] {
            for shard in (0..shards).map(ShardId) {
                assert_eq!(shard_of(&record_of("mail", shard, shards), shards), shard);
            }
        }
        let known = [(0, 1), (0, 32), (31, 32)];
        let ids =
            known.map(|(shard, shards)| record_of("mail", ShardId(shard), shards).id().to_owned());
        assert_eq!(ids, ["mail/0.0", "mail/0.27", "mail/31.5"]);
    }
}
