//! JSON at the edge: command bodies in, verdicts, events and states out.

use bytes::Bytes;
use holm_core::{AskError, SequenceNumber, Verdict};
use holm_persistence::{Snapshot, StoredEvent, StoredRecord};
use serde_json::Value;

use super::{Kind, Registry, State};
use crate::snapshot_payload;

impl Registry {
    /// A command's bytes from its JSON body.
    ///
    /// # Errors
    /// [`AskError::Undecodable`] says what is missing or wrong in the body; unknown names as [`Registry::is_read_only`].
    pub fn command_from_json(
        &self,
        entity_type: &str,
        command: &str,
        body: &Value,
    ) -> Result<Bytes, AskError> {
        let known = self.command(entity_type, command)?;
        if known.internal() {
            let reason = "it is sent by entities only, never from outside";
            return Err(undecodable(command, reason));
        }
        // Silently ignoring a body that is not an object would hide a forgotten `Content-Type` or a doubly quoted body.
        if !body.is_object() {
            let reason = format!("the body of a command is a JSON object, this is {}", form(body));
            return Err(undecodable(command, reason));
        }
        known.command_from_json(body).map_err(|reason| undecodable(command, reason))
    }

    /// A reply or a rejection as JSON.
    ///
    /// # Errors
    /// [`AskError::Undecodable`] when the bytes are not of this command.
    pub fn verdict_to_json(
        &self,
        entity_type: &str,
        command: &str,
        verdict: &Verdict,
    ) -> Result<Value, AskError> {
        let kind = self.kind(entity_type)?;
        match verdict {
            Verdict::Accepted(bytes) => kind.command(command)?.reply_json(bytes),
            Verdict::Rejected(bytes) => kind.entity.rejection_json(bytes),
        }
        .map_err(|reason| undecodable(command, reason))
    }

    /// What a rejection says to a person.
    ///
    /// # Errors
    /// [`AskError::Undecodable`] when the bytes are no rejection of this type.
    pub fn rejection_text(&self, entity_type: &str, rejection: &[u8]) -> Result<String, AskError> {
        self.kind(entity_type)?
            .entity
            .rejection_text(rejection)
            .map_err(|reason| undecodable("rejection", reason))
    }

    /// A stored event as JSON.
    ///
    /// # Errors
    /// [`AskError::Undecodable`] when no reader knows the event.
    pub fn event_to_json(
        &self,
        entity_type: &str,
        event: &StoredEvent<'_>,
    ) -> Result<Value, AskError> {
        self.kind(entity_type)?
            .entity
            .event_json(event)
            .map_err(|reason| undecodable(event.name, reason))
    }

    /// The state after the events of `records`, begun at `snapshot` or at nothing, up to and including the event `up_to`, as JSON.
    ///
    /// # Errors
    /// [`AskError::Undecodable`] when snapshot, record or event cannot be read, or `apply` panics.
    pub fn state_to_json(
        &self,
        entity_type: &str,
        snapshot: Option<&Snapshot>,
        records: &[StoredRecord],
        up_to: Option<SequenceNumber>,
    ) -> Result<Value, AskError> {
        let kind = self.kind(entity_type)?;
        let replay = || {
            let state = replay(kind, snapshot, records, up_to)?;
            kind.entity.state_json(&state)
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(replay))
            .unwrap_or_else(|panic| Err(crate::panic_text(&*panic)))
            .map_err(|reason| undecodable(entity_type, reason))
    }
}

fn replay(
    kind: &Kind,
    snapshot: Option<&Snapshot>,
    records: &[StoredRecord],
    up_to: Option<SequenceNumber>,
) -> Result<State, String> {
    let (mut state, mut sequence) = match snapshot {
        None => (kind.entity.fresh(), SequenceNumber::ZERO),
        Some(snapshot) => {
            let parts = snapshot_payload::read(&snapshot.payload).map_err(|e| e.to_string())?;
            (kind.entity.decode_state(parts.state).map_err(|e| e.to_string())?, snapshot.sequence)
        }
    };
    for stored in records {
        let record = stored.decode().map_err(|e| e.to_string())?;
        for (step, event) in record.events.iter().enumerate() {
            let at = record.base.plus(step as u64 + 1);
            if up_to.is_some_and(|last| at > last) {
                return Ok(state);
            }
            if at <= sequence {
                continue;
            }
            if at != sequence.next() {
                return Err(format!("event {} is missing", sequence.next()));
            }
            kind.entity.apply(&mut state, event).map_err(|e| format!("event {at}: {e}"))?;
            sequence = at;
        }
    }
    Ok(state)
}

fn undecodable(command: &str, reason: impl Into<Box<str>>) -> AskError {
    AskError::Undecodable { command: command.into(), reason: reason.into() }
}

fn form(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
