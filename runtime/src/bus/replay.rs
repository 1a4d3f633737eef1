//! Hearing from its beginning of an entity that was not wanted before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId, shard_of};

use super::fact::Fact;
use super::feed::{FeedError, patiently};
use super::interest::Interest;
use super::subscription::Subscription;
use super::tags::Tagger;
use crate::inspector::Inspector;

/// Entities that may wait to be replayed: all other facts wait for them.
pub const REPLAYS: usize = 1_024;

/// Entities that a subscription may have included. Each is an id in memory, and every shard that it follows looks them up for each record.
pub const INCLUDED: usize = 65_536;

/// Records of an entity that are read at once, as far as [`holm_persistence::HISTORY_BYTES`] allows. The log finds a page by walking back from the newest
/// record, so replaying `n` records reads `n + n²/8192` of them: pages are as long as memory allows.
const PAGE_RECORDS: usize = 4_096;

/// What is to be given out once more, before anything else.
#[derive(Default)]
pub(super) struct Replays {
    waiting: VecDeque<Replay>,
    /// Facts of the first of those that wait. They are no step in a log: no position moves with them.
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
    /// Wants these entities too, whatever else is asked for, and is given all their facts from the first: those that lie behind the position now, before
    /// anything else, and then the others where they come. Facts of them that were given out before come again, and so does a record of their shards of
    /// which only some facts were given out.
    ///
    /// An entity whose history cannot be read is an error of the next call, once; its facts come from the present position on.
    ///
    /// Not stored: who goes on from a position later includes what it wants once more.
    ///
    /// # Errors
    /// [`IncludeError`]; nothing has changed then.
    pub fn include(
        &mut self,
        entities: impl IntoIterator<Item = EntityAddress>,
    ) -> Result<(), IncludeError> {
        let mut interest = Interest::clone(&self.interest);
        let mut begun = Vec::new();
        for address in entities {
            // One that was made for single shards does not know of how many.
            let shard = self.shards.map(|shards| shard_of(&address, shards));
            let followed = shard.filter(|shard| self.position().0.contains_key(shard));
            let Some(shard) = followed else { return Err(IncludeError::NotFollowed { address }) };
            if self.replays.waiting.len() + begun.len() >= REPLAYS {
                return Err(IncludeError::TooMany { limit: REPLAYS });
            }
            interest = interest.include(address.clone());
            let (through, after) = (self.position().of(shard), SequenceNumber::default());
            begun.push(Replay { address, shard, through, after });
        }
        if interest.included() > INCLUDED {
            return Err(IncludeError::TooMany { limit: INCLUDED });
        }
        self.interest = Arc::new(interest);
        let shards: BTreeMap<_, _> = begun.iter().map(|it| (it.shard, it.through)).collect();
        for (shard, through) in shards {
            self.want_anew(shard, through);
        }
        begun.into_iter().for_each(|replay| self.replays.add(replay));
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
            match replay.page(&self.inspector, &self.interest, &self.tagger).await {
                Ok(Some(facts)) => self.replays.ready.extend(facts),
                Ok(None) => _ = self.replays.waiting.pop_front(),
                // Waiting does not help, and everything else waits behind it.
                Err(error) => {
                    self.replays.waiting.pop_front();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Replays {
    /// One that waits already goes as far as the new one would.
    fn add(&mut self, replay: Replay) {
        match self.waiting.iter_mut().find(|waiting| waiting.address == replay.address) {
            Some(waiting) => waiting.through = replay.through,
            None => self.waiting.push_back(replay),
        }
    }

    /// Those that this interest includes, as it wants them: what is at hand is read once more.
    pub(super) fn keep_only(&mut self, interest: &Interest) {
        if let (Some(replay), Some(fact)) = (self.waiting.front_mut(), self.ready.front()) {
            replay.after = SequenceNumber(fact.sequence().get() - 1);
        }
        self.ready.clear();
        let wanted =
            |address: &EntityAddress| interest.includes(address.entity_type(), address.id());
        self.waiting.retain(|replay| wanted(&replay.address));
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
        let read = || inspector.history(self.address.clone(), self.after, PAGE_RECORDS);
        let page = patiently(shard, read).await?;
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
    /// Too many wait to be replayed ([`REPLAYS`]): take what comes first; or too many are included ([`INCLUDED`]): give up some, or filter otherwise.
    #[error("no more than {limit} entities can be included")]
    TooMany {
        /// Which limit it was.
        limit: usize,
    },
}
