//! The records of one shard in offset order, as they stand in its log: what audits and ledgers read.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use holm::{AskError, Batch, Offset, Record, SequenceNumber, ShardId, StoredEvent, StoredRecord};
use serde::Deserialize;
use serde_json::Value;

use super::cluster::served;
use super::entities::rows;
use super::problem::Problem;
use super::routes::Shared;
use super::server::Serving;
use crate::output::rfc3339;
use crate::views::{EventDocument, RecordDocument, RecordedEvent, RecordsDocument, Served};

/// Bytes of batches that are asked for at a time.
const PAGE_BYTES: usize = 1024 * 1024;

/// What must and may stand after the `?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    shard: u32,
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

impl Window {
    /// The first offset that is wanted. Behind the last number that there is stands nothing, and no log reaches it.
    pub(super) fn begin(&self) -> Offset {
        Offset(self.after.saturating_add(1))
    }
}

/// `GET /api/v1/events?shard=N&after=OFFSET&limit=`.
pub(super) async fn page(
    State(serving): Shared,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Json<Served<RecordsDocument>>, Problem> {
    let window = window.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let document = read(&serving, &window.0).await.map_err(|problem| problem.of(&serving))?;
    Ok(served(&serving, document))
}

async fn read(serving: &Arc<Serving>, window: &Window) -> Result<RecordsDocument, Problem> {
    if window.shard >= serving.holm.shards() {
        let last = serving.holm.shards().saturating_sub(1);
        return Err(Problem::not_found("unknown-shard", format!("no shard {}", window.shard))
            .next(format!("shards are 0 to {last}")));
    }
    let rows = rows(serving, window.limit)?;
    let mut records = Vec::new();
    let (mut after, mut from, mut more) = (Offset(window.after), window.begin(), false);
    while records.len() < rows && !more {
        let page = serving.holm.inspector().batches(ShardId(window.shard), from, PAGE_BYTES);
        let (begin, before) = (from, records.len());
        for bytes in page.await? {
            let batch = Batch::parse(bytes).map_err(Problem::internal)?;
            for stored in batch.records().filter(|stored| stored.offset >= begin) {
                if records.len() == rows {
                    more = true;
                    break;
                }
                (after, from) = (stored.offset, stored.offset.next());
                records.push(describe(serving, &stored)?);
            }
        }
        if records.len() == before {
            break;
        }
    }
    let more = more || records.len() == rows;
    Ok(RecordsDocument { shard: window.shard, records, next_after: after.get(), more })
}

fn describe(serving: &Serving, stored: &StoredRecord) -> Result<RecordDocument, Problem> {
    let record = stored.decode().map_err(Problem::internal)?;
    let registry = serving.holm.registry();
    let events = record.events.iter().map(|event| {
        let data = payload(event.name, registry.event_to_json(record.entity_type, event)?);
        Ok(RecordedEvent { event: event.name.to_owned(), data })
    });
    let events: Result<_, AskError> = events.collect();
    Ok(RecordDocument {
        offset: stored.offset.get(),
        entity: format!("{}/{}", record.entity_type, record.entity_id),
        base_seq: record.base.get(),
        seq: record.last_sequence().get(),
        key: record.key.to_string(),
        command: record.command.to_owned(),
        command_id: record.id.to_string(),
        at: rfc3339(record.at.as_millis()),
        rejected: matches!(record.verdict, holm::StoredVerdict::Rejected(_)),
        events: events.map_err(Problem::internal)?,
    })
}

/// What stands inside `{"Deposited":{…}}`: the name has a field of its own here.
pub(super) fn payload(name: &str, event: Value) -> Value {
    match event {
        Value::Object(mut variant) if variant.len() == 1 && variant.contains_key(name) => {
            variant.remove(name).unwrap_or_default()
        }
        Value::String(unit) if unit == name => Value::Object(serde_json::Map::new()),
        other => other,
    }
}

/// One event of one entity with what its record knows about it.
pub(super) fn describe_event(
    serving: &Serving,
    offset: Offset,
    record: &Record<'_>,
    sequence: SequenceNumber,
    event: &StoredEvent<'_>,
) -> Result<EventDocument, Problem> {
    let data = serving.holm.registry().event_to_json(record.entity_type, event);
    let data = data.map_err(Problem::internal)?;
    Ok(EventDocument {
        seq: sequence.get(),
        offset: offset.get(),
        at: rfc3339(record.at.as_millis()),
        event: event.name.to_owned(),
        data: payload(event.name, data),
        command: record.command.to_owned(),
        key: record.key.to_string(),
        command_id: record.id.to_string(),
        correlation_id: record.correlation.to_string(),
        causation_id: record.causation.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_name_of_an_event_is_not_said_twice() {
        assert_eq!(payload("Closed", json!("Closed")), json!({}));
        assert_eq!(payload("Deposited", json!({"Deposited": {"amount": 1}})), json!({"amount": 1}));
        assert_eq!(payload("Old", json!({"New": 1})), json!({"New": 1}));
    }
}
