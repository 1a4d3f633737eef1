//! The door to the failure log: to see what failed, and to act on it from outside of what failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::try_join_all;
use holm_core::AskError;
use serde::{Deserialize, Serialize};

use super::acting::rehearsed;
use super::books::{FailureRow, Settlement};
use super::filter::FailureFilter;
use super::log::{CountOpen, FailureLog, List, parts};
use crate::entity::{Command, NoRejection};
use crate::entity_ref::{Caller, EntityError, EntityRef};
use crate::failure::FailureKind;

/// What failed, and what can be done about it. Made by [`Failures::new`]; a program gets it from its node.
///
/// A person or another entity acts here; the entity that failed does none of it.
#[derive(Debug, Clone)]
pub struct Failures {
    pub(super) caller: Arc<Caller>,
}

/// What failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureList {
    /// By subject and kind.
    pub rows: Vec<FailureRow>,
    /// Rows that had to make room for others; their events are in the log.
    pub evicted: u64,
}

/// How much stands open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCounts {
    /// By kind: commands that wait to be asked again, entities that wait to be let go on.
    pub open: BTreeMap<FailureKind, u64>,
    /// Entities in quarantine.
    pub quarantined: u64,
    /// Rows, the settled ones included.
    pub rows: u64,
    /// Rows that had to make room for others.
    pub evicted: u64,
}

/// One failure that was meant, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// The failure.
    pub row: FailureRow,
    /// What became of it.
    pub outcome: HandledOutcome,
}

/// What became of one failure that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandledOutcome {
    /// It would be done; this was a dry run.
    Meant,
    /// It was done.
    Done,
    /// The command was asked again, and the entity refused: an answer, and the failure is settled.
    Rejected,
    /// There is nothing to do, and why.
    Nothing {
        /// Why.
        reason: Box<str>,
    },
    /// It was tried and failed; the failure stays open.
    Failed {
        /// Why.
        error: AskError,
    },
}

impl Failures {
    /// The failures of the cluster that this caller reaches.
    #[must_use]
    pub fn new(caller: Arc<Caller>) -> Self {
        Self { caller }
    }

    /// What failed and is meant by the filter, settled or not.
    ///
    /// # Errors
    /// When a part of the log cannot be asked.
    pub async fn list(&self, filter: &FailureFilter) -> Result<FailureList, AskError> {
        let pages = try_join_all(parts().map(|part| self.list_part(part, filter))).await?;
        let mut list = FailureList::default();
        for (rows, evicted) in pages {
            list.rows.extend(rows);
            list.evicted += evicted;
        }
        list.rows.sort_by(|a, b| (&a.subject, a.kind).cmp(&(&b.subject, b.kind)));
        Ok(list)
    }

    /// What an order would be about: failures that are meant, and open. [`Failures::act`] carries it out.
    ///
    /// # Errors
    /// As [`Failures::list`].
    pub async fn open(&self, filter: &FailureFilter) -> Result<Vec<FailureRow>, AskError> {
        let mut rows = self.list(filter).await?.rows;
        rows.retain(FailureRow::is_open);
        Ok(rows)
    }

    /// What an order would do, as far as one can know before.
    ///
    /// # Errors
    /// As [`Failures::list`].
    pub async fn rehearse(
        &self,
        filter: &FailureFilter,
        how: Settlement,
    ) -> Result<Vec<Handled>, AskError> {
        Ok(rehearsed(self.open(filter).await?, how))
    }

    /// How much stands open.
    ///
    /// # Errors
    /// As [`Failures::list`].
    pub async fn counts(&self) -> Result<FailureCounts, AskError> {
        let count = |part| async move { self.part(part).ask(CountOpen {}).await.map_err(failed) };
        let mut counts = FailureCounts::default();
        for part in try_join_all(parts().map(count)).await? {
            for (kind, open) in part.open {
                *counts.open.entry(kind).or_default() += open;
            }
            counts.quarantined += part.quarantined;
            counts.rows += part.rows;
            counts.evicted += part.evicted;
        }
        Ok(counts)
    }

    /// Asks the commands again that failed, each with its own key, after their entities were let go on. A command that fails again stays open.
    ///
    /// # Errors
    /// As [`Failures::list`]. What becomes of each command stands in the answer.
    ///
    /// # Cancel safety
    /// What was begun stays done; calling it again goes on where it was, because every step can be repeated.
    pub async fn retry(
        &self,
        filter: &FailureFilter,
        dry_run: bool,
    ) -> Result<Vec<Handled>, AskError> {
        self.handle(filter, Settlement::Retried, dry_run).await
    }

    /// Gives the commands up that failed, and lets their entities go on.
    ///
    /// # Errors
    /// As [`Failures::retry`].
    ///
    /// # Cancel safety
    /// As [`Failures::retry`].
    pub async fn skip(
        &self,
        filter: &FailureFilter,
        dry_run: bool,
    ) -> Result<Vec<Handled>, AskError> {
        self.handle(filter, Settlement::Skipped, dry_run).await
    }

    /// Lets entities go on that are in quarantine; the commands that failed are left to their callers.
    ///
    /// # Errors
    /// As [`Failures::retry`].
    ///
    /// # Cancel safety
    /// As [`Failures::retry`].
    pub async fn resume(
        &self,
        filter: &FailureFilter,
        dry_run: bool,
    ) -> Result<Vec<Handled>, AskError> {
        self.handle(filter, Settlement::Resumed, dry_run).await
    }

    async fn handle(
        &self,
        filter: &FailureFilter,
        how: Settlement,
        dry_run: bool,
    ) -> Result<Vec<Handled>, AskError> {
        if dry_run {
            return self.rehearse(filter, how).await;
        }
        let rows = self.open(filter).await?;
        let mut handled: Vec<_> = self.act(rows, how).collect().await;
        handled.sort_by(|a, b| (&a.row.subject, a.row.kind).cmp(&(&b.row.subject, b.row.kind)));
        Ok(handled)
    }

    async fn list_part(
        &self,
        part: String,
        filter: &FailureFilter,
    ) -> Result<(Vec<FailureRow>, u64), AskError> {
        let log = self.part(part);
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let page = log.ask(List { after }).await.map_err(failed)?;
            rows.extend(page.rows.into_iter().filter(|row| filter.wants(row)));
            match page.next {
                Some(next) => after = next,
                None => return Ok((rows, page.evicted)),
            }
        }
    }

    pub(super) fn part(&self, part: String) -> EntityRef<FailureLog> {
        EntityRef::new(Arc::clone(&self.caller), part)
    }
}

pub(super) fn failed(error: EntityError<NoRejection>) -> AskError {
    match error {
        EntityError::Failed(error) => error,
        EntityError::Rejected(never) => match never {},
        EntityError::InvalidAddress(error) => {
            AskError::Undecodable { command: List::NAME.into(), reason: error.to_string().into() }
        }
    }
}
