//! Following many shards at once: the facts of each in order, and nobody waits for a shard where nothing happens.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt as _;
use holm_core::{Offset, ShardId};

use super::fact::Fact;
use super::feed::{FeedError, ShardFeed};
use super::following::Followings;
use super::interest::Interest;
use super::position::{Position, Start};
use super::replay::Replays;
use super::tags::Tagger;
use super::watch::Mark;
use crate::inspector::Inspector;

/// Follows some shards. It reads a page of a shard only when the page before was taken, so its memory is bounded and its slowness is its own.
pub struct Subscription {
    pub(super) inspector: Arc<dyn Inspector>,
    pub(super) interest: Arc<Interest>,
    /// How many shards there are, where it follows all of them.
    pub(super) shards: Option<u32>,
    pub(super) replays: Replays,
    pub(super) followings: Followings,
    /// The facts of the page at hand, and the feed that it came from.
    pub(super) ready: VecDeque<Fact>,
    pub(super) at_hand: Option<ShardFeed>,
    pub(super) handed_out: Position,
    /// Where it is, for whoever watches it.
    pub(super) mark: Option<Arc<Mark>>,
    pub(super) tagger: Tagger,
}

impl Subscription {
    /// Follows the shards of `position`, each from behind its offset.
    #[must_use]
    pub fn new(inspector: Arc<dyn Inspector>, interest: Interest, position: Position) -> Self {
        Self::with(inspector, interest, position, None, Tagger::default())
    }

    pub(super) fn with(
        inspector: Arc<dyn Inspector>,
        interest: Interest,
        position: Position,
        mark: Option<Arc<Mark>>,
        tagger: Tagger,
    ) -> Self {
        let mut subscription = Self {
            inspector,
            interest: Arc::new(interest),
            shards: None,
            replays: Replays::default(),
            followings: Followings::default(),
            ready: VecDeque::new(),
            at_hand: None,
            handed_out: Position::default(),
            mark,
            tagger,
        };
        for (shard, offset) in position.0 {
            subscription.follow(shard, offset);
        }
        subscription
    }

    /// Follows all of the shards.
    ///
    /// # Errors
    /// When it is to begin with what happens now and the end of a log cannot be asked for.
    pub async fn start(
        inspector: Arc<dyn Inspector>,
        interest: Interest,
        shards: u32,
        start: Start,
    ) -> Result<Self, FeedError> {
        Self::start_with(inspector, interest, shards, start, (None, Tagger::default())).await
    }

    pub(super) async fn start_with(
        inspector: Arc<dyn Inspector>,
        interest: Interest,
        shards: u32,
        start: Start,
        (mark, tagger): (Option<Arc<Mark>>, Tagger),
    ) -> Result<Self, FeedError> {
        let mut position = start.position(&inspector, shards).await?;
        for shard in (0..shards).map(ShardId) {
            position.0.entry(shard).or_default();
        }
        let mut subscription = Self::with(inspector, interest, position, mark, tagger);
        subscription.shards = Some(shards);
        Ok(subscription)
    }

    /// The next fact. Waits until there is one.
    ///
    /// # Errors
    /// [`FeedError`] when a log cannot be read and waiting does not help. Nothing is skipped: the next call tries the same place again.
    ///
    /// # Cancel safety
    /// Safe: a fact is given out or stays.
    pub async fn next(&mut self) -> Result<Fact, FeedError> {
        loop {
            if let Some(fact) = self.step(None).await? {
                return Ok(fact);
            }
        }
    }

    /// The next fact, or none when everything up to `ends` was given out. What is behind `ends` may come too.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    ///
    /// # Cancel safety
    /// As [`Subscription::next`].
    pub async fn next_until(&mut self, ends: &Position) -> Result<Option<Fact>, FeedError> {
        self.step(Some(ends)).await
    }

    async fn step(&mut self, ends: Option<&Position>) -> Result<Option<Fact>, FeedError> {
        self.come_back();
        if let Some(fact) = self.replayed_one().await? {
            return Ok(Some(fact));
        }
        loop {
            if let Some(fact) = self.ready.pop_front() {
                let more_of_it =
                    self.ready.front().is_some_and(|next| next.offset() == fact.offset());
                let behind = if more_of_it { fact.offset().0 - 1 } else { fact.offset().0 };
                self.handed_out.0.insert(fact.shard(), Offset(behind));
                self.give(&fact);
                return Ok(Some(fact));
            }
            self.let_go();
            if ends.is_some_and(|ends| self.handed_out.has_reached(ends)) {
                return Ok(None);
            }
            self.wait_for_a_page().await?;
        }
    }

    /// The next facts in whole records: waits until something comes, then takes what is ready, up to `limit` facts and the rest of their last
    /// record. None at all when what came was of no interest; [`Subscription::position`] moved all the same.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    ///
    /// # Cancel safety
    /// Safe: facts are given out or stay.
    pub async fn next_group(&mut self, limit: usize) -> Result<Vec<Fact>, FeedError> {
        self.come_back();
        let mut group = self.replayed(limit).await?;
        if !group.is_empty() {
            return Ok(group);
        }
        let mut moved = false;
        loop {
            while group.len() < limit && !self.ready.is_empty() {
                self.take_record(&mut group);
            }
            if group.len() >= limit && !self.ready.is_empty() {
                return Ok(group);
            }
            moved |= self.let_go();
            if group.is_empty() && !moved {
                self.wait_for_a_page().await?;
                continue;
            }
            // What was gathered goes out; a place that cannot be read is tried again by the next call and fails there.
            let more = matches!(self.wait_for_a_page().now_or_never(), Some(Ok(())));
            if !more || group.len() >= limit {
                return Ok(group);
            }
        }
    }

    /// The facts of the next record; none when what came was of no interest. As [`Subscription::next_group`], of one record.
    pub(super) async fn next_record(&mut self) -> Result<Vec<Fact>, FeedError> {
        self.come_back();
        loop {
            let mut record = Vec::new();
            self.take_record(&mut record);
            if !record.is_empty() {
                return Ok(record);
            }
            if self.let_go() {
                return Ok(record);
            }
            self.wait_for_a_page().await?;
        }
    }

    /// Everything up to here was given out by [`Subscription::next`], or was of no interest.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.handed_out
    }

    fn come_back(&self) {
        if let Some(mark) = &self.mark {
            mark.comes_back();
        }
    }

    fn give(&self, fact: &Fact) {
        if let Some(mark) = &self.mark {
            mark.given(fact.shard(), fact.at());
        }
    }

    /// Moves the facts of the first record at hand.
    fn take_record(&mut self, into: &mut Vec<Fact>) {
        let Some(first) = self.ready.pop_front() else { return };
        let (shard, offset) = (first.shard(), first.offset());
        self.give(&first);
        into.push(first);
        while self.ready.front().is_some_and(|next| next.offset() == offset) {
            into.extend(self.ready.pop_front());
        }
        self.handed_out.0.insert(shard, offset);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("interest", &self.interest)
            .field("position", &self.handed_out)
            .finish_non_exhaustive()
    }
}
