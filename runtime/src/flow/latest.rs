//! The newest conversations, read from the ends of the logs.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use holm_core::{CorrelationId, EntityAddress, Offset, ShardId, Timestamp};

use super::pages::{PAGE_BYTES, end, page};
use crate::SYSTEM_PREFIX;
use crate::bus::FeedError;
use crate::inspector::Inspector;

/// How many of the last records of each shard are looked at. A type that is rarer than that has no newest conversation here.
pub const LATEST_RECORDS: u64 = 1_000;

/// Shards that are read at the same time.
const SHARDS_AT_ONCE: usize = 8;

/// A conversation by its newest record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: CorrelationId,
    /// When that record was written.
    pub at: Timestamp,
    /// Whose it is.
    pub entity: EntityAddress,
    /// The command that it answers.
    pub command: Box<str>,
}

/// The newest conversations that an entity of this type took part in, or without a type any but Holm's own; the newest first, at most `most`.
///
/// # Errors
/// When the log of a shard cannot be read.
///
/// # Cancel safety
/// Safe: it only reads.
pub async fn latest(
    inspector: Arc<dyn Inspector>,
    shards: u32,
    entity_type: Option<String>,
    most: usize,
) -> Result<Vec<Conversation>, FeedError> {
    let entity_type: Option<Arc<str>> = entity_type.map(Into::into);
    let reads: Vec<_> = (0..shards)
        .map(|shard| ends(Arc::clone(&inspector), ShardId(shard), entity_type.clone(), most))
        .collect();
    let found: Vec<_> =
        futures::stream::iter(reads).buffer_unordered(SHARDS_AT_ONCE).try_collect().await?;
    Ok(newest(found.into_iter().flatten(), most))
}

/// Of one shard.
async fn ends(
    inspector: Arc<dyn Inspector>,
    shard: ShardId,
    entity_type: Option<Arc<str>>,
    most: usize,
) -> Result<Vec<Conversation>, FeedError> {
    let end = end(&*inspector, shard).await?;
    let mut next = Offset(end.0.saturating_sub(LATEST_RECORDS) + 1);
    let mut found = Vec::new();
    while next <= end {
        let batches = page(&*inspector, shard, next, PAGE_BYTES).await?;
        let Some(last) = batches.last().map(holm_persistence::Batch::last) else { break };
        let from = next;
        for stored in batches.iter().flat_map(|it| it.records()).filter(|it| it.offset >= from) {
            let offset = stored.offset;
            let corrupt = |reason| FeedError::Corrupt { shard, offset, reason };
            let record = stored.decode().map_err(|error| corrupt(error.to_string()))?;
            let is_wanted = match &entity_type {
                Some(wanted) => record.entity_type == &**wanted,
                None => !record.entity_type.starts_with(SYSTEM_PREFIX),
            };
            if is_wanted {
                let entity = EntityAddress::new(record.entity_type, record.entity_id);
                found.push(Conversation {
                    id: record.correlation,
                    at: record.at,
                    entity: entity.map_err(|error| corrupt(error.to_string()))?,
                    command: record.command.into(),
                });
            }
        }
        next = last.next();
    }
    Ok(newest(found, most))
}

/// Each conversation once, by its newest record.
fn newest(found: impl IntoIterator<Item = Conversation>, most: usize) -> Vec<Conversation> {
    let mut by_id: HashMap<CorrelationId, Conversation> = HashMap::new();
    for conversation in found {
        let known = by_id.get(&conversation.id);
        if known.is_none_or(|known| known.at <= conversation.at) {
            by_id.insert(conversation.id, conversation);
        }
    }
    let mut newest: Vec<_> = by_id.into_values().collect();
    newest.sort_by_key(|it| Reverse((it.at, it.id)));
    newest.truncate(most);
    newest
}
