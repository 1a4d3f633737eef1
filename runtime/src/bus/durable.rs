//! Subscriptions with a name: the position is stored, and members of the same name share the shards.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use holm_core::{AskError, Offset, ShardId};
use tokio::time::Instant;

use super::door::{Bus, refused};
use super::fact::Fact;
use super::feed::FeedError;
use super::group::{ATTENDANCE, Attendance, GroupRefusal, LEASE, Seat, TRY_AGAIN, is_passing};
use super::interest::Interest;
use super::position::{Position, Start};
use super::subscription::Subscription;
use super::watch::Mark;
use crate::entity_ref::{Caller, EntityError};

/// A member of a durable subscription. Facts come at least once, those of a shard in order.
///
/// The position is stored when the member attends, about every 1.5 s: after a crash, what was handled since then comes again. Whoever must not
/// handle a fact twice keeps a [`super::Seen`] with what it changes, or uses a projection. A member that does not come back to
/// [`DurableSubscription::next`] for longer than its lease of 5 s loses its shards to the others; [`DurableSubscription::for_each`] keeps it alive while a
/// slow handler works.
pub struct DurableSubscription {
    caller: Arc<Caller>,
    seat: Seat,
    start: Position,
    subscription: Subscription,
    /// What was handled, and what of that the group knows.
    handled: BTreeMap<ShardId, Offset>,
    stored: BTreeMap<ShardId, Offset>,
    lease: Option<Instant>,
    next_attendance: Instant,
    mark: Arc<Mark>,
    /// The shard whose record is being handled: it is not let go before that is over.
    busy: Option<ShardId>,
    paused: bool,
}

impl DurableSubscription {
    pub(super) async fn join(
        bus: &Bus,
        name: &str,
        interest: Interest,
        start: Start,
    ) -> Result<Self, SubscribeError> {
        let caller = Arc::clone(bus.caller());
        let mark = Mark::of(&start, caller.now());
        let start = start.position(bus.inspector(), bus.shards()).await?;
        let seat = Seat::of(bus, name)?;
        let inspector = bus.inspector().clone();
        let (marked, tagger) = (Some(Arc::clone(&mark)), bus.tagger());
        let mut joined = Self {
            seat,
            caller,
            start,
            subscription: Subscription::with(
                inspector,
                interest,
                Position::default(),
                marked,
                tagger,
            ),
            handled: BTreeMap::new(),
            stored: BTreeMap::new(),
            lease: None,
            next_attendance: Instant::now(),
            mark,
            busy: None,
            paused: false,
        };
        joined.attend().await?;
        bus.watch(&joined.mark, &format!("subscription {name}"), Some(name));
        Ok(joined)
    }

    /// The next fact. That it is called means that the facts before were handled.
    ///
    /// # Errors
    /// [`SubscribeError`] when waiting does not help: a log is damaged, or the group turns this member away. A group or a shard that cannot be reached
    /// is waited for.
    ///
    /// # Cancel safety
    /// Safe: a fact is given out or stays.
    pub async fn next(&mut self) -> Result<Fact, SubscribeError> {
        self.note_handled();
        loop {
            if Instant::now() >= self.next_attendance {
                self.attend().await?;
            }
            let came = tokio::time::timeout_at(self.next_attendance, self.subscription.next());
            match came.await {
                Ok(fact) => return Ok(fact?),
                // What was passed over because nobody wanted it is handled too.
                Err(_) => self.note_handled(),
            }
        }
    }

    /// Handles facts one after the other, and stays a member while the handler works, however long that takes.
    ///
    /// # Errors
    /// The handler's error, which ends it: the fact that it failed on will come again. Else as [`DurableSubscription::next`].
    pub async fn for_each<F, W, E>(&mut self, mut handle: F) -> Result<(), E>
    where
        F: FnMut(Fact) -> W,
        W: Future<Output = Result<(), E>>,
        E: From<SubscribeError>,
    {
        loop {
            let fact = self.next().await?;
            let mut work = pin!(handle(fact));
            loop {
                let due = pin!(tokio::time::sleep_until(self.next_attendance));
                match select(work.as_mut(), due).await {
                    Either::Left((handled, _)) => break handled?,
                    Either::Right(_) => self.attend().await?,
                }
            }
        }
    }

