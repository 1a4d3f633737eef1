//! One replica of one shard on this node: which leadership writes through it, and how far it has followed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId, Term};
use holm_persistence::{AppendError, Batch, OpenError, Opened, Pending, ReadError};
use tokio::sync::{mpsc, watch};

use super::Interrupted;
use super::follower::trim_payload;
use super::live_index::LiveIndex;
use crate::raft::Applied;
use crate::raft::consensus::{Consensus, NotProposed};
use crate::raft::log_storage::GroupLog;

/// One replica.
pub(crate) struct Replica {
    shard: ShardId,
    consensus: Arc<dyn Consensus>,
    log: GroupLog,
    index: Arc<LiveIndex>,
    progress: watch::Receiver<Offset>,
    opening: Arc<Mutex<Opening>>,
}

/// Who may write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Opening {
    /// The newest term opened.
    term: Term,
    /// Counts openings, because one term may be opened again after a failed write.
    number: u64,
    /// Whether writes are taken: the opening is complete and no write of it has failed.
    takes_writes: bool,
}

impl Replica {
    /// The replica of a group that runs here.
    pub(crate) fn new(
        shard: ShardId,
        consensus: Arc<dyn Consensus>,
        log: GroupLog,
        index: Arc<LiveIndex>,
        progress: watch::Receiver<Offset>,
    ) -> Self {
        Self { shard, consensus, log, index, progress, opening: Arc::default() }
    }

    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    pub(crate) fn index(&self) -> &LiveIndex {
        &self.index
    }

    pub(crate) fn log(&self) -> &GroupLog {
        &self.log
    }

    pub(super) fn last_offset(&self) -> Offset {
        *self.progress.borrow()
    }

    pub(super) fn open(&self, term: Term) -> Pending<Result<Opened, OpenError>> {
        let shard = self.shard;
        let (number, settled) = {
            let mut opening = self.lock();
            // The same term may be opened again after it was closed or a write under it was not acknowledged; entries of the former opening
            // may still be under way then, so they are waited for.
            let again = opening.term == term && opening.number > 0;
            if opening.term > term || (again && opening.takes_writes) {
                let newest = opening.term;
                return Box::pin(async move { Err(OpenError::Fenced { shard, term, newest }) });
            }
            *opening = Opening { term, number: opening.number + 1, takes_writes: false };
            let settled =
                if again { self.consensus.barrier(term.0) } else { self.consensus.settle(term.0) };
            (opening.number, settled)
        };
        let (opening, progress, consensus) =
            (self.opening.clone(), self.progress.clone(), self.consensus.clone());
        Box::pin(async move {
            settled.await.map_err(|error| match error {
                NotProposed::NotLeader => {
                    OpenError::Fenced { shard, term, newest: Term(consensus.term()) }
                }
                NotProposed::Unknown { reason } => OpenError::Log { shard, reason },
            })?;
            let mut opening = lock(&opening);
            if opening.number != number {
                return Err(OpenError::Fenced { shard, term, newest: opening.term });
            }
            opening.takes_writes = true;
            Ok(Opened { last: *progress.borrow() })
        })
    }

    /// Takes no more writes until it is opened again.
    pub(crate) fn close(&self) {
        self.lock().takes_writes = false;
    }

    pub(super) fn append(
        &self,
        batch: Batch,
        failures: mpsc::UnboundedSender<Interrupted>,
    ) -> Pending<Result<(), AppendError>> {
        let found = batch.first();
        self.write(batch.term(), found, failures, batch.bytes().clone())
    }

    pub(super) fn trim(
        &self,
        address: &EntityAddress,
        up_to: SequenceNumber,
        failures: mpsc::UnboundedSender<Interrupted>,
    ) -> Pending<Result<(), AppendError>> {
        let (shard, term) = (self.shard, self.lock().term);
        match trim_payload(address, up_to) {
            Some(payload) => self.write(term, Offset::ZERO, failures, payload),
            None => Box::pin(async move {
                Err(AppendError::Unknown {
                    shard,
                    reason: "the entity's address cannot be encoded".to_owned(),
                })
            }),
        }
    }

