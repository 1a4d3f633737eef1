//! Dead letters: commands that no handler ever saw. Counted where they are answered, told together now and then: a caller that sends nonsense, or too much,
//! must not make a fact of each.

use std::time::Duration;

use holm_core::{AskError, CommandEnvelope, EntityAddress, FailureId, Timestamp};

use super::{Output, ShardEngine};
use crate::failure::{FailedCommand, FailureFact, FailureKind, Subject};

/// Time between two facts about dead letters of one shard.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// The dead letters since they were last told.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    count: u64,
    /// The first of them, as an example.
    first: Option<Box<(FailedCommand, EntityAddress, Box<str>)>>,
    told: Option<Timestamp>,
}

impl DeadLetters {
    fn add(&mut self, envelope: &CommandEnvelope, error: &AskError) {
        self.count += 1;
        if self.first.is_none() {
            // It is an example, not to be asked again: its caller heard what is wrong with it.
            let command = FailedCommand { payload: None, ..FailedCommand::of(envelope) };
            let (address, reason) = (envelope.address.clone(), error.to_string().into());
            self.first = Some(Box::new((command, address, reason)));
        }
    }
}

impl<T> ShardEngine<T> {
    /// Answers a command that no handler will see.
    pub(super) fn undeliverable(&mut self, envelope: &CommandEnvelope, error: AskError, reply: T) {
        self.dead.add(envelope, &error);
        self.answer(reply, Err(error));
    }

    /// Tells of dead letters, when it was not just done.
    pub(super) fn tell_dead_letters(&mut self, now: Timestamp) {
        if self.dead.count == 0 || self.dead.told.is_some_and(|told| now.since(told) < TOLD_EVERY) {
            return;
        }
        self.dead.told = Some(now);
        let count = std::mem::take(&mut self.dead.count);
        let Some(first) = self.dead.first.take() else { return };
        let (command, address, reason) = *first;
        let id = FailureId::generate(now, &mut self.names);
        // Whoever it was for need not exist, so it is the shard's fact.
        let fact = FailureFact::new(id, FailureKind::DeadLetter, Subject::Shard(self.shard), now)
            .because(&format!("for {address}: {reason}"));
        let (node, shard, command) = (self.node, Some(self.shard), Some(command));
        let fact = FailureFact { node, shard, command, count, ..fact };
        self.outputs.push_back(Output::failure(fact));
    }
}
