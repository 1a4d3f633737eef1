//! Looking into the logs without following them: what stands at one place, and how old what comes next is.

use holm_core::{Offset, ShardId, Timestamp};
use holm_persistence::Batch;

use super::door::Bus;
use super::fact::Fact;
use super::feed::{FeedError, ShardFeed};
use super::interest::Interest;

impl Bus {
    /// The facts of one record that are of interest; none when there is no such record yet.
    ///
    /// # Errors
    /// [`FeedError`] when its log cannot be read.
    pub async fn facts_at(
        &self,
        shard: ShardId,
        offset: Offset,
        interest: &Interest,
    ) -> Result<Vec<Fact>, FeedError> {
        let unreadable = |source| FeedError::Unreadable { shard, source };
        if self.inspector().tail(shard, None).await.map_err(unreadable)? < offset {
            return Ok(Vec::new());
        }
        let before = Offset(offset.0.saturating_sub(1));
        let inspector = self.inspector().clone();
        let mut feed = ShardFeed::new(inspector, interest.clone().into(), shard, before)
            .with(None, self.tagger());
        let page = feed.next().await?;
        Ok(page.facts.into_iter().filter(|fact| fact.offset() == offset).collect())
    }

    /// When the first record behind `offset` was made; none when there is none yet.
    ///
    /// # Errors
    /// [`FeedError`] when its log cannot be read.
    pub async fn time_after(
        &self,
        shard: ShardId,
        offset: Offset,
    ) -> Result<Option<Timestamp>, FeedError> {
        let unreadable = |source| FeedError::Unreadable { shard, source };
        let next = offset.next();
        let batches = self.inspector().batches(shard, next, 1).await.map_err(unreadable)?;
        let Some(bytes) = batches.into_iter().next() else { return Ok(None) };
        let corrupt = |reason| FeedError::Corrupt { shard, offset: next, reason };
        let batch = Batch::parse(bytes).map_err(|error| corrupt(error.to_string()))?;
        let Some(stored) = batch.record(next) else { return Ok(None) };
        let record = stored.decode().map_err(|error| corrupt(error.to_string()))?;
        Ok(Some(record.at))
    }
}
