//! What an index knows of conversations: switched on or off when it is opened, and asked.

use std::sync::Arc;

use holm_core::{CorrelationId, Offset};

use super::tree::{self, Mark};
use super::{EntityIndex, conversations};
use crate::store::{LogId, Store, StoreError};

/// Runs that one look for a conversation goes through: 1,024 reads of 4 KiB, for 40 million records of a busy shard.
const RUNS_AT_A_TIME: usize = 1_024;

/// Where the records of a conversation may stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The first offset that the index knows the conversation of; none where conversations are not indexed.
    pub known_from: Option<Offset>,
    /// Candidates, in order: all records of the conversation from where it was asked for and known up to `next`, and perhaps some of another.
    pub offsets: Vec<Offset>,
    /// Where to go on; none at the end.
    pub next: Option<Offset>,
}

impl EntityIndex {
    /// The mark of an index without anything in it.
    pub(super) fn anew(store: &Store) -> Mark {
        let conversations_from = store.correlation_index().then_some(Offset(1));
        Mark { conversations_from, ..Mark::default() }
    }

    /// Makes the conversations of an index what the store wants them to be.
    pub(super) fn with_conversations(
        store: &Arc<Store>,
        place: (LogId, u64),
        mut mark: Mark,
    ) -> Result<Mark, StoreError> {
        let end = mark.whole.last_offset.next();
        match (store.correlation_index(), mark.conversations_from) {
            (true, Some(_)) => conversations::discard(store, place.0, end)?,
            (true, None) => {
                // What an earlier use left behind says nothing of the time between.
                conversations::discard(store, place.0, Offset::ZERO)?;
                mark.conversations_from = Some(end);
            }
            (false, Some(_)) => {
                mark.conversations_from = None;
                tree::write_mark(store, place, &mark)?;
                conversations::discard(store, place.0, Offset::ZERO)?;
            }
            (false, None) => {}
        }
        Ok(mark)
    }

    /// Where records of a conversation may stand from the offset `from` on, about `most` of them at most.
    ///
    /// # Errors
    /// As [`EntityIndex::head`].
    pub fn conversation(
        &self,
        correlation: CorrelationId,
        from: Offset,
        most: usize,
    ) -> Result<Places, StoreError> {
        let shared = &self.shared;
        let fingerprint = conversations::fingerprint(correlation);
        let state = shared.check(shared.lock())?;
        let Some(known_from) = state.flushed.conversations_from else {
            return Ok(Places::default());
        };
        let from = from.max(known_from);
        let flushed = state.flushed.whole.last_offset;
        // What is in memory is bounded, and looked through while nothing is added.
        let recent: Vec<_> = [state.flushing.as_deref(), Some(&state.dirty)]
            .into_iter()
            .flatten()
            .flat_map(|dirty| dirty.candidates(fingerprint, from))
            .collect();
        drop(state);
        let mut places = Places { known_from: Some(known_from), ..Places::default() };
        let mut at = from;
        for _ in 0..RUNS_AT_A_TIME {
            if at > flushed || places.offsets.len() >= most {
                break;
            }
            let found = match at == from {
                true => conversations::run_of(&shared.store, shared.log, at),
                false => Ok(at),
            }
            .and_then(|run| conversations::find(&shared.store, shared.log, run, fingerprint))
            .and_then(|found| match found.0 >= at {
                true => Ok(found),
                false => Err(tree::damaged(&shared.store, "a run of conversations is missing")),
            });
            // Whoever discarded it meanwhile made the answer what it is.
            drop(shared.check(shared.lock())?);
            let (last, offsets) = match found {
                Ok(found) => found,
                Err(StoreError::Damaged { reason, .. }) => return Err(self.report_damage(&reason)),
                Err(error) => return Err(error),
            };
            places.offsets.extend(offsets.into_iter().filter(|offset| *offset >= from));
            at = last.next();
        }
        if at <= flushed {
            places.next = Some(at);
        } else {
            places.offsets.extend(recent);
        }
        Ok(places)
    }
}
