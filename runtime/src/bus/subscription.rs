//! Following many shards at once: the facts of each in order, and nobody waits for a shard where nothing happens.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use holm_core::{Offset, ShardId};
use serde::{Deserialize, Serialize};

use super::fact::Fact;
use super::feed::{FeedError, Page, ShardFeed};
use super::interest::Interest;
use super::replay::Replays;
use super::tags::Tagger;
use super::watch::Mark;
use crate::inspector::Inspector;

/// Where in the logs somebody is: everything up to these offsets was seen. A shard that is not named was not looked at yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position(pub BTreeMap<ShardId, Offset>);

impl Position {
    /// The place in one shard.
    #[must_use]
    pub fn of(&self, shard: ShardId) -> Offset {
        self.0.get(&shard).copied().unwrap_or_default()
    }

    /// True when everything up to `offset` of this shard was seen.
    #[must_use]
    pub fn has_passed(&self, shard: ShardId, offset: Offset) -> bool {
        self.of(shard) >= offset
    }

    /// True when everything up to `other` was seen.
    #[must_use]
    pub fn has_reached(&self, other: &Self) -> bool {
        other.0.iter().all(|(shard, offset)| self.has_passed(*shard, *offset))
    }
}

/// Where a subscription begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first fact that was ever stored.
    #[default]
    Beginning,
    /// With what happens from now on.
    Now,
    /// Behind this position.
    After(Position),
}

impl Start {
    /// The place in each of the shards.
    pub(super) async fn position(
        self,
        inspector: &Arc<dyn Inspector>,
        shards: u32,
    ) -> Result<Position, FeedError> {
        match self {
            Self::Beginning => Ok(Position::default()),
            Self::After(position) => Ok(position),
            Self::Now => {
                let ends = (0..shards).map(ShardId).map(|shard| {
                    let end = inspector.tail(shard, None);
                    async move {
                        let unreadable = |source| FeedError::Unreadable { shard, source };
                        end.await.map(|offset| (shard, offset)).map_err(unreadable)
                    }
                });
                futures::future::try_join_all(ends)
                    .await
                    .map(|ends| Position(ends.into_iter().collect()))
            }
        }
    }
}

type Step = Pin<Box<dyn Future<Output = (Following, Result<Page, FeedError>)> + Send>>;

/// A feed and which following of its shard it belongs to: a shard may be left and followed again while a step of before is still under way.
struct Following {
    feed: ShardFeed,
    number: u64,
}

/// Follows some shards. It reads a page of a shard only when the page before was taken, so its memory is bounded and its slowness is its own.
pub struct Subscription {
    pub(super) inspector: Arc<dyn Inspector>,
    pub(super) interest: Arc<Interest>,
    /// How many shards there are, where it follows all of them.
    pub(super) shards: Option<u32>,
    pub(super) replays: Replays,
    waiting: FuturesUnordered<Step>,
    /// The facts of the page at hand, and the feed that it came from.
    ready: VecDeque<Fact>,
    at_hand: Option<Following>,
    handed_out: Position,
    /// The present following of each shard.
    present: BTreeMap<ShardId, u64>,
    followings: u64,
    /// Where it is, for whoever watches it.
    mark: Option<Arc<Mark>>,
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
            waiting: FuturesUnordered::new(),
            ready: VecDeque::new(),
            at_hand: None,
            handed_out: Position::default(),
            present: BTreeMap::new(),
            followings: 0,
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
            match self.waiting.next().await {
                // No shard to follow: nothing will ever come.
                None => futures::future::pending().await,
                Some((following, page)) => self.turn_to(following, page)?,
            }
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
                match self.waiting.next().await {
                    None => futures::future::pending().await,
                    Some((following, page)) => self.turn_to(following, page)?,
                }
                continue;
            }
            match self.waiting.next().now_or_never() {
                None | Some(None) => return Ok(group),
                // What was gathered goes out; the same place is tried again by the next call and fails there.
                Some(Some((following, page))) => match self.turn_to(following, page) {
                    Err(_) => return Ok(group),
                    Ok(()) if group.len() >= limit => return Ok(group),
                    Ok(()) => {}
                },
            }
        }
    }

    /// The facts of the next record; none when what came was of no interest. As [`Subscription::next_group`], of one record.
    pub(super) async fn next_record(&mut self) -> Result<Vec<Fact>, FeedError> {
        loop {
            let mut record = Vec::new();
            self.take_record(&mut record);
            if !record.is_empty() {
                return Ok(record);
            }
            if self.let_go() {
                return Ok(record);
            }
            match self.waiting.next().await {
                None => futures::future::pending().await,
                Some((following, page)) => self.turn_to(following, page)?,
            }
        }
    }

    /// Everything up to here was given out by [`Subscription::next`], or was of no interest.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.handed_out
    }

    /// Follows one more shard, from behind `offset`.
    pub fn follow(&mut self, shard: ShardId, offset: Offset) {
        self.leave(shard);
        self.followings += 1;
        self.present.insert(shard, self.followings);
        self.handed_out.0.insert(shard, offset);
        let (inspector, interest) = (Arc::clone(&self.inspector), Arc::clone(&self.interest));
        if let Some(mark) = &self.mark {
            mark.follows(shard, offset);
        }
        let feed = ShardFeed::new(inspector, interest, shard, offset)
            .with(self.mark.clone(), self.tagger.clone());
        self.wait_for(Following { feed, number: self.followings });
    }

    /// Follows a shard no longer. What of it was not given out yet is dropped.
    pub fn leave(&mut self, shard: ShardId) {
        if let Some(mark) = &self.mark {
            mark.leaves(shard);
        }
        self.present.remove(&shard);
        self.handed_out.0.remove(&shard);
        if self.at_hand.as_ref().is_some_and(|at_hand| at_hand.feed.shard() == shard) {
            self.at_hand = None;
            self.ready.clear();
        }
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

    /// The page at hand is given out: its feed goes on. True when there was one.
    fn let_go(&mut self) -> bool {
        let Some(following) = self.at_hand.take() else { return false };
        self.handed_out.0.insert(following.feed.shard(), following.feed.position());
        self.wait_for(following);
        true
    }

    fn turn_to(
        &mut self,
        following: Following,
        page: Result<Page, FeedError>,
    ) -> Result<(), FeedError> {
        if self.present.get(&following.feed.shard()) != Some(&following.number) {
            return Ok(());
        }
        match page {
            Ok(page) => {
                self.ready = page.facts.into();
                self.at_hand = Some(following);
                Ok(())
            }
            Err(error) => {
                self.wait_for(following);
                Err(error)
            }
        }
    }

    fn wait_for(&mut self, mut following: Following) {
        self.waiting.push(Box::pin(async move {
            let page = following.feed.next().await;
            (following, page)
        }));
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
