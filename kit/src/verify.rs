//! The run of one command, and everything that is checked about it without being asked for.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use holm_core::{
    AskError, CommandEnvelope, CommandId, EntityAddress, IdempotencyKey, Offset, SeededEntropy,
    SequenceNumber, ShardId, Term, Verdict,
};
use holm_persistence::{BatchBuilder, CodecError, Record, StoredVerdict, decode, encode};
use holm_runtime::{
    Event, Registry, Rehearsal, Rehearsed, RehearsedEvent, RehearsedReaction, UpcastError,
};
use serde::de::DeserializeOwned;

use crate::broken::Broken;
use crate::given::{Given, Past, Tested, TestedCommand};
use crate::sent::Sent;
use crate::when::{Told, When};

/// Runs the command on the given past and checks what a node relies on.
pub(crate) fn run<E: Tested, C: TestedCommand>(
    mut given: Given<E>,
    command: C,
) -> Result<When<E, C>, Broken> {
    let payload = survives::<E, C>("the command", &command)?;
    let envelope = envelope::<E>(&given.past, C::NAME, payload);
    let mut live = given.restarted()?;
    let before = encoded::<E>(&live)?;
    let first = given.execute(&mut live, &envelope);
    let second = given.execute(&mut given.restarted()?, &envelope);
    if first != second {
        return Err(Broken::Undetermined {
            entity: E::TYPE,
            command: C::NAME,
            first: shown::<E>(&first),
            second: shown::<E>(&second),
        });
    }
    given.past.commands += 1;
    let decided = match first {
        Ok(decided) => decided,
        Err(error @ AskError::UnknownCommand { .. }) => {
            return Err(Broken::NotAnswered { entity: E::TYPE, reason: error });
        }
        // As on a node: what failed leaves nothing behind.
        Err(error) => {
            let state = readable::<E, E>("the state", &before)?;
            let told = Told::Failed(error);
            let (events, sent) = (Vec::new(), Sent::nothing());
            return Ok(When { given, told, events, sent, state, rests: false });
        }
    };
    let events = decided.events.iter().map(read_event::<E>).collect::<Result<Vec<_>, _>>()?;
    let told = match &decided.verdict {
        Verdict::Accepted(reply) => Told::Replied(readable::<E, C::Reply>("the reply", reply)?),
        Verdict::Rejected(rejection) => {
            Told::Rejected(readable::<E, E::Rejection>("the rejection", rejection)?)
        }
    };
    check_handled::<E>(&decided)?;
    check_repeat::<E, C>(&envelope, &given.past, &decided)?;
    given.past.events.extend(decided.events.iter().cloned());
    check_restarts(&given, &live, &before, &decided)?;
    let state = readable::<E, E>("the state", &encoded::<E>(&live)?)?;
    let sent = Sent::new(given.past.now, &given.past.id, decided.reactions);
    Ok(When { given, told, events, sent, state, rests: decided.passivate })
}

/// What the entity sends to itself, and what it asks to be told, must be among its commands: on a node nobody would hear of it before it is sent.
fn check_handled<E: Tested>(decided: &Rehearsed) -> Result<(), Broken> {
    let registry = Registry::new().entity::<E>();
    for reaction in &decided.reactions {
        let own = (reaction.to.entity_type() == E::TYPE).then_some(&reaction.command);
        for command in own.into_iter().chain(&reaction.answered) {
            registry
                .is_read_only(E::TYPE, command)
                .map_err(|reason| Broken::NotAnswered { entity: E::TYPE, reason })?;
        }
    }
    Ok(())
}

impl<E: Tested> Given<E> {
    /// A fresh entity that lived through the past.
    fn restarted(&self) -> Result<Rehearsal, Broken> {
        self.restarted_from(self.past.snapshot.as_ref(), &self.past.events)
    }

    fn restarted_from(
        &self,
        snapshot: Option<&Bytes>,
        events: &[RehearsedEvent],
    ) -> Result<Rehearsal, Broken> {
        let registry = Registry::new().entity::<E>();
        registry.check()?;
        let mut rehearsal = registry
            .rehearse(E::TYPE, &self.past.limits)
            .map_err(|reason| Broken::NotAnswered { entity: E::TYPE, reason })?;
        if let Some(snapshot) = snapshot {
            let restored = rehearsal.restore(snapshot, SequenceNumber::ZERO);
            restored.map_err(|reason| unreadable::<E>("the state", reason))?;
        }
        for event in events {
            let applied = catch_unwind(AssertUnwindSafe(|| rehearsal.apply(&event.stored())));
            applied
                .map_err(|panic| Broken::PanickedInApply {
                    entity: E::TYPE,
                    reason: panic_text(&*panic),
                })?
                .map_err(|reason| unreadable_event::<E>(event, reason))?;
        }
        Ok(rehearsal)
    }

    fn execute(
        &self,
        rehearsal: &mut Rehearsal,
        envelope: &CommandEnvelope,
    ) -> Result<Rehearsed, AskError> {
        // Each command draws from a source of its own, so that a test is not upset by one more draw in an earlier command.
        let mut entropy = SeededEntropy::new(self.past.seed.wrapping_add(self.past.commands));
        rehearsal.execute(self.past.now, envelope, &mut entropy)
    }
}