    /// As [`DurableSubscription::for_each`], for facts of several shards at once: whole records, up to `most` facts and the rest of their last record. The
    /// handler gives the shards that it could not handle now, each with the offset up to which it did: they are let go, to be read on from there by whoever gets
    /// them with the next attendance.
    pub(crate) async fn for_each_group<F, W>(
        &mut self,
        most: usize,
        mut handle: F,
    ) -> Result<Infallible, SubscribeError>
    where
        F: FnMut(Vec<Fact>) -> W,
        W: Future<Output = BTreeMap<ShardId, Offset>>,
    {
        loop {
            let facts = self.next_group(most).await?;
            let mut work = pin!(handle(facts));
            let left = loop {
                let due = pin!(tokio::time::sleep_until(self.next_attendance));
                match select(work.as_mut(), due).await {
                    Either::Left((left, _)) => break left,
                    Either::Right(_) => self.attend().await?,
                }
            };
            self.note_handled();
            for (shard, offset) in left {
                // Whoever reads it by now, if it was let go meanwhile, is told nothing.
                if self.subscription.position().0.contains_key(&shard) {
                    self.subscription.leave(shard);
                    self.handled.insert(shard, offset);
                }
            }
        }
    }

    /// Everything that was given out was handled.
    pub(super) fn note_handled(&mut self) {
        self.handled.extend(self.subscription.position().0.iter());
    }

    pub(super) async fn next_group(&mut self, most: usize) -> Result<Vec<Fact>, SubscribeError> {
        loop {
            if Instant::now() >= self.next_attendance {
                self.attend().await?;
            }
            let came =
                tokio::time::timeout_at(self.next_attendance, self.subscription.next_group(most));
            let facts = came.await.unwrap_or_else(|_| Ok(Vec::new()))?;
            if !facts.is_empty() {
                return Ok(facts);
            }
            // What was passed over because nobody wanted it is handled too.
            self.note_handled();
        }
    }

    /// Leaves the group without a word about what was given out last: it comes again.
    pub(crate) async fn abandon(self) -> Result<(), SubscribeError> {
        self.say(true).await.map(drop).map_err(refused)
    }

    /// The facts of the next record, all of one command. It counts as handled with [`DurableSubscription::finish`], and until then no other member reads its
    /// shard; call [`DurableSubscription::attend_when_due`] meanwhile.
    ///
    /// # Errors
    /// As [`DurableSubscription::next`].
    ///
    /// # Cancel safety
    /// Safe: a record is given out or stays.
    pub async fn next_record(&mut self) -> Result<Vec<Fact>, SubscribeError> {
        loop {
            if Instant::now() >= self.next_attendance {
                self.attend().await?;
            }
            let came =
                tokio::time::timeout_at(self.next_attendance, self.subscription.next_record());
            let came = came.await;
            let record = match came {
                Ok(record) => record?,
                Err(_) => Vec::new(),
            };
            let position = self.subscription.position().0.iter();
            let Some(fact) = record.first() else {
                self.handled.extend(position);
                continue;
            };
            let (shard, before) = (fact.shard(), Offset(fact.offset().0.saturating_sub(1)));
            self.handled.extend(position);
            self.handled.insert(shard, before);
            self.busy = Some(shard);
            return Ok(record);
        }
    }

    /// The record that [`DurableSubscription::next_record`] gave was handled, or left out.
    pub fn finish(&mut self, record: &[Fact]) {
        if let Some(fact) = record.first() {
            self.handled.insert(fact.shard(), fact.offset());
        }
        self.busy = None;
    }

