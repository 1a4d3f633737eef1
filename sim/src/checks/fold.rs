//! G10 deterministic: the same log gives the same state, and a snapshot holds what its events add up to. Pure.

use std::collections::BTreeMap;

use holm_core::{CausationId, CommandId, CorrelationId, EntityAddress, SequenceNumber};
use holm_persistence::{
    CodecError, Record, Snapshot, StoredEvent, StoredRecord, StoredVerdict, encode,
};
use holm_runtime::Registry;
use serde_json::Value;

use super::contained;
use super::finding::{Finding, Promise};
use super::logs::{Entry, Logs};
use crate::history::{History, SeenRecord, SeenSnapshot};

/// Replays every entity twice, and once more from each of its snapshots.
pub(super) fn check(history: &History, logs: &Logs<'_>, registry: &Registry) -> Vec<Finding> {
    let mut snapshots: BTreeMap<&EntityAddress, Vec<&SeenSnapshot>> = BTreeMap::new();
    for snapshot in history.snapshots() {
        snapshots.entry(&snapshot.entity).or_default().push(snapshot);
    }
    let mut findings = Vec::new();
    for (entity, snapshots) in &snapshots {
        if logs.history_of(entity).is_empty() {
            let what = format!("node {} has a snapshot and no log a record", snapshots[0].node);
            findings.push(Finding::new(Promise::Deterministic, what).of(entity));
        }
    }
    // What cannot be replayed is judged by the checker of that.
    let replayable = logs.entities().filter(|(_, it)| contained::cursed_at(it).is_none());
    for (entity, entries) in replayable {
        let snapshots = snapshots.get(entity).map_or(&[][..], Vec::as_slice);
        let replay = Replay { registry, entity, entries };
        match replay.problems(snapshots) {
            Ok(problems) => findings.extend(problems),
            Err(reason) => {
                let what = format!("the history cannot be replayed: {reason}");
                findings.push(Finding::new(Promise::Deterministic, what).of(entity));
            }
        }
    }
    findings
}

struct Replay<'a> {
    registry: &'a Registry,
    entity: &'a EntityAddress,
    entries: &'a [Entry<'a>],
}

impl Replay<'_> {
    fn problems(&self, snapshots: &[&SeenSnapshot]) -> Result<Vec<Finding>, String> {
        let records = self.records().map_err(|error| error.to_string())?;
        let mut findings = Vec::new();
        let state = self.state(None, &records, None)?;
        if self.state(None, &records, None)? != state {
            let what = "the same log gave two states";
            findings.push(Finding::new(Promise::Deterministic, what).of(self.entity));
        }
        for seen in snapshots {
            findings.extend(self.judge(seen, &records, &state)?);
        }
        Ok(findings)
    }

    fn judge(
        &self,
        seen: &SeenSnapshot,
        records: &[StoredRecord],
        state: &Value,
    ) -> Result<Option<Finding>, String> {
        let last = self.entries.last().map(|entry| entry.record.last_sequence());
        let found = |what: String| {
            let finding = Finding::new(Promise::Deterministic, what).of(self.entity);
            Some(match self.entries.first() {
                Some(entry) => finding.at(entry.shard, seen.offset),
                None => finding,
            })
        };
        let (node, sequence) = (seen.node, seen.sequence);
        if last.is_none_or(|last| sequence > last) {
            return Ok(found(format!(
                "node {node} has a snapshot after event {sequence}, which no log has"
            )));
        }
        let snapshot =
            Snapshot { sequence, offset: seen.offset, at: seen.at, payload: seen.payload.clone() };
        if self.state(Some(&snapshot), &[], None)? != self.state(None, records, Some(sequence))? {
            return Ok(found(format!(
                "the snapshot of node {node} after event {sequence} is not what the events add up to"
            )));
        }
        if self.state(Some(&snapshot), records, None)? != *state {
            return Ok(found(format!(
                "recovery from the snapshot of node {node} after event {sequence} ends in another state"
            )));
        }
        Ok(None)
    }

    fn state(
        &self,
        snapshot: Option<&Snapshot>,
        records: &[StoredRecord],
        up_to: Option<SequenceNumber>,
    ) -> Result<Value, String> {
        let entity_type = self.entity.entity_type();
        let state = self.registry.state_to_json(entity_type, snapshot, records, up_to);
        state.map_err(|error| error.to_string())
    }

    fn records(&self) -> Result<Vec<StoredRecord>, CodecError> {
        self.entries
            .iter()
            .map(|entry| {
                Ok(StoredRecord { offset: entry.offset, bytes: encode(&stored(entry.record))? })
            })
            .collect()
    }
}

/// The record as it stood in the log, but for where its command came from and what was sent because of it, which no state depends on.
fn stored(record: &SeenRecord) -> Record<'_> {
    let events = record.events.iter().map(|event| StoredEvent {
        name: &event.name,
        schema_version: event.schema_version,
        payload: &event.payload,
    });
    Record {
        entity_type: record.entity.entity_type(),
        entity_id: record.entity.id(),
        previous: record.previous,
        base: record.base,
        at: record.at,
        command: &record.command,
        id: CommandId::default(),
        correlation: CorrelationId::default(),
        causation: CausationId::default(),
        key: record.key.clone(),
        fingerprint: record.fingerprint,
        events: events.collect(),
        verdict: if record.rejected {
            StoredVerdict::Rejected(&record.verdict)
        } else {
            StoredVerdict::Accepted(&record.verdict)
        },
        reactions: Vec::new(),
    }
}