    fn write(
        &self,
        term: Term,
        found: Offset,
        failures: mpsc::UnboundedSender<Interrupted>,
        payload: bytes::Bytes,
    ) -> Pending<Result<(), AppendError>> {
        let shard = self.shard;
        let (number, proposed) = {
            // The lock is held while the entry is queued, so that entries are queued in the order of the calls.
            let opening = self.lock();
            if opening.term != term || !opening.takes_writes {
                return Box::pin(async move { Err(AppendError::Fenced { shard, term }) });
            }
            (opening.number, self.consensus.propose(term.0, payload))
        };
        let opening = self.opening.clone();
        Box::pin(async move {
            let error = match proposed.await {
                Ok(Applied::Accepted) => return Ok(()),
                Ok(Applied::Gap { expected }) => {
                    AppendError::Gap { shard, expected: Offset(expected), found }
                }
                Ok(Applied::Fenced) | Err(NotProposed::NotLeader) => {
                    AppendError::Fenced { shard, term }
                }
                Ok(Applied::Invalid) => AppendError::Unknown {
                    shard,
                    reason: "the replicas could not read the write".to_owned(),
                },
                Err(NotProposed::Unknown { reason }) => AppendError::Unknown { shard, reason },
            };
            end_writes(&opening, number, &failures, Interrupted { shard, term });
            Err(error)
        })
    }

    pub(super) fn confirm(
        &self,
        term: Term,
        failures: mpsc::UnboundedSender<Interrupted>,
    ) -> Pending<Result<(), AppendError>> {
        let shard = self.shard;
        let Opening { term: newest, number, takes_writes } = *self.lock();
        if newest != term || !takes_writes {
            return Box::pin(async move { Err(AppendError::Fenced { shard, term }) });
        }
        let confirmed = self.consensus.confirm(term.0);
        let opening = self.opening.clone();
        Box::pin(async move {
            let Err(error) = confirmed.await else { return Ok(()) };
            end_writes(&opening, number, &failures, Interrupted { shard, term });
            Err(match error {
                NotProposed::NotLeader => AppendError::Fenced { shard, term },
                NotProposed::Unknown { reason } => AppendError::Unknown { shard, reason },
            })
        })
    }

    /// The same, when it is known without asking anybody.
    pub(super) fn confirm_at_once(&self, term: Term) -> Option<Result<(), AppendError>> {
        let Opening { term: newest, takes_writes, .. } = *self.lock();
        if newest != term || !takes_writes {
            return Some(Err(AppendError::Fenced { shard: self.shard, term }));
        }
        self.consensus.confirm_at_once(term.0).then_some(Ok(()))
    }

    pub(super) fn follow(&self, seen: Offset) -> Pending<Result<Offset, ReadError>> {
        let shard = self.shard;
        let mut progress = self.progress.clone();
        Box::pin(async move {
            progress.wait_for(|last| *last > seen).await.map(|last| *last).map_err(|_| {
                ReadError::Store { shard, reason: "the replica was stopped".to_owned() }
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, Opening> {
        lock(&self.opening)
    }
}

/// After an error nothing more succeeds under the same opening (law 5); whoever leads the shard is told to open it again.
fn end_writes(
    opening: &Mutex<Opening>,
    number: u64,
    failures: &mpsc::UnboundedSender<Interrupted>,
    interrupted: Interrupted,
) {
    let mut opening = lock(opening);
    if opening.number == number && opening.takes_writes {
        opening.takes_writes = false;
        // The receiver is gone only when the node stops.
        let _ = failures.send(interrupted);
    }
}

fn lock(opening: &Mutex<Opening>) -> MutexGuard<'_, Opening> {
    // An opening is a plain value, whole at any moment.
    opening.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "replica/tests.rs"]
mod tests;
