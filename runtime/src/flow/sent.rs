//! What the steps of a flow sent: which step is a reaction, a timer or an answer, and what is still on its way. Pure.
//!
//! The ids of what an outbox sends follow from the place of the reaction in the log, so nothing need be stored for this.

use std::collections::{HashMap, HashSet};

use holm_core::{CommandId, EntityAddress, Timestamp};

use super::step::FlowStep;
use crate::outbox::{Letter, letters_in};

/// The way on which a command came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// A caller sent it: a program, a person, or an entity that asked by itself.
    Asked,
    /// An entity sent it as a reaction.
    Reaction,
    /// An entity sent it to be handled later.
    Timer,
    /// The outbox told a sender what became of its reaction.
    Answer,
}

/// A command that a step sent and that no step tells of: it is on its way, or its time has not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The place of its cause in the list of branches.
    pub parent: usize,
    /// Whom it is for.
    pub entity: EntityAddress,
    /// Its name.
    pub command: Box<str>,
    /// Not to be sent before this time; none: at once.
    pub due: Option<Timestamp>,
}

/// All that some steps sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    ways: HashMap<CommandId, Way>,
    /// With the index of the step that sent it.
    letters: Vec<(usize, CommandId, Letter)>,
}

impl Sent {
    /// A record that cannot be read sent nothing that could be shown.
    pub(super) fn by<'a>(steps: impl Iterator<Item = &'a FlowStep>) -> Self {
        let mut sent = Self::default();
        for (index, step) in steps.enumerate() {
            let letters = step.stored.as_ref().map(letters_in).and_then(Result::ok);
            for letter in letters.into_iter().flatten() {
                let id = letter.command_id(step.shard);
                let way = if letter.due.is_some() { Way::Timer } else { Way::Reaction };
                sent.ways.insert(id, way);
                if let Some(answer) = letter.answer_id(step.shard) {
                    sent.ways.insert(answer, Way::Answer);
                }
                sent.letters.push((index, id, letter));
            }
        }
        sent
    }

    /// How the command with this id came.
    pub(super) fn way(&self, id: CommandId) -> Way {
        self.ways.get(&id).copied().unwrap_or(Way::Asked)
    }

    /// What was sent and is not among the commands with these ids, in the order of the steps that sent it.
    pub(super) fn awaited(self, arrived: &HashSet<CommandId>) -> Vec<Awaited> {
        let waits = self.letters.into_iter().filter(|(_, id, _)| !arrived.contains(id));
        let describe = |(parent, _, letter): (usize, CommandId, Letter)| Awaited {
            parent,
            entity: letter.to,
            command: letter.command,
            due: letter.due,
        };
        waits.map(describe).collect()
    }
}
