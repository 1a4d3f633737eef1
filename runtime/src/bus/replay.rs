//! Wanting something else while one follows, and hearing from its beginning of an entity that was not wanted before.

use std::collections::VecDeque;
use std::sync::Arc;

use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId, shard_of};

use super::fact::Fact;
use super::feed::{FIRST_PAUSE, FeedError, LONGEST_PAUSE, is_passing};
use super::interest::Interest;
use super::subscription::Subscription;
use super::tags::Tagger;
use crate::inspector::Inspector;

/// Entities that may wait to be replayed. Each is an address of memory, and all other facts wait for them.
pub const REPLAYS: usize = 1_024;

/// Records of an entity that are read at once.
const PAGE_RECORDS: usize = 64;

/// What is to be given out once more, before anything else.
#[derive(Default)]
pub(super) struct Replays {
    waiting: VecDeque<Replay>,
    /// Facts of the page at hand. They are no step in a log: no position moves with them.
    ready: VecDeque<Fact>,
}

/// One entity, up to where its shard was when it was included.
struct Replay {
    address: EntityAddress,
    shard: ShardId,
    through: Offset,
    after: SequenceNumber,
}

impl Subscription {
    /// Wants these facts from the present position on. A record of which only some facts were given out comes again.
    ///
    /// What was of no interest before and lies behind is not looked for; [`Subscription::include`] does that for one entity.
    pub fn set_interest(&mut self, interest: Interest) {
        self.replays.keep_only(&interest);
        self.interest = Arc::new(interest);
        for (shard, offset) in self.position().0.clone() {
            self.follow(shard, offset);
        }
    }

    /// Wants one more entity, whatever else is asked for, and is given all its facts from the first: those that lie behind the position now, before anything
    /// else, and then the others where they come. Facts of it that were given out before come again.
    ///
    /// Not stored: who goes on from a position later includes what it wants once more.
    ///
    /// # Errors
    /// [`IncludeError`]; nothing has changed then.
    pub fn include(&mut self, address: EntityAddress) -> Result<(), IncludeError> {
        // One that was made for single shards does not know of how many.
        let shard = self.shards.map(|shards| shard_of(&address, shards));
        let followed = shard.filter(|shard| self.position().0.contains_key(shard));
        let Some(shard) = followed else { return Err(IncludeError::NotFollowed { address }) };
        if self.replays.waiting.len() >= REPLAYS {
            return Err(IncludeError::TooMany { limit: REPLAYS });
        }
        self.interest = Arc::new(Interest::clone(&self.interest).include(address.clone()));
        let through = self.position().of(shard);
        self.follow(shard, through);
        let after = SequenceNumber::default();
        self.replays.waiting.push_back(Replay { address, shard, through, after });
        Ok(())
    }

    /// The next facts that are given out once more, in whole records; none when there are none.
    pub(super) async fn replayed(&mut self, limit: usize) -> Result<Vec<Fact>, FeedError> {
        self.read_replays().await?;
        let ready = &mut self.replays.ready;
        let mut facts: Vec<Fact> = Vec::new();
        while let Some(next) = ready.front() {
            let goes_on = facts.last().is_some_and(|last| last.offset() == next.offset());
            if facts.len() >= limit && !goes_on {
                break;
            }
            facts.extend(ready.pop_front());
        }
        Ok(facts)
    }

    /// One fact of it.
    pub(super) async fn replayed_one(&mut self) -> Result<Option<Fact>, FeedError> {
        self.read_replays().await?;
        Ok(self.replays.ready.pop_front())
    }

    /// Until a page is at hand, or nothing is left.
    async fn read_replays(&mut self) -> Result<(), FeedError> {
        while self.replays.ready.is_empty() {
            let Some(replay) = self.replays.waiting.front_mut() else { return Ok(()) };
            match replay.page(&self.inspector, &self.interest, &self.tagger).await? {
                Some(facts) => self.replays.ready.extend(facts),
                None => _ = self.replays.waiting.pop_front(),
            }
        }
        Ok(())
    }
}

impl Replays {
    fn keep_only(&mut self, interest: &Interest) {
        let wanted =
            |address: &EntityAddress| interest.includes(address.entity_type(), address.id());
        self.waiting.retain(|replay| wanted(&replay.address));
        self.ready.retain(|fact| wanted(fact.address()));
    }
}

impl Replay {
    /// The next facts; none when all were given. The place moves with the answer.
    async fn page(
        &mut self,
        inspector: &Arc<dyn Inspector>,
        interest: &Interest,
        tagger: &Tagger,
    ) -> Result<Option<Vec<Fact>>, FeedError> {
        let shard = self.shard;
        let mut pause = FIRST_PAUSE;
        let page = loop {
            match inspector.history(self.address.clone(), self.after, PAGE_RECORDS).await {
                Ok(page) => break page,
                Err(error) if is_passing(&error) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(source) => return Err(FeedError::Unreadable { shard, source }),
            }
        };
        let (mut facts, mut after) = (Vec::new(), self.after);
        for stored in page.stored_records() {
            if stored.offset > self.through {
                break;
            }
            let corrupt = |reason| FeedError::Corrupt { shard, offset: stored.offset, reason };
            let record = stored.decode().map_err(|error| corrupt(error.to_string()))?;
            after = record.last_sequence();
            Fact::of_record(shard, &stored, &record, interest, tagger, &mut facts)
                .map_err(corrupt)?;
        }
        if after == self.after {
            return Ok(None);
        }
        self.after = after;
        if interest.wants_notifications() {
            facts = facts.into_iter().map(Fact::without_payload).collect();
        }
        Ok(Some(facts))
    }
}

/// Why an entity was not included.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IncludeError {
    /// This subscription does not follow its shard.
    #[error("the shard of {address} is not followed")]
    NotFollowed {
        /// The entity.
        address: EntityAddress,
    },
    /// Too many wait to be replayed: take what comes first.
    #[error("{limit} entities wait to be replayed")]
    TooMany {
        /// See [`REPLAYS`].
        limit: usize,
    },
}
