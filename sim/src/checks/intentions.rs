//! Intentions: the tries of one key put together, because a caller means one thing however often it asks. Pure.

use std::collections::BTreeMap;

use holm_core::{EntityAddress, IdempotencyKey};

use crate::history::{History, Moment, Operation, OperationId, Place};

/// Which intention a try belongs to. The same key with another command or payload is a misuse of the key and stands apart.
type Identity<'a> = (&'a EntityAddress, &'a IdempotencyKey, &'a str, u64, bool);

/// Everything that was tried for one intention, in the order of asking.
#[derive(Debug, Clone)]
pub(crate) struct Intention<'a> {
    pub(crate) tries: Vec<(OperationId, &'a Operation)>,
}

/// The intentions of a history. Reads are recorded under no key, so each read is an intention of its own.
pub(crate) fn of(history: &History) -> Vec<Intention<'_>> {
    let mut intentions: Vec<Intention<'_>> = Vec::new();
    let mut known: BTreeMap<Identity<'_>, usize> = BTreeMap::new();
    for (id, operation) in history.operations().iter().enumerate() {
        let tried = (OperationId(id), operation);
        let place = if operation.call.reads {
            intentions.len()
        } else {
            *known.entry(identity(operation)).or_insert(intentions.len())
        };
        match intentions.get_mut(place) {
            Some(intention) => intention.tries.push(tried),
            None => intentions.push(Intention { tries: vec![tried] }),
        }
    }
    intentions
}

fn identity(operation: &Operation) -> Identity<'_> {
    let call = &operation.call;
    (&call.entity, &call.key, &call.command, call.payload.digest, call.reads)
}

impl<'a> Intention<'a> {
    /// The first try; the others ask the same.
    pub(crate) fn first(&self) -> &'a Operation {
        self.tries[0].1
    }

    /// The tries that were answered by the entity, with the places that the answers name.
    pub(crate) fn answers(
        &self,
    ) -> impl Iterator<Item = (OperationId, &'a Operation, &'a Place)> + '_ {
        self.tries
            .iter()
            .filter_map(|(id, operation)| Some((*id, *operation, operation.told.place()?)))
    }

    /// Whether each try ended in an error that promises that nothing happened.
    pub(crate) fn surely_not_applied(&self) -> bool {
        self.tries.iter().all(|(_, operation)| operation.told.surely_not_applied())
    }

    /// When it was first asked; nothing happened before.
    pub(crate) fn begun(&self) -> Moment {
        self.tries.iter().map(|(_, operation)| operation.call.invoked).min().unwrap_or_default()
    }

    /// When it was first answered; whatever happened had happened by then. None while its outcome is open, which may be for ever.
    pub(crate) fn answered(&self) -> Option<Moment> {
        self.answers().filter_map(|(_, operation, _)| operation.completed).min()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = OperationId> + '_ {
        self.tries.iter().map(|(id, _)| *id)
    }
}
