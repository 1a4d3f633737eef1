//! The end of an engine: everybody who waits is told.

use holm_core::{AskError, Outcome};

use super::recovery::Abandoned;
use super::slots::Slots;
use super::{Output, Phase, ShardEngine};

impl<T> ShardEngine<T> {
    /// Ends once; what was written and not confirmed is called unknown, what was not begun is called not applied.
    pub(super) fn end(&mut self, reason: &str) {
        if matches!(self.phase, Phase::Over { .. }) {
            return;
        }
        let was_draining = self.phase == Phase::Draining;
        self.phase = Phase::Over { reason: reason.into() };
        let Abandoned { held, mut doubted, repeats } = self.recoveries.abandon();
        for waiting in self.pipeline.abandon() {
            self.take_back(waiting.facts);
            doubted.extend(waiting.doubted.into_iter().map(|doubted| doubted.reply));
            let replies = waiting.parked.into_iter().filter_map(|parked| parked.reply);
            let repeats = waiting.repeats.into_iter().map(|repeat| repeat.reply);
            for reply in replies.chain(repeats) {
                self.answer(reply, Err(AskError::Interrupted { reason: reason.into() }));
            }
        }
        for repeat in repeats {
            self.answer(repeat.reply, Err(AskError::Interrupted { reason: reason.into() }));
        }
        let reads = self.confirmations.abandon().into_iter().filter_map(|read| read.reply);
        for reply in held.into_iter().chain(doubted).chain(reads) {
            let (shard, outcome) = (self.shard, Outcome::NotApplied);
            let reason = reason.into();
            self.answer(reply, Err(AskError::Unavailable { shard, reason, outcome }));
        }
        self.repeating = 0;
        self.slots = Slots::new();
        self.last_step = None;
        if was_draining {
            self.outputs.push_back(Output::Drained);
        }
    }
}
