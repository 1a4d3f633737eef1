//! What the committed entries of a shard mean on every replica: batches are checked against the fence and indexed, trims are marked.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId};
use holm_persistence::{Batch, Store, Trims, decode, encode};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::live_index::LiveIndex;
use crate::raft::Applied;
use crate::raft::log_storage::GroupLog;
use crate::raft::machine::Follower;

/// First byte of a trim. The first byte of a batch is the version of its format, which is far below.
const TRIM: u8 = 0x80;

/// The wish to trim, as it stands in the log.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trim {
    pub(super) address: EntityAddress,
    pub(super) up_to: SequenceNumber,
}

/// The entry that says "trim this entity up to here".
pub(super) fn trim_payload(address: &EntityAddress, up_to: SequenceNumber) -> Option<Bytes> {
    let mut bytes = vec![TRIM];
    bytes.extend_from_slice(&encode(&Trim { address: address.clone(), up_to }).ok()?);
    Some(bytes.into())
}

/// The wish to trim, when the entry is one; none in it when it cannot be read.
pub(super) fn read_trim(payload: &[u8]) -> Option<Option<Trim>> {
    let (_, trim) = payload.split_first().filter(|(first, _)| **first == TRIM)?;
    Some(decode(trim).ok())
}

/// Follows one shard.
pub(crate) struct ShardFollower {
    shard: ShardId,
    index: Arc<LiveIndex>,
    trims: Trims,
    last: watch::Sender<Offset>,
}

impl ShardFollower {
    pub(super) fn open(
        store: &Arc<Store>,
        trims: Trims,
        shard: ShardId,
        log: GroupLog,
    ) -> io::Result<Self> {
        let index = Arc::new(LiveIndex::open(store, shard, log)?);
        let last = watch::Sender::new(index.last_offset());
        Ok(Self { shard, index, trims, last })
    }

    /// The index that this follower keeps.
    pub(crate) fn index(&self) -> Arc<LiveIndex> {
        self.index.clone()
    }

    /// The last offset followed, as it rises.
    pub(crate) fn progress(&self) -> watch::Receiver<Offset> {
        self.last.subscribe()
    }

    fn follow_batch(&self, entry: u64, term: u64, bytes: &Bytes) -> io::Result<Applied> {
        let last = *self.last.borrow();
        match accepted(self.shard, term, bytes, last) {
            Ok(batch) => {
                self.index.apply(entry, &batch)?;
                self.last.send_replace(batch.last());
                Ok(Applied::Accepted)
            }
            Err(refused) => Ok(refused),
        }
    }

    fn follow_trim(&self, trim: Option<Trim>) -> Applied {
        let Some(Trim { address, up_to }) = trim else { return Applied::Invalid };
        // Queued behind what is queued; that it is durable a little later is as good, for the entry is in the log.
        drop(self.trims.trim(self.shard, &address, up_to));
        Applied::Accepted
    }
}

/// The batch that an entry holds, when it takes effect behind the offset `last`; else why not. Every replica comes to the same answer, at any time.
pub(super) fn accepted(
    shard: ShardId,
    term: u64,
    payload: &Bytes,
    last: Offset,
) -> Result<Batch, Applied> {
    let batch = Batch::parse(payload.clone()).map_err(|_| Applied::Invalid)?;
    if batch.shard() != shard {
        return Err(Applied::Invalid);
    }
    match judge(&batch, term, last) {
        Applied::Accepted => Ok(batch),
        refused => Err(refused),
    }
}

/// The fence: a batch takes effect only under the leader that it was made for, and only at the place that it was made for.
fn judge(batch: &Batch, leader_term: u64, last: Offset) -> Applied {
    if batch.term().0 != leader_term {
        Applied::Fenced
    } else if batch.first() != last.next() {
        Applied::Gap { expected: last.next().0 }
    } else {
        Applied::Accepted
    }
}

impl Follower for ShardFollower {
    fn follow(&mut self, index: u64, term: u64, payload: &Bytes) -> io::Result<Applied> {
        match read_trim(payload) {
            Some(trim) => Ok(self.follow_trim(trim)),
            None => self.follow_batch(index, term, payload),
        }
    }

    fn pass(&mut self, _index: u64, _term: u64) {}
}

#[cfg(test)]
mod tests {
    use holm_core::{CausationId, CommandId, CorrelationId, IdempotencyKey, Term, Timestamp};
    use holm_persistence::{BatchBuilder, Record, StoredVerdict};

    use super::*;

    fn batch(term: u64, first: u64) -> Batch {
        let mut builder = BatchBuilder::new(ShardId(1), Term(term), Offset(first));
        builder
            .push(&Record {
                entity_type: "account",
                entity_id: "a",
                previous: Offset::ZERO,
                base: SequenceNumber::ZERO,
                at: Timestamp::default(),
                command: "deposit",
                id: CommandId::default(),
                correlation: CorrelationId::default(),
                causation: CausationId::default(),
                key: IdempotencyKey::new("k").unwrap(),
                fingerprint: 0,
                events: Vec::new(),
                verdict: StoredVerdict::Accepted(b""),
                reactions: Vec::new(),
            })
            .unwrap();
        builder.finish()
    }

    /// Promise G3: what a deposed leader made is refused wherever it ends up in the log.
    #[test]
    fn a_batch_of_another_term_is_fenced() {
        assert_eq!(judge(&batch(3, 5), 4, Offset(4)), Applied::Fenced);
        assert_eq!(judge(&batch(4, 5), 3, Offset(4)), Applied::Fenced);
        assert_eq!(judge(&batch(4, 5), 4, Offset(4)), Applied::Accepted);
    }

    /// Promise G4: offsets have no gap and no double.
    #[test]
    fn a_batch_at_another_place_is_refused() {
        assert_eq!(judge(&batch(4, 6), 4, Offset(4)), Applied::Gap { expected: 5 });
        assert_eq!(judge(&batch(4, 4), 4, Offset(4)), Applied::Gap { expected: 5 });
        assert_eq!(judge(&batch(4, 1), 4, Offset::ZERO), Applied::Accepted);
    }
}