    /// Stays a member: waits until it is time to attend, and does.
    ///
    /// # Errors
    /// As [`DurableSubscription::next`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn attend_when_due(&mut self) -> Result<(), SubscribeError> {
        tokio::time::sleep_until(self.next_attendance).await;
        self.attend().await
    }

    /// Attends now, instead of a moment later.
    ///
    /// # Errors
    /// As [`DurableSubscription::next`].
    pub async fn attend_now(&mut self) -> Result<(), SubscribeError> {
        self.attend().await
    }

    /// True while this shard is read by this member, or not let go yet.
    #[must_use]
    pub fn holds(&self, shard: ShardId) -> bool {
        self.held().contains(&shard)
    }

    /// Whether the group was told to pause, as of the last attendance.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Stores what was handled now, instead of a moment later.
    ///
    /// # Errors
    /// As [`DurableSubscription::next`]. When nobody can be reached it is tried again with the next attendance.
    pub async fn store(&mut self) -> Result<(), SubscribeError> {
        self.note_handled();
        self.attend().await
    }

    /// Stores what was handled and leaves the group, so that the others need not wait for the end of the lease.
    ///
    /// # Errors
    /// When the group cannot be reached. The others take over when the lease is over.
    pub async fn leave(mut self) -> Result<(), SubscribeError> {
        if self.busy.is_none() {
            self.note_handled();
        }
        self.say(true).await.map(drop).map_err(refused)
    }

    /// How old the oldest fact is that it was given and has not gone beyond; zero when it has read everything. Begun with what happens now, how long it has not
    /// asked for the first. It is the gauge
    /// `holm_subscription_lag_time_seconds` too, and beyond [`super::LagLimit`] a failure fact.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.mark.behind(self.caller.now())
    }

    /// The shards that this member reads now, each with the offset up to which its facts were given out.
    #[must_use]
    pub fn position(&self) -> &Position {
        self.subscription.position()
    }

    /// Says how far it is and hears what to read.
    async fn attend(&mut self) -> Result<(), SubscribeError> {
        let asked = Instant::now();
        if self.lease.is_some_and(|lease| asked > lease) {
            // Others may read them by now.
            self.busy = None;
            self.take(&Attendance { reads: Vec::new(), paused: self.paused });
        }
        match self.say(false).await {
            Ok(attendance) => {
                self.lease = Some(asked + LEASE);
                self.take(&attendance);
                self.next_attendance = asked + ATTENDANCE;
                Ok(())
            }
            Err(error) if is_passing(&error) => {
                tracing::debug!(?error, "a subscription group does not answer");
                self.next_attendance = Instant::now() + TRY_AGAIN;
                Ok(())
            }
            Err(error) => Err(refused(error)),
        }
    }

    fn say(
        &self,
        leaving: bool,
    ) -> impl Future<Output = Result<Attendance, EntityError<GroupRefusal>>> + use<> {
        let news =
            self.handled.iter().filter(|(shard, offset)| self.stored.get(shard) != Some(offset));
        let news: Vec<_> = news.map(|(shard, offset)| (*shard, *offset)).collect();
        self.seat.attend(&self.start, &self.held(), &news, leaving)
    }

    /// What it reads, and what it has not let go.
    fn held(&self) -> BTreeSet<ShardId> {
        self.subscription.position().0.keys().copied().chain(self.busy).collect()
    }

    /// Reads these shards and no others.
    fn take(&mut self, attendance: &Attendance) {
        self.paused = attendance.paused;
        let reads: BTreeMap<ShardId, Offset> = attendance
            .reads
            .iter()
            .map(|(shard, offset)| (ShardId(*shard), Offset(*offset)))
            .collect();
        let present: Vec<ShardId> = self.subscription.position().0.keys().copied().collect();
        for shard in present.iter().filter(|shard| !reads.contains_key(shard)) {
            self.subscription.leave(*shard);
            self.stored.remove(shard);
        }
        // What was finished after its shard was lost is stored by now.
        self.handled.retain(|shard, _| reads.contains_key(shard) || self.busy == Some(*shard));
        for (shard, offset) in reads {
            // What the group says is what it has stored: it does not listen to a member whose lease it saw end.
            self.stored.insert(shard, offset);
            // One that is being handled is followed again once that is over.
            if !present.contains(&shard) && self.busy != Some(shard) {
                self.subscription.follow(shard, offset);
            }
        }
    }
}

impl std::fmt::Debug for DurableSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableSubscription")
            .field("member", &self.seat.member())
            .field("position", self.subscription.position())
            .finish_non_exhaustive()
    }
}

/// Why a subscription cannot go on. Nothing was skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The name is none.
    #[error("no name for a subscription: {reason}")]
    Name {
        /// What is wrong with it.
        reason: String,
    },
    /// The group turns this member away.
    #[error(transparent)]
    Refused(GroupRefusal),
    /// The group cannot be asked.
    #[error("the subscription's group cannot be asked")]
    Group {
        /// What was said.
        source: AskError,
    },
    /// A log cannot be followed.
    #[error(transparent)]
    Feed(#[from] FeedError),
}
