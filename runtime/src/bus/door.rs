//! The door to the bus: what a process needs to follow the logs of its cluster.

use std::sync::Arc;

use holm_core::{Offset, ShardId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::durable::{DurableSubscription, SubscribeError};
use super::feed::FeedError;
use super::group::{Group, LeaveOut, LeftOut, Pause, Reset, TakeUp, Where};
use super::interest::Interest;
use super::set_aside::SetAside;
use super::subscription::{Position, Start, Subscription};
use super::topic::{Topic, TopicError};
use crate::entity_ref::{Caller, EntityError, EntityRef};
use crate::inspector::Inspector;

/// Follows what happens, on one node and on many. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    caller: Arc<Caller>,
    inspector: Arc<dyn Inspector>,
    shards: u32,
}

impl Bus {
    /// The bus of a cluster of so many shards.
    #[must_use]
    pub fn new(caller: Arc<Caller>, inspector: Arc<dyn Inspector>, shards: u32) -> Self {
        Self { caller, inspector, shards }
    }

    /// Follows every shard. Nothing is stored about it: begun [`Start::Now`] it sees what happens from now on, at most once, for as long as
    /// it is kept.
    ///
    /// # Errors
    /// [`FeedError`] when the end of a log cannot be asked for.
    pub async fn subscribe(
        &self,
        interest: Interest,
        start: Start,
    ) -> Result<Subscription, FeedError> {
        Subscription::start(Arc::clone(&self.inspector), interest, self.shards, start).await
    }

    /// Where the logs end now.
    ///
    /// # Errors
    /// [`FeedError`] when the end of a log cannot be asked for.
    pub async fn ends(&self) -> Result<Position, FeedError> {
        Start::Now.position(&self.inspector, self.shards).await
    }

    /// Joins the durable subscription of this name. `start` counts when it is new; later members go on where it stands. All members must have
    /// the same interest.
    ///
    /// # Errors
    /// [`SubscribeError`] when the name breaks the rules of an entity's id, or its group is of another cluster or full.
    pub async fn subscribe_durable(
        &self,
        name: &str,
        interest: Interest,
        start: Start,
    ) -> Result<DurableSubscription, SubscribeError> {
        DurableSubscription::join(self, name, interest, start).await
    }

    /// A topic of a program's own, of messages of type `M`. Topics need not be made; one begins with its first message.
    ///
    /// # Errors
    /// [`TopicError::Name`] when the name breaks the rules: those of an entity's id, and no `/`.
    pub fn topic<M: Serialize + DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Topic<M>, TopicError> {
        Topic::new(self.clone(), name)
    }

    /// How far the durable subscription of this name is, as stored.
    ///
    /// # Errors
    /// [`SubscribeError`] when its group cannot be asked.
    pub async fn position_of(&self, name: &str) -> Result<Position, SubscribeError> {
        let places = self.group(name).ask(Where {}).await.map_err(refused)?;
        let place = |(shard, offset)| (ShardId(shard), Offset(offset));
        Ok(Position(places.into_iter().map(place).collect()))
    }

    /// Sets how far the durable subscription of this name is: back to read again, forwards to leave out. Nobody may be reading.
    ///
    /// # Errors
    /// [`SubscribeError::Refused`] while members attend; of a paused one, while they read.
    pub async fn set_position(
        &self,
        name: &str,
        position: &Position,
    ) -> Result<(), SubscribeError> {
        let positions = position.0.iter().map(|(shard, offset)| (shard.0, offset.0)).collect();
        self.group(name).ask(Reset { positions }).await.map_err(refused)
    }

    /// Tells all members of the durable subscription of this name to stop reading, also those that come later, or to go on. They hear of it when they attend, within
    /// two seconds.
    ///
    /// # Errors
    /// [`SubscribeError`] when its group cannot be asked.
    pub async fn set_paused(&self, name: &str, paused: bool) -> Result<(), SubscribeError> {
        self.group(name).ask(Pause { paused }).await.map_err(refused)
    }

    /// The records that members of the durable subscription of this name left out, in the order of shards and offsets.
    ///
    /// # Errors
    /// [`SubscribeError`] when its group cannot be asked.
    pub async fn set_aside_of(&self, name: &str) -> Result<Vec<SetAside>, SubscribeError> {
        self.group(name).ask(LeftOut {}).await.map_err(refused)
    }

    /// Notes that a record was left out, which is a fact of the log as any other. A group keeps 1,000 of them.
    ///
    /// # Errors
    /// [`SubscribeError`] when its group cannot be asked, or keeps no more.
    pub async fn leave_out(&self, name: &str, record: SetAside) -> Result<(), SubscribeError> {
        self.group(name).ask(LeaveOut { record }).await.map_err(refused)
    }

    /// Notes that a record that was left out was handled after all.
    ///
    /// # Errors
    /// [`SubscribeError`] when its group cannot be asked.
    pub async fn take_up(
        &self,
        name: &str,
        shard: ShardId,
        offset: Offset,
    ) -> Result<(), SubscribeError> {
        self.group(name).ask(TakeUp { shard: shard.0, offset: offset.0 }).await.map_err(refused)
    }

    fn group(&self, name: &str) -> EntityRef<Group> {
        EntityRef::new(Arc::clone(&self.caller), name)
    }

    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    pub(super) fn inspector(&self) -> &Arc<dyn Inspector> {
        &self.inspector
    }

    pub(crate) fn shards(&self) -> u32 {
        self.shards
    }
}

pub(super) fn refused(error: EntityError<super::group::GroupRefusal>) -> SubscribeError {
    match error {
        EntityError::Rejected(refusal) => SubscribeError::Refused(refusal),
        EntityError::Failed(source) => SubscribeError::Group { source },
        EntityError::InvalidAddress(error) => SubscribeError::Name { reason: error.to_string() },
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("shards", &self.shards).finish_non_exhaustive()
    }
}
