//! Acting on failures: what was meant is let go on, asked again or given up, entity by entity, and each says what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use holm_core::{
    Answer, AskError, CommandEnvelope, EntityAddress, ErrorKind, IdempotencyKey, Timestamp, Verdict,
};
use holm_persistence::{decode, encode};

use super::books::{FailureRow, Settlement};
use super::door::{Failures, Handled, HandledOutcome, failed};
use super::log::{Kept, Settle, part_of};
use crate::engine::{RELEASE, Release, Released};
use crate::entity_ref::AskOptions;
use crate::failure::{Standing, Subject};

/// Entities of one order that are acted on at once: one for each part of the log, which has to write down what was done. An order over thousands of
/// entities then takes seconds, and leaves the shards to everybody else.
const AT_ONCE: usize = 16;

/// Tries for one step of a retry, a skip or a resume, while the shard asks for patience.
const TRIES: u32 = 20;

/// The wait between them.
const PAUSE: Duration = Duration::from_millis(50);

impl Failures {
    /// Acts on these failures, which are those that [`Failures::open`] found, and tells of each as soon as it is known what became of it. Sixteen entities
    /// are acted on at once; the failures of one entity one after the other, in the order in which they stand here.
    ///
    /// # Cancel safety
    /// When the stream is dropped, what was begun stays done, and what was not begun is left. The same order again goes on where this one was, because every
    /// step can be repeated.
    pub fn act(
        &self,
        rows: Vec<FailureRow>,
        how: Settlement,
    ) -> impl Stream<Item = Handled> + Send + use<> {
        let mut entities: BTreeMap<Subject, Vec<FailureRow>> = BTreeMap::new();
        for row in rows {
            entities.entry(row.subject.clone()).or_default().push(row);
        }
        let failures = self.clone();
        let acting =
            entities.into_values().map(move |rows| failures.clone().act_in_turn(rows, how));
        stream::iter(acting).buffer_unordered(AT_ONCE).flat_map(stream::iter)
    }

    async fn act_in_turn(self, rows: Vec<FailureRow>, how: Settlement) -> Vec<Handled> {
        let mut handled = Vec::with_capacity(rows.len());
        for row in rows {
            let outcome = match nothing_to_do(&row, how) {
                Some(reason) => HandledOutcome::Nothing { reason: reason.into() },
                None => self.settle(&row, how).await,
            };
            handled.push(Handled { row, outcome });
        }
        handled
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
        // A step of the conversation in which it failed, where one is known.
        let correlation = row.command.as_ref().map(|command| command.correlation);
        let causation = row.command.as_ref().map(|command| command.id.causes());
        let options = AskOptions { correlation, causation, ..AskOptions::with_key(key) };
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
}

/// What acting would do, as far as one can know before.
pub(super) fn rehearsed(rows: Vec<FailureRow>, how: Settlement) -> Vec<Handled> {
    let meant = |row: FailureRow| {
        let outcome = match nothing_to_do(&row, how) {
            Some(reason) => HandledOutcome::Nothing { reason: reason.into() },
            None => HandledOutcome::Meant,
        };
        Handled { row, outcome }
    };
    rows.into_iter().map(meant).collect()
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

#[cfg(test)]
mod tests;
