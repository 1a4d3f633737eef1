//! What follows from an answer: done, again later, or given up.

use holm_core::{Answer, AskError, ErrorKind, Outcome, Timestamp, Verdict};

use super::{Alarm, Outbox, Place, Step, ToDo, Undelivered, ledger, pause_after};
use crate::answered::Said;
use crate::engine::AGAIN;
use crate::failure::FailedCommand;

impl Outbox {
    /// The answer to [`ToDo::Ask`].
    pub(crate) fn answered(
        &mut self,
        now: Timestamp,
        place: Place,
        answer: Result<Answer, AskError>,
    ) {
        self.in_flight -= 1;
        let Some(entry) = self.entries.get_mut(&place) else { return };
        let error = match answer {
            Ok(answer) => {
                let said = Said::Answered(answer.verdict);
                let told = entry.step == Step::Command;
                return self.done(now, place, told.then_some(Step::Answer(said)));
            }
            Err(error) => error,
        };
        if error.outcome() == Outcome::Unknown {
            entry.doubt = Some(now);
        }
        // Said by a node of an earlier version, which another one will follow.
        let unknown_there =
            matches!(&error, AskError::UnknownCommand { command, .. } if &**command == AGAIN);
        if !unknown_there && !matches!(error.kind(), ErrorKind::Retry | ErrorKind::BackOff) {
            entry.failures = entry.failures.saturating_add(1);
        }
        let tries = self.limits.tries;
        let failures = entry.failures;
        if failures < tries {
            return self.pause(now, place);
        }
        let answering = entry.step != Step::Command;
        let in_doubt = !answering && !self.surely_not_applied(now, place, &error);
        if !in_doubt || failures == tries {
            self.report(now, place, &error);
        }
        if in_doubt {
            return self.pause(now, place);
        }
        let reason = cut(format!("given up after {failures} tries: {error}"));
        let Some(entry) = self.entries.get_mut(&place) else { return };
        if answering {
            return self.done(now, place, None);
        }
        // Until that is stored a crash would bring it back, so neither its sender hears of it nor does the next of its lane go.
        entry.step = Step::GivingUp(reason.clone());
        self.ledger.given_up(now, place, reason);
    }

    /// The answer to [`ToDo::Store`].
    pub(crate) fn stored(&mut self, now: Timestamp, answer: Result<Answer, AskError>) {
        let overtaken = match &answer {
            Ok(answer) => matches!(answer.verdict, Verdict::Rejected(_)),
            // The key of a step is that of its version: somebody else stored another step under it.
            Err(error) => matches!(error, AskError::KeyReused { .. }),
        };
        if overtaken {
            return self.outputs.push_back(ToDo::BeginAgain);
        }
        if answer.is_err() {
            let pause = pause_after(self.ledger.failed());
            self.alarms.insert((now.plus(pause), Alarm::Store));
            return;
        }
        self.claimed = true;
        for place in self.ledger.stored() {
            let Some(entry) = self.entries.get(&place) else { continue };
            let Step::GivingUp(reason) = &entry.step else { continue };
            let said = given_up_as(reason.clone());
            self.done(now, place, Some(Step::Answer(said)));
        }
    }

    fn report(&mut self, now: Timestamp, place: Place, error: &AskError) {
        let Some(entry) = self.entries.get(&place) else { return };
        let Some(letter) = &entry.letter else { return };
        let answer = match &entry.step {
            Step::Answer(said) => letter.answer(self.shard, said, now),
            _ => None,
        };
        let envelope = answer.unwrap_or_else(|| letter.envelope(self.shard, now));
        // Without its payload: whoever retried it by hand could do what its sender was told is not done.
        let command = FailedCommand { payload: None, ..FailedCommand::of(&envelope) };
        let reason = cut(format!("{} tries failed: {error}", entry.failures));
        let to = envelope.address;
        self.outputs.push_back(ToDo::Failure(Undelivered { to, command, reason }));
    }

    /// Whether a failed command can be given up with the word that nothing happened. An earlier try may have taken effect, or be under way still, or have been
    /// made by an earlier leader: then only a handler that ran and failed, later than any such try, tells that the key was not used.
    fn surely_not_applied(&self, now: Timestamp, place: Place, error: &AskError) -> bool {
        let doubt = self.entries.get(&place).and_then(|entry| entry.doubt);
        let ran = matches!(error, AskError::EntityFailed { .. } | AskError::Undecodable { .. });
        // Twice the time that a try has, because clocks differ.
        let over = self.limits.ask_timeout.saturating_mul(2);
        doubt.is_none_or(|since| ran && now.since(since) > over)
    }
}

pub(super) fn given_up_as(reason: Box<str>) -> Said {
    Said::Failed { outcome: Outcome::NotApplied, reason }
}

/// A reason as it is kept: whole characters, and not too many.
fn cut(mut reason: String) -> Box<str> {
    reason.truncate(reason.floor_char_boundary(ledger::REASON_BYTES));
    reason.into()
}
