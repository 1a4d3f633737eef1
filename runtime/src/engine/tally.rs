//! How long commands took, counted in plain integers by command and outcome; the shell publishes and empties it now and then.
//!
//! The time runs from the execution of a command to its answer: what the log took. Milliseconds fall into classes that double in width, which is
//! as fine as the published buckets are.

use std::time::Duration;

use holm_core::Timestamp;

/// 0 ms, 1 ms, 2-3 ms, 4-7 ms, ... 16 s and more.
const CLASSES: usize = 16;

/// Names a command of a shard's registry: the index of its entity type and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommandIndex {
    pub(super) kind: u16,
    pub(super) command: u16,
}

impl CommandIndex {
    /// No command of a registry: what Holm itself sends to an entity is not counted.
    pub(super) const NONE: Self = Self { kind: u16::MAX, command: 0 };
}

/// The counts since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Tally {
    kinds: Vec<Vec<[Counts; 2]>>,
}

type Counts = [u32; CLASSES];

/// Some commands of one kind that took about as long as each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// The entity type.
    pub entity_type: &'static str,
    /// The command.
    pub command: &'static str,
    /// Whether the entity refused.
    pub rejected: bool,
    /// About how long each took.
    pub took: Duration,
    /// How many there were.
    pub count: u32,
}

impl Tally {
    /// Counts one command.
    pub(super) fn count(
        &mut self,
        index: CommandIndex,
        rejected: bool,
        begun: Timestamp,
        now: Timestamp,
    ) {
        if index == CommandIndex::NONE {
            return;
        }
        let (kind, command) = (usize::from(index.kind), usize::from(index.command));
        let known = self.kinds.get_mut(kind).and_then(|commands| commands.get_mut(command));
        let Some(outcomes) = known else {
            self.make_room(kind, command);
            return self.count(index, rejected, begun, now);
        };
        let ms = now.as_millis().saturating_sub(begun.as_millis());
        let class = (u64::BITS - ms.leading_zeros()) as usize;
        let counted = &mut outcomes[usize::from(rejected)][class.min(CLASSES - 1)];
        *counted = counted.saturating_add(1);
    }

    #[cold]
    fn make_room(&mut self, kind: usize, command: usize) {
        let kinds = self.kinds.len().max(kind + 1);
        self.kinds.resize_with(kinds, Vec::new);
        let commands = self.kinds[kind].len().max(command + 1);
        self.kinds[kind].resize(commands, <[Counts; 2]>::default());
    }

    /// Gives every count that is not zero to `take` and begins anew.
    pub(super) fn drain(&mut self, mut take: impl FnMut(CommandIndex, bool, Duration, u32)) {
        for (kind, commands) in self.kinds.iter_mut().enumerate() {
            for (command, outcomes) in commands.iter_mut().enumerate() {
                for (rejected, counts) in outcomes.iter_mut().enumerate() {
                    for (class, count) in
                        counts.iter_mut().enumerate().filter(|(_, count)| **count > 0)
                    {
                        let index = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
                        let at = CommandIndex { kind: index(kind), command: index(command) };
                        take(at, rejected == 1, middle(class), std::mem::take(count));
                    }
                }
            }
        }
    }
}

/// The middle of a class.
fn middle(class: usize) -> Duration {
    match class {
        0 => Duration::from_micros(500),
        class => Duration::from_micros(1_500 << (class - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_classes_and_are_taken_once() {
        let mut tally = Tally::default();
        let index = CommandIndex { kind: 1, command: 2 };
        for ms in [0, 1, 2, 3, 3, 1_000_000] {
            tally.count(index, ms == 0, Timestamp::EPOCH, Timestamp::from_millis(ms));
        }
        let mut taken = Vec::new();
        tally
            .drain(|at, rejected, took, count| taken.push((at, rejected, took.as_micros(), count)));
        assert_eq!(
            taken,
            [
                (index, false, 1_500, 1),
                (index, false, 3_000, 3),
                (index, false, 24_576_000, 1),
                (index, true, 500, 1)
            ]
        );
        tally.drain(|_, _, _, _| panic!("nothing is left"));
    }
}
