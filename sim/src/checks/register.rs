//! G5 linearizable, judged by what callers of registers saw, with no help from the log. Pure.
//!
//! This is the checker that believes nobody: neither offsets nor sequence numbers, only questions, answers and times. Unknown outcomes stay open for
//! ever. Each register is searched on its own, since linearizability is local.

use std::collections::BTreeMap;

use holm_core::EntityAddress;
use holm_persistence::decode;
use holm_runtime::{Command, Entity};

use super::finding::{Finding, Promise};
use super::intentions::Intention;
use super::linear::{Linearized, Model, Seen, linearize};
use crate::history::{OperationId, Told};
use crate::register::{Burst, Look, Register, RegisterRejection, Shout, Swap, Write, WriteAndRest};

/// What of a register's commands bears on its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Look,
    Write { value: u64 },
    Shout { value: u64 },
    Swap { expected: u64, value: u64 },
}

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The value before the command.
    Value(u64),
    /// The swap was refused because of this value.
    Mismatch(u64),
    /// Done, and nothing more.
    Done,
}

/// An intention that bears on the value, with the operation to name when it cannot be explained.
type Heeded = (OperationId, Seen<Asked, Heard>);

/// A register as its callers know it: its state is its value.
pub(super) struct ValueModel;

impl Model for ValueModel {
    type State = u64;
    type Input = Asked;
    type Output = Heard;

    fn fresh(&self) -> u64 {
        Register::default().value
    }

    fn step(&self, &found: &u64, input: &Asked, output: Option<&Heard>) -> Option<u64> {
        let (after, heard) = match *input {
            Asked::Look => (found, Heard::Value(found)),
            Asked::Write { value } => (value, Heard::Value(found)),
            Asked::Shout { value } => (value, Heard::Done),
            Asked::Swap { expected, value } if found == expected => (value, Heard::Value(found)),
            Asked::Swap { .. } => (found, Heard::Mismatch(found)),
        };
        output.is_none_or(|output| *output == heard).then_some(after)
    }
}

/// What the searches came to.
#[derive(Debug, Default)]
pub(super) struct Searched {
    pub(super) findings: Vec<Finding>,
    /// Registers that were decided, and those that used up the budget.
    pub(super) decided: usize,
    pub(super) undecided: usize,
}

/// Searches a linearization of each register's history, in at most `budget` steps each.
pub(super) fn check(intentions: &[Intention<'_>], budget: u64) -> Searched {
    let mut registers: BTreeMap<&EntityAddress, Vec<Heeded>> = BTreeMap::new();
    for intention in intentions {
        if intention.first().call.entity.entity_type() != Register::TYPE {
            continue;
        }
        if let Some(seen) = seen(intention) {
            let id = intention.tries[0].0;
            registers.entry(&intention.first().call.entity).or_default().push((id, seen));
        }
    }
    let mut searched = Searched::default();
    for (entity, history) in registers {
        let (ids, seen): (Vec<_>, Vec<_>) = history.into_iter().unzip();
        match linearize(&ValueModel, &seen, budget) {
            Linearized::Yes => searched.decided += 1,
            Linearized::Undecided => searched.undecided += 1,
            Linearized::No { stuck } => {
                searched.decided += 1;
                let Seen { input, begun, answer } = &seen[stuck];
                let what = format!(
                    "no order explains what callers saw; none gets beyond {input:?} of {begun}, answered {answer:?}"
                );
                let finding = Finding::new(Promise::Linearizable, what).of(entity);
                searched.findings.push(finding.by([ids[stuck]]));
            }
        }
    }
    searched
}

/// The intention as the model knows it; none when it surely did nothing or has nothing to do with the value.
fn seen(intention: &Intention<'_>) -> Option<Seen<Asked, Heard>> {
    if intention.surely_not_applied() {
        return None;
    }
    let call = &intention.first().call;
    let input = asked(&call.command, call.payload.bytes()?)?;
    // A read that nobody heard about explains nothing.
    if input == Asked::Look && intention.answered().is_none() {
        return None;
    }
    let heard = intention.answers().find_map(|(_, operation, _)| heard(input, &operation.told));
    Some(Seen { input, begun: intention.begun(), answer: intention.answered().zip(heard) })
}

fn asked(command: &str, payload: &[u8]) -> Option<Asked> {
    match command {
        Look::NAME => Some(Asked::Look),
        Write::NAME => decode(payload).ok().map(|Write { value }| Asked::Write { value }),
        WriteAndRest::NAME => {
            decode(payload).ok().map(|WriteAndRest { value }| Asked::Write { value })
        }
        Shout::NAME => decode(payload).ok().map(|Shout { value, .. }| Asked::Shout { value }),
        Swap::NAME => {
            decode(payload).ok().map(|Swap { expected, value }| Asked::Swap { expected, value })
        }
        // A burst is one step, so it is as if its last value had been written. Without any it is a look.
        Burst::NAME => decode(payload).ok().map(|Burst { first, count }| match count {
            0 => Asked::Look,
            _ => Asked::Write { value: first.saturating_add(u64::from(count) - 1) },
        }),
        // What fills or poisons leaves the value alone.
        _ => None,
    }
}

fn heard(asked: Asked, told: &Told) -> Option<Heard> {
    match told {
        Told::Accepted { .. } if matches!(asked, Asked::Shout { .. }) => Some(Heard::Done),
        Told::Accepted { reply, .. } => decode(reply.bytes()?).ok().map(Heard::Value),
        Told::Rejected { rejection, .. } => {
            let RegisterRejection::Mismatch { found, .. } = decode(rejection.bytes()?).ok()?;
            Some(Heard::Mismatch(found))
        }
        Told::Open | Told::Failed { .. } => None,
    }
}
