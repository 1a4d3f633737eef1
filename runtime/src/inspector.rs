//! Reading what is stored: the seam behind the history pages, `holm show`, and everything that follows the logs.

use bytes::Bytes;
use holm_core::{AskError, CorrelationId, EntityAddress, NodeId, Offset, SequenceNumber, ShardId};
use holm_persistence::{Conversation, Pending, StoredRecord};
use serde::{Deserialize, Serialize};

/// Reads what is stored, wherever it is. On one node over its own log, in a cluster by asking the shard's leader.
pub trait Inspector: Send + Sync {
    /// A page of one entity's records that hold events after the sequence number `after`, oldest first, at most `limit`.
    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<HistoryPage, AskError>>;

    /// Durable batches of a shard from the one that holds `from`, as stored, up to about `max_bytes`.
    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>>;

    /// Resolves to the shard's last durable offset: at once, or, when `seen` is given, as soon as it is above that. It may resolve to `seen` when
    /// nothing came for some seconds: ask again.
    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>>;

    /// What stands behind `seen`, as [`Inspector::batches`], as soon as there is anything. It may resolve to nothing when nothing came for some seconds: ask
    /// again. So whoever follows a log asks once for each page, and what comes is there as soon as word of it would be.
    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>>;

    /// Records of one conversation from the offset `from` on, as far as the shard's log knows them without being read, up to about `max_bytes`. Whoever
    /// has nothing better answers that nothing is known, and is searched.
    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<ConversationPage, AskError>> {
        let _ = (shard, correlation, from, max_bytes);
        Box::pin(std::future::ready(Ok(ConversationPage::default())))
    }
}

/// A page of the records of one conversation in one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationPage {
    /// In offset order.
    pub records: Vec<ConversationEntry>,
    /// The first offset from which on all is known; none where nothing is.
    pub known_from: Option<Offset>,
    /// The offset from which on the rest is to be asked for; none when there is none.
    pub next: Option<Offset>,
}

/// One record of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationEntry {
    /// Where it stands.
    pub offset: Offset,
    /// The node whose engine ran the command; none where the log does not say.
    pub made_by: Option<NodeId>,
    /// The encoded [`holm_persistence::Record`].
    pub bytes: Bytes,
}

impl From<Conversation> for ConversationPage {
    fn from(Conversation { records, known_from, next }: Conversation) -> Self {
        let entries = records.into_iter().map(|record| ConversationEntry {
            offset: record.stored.offset,
            made_by: record.made_by,
            bytes: record.stored.bytes,
        });
        Self { records: entries.collect(), known_from, next }
    }
}

/// A page of one entity's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// Offset and encoded [`holm_persistence::Record`], in offset order.
    pub records: Vec<(Offset, Bytes)>,
    /// The highest sequence number that is stored of the entity; zero when it has no event.
    pub highest: SequenceNumber,
    /// The offset of the entity's newest record; zero when it has none.
    pub head: Offset,
    /// True when `limit` cut the page off.
    pub more: bool,
}

impl HistoryPage {
    /// The records as the registry reads them.
    #[must_use]
    pub fn stored_records(&self) -> Vec<StoredRecord> {
        let stored = |(offset, bytes): &(Offset, Bytes)| StoredRecord {
            offset: *offset,
            bytes: bytes.clone(),
        };
        self.records.iter().map(stored).collect()
    }
}
