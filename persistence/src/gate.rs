//! The gate of one shard: which batch may enter the log. Pure; both stores of a single node stand behind it.
//!
//! It is asked when a batch is queued, not when it is written, so that several batches can be in flight: each must follow the one queued
//! before it. After a failure nothing more enters under the same term.

use holm_core::{Offset, ShardId, Term};

use crate::batch::Batch;
use crate::shard_log::{AppendError, OpenError};

#[derive(Debug)]
pub(crate) struct Gate {
    shard: ShardId,
    /// The newest term that was asked for.
    term: Term,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody writes: never opened, or being opened.
    Shut,
    /// The next batch must begin here.
    Open { next: Offset },
    /// A write failed under this term.
    Failed { reason: String },
}

impl Gate {
    /// A gate that was last opened at `term`, perhaps by an earlier process.
    pub(crate) fn new(shard: ShardId, term: Term) -> Self {
        Self { shard, term, state: State::Shut }
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// Fences everything older than `term`; nothing enters before [`Gate::complete_open`].
    pub(crate) fn begin_open(&mut self, term: Term) -> Result<(), OpenError> {
        if term <= self.term {
            return Err(OpenError::Fenced { shard: self.shard, term, newest: self.term });
        }
        (self.term, self.state) = (term, State::Shut);
        Ok(())
    }

    /// Lets batches in behind `last`, unless a newer term was asked for meanwhile.
    pub(crate) fn complete_open(&mut self, term: Term, last: Offset) -> Result<(), OpenError> {
        if term != self.term {
            return Err(OpenError::Fenced { shard: self.shard, term, newest: self.term });
        }
        self.state = State::Open { next: last.next() };
        Ok(())
    }

    /// Lets a batch in, or says why not.
    pub(crate) fn admit(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let shard = self.shard;
        self.confirm(batch.term())?;
        let State::Open { next } = &mut self.state else { return Err(self.fenced(batch.term())) };
        let (expected, found) = (*next, batch.first());
        if found != expected {
            let reason = format!("a batch began at offset {found} instead of {expected}");
            self.state = State::Failed { reason };
            return Err(AppendError::Gap { shard, expected, found });
        }
        *next = batch.last().next();
        Ok(())
    }

    /// Ok while `term` is the newest one and its writes succeeded.
    pub(crate) fn confirm(&self, term: Term) -> Result<(), AppendError> {
        if term != self.term {
            return Err(self.fenced(term));
        }
        match &self.state {
            State::Open { .. } => Ok(()),
            State::Shut => Err(self.fenced(term)),
            State::Failed { reason } => {
                let reason = format!("an earlier write failed ({reason}); open the shard again");
                Err(AppendError::Unknown { shard: self.shard, reason })
            }
        }
    }

    /// A write under `term` failed.
    pub(crate) fn fail(&mut self, term: Term, reason: &str) {
        if term == self.term && matches!(self.state, State::Open { .. }) {
            self.state = State::Failed { reason: reason.to_owned() };
        }
    }

    fn fenced(&self, term: Term) -> AppendError {
        AppendError::Fenced { shard: self.shard, term }
    }
}
