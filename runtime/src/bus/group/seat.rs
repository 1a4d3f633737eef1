//! The seat of one member: who it is for its group, and how it attends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{ErrorKind, Offset, ShardId};

use super::{Attend, Attendance, Group, GroupRefusal};
use crate::bus::door::Bus;
use crate::bus::durable::SubscribeError;
use crate::bus::position::Position;
use crate::entity_ref::{AskOptions, Caller, EntityError, EntityRef};

/// Pause between two attendances, which is also how late a position may be stored.
pub(crate) const ATTENDANCE: Duration = Duration::from_millis(1_500);

/// Pause after one that nobody answered.
pub(crate) const TRY_AGAIN: Duration = Duration::from_millis(200);

/// How long an answer is waited for: short enough that another try fits into the lease.
const PATIENCE: Duration = Duration::from_secs(2);

/// A member of a group, as the group knows it.
pub(crate) struct Seat {
    caller: Arc<Caller>,
    group: EntityRef<Group>,
    member: u64,
    shards: u32,
}

impl Seat {
    /// One that nobody has had, in the group of this name.
    pub(crate) fn of(bus: &Bus, name: &str) -> Result<Self, SubscribeError> {
        let caller = Arc::clone(bus.caller());
        let group = EntityRef::new(Arc::clone(&caller), name);
        if let Err(error) = group.address() {
            return Err(SubscribeError::Name { reason: error.to_string() });
        }
        Ok(Self { group, member: caller.draw(), caller, shards: bus.shards() })
    }

    pub(crate) fn member(&self) -> u64 {
        self.member
    }

    /// Says what it holds and how far it is. The future borrows nothing, so that it can be sent to another thread.
    pub(crate) fn attend(
        &self,
        start: &Position,
        holding: &BTreeSet<ShardId>,
        positions: &[(ShardId, Offset)],
        leaving: bool,
    ) -> impl Future<Output = Result<Attendance, EntityError<GroupRefusal>>> + use<> {
        let attend = Attend {
            member: self.member,
            shards: self.shards,
            start: start.0.iter().map(|(shard, offset)| (shard.0, offset.0)).collect(),
            holding: holding.iter().map(|shard| shard.0).collect(),
            positions: positions.iter().map(|(shard, offset)| (shard.0, offset.0)).collect(),
            leaving,
        };
        let deadline = Some(self.caller.now().plus(PATIENCE));
        let options = AskOptions { deadline, ..AskOptions::default() };
        let group = self.group.clone();
        async move { group.ask_with(attend, options).await.map(|reply| reply.value) }
    }
}

/// True when the group may answer the next time.
pub(crate) fn is_passing(error: &EntityError<GroupRefusal>) -> bool {
    matches!(error, EntityError::Failed(source) if source.kind() != ErrorKind::FixRequest)
}
