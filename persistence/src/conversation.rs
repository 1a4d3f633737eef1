//! From the places where a conversation may have records to those records: how every log with an index answers [`crate::ShardLog::conversation`].

use holm_core::{CorrelationId, Offset, ShardId};

use crate::batch::{Batch, RecordPlaces};
use crate::entity_index::Places;
use crate::record::RecordHead;
use crate::shard_log::{Conversation, ConversationRecord, ReadError};

/// Places that one answer goes through, whatever fits into it: each may cost the reading of a batch.
pub const CONVERSATION_PLACES: usize = 256;

/// Reads the records at `places` and keeps those of the conversation, up to about `max_bytes`. `batch_at` reads the durable batch that holds an offset.
///
/// # Errors
/// [`ReadError::Corrupt`] when a record cannot be read, and those of `batch_at`.
pub fn read_conversation(
    shard: ShardId,
    correlation: CorrelationId,
    places: Places,
    max_bytes: usize,
    batch_at: &mut dyn FnMut(Offset) -> Result<Batch, ReadError>,
) -> Result<Conversation, ReadError> {
    let Places { known_from, offsets, next } = places;
    let mut conversation = Conversation { records: Vec::new(), known_from, next };
    let (mut batch, mut bytes): (Option<RecordPlaces>, usize) = (None, 0);
    for (nth, offset) in offsets.into_iter().enumerate() {
        if nth == CONVERSATION_PLACES || bytes >= max_bytes.max(1) {
            conversation.next = Some(offset);
            break;
        }
        let corrupt = |reason: String| ReadError::Corrupt { shard, offset, reason };
        let known = batch.take().filter(|held| held.batch().holds(offset));
        let held = match known {
            Some(held) => held,
            None => RecordPlaces::of(batch_at(offset)?),
        };
        let stored = held.record(offset).ok_or_else(|| {
            let held = held.batch();
            corrupt(format!("it is not in its batch {}..={}", held.first(), held.last()))
        })?;
        let head = RecordHead::read(&stored.bytes).map_err(|error| corrupt(error.to_string()))?;
        if head.correlation == correlation {
            bytes += stored.bytes.len();
            let made_by = held.batch().made_by();
            conversation.records.push(ConversationRecord { made_by, stored: stored.detach() });
        }
        batch = Some(held);
    }
    Ok(conversation)
}