/// The live state must be what the log adds up to, what a snapshot holds, and what a snapshot of before and the new events add up to.
fn check_restarts<E: Tested>(
    given: &Given<E>,
    live: &Rehearsal,
    before: &Bytes,
    decided: &Rehearsed,
) -> Result<(), Broken> {
    let live_state = state::<E>(live);
    let bytes = encoded::<E>(live)?;
    let restored = readable::<E, E>("the state", &bytes)?;
    if restored != *live_state {
        return Err(altered::<E>("the state", live_state, &restored));
    }
    for (restart, restarted) in [
        ("a restart from the log", given.restarted()?),
        (
            "a restart from a snapshot before the command",
            given.restarted_from(Some(before), &decided.events)?,
        ),
    ] {
        let restarted = state::<E>(&restarted);
        if restarted != live_state {
            return Err(Broken::RestartDiffers {
                entity: E::TYPE,
                restart,
                live: format!("{live_state:?}"),
                restarted: format!("{restarted:?}"),
            });
        }
    }
    Ok(())
}

/// The answer goes through a record of the log, from which a repeated key is answered.
fn check_repeat<E: Tested, C: TestedCommand>(
    envelope: &CommandEnvelope,
    past: &Past,
    decided: &Rehearsed,
) -> Result<(), Broken> {
    let verdict = match &decided.verdict {
        Verdict::Accepted(reply) => StoredVerdict::Accepted(reply),
        Verdict::Rejected(rejection) => StoredVerdict::Rejected(rejection),
    };
    let record = Record {
        entity_type: envelope.address.entity_type(),
        entity_id: envelope.address.id(),
        previous: Offset::ZERO,
        base: SequenceNumber(past.events.len() as u64),
        at: past.now,
        command: &envelope.command,
        id: envelope.id,
        correlation: envelope.correlation,
        causation: envelope.causation,
        key: envelope.key.clone(),
        fingerprint: 0,
        events: decided.events.iter().map(RehearsedEvent::stored).collect(),
        verdict,
        reactions: decided.reactions.iter().map(RehearsedReaction::stored).collect(),
    };
    let mut batch = BatchBuilder::new(ShardId(0), Term(1), Offset(1));
    let stored = batch.push(&record).map_err(|reason| unreadable::<E>("the record", reason))?;
    let batch = batch.finish();
    let same =
        batch.record(stored).is_some_and(|stored| stored.decode().is_ok_and(|it| it == record));
    if same { Ok(()) } else { Err(Broken::RepeatDiffers { entity: E::TYPE, command: C::NAME }) }
}

fn envelope<E: Tested>(past: &Past, command: &str, payload: Bytes) -> CommandEnvelope {
    let mut entropy = SeededEntropy::new(!past.seed.wrapping_add(past.commands));
    let id = CommandId::generate(past.now, &mut entropy);
    CommandEnvelope {
        address: EntityAddress::new(E::TYPE, &*past.id).unwrap_or_else(|error| panic!("{error}")),
        command: command.to_owned().into(),
        payload,
        key: IdempotencyKey::generate(&mut entropy),
        id,
        correlation: id.opens(),
        causation: id.causes(),
        deadline: past.now.plus(past.limits.ask_timeout),
    }
}

/// Encodes a value and makes sure that it comes back as it was.
fn survives<E: Tested, C: TestedCommand>(what: &str, command: &C) -> Result<Bytes, Broken> {
    let what = format!("{what} `{}`", C::NAME);
    let bytes = encode(command).map_err(|reason| unreadable::<E>(&what, reason))?;
    let after: C = readable::<E, C>(&what, &bytes)?;
    if after != *command {
        return Err(altered::<E>(&what, command, &after));
    }
    Ok(bytes)
}

fn read_event<E: Tested>(event: &RehearsedEvent) -> Result<E::Event, Broken> {
    let read: E::Event = decode(&event.payload)
        .map_err(|reason| unreadable_event::<E>(event, UpcastError::Codec(reason)))?;
    if read.name() != &*event.name {
        let reason =
            UpcastError::Unknown { name: event.name.clone(), schema_version: event.schema_version };
        return Err(unreadable_event::<E>(event, reason));
    }
    Ok(read)
}

fn readable<E: Tested, T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Broken> {
    decode(bytes).map_err(|reason| unreadable::<E>(what, reason))
}

fn encoded<E: Tested>(rehearsal: &Rehearsal) -> Result<Bytes, Broken> {
    rehearsal.encoded_state().map_err(|reason| unreadable::<E>("the state", reason))
}

fn state<E: Tested>(rehearsal: &Rehearsal) -> &E {
    rehearsal.state().expect("a rehearsal of this type holds a state of this type")
}

fn unreadable<E: Tested>(what: &str, reason: CodecError) -> Broken {
    Broken::Unreadable { entity: E::TYPE, what: what.to_owned(), reason }
}

fn unreadable_event<E: Tested>(event: &RehearsedEvent, reason: UpcastError) -> Broken {
    Broken::UnreadableEvent { entity: E::TYPE, name: event.name.clone(), reason }
}

fn altered<E: Tested>(what: &str, before: &impl Debug, after: &impl Debug) -> Broken {
    Broken::Altered {
        entity: E::TYPE,
        what: what.to_owned(),
        before: format!("{before:?}"),
        after: format!("{after:?}"),
    }
}

fn shown<E: Tested>(decided: &Result<Rehearsed, AskError>) -> String {
    let decided = match decided {
        Ok(decided) => decided,
        Err(error) => return error.to_string(),
    };
    let events: Vec<_> =
        decided.events.iter().map(read_event::<E>).filter_map(Result::ok).collect();
    format!("{events:?}, {:?}", decided.verdict)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = literal.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}
