//! G5 and G10: every reply says what the state was at its place. The commands are decided again, by the handlers themselves. Pure.
//!
//! The order of an entity's commands stands in its log. So its whole life is rehearsed: each command whose bytes the history kept must decide on the stored
//! events and the stored answer, and each read must be answered as its caller was told. Handlers that draw randomness cannot be rehearsed; none of
//! the entities that are judged here does.

use std::collections::BTreeMap;

use holm_core::{
    CausationId, CommandEnvelope, CommandId, CorrelationId, EntityAddress, IdempotencyKey, Limits,
    Offset, SeededEntropy, Timestamp, Verdict,
};
use holm_persistence::StoredEvent;
use holm_runtime::{Registry, Rehearsal, Rehearsed};

use super::contained;
use super::finding::{Finding, Promise};
use super::intentions::Intention;
use super::logs::{Entry, Logs};
use crate::history::{Call, Content, Operation, OperationId, SeenEvent, SeenRecord, Told};

/// A life and what its callers were told.
#[derive(Default)]
struct Witnesses<'a> {
    /// The request under each key.
    calls: BTreeMap<&'a IdempotencyKey, Vec<&'a Call>>,
    /// The reads that saw the record at an offset.
    reads: BTreeMap<Offset, Vec<(OperationId, &'a Operation)>>,
}

/// Rehearses every entity whose type is registered.
pub(super) fn check(
    intentions: &[Intention<'_>],
    logs: &Logs<'_>,
    registry: &Registry,
    limits: &Limits,
) -> Vec<Finding> {
    let mut witnesses: BTreeMap<&EntityAddress, Witnesses<'_>> = BTreeMap::new();
    for intention in intentions {
        let call = &intention.first().call;
        let of_entity = witnesses.entry(&call.entity).or_default();
        if call.reads {
            for (id, operation, place) in intention.answers() {
                of_entity.reads.entry(place.offset).or_default().push((id, operation));
            }
        } else {
            of_entity.calls.entry(&call.key).or_default().push(call);
        }
    }
    let mut findings = Vec::new();
    for (entity, witnesses) in &witnesses {
        let Ok(rehearsal) = registry.rehearse(entity.entity_type(), limits) else { continue };
        let mut life = Life { entity, rehearsal, findings: Vec::new() };
        life.live(logs.history_of(entity), witnesses);
        findings.append(&mut life.findings);
    }
    findings
}

struct Life<'a> {
    entity: &'a EntityAddress,
    rehearsal: Rehearsal,
    findings: Vec<Finding>,
}

impl Life<'_> {
    fn live(&mut self, history: &[Entry<'_>], witnesses: &Witnesses<'_>) {
        self.read(Offset::ZERO, Timestamp::EPOCH, witnesses);
        for entry in history {
            let record = entry.record;
            let requests = witnesses.calls.get(&record.key);
            let request = requests.and_then(|calls| calls.iter().find(|call| is_of(call, record)));
            let lived = match request.and_then(|call| call.payload.bytes()) {
                Some(payload) => self.decide_again(entry, payload),
                // Nobody can go on from here, except who decided it.
                None if contained::is_cursed(record) => return,
                None => self.apply(record),
            };
            if let Err(what) = lived {
                let finding = Finding::new(Promise::Deterministic, what).of(self.entity);
                self.findings.push(finding.at(entry.shard, entry.offset));
                // From here on the rehearsed state is another one, and would accuse the innocent.
                return;
            }
            self.read(entry.offset, record.at, witnesses);
        }
    }

    fn decide_again(&mut self, entry: &Entry<'_>, payload: &[u8]) -> Result<(), String> {
        let record = entry.record;
        let decided = self.execute(&record.command, &record.key, payload, record.at)?;
        let same_event = |(decided, stored): (&holm_runtime::RehearsedEvent, &SeenEvent)| {
            decided.name == stored.name && decided.payload == stored.payload
        };
        let events = decided.events.len() == record.events.len()
            && decided.events.iter().zip(&record.events).all(same_event);
        if !events {
            return Err(format!("`{}` decides on other events than the stored", record.command));
        }
        let (rejected, verdict) = match &decided.verdict {
            Verdict::Accepted(reply) => (false, reply),
            Verdict::Rejected(rejection) => (true, rejection),
        };
        if rejected != record.rejected || verdict != &record.verdict {
            return Err(format!("`{}` is answered otherwise than stored", record.command));
        }
        Ok(())
    }

    fn apply(&mut self, record: &SeenRecord) -> Result<(), String> {
        for event in &record.events {
            let SeenEvent { name, schema_version, payload } = event;
            let stored = StoredEvent { name, schema_version: *schema_version, payload };
            self.rehearsal.apply(&stored).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn read(&mut self, offset: Offset, at: Timestamp, witnesses: &Witnesses<'_>) {
        for (id, operation) in witnesses.reads.get(&offset).into_iter().flatten() {
            let call = &operation.call;
            let Some(payload) = call.payload.bytes() else { continue };
            let what = match self.execute(&call.command, &call.key, payload, at) {
                Ok(decided) if tells(&operation.told, &decided.verdict) => continue,
                Ok(_) => {
                    format!("`{}` was answered with something that was not so there", call.command)
                }
                Err(error) => error,
            };
            let finding = Finding::new(Promise::Linearizable, what).of(self.entity).by([*id]);
            let place = operation.told.place().map(|place| (place.shard, place.offset));
            self.findings.push(Finding { place, ..finding });
        }
    }

    fn execute(
        &mut self,
        command: &str,
        key: &IdempotencyKey,
        payload: &[u8],
        at: Timestamp,
    ) -> Result<Rehearsed, String> {
        let envelope = CommandEnvelope {
            address: self.entity.clone(),
            command: command.to_owned().into(),
            payload: payload.to_vec().into(),
            key: key.clone(),
            id: CommandId::default(),
            correlation: CorrelationId::default(),
            causation: CausationId::default(),
            deadline: at,
        };
        let decided = self.rehearsal.execute(at, &envelope, &mut SeededEntropy::new(0));
        decided
            .map_err(|error| format!("a command that went well fails when it runs again: {error}"))
    }
}

fn is_of(call: &Call, record: &SeenRecord) -> bool {
    call.command == record.command
        && call.fingerprint.is_some_and(|fingerprint| fingerprint == record.fingerprint)
}

fn tells(told: &Told, verdict: &Verdict) -> bool {
    match (told, verdict) {
        (Told::Accepted { reply, .. }, Verdict::Accepted(bytes)) => *reply == Content::of(bytes),
        (Told::Rejected { rejection, .. }, Verdict::Rejected(bytes)) => {
            *rejection == Content::of(bytes)
        }
        _ => false,
    }
}
