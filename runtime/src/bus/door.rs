//! The door to the bus: what a process needs to follow the logs of its cluster.

use std::sync::Arc;

use holm_core::{NodeId, Offset, ShardId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::durable::{DurableSubscription, SubscribeError};
use super::feed::FeedError;
use super::group::{Group, LeaveOut, LeftOut, Pause, Reset, TakeUp, Where};
use super::group_member::GroupMember;
use super::interest::Interest;
use super::lag::LagLimit;
use super::position::{Position, Start};
use super::set_aside::SetAside;
use super::subscription::Subscription;
use super::tags::Tagger;
use super::topic::{Topic, TopicError};
use super::watch::{Mark, Watched, watch};
use crate::entity_ref::{Caller, EntityError, EntityRef};
use crate::failures::ReaderFailures;
use crate::inspector::Inspector;
use crate::registry::Registry;

/// Follows what happens, on one node and on many. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    caller: Arc<Caller>,
    inspector: Arc<dyn Inspector>,
    shards: u32,
    node: NodeId,
    lag: Option<LagLimit>,
    reader: Option<Arc<str>>,
    tagger: Tagger,
}

impl Bus {
    /// The bus of a cluster of so many shards.
    #[must_use]
    pub fn new(caller: Arc<Caller>, inspector: Arc<dyn Inspector>, shards: u32) -> Self {
        let (node, lag) = (NodeId::ZERO, Some(LagLimit::default()));
        let tagger = Tagger::default();
        Self { caller, inspector, shards, node, lag, reader: None, tagger }
    }

    /// The same, knowing the entity types of this registry, which is needed for [`Interest::tag`].
    #[must_use]
    pub fn knowing(mut self, registry: Registry) -> Self {
        self.tagger = Tagger::new(registry);
        self
    }

    /// The same at this node, which is named where a subscriber lags.
    #[must_use]
    pub fn at(mut self, node: NodeId) -> Self {
        self.node = node;
        self
    }

    /// The same, whose subscribers lag when they are so far behind. That becomes a failure fact, once for each time, and so does that they have caught
    /// up. Who reads a log from its beginning is no lagging subscriber before it was at the end once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use holm_runtime::bus::{Bus, Interest, LagLimit, Start, SubscribeError};
    /// # async fn follow(bus: Bus) -> Result<(), SubscribeError> {
    /// let strict = bus.lag_limit(LagLimit { behind: Duration::from_secs(5), lasting: Duration::from_secs(10) });
    /// let mut mail = strict.subscribe_durable("mail", Interest::everything(), Start::Now).await?;
    /// # let _ = mail.next().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn lag_limit(mut self, limit: LagLimit) -> Self {
        self.lag = Some(limit);
        self
    }

    /// The same, of whose subscribers nobody is told that they lag: for whoever reads what is long past.
    #[must_use]
    pub fn unwatched(mut self) -> Self {
        self.lag = None;
        self
    }

    /// The same, whose live subscriptions are named so where they lag, as in `projection totals`, and in the metric of their lag. One without a name has no metric.
    #[must_use]
    pub fn reader(mut self, name: impl Into<Arc<str>>) -> Self {
        self.reader = Some(name.into());
        self
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
        let inspector = Arc::clone(&self.inspector);
        let mark = Mark::of(&start, self.caller().now());
        let with = (Some(Arc::clone(&mark)), self.tagger());
        let subscribed =
            Subscription::start_with(inspector, interest, self.shards, start, with).await?;
        let name = self.reader.as_deref();
        self.watch(&mark, name.unwrap_or("live subscription"), name);
        Ok(subscribed)
    }

    /// Follows the shards of `position` alone, each from behind its offset. Nothing is stored about it.
    #[must_use]
    pub fn subscribe_to(&self, interest: Interest, position: Position) -> Subscription {
        let inspector = Arc::clone(&self.inspector);
        let mark = Mark::of(&Start::After(Position::default()), self.caller().now());
        let marked = Some(Arc::clone(&mark));
        let subscription = Subscription::with(inspector, interest, position, marked, self.tagger());
        let name = self.reader.as_deref();
        self.watch(&mark, name.unwrap_or("live subscription"), name);
        subscription
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

    /// Joins the group of this name without a subscription: as a member that keeps its positions itself. A name has members of one kind only.
    ///
    /// # Errors
    /// As [`Bus::subscribe_durable`].
    pub async fn join_group(&self, name: &str) -> Result<GroupMember, SubscribeError> {
        GroupMember::join(self, name).await
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

    /// Where a reader of this name, as in `projection totals`, tells what it could not do.
    #[must_use]
    pub fn failures_of(&self, reader: &str) -> ReaderFailures {
        ReaderFailures::new(Arc::clone(&self.caller), self.node, reader)
    }

    pub(super) fn tagger(&self) -> Tagger {
        self.tagger.clone()
    }

    pub(super) fn watch(&self, mark: &Arc<Mark>, reader: &str, gauge: Option<&str>) {
        let Some(limit) = self.lag else { return };
        let (reader, gauge) = (reader.into(), gauge.map(Into::into));
        let (node, caller) = (self.node, Arc::clone(&self.caller));
        watch(mark, Watched { reader, gauge, limit, node, caller });
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
