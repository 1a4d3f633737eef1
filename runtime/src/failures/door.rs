//! The door to the failure log: to see what failed, and to act on it from outside of what failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use holm_core::{
    Answer, AskError, CommandEnvelope, EntityAddress, ErrorKind, IdempotencyKey, Timestamp, Verdict,
};
use holm_persistence::{decode, encode};
use serde::{Deserialize, Serialize};

use super::books::{FailureRow, Settlement};
use super::filter::FailureFilter;
use super::log::{CountOpen, FailureLog, Kept, List, Settle, part_of, parts};
use crate::engine::{RELEASE, Release, Released};
use crate::entity::{Command, NoRejection};
use crate::entity_ref::{AskOptions, Caller, EntityError, EntityRef};
use crate::failure::{FailureKind, Standing, Subject};

/// Tries for one step of a retry, a skip or a resume, while the shard asks for patience.
const TRIES: u32 = 20;

/// The wait between them.
const PAUSE: Duration = Duration::from_millis(50);

/// What failed, and what can be done about it. Made by [`Failures::new`]; a program gets it from its node.
///
/// A person or another entity acts here; the entity that failed does none of it.
#[derive(Debug, Clone)]
pub struct Failures {
    caller: Arc<Caller>,
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

    /// One after the other: an entity that fails again while others are let go on is seen in its place.
    async fn handle(
        &self,
        filter: &FailureFilter,
        how: Settlement,
        dry_run: bool,
    ) -> Result<Vec<Handled>, AskError> {
        let mut handled = Vec::new();
        for row in self.list(filter).await?.rows.into_iter().filter(FailureRow::is_open) {
            let outcome = match (nothing_to_do(&row, how), dry_run) {
                (Some(reason), _) => HandledOutcome::Nothing { reason: reason.into() },
                (None, true) => HandledOutcome::Meant,
                (None, false) => self.settle(&row, how).await,
            };
            handled.push(Handled { row, outcome });
        }
        Ok(handled)
    }

    async fn settle(&self, row: &FailureRow, how: Settlement) -> HandledOutcome {
        let Subject::Entity(address) = &row.subject else {
            return HandledOutcome::Nothing { reason: "it is no entity".into() };
        };
        // Read before anything is let go on: a failure that comes then would take its place.
        let envelope = match how {
            Settlement::Retried => match self.kept(row, address).await {
                Ok(Some(envelope)) => Some(envelope),
                Ok(None) => {
                    let reason = "its command is too long to be kept; let its caller ask again";
                    return HandledOutcome::Nothing { reason: reason.into() };
                }
                Err(error) => return HandledOutcome::Failed { error },
            },
            _ => None,
        };
        if let Err(outcome) = self.let_go_on(row, address).await {
            return outcome;
        }
        let outcome = match envelope {
            None => HandledOutcome::Done,
            Some(envelope) => match self.patiently(envelope).await {
                Ok(Answer { verdict: Verdict::Accepted(_), .. }) => HandledOutcome::Done,
                Ok(Answer { verdict: Verdict::Rejected(_), .. }) => HandledOutcome::Rejected,
                Err(error) => return HandledOutcome::Failed { error },
            },
        };
        let FailureRow { subject, kind, failure, .. } = row.clone();
        match self.part(part_of(&subject)).ask(Settle { subject, kind, failure, how }).await {
            Ok(true) => outcome,
            Ok(false) => HandledOutcome::Nothing { reason: "it failed again meanwhile".into() },
            Err(error) => HandledOutcome::Failed { error: failed(error) },
        }
    }

    /// Lifts the quarantine, or ends the back-off.
    async fn let_go_on(
        &self,
        row: &FailureRow,
        address: &EntityAddress,
    ) -> Result<(), HandledOutcome> {
        let told = |error| HandledOutcome::Failed { error };
        let undecodable = |error: holm_persistence::CodecError| AskError::Undecodable {
            command: RELEASE.into(),
            reason: error.to_string().into(),
        };
        let payload = encode(&Release { failure: row.failure });
        let payload = payload.map_err(|error| told(undecodable(error)))?;
        let key = IdempotencyKey::new(&format!("release-{}", row.failure))
            .expect("an id in text is short and printable");
        let options = AskOptions::with_key(key);
        let envelope = self.caller.envelope(address.clone(), RELEASE, payload, options);
        match self.patiently(envelope).await.map_err(told)?.verdict {
            Verdict::Accepted(bytes) => match decode(&bytes) {
                Ok(Released::Lifted | Released::WasFree) => Ok(()),
                Ok(Released::Another { failure }) => Err(HandledOutcome::Nothing {
                    reason: format!("it is in quarantine for another failure, {failure}").into(),
                }),
                Err(error) => Err(told(undecodable(error))),
            },
            Verdict::Rejected(_) => Err(HandledOutcome::Nothing { reason: "it refuses".into() }),
        }
    }

    /// The command that failed, as its caller sent it, with a deadline of now.
    async fn kept(
        &self,
        row: &FailureRow,
        address: &EntityAddress,
    ) -> Result<Option<CommandEnvelope>, AskError> {
        let FailureRow { subject, kind, failure, .. } = row.clone();
        let kept = self.part(part_of(&subject)).ask(Kept { subject, kind, failure }).await;
        let Some(command) = kept.map_err(failed)? else { return Ok(None) };
        let (Some(payload), Ok(key)) = (command.payload, IdempotencyKey::new(&command.key)) else {
            return Ok(None);
        };
        let options = AskOptions {
            key: Some(key),
            correlation: Some(command.correlation),
            causation: Some(command.causation),
            ..AskOptions::default()
        };
        let payload = Bytes::copy_from_slice(&payload);
        let envelope =
            self.caller.envelope(address.clone(), String::from(&*command.name), payload, options);
        Ok(Some(CommandEnvelope { id: command.id, ..envelope }))
    }

    /// Asks until there is an answer; every try is the same but for its deadline.
    async fn patiently(&self, envelope: CommandEnvelope) -> Result<Answer, AskError> {
        let sent: Timestamp = self.caller.now();
        let patience = envelope.deadline.since(sent);
        let mut tries = TRIES;
        loop {
            let deadline = self.caller.now().plus(patience);
            let error =
                match self.caller.ask(CommandEnvelope { deadline, ..envelope.clone() }).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
            tries -= 1;
            if tries == 0 || !matches!(error.kind(), ErrorKind::Retry | ErrorKind::BackOff) {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
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

    fn part(&self, part: String) -> EntityRef<FailureLog> {
        EntityRef::new(Arc::clone(&self.caller), part)
    }
}

fn nothing_to_do(row: &FailureRow, how: Settlement) -> Option<&'static str> {
    match how {
        Settlement::Resumed if row.standing != Standing::Quarantined => {
            Some("it is in no quarantine")
        }
        Settlement::Retried if row.command.is_none() => Some("no command failed; resume it"),
        _ => None,
    }
}

fn failed(error: EntityError<NoRejection>) -> AskError {
    match error {
        EntityError::Failed(error) => error,
        EntityError::Rejected(never) => match never {},
        EntityError::InvalidAddress(error) => {
            AskError::Undecodable { command: List::NAME.into(), reason: error.to_string().into() }
        }
    }
}
