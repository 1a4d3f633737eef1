//! Reading a log page by page without waiting for what comes.

use std::time::Duration;

use holm_core::{AskError, CorrelationId, ErrorKind, Offset, ShardId, Timestamp};
use holm_persistence::{Batch, Pending, StoredRecord};

use crate::bus::FeedError;
use crate::inspector::{ConversationPage, Inspector};

/// Bytes of log read at once for one shard.
pub(super) const PAGE_BYTES: usize = 256 * 1024;

/// How often a shard is asked that cannot be read at the moment, and the first pause between; each is twice the one before, 1.5 s together. An
/// election is over by then, and who searches is told of a shard that is not.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What a shard knows of a conversation without being read. Asked for once: who knows nothing, or cannot say, is read, which is patient.
pub(super) async fn known(
    inspector: &dyn Inspector,
    shard: ShardId,
    conversation: CorrelationId,
    from: Offset,
) -> Option<ConversationPage> {
    match inspector.conversation(shard, conversation, from, PAGE_BYTES).await {
        Ok(page) => Some(page).filter(|page| page.known_from.is_some()),
        Err(error) => {
            tracing::warn!(%shard, %error, "a shard says nothing of a conversation; it is read");
            None
        }
    }
}

/// The last offset of a shard.
pub(super) async fn end(inspector: &dyn Inspector, shard: ShardId) -> Result<Offset, FeedError> {
    patiently(shard, || inspector.tail(shard, None)).await
}

/// The batches from the one that holds `from`, of which nothing is missing; none at the end of the log.
pub(super) async fn page(
    inspector: &dyn Inspector,
    shard: ShardId,
    from: Offset,
    max_bytes: usize,
) -> Result<Vec<Batch>, FeedError> {
    let pages = patiently(shard, || inspector.batches(shard, from, max_bytes)).await?;
    let (mut batches, mut expected) = (Vec::with_capacity(pages.len()), from);
    for bytes in pages {
        let corrupt = |error: String| FeedError::Corrupt { shard, offset: expected, reason: error };
        let batch = Batch::parse(bytes).map_err(|error| corrupt(error.to_string()))?;
        if batch.shard() != shard || batch.first() > expected || batch.last() < expected {
            return Err(FeedError::Gap { shard, expected, found: batch.first() });
        }
        expected = batch.last().next();
        batches.push(batch);
    }
    Ok(batches)
}

/// When the record at `offset` was handled; none when there is no such record.
pub(super) async fn time_at(
    inspector: &dyn Inspector,
    shard: ShardId,
    offset: Offset,
) -> Result<Option<Timestamp>, FeedError> {
    let batches = page(inspector, shard, offset, 1).await?;
    let stored = batches.first().and_then(|batch| batch.record(offset));
    stored.map(|stored| time_of(shard, &stored)).transpose()
}

fn time_of(shard: ShardId, stored: &StoredRecord) -> Result<Timestamp, FeedError> {
    let record = stored.decode().map_err(|error| FeedError::Corrupt {
        shard,
        offset: stored.offset,
        reason: error.to_string(),
    })?;
    Ok(record.at)
}

async fn patiently<T>(
    shard: ShardId,
    ask: impl Fn() -> Pending<Result<T, AskError>>,
) -> Result<T, FeedError> {
    let (mut tries, mut pause) = (1, FIRST_PAUSE);
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error)
                if tries < TRIES
                    && matches!(error.kind(), ErrorKind::Retry | ErrorKind::BackOff) =>
            {
                tokio::time::sleep(pause).await;
                (tries, pause) = (tries + 1, pause * 2);
            }
            Err(source) => return Err(FeedError::Unreadable { shard, source }),
        }
    }
}
