//! One entity: its state now or at some point of its past, and its history.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use holm::{EntityAddress, ErrorKind, HistoryPage, SequenceNumber, ShardId, StoredRecord};
use serde::Deserialize;

use super::cluster::{check_type, served};
use super::problem::Problem;
use super::records::describe_event;
use super::routes::Shared;
use super::server::Serving;
use crate::output::rfc3339;
use crate::views::{EntityDocument, EventDocument, HistoryDocument, Served};

/// Records that are asked for at a time while a state is replayed.
const REPLAY_PAGE: usize = 2_000;

/// Rows of a page when the request does not say.
const DEFAULT_ROWS: usize = 100;

/// What may stand after the `?` of a state.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    at_seq: Option<u64>,
}

/// What may stand after the `?` of a history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

type Named = Result<Path<(String, String)>, PathRejection>;

/// `GET /api/v1/entities/{type}/{id}` and `…/state?at_seq=`.
pub(super) async fn entity(
    State(serving): Shared,
    named: Named,
    at: Result<Query<At>, QueryRejection>,
) -> Result<Json<Served<EntityDocument>>, Problem> {
    let at = at.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let document =
        state(&serving, named, at.0.at_seq).await.map_err(|problem| problem.of(&serving))?;
    Ok(served(&serving, document))
}

async fn state(
    serving: &Arc<Serving>,
    named: Named,
    at_seq: Option<u64>,
) -> Result<EntityDocument, Problem> {
    let address = address(serving, named)?;
    let _replay = serving.replays.try_acquire().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many states at once")
            .detail("states are being replayed already (limit concurrent_replays)")
            .kind(ErrorKind::BackOff)
    })?;
    let wanted = at_seq.map(SequenceNumber);
    let (records, newest) = replayable(serving, &address, wanted).await?;
    let highest = newest.highest;
    let sequence = wanted.unwrap_or(highest);
    if sequence > highest {
        return Err(Problem::bad_request(format!(
            "{address} has {highest} events, so there is no state at {sequence}"
        ))
        .next(format!("at_seq is 0 to {highest}")));
    }
    let last_event_at = records
        .iter()
        .rev()
        .filter_map(|record| record.decode().ok())
        .find(|record| !record.events.is_empty() && record.base < sequence)
        .map(|record| rfc3339(record.at.as_millis()));
    let shard = serving.holm.shard_of(&address);
    // `apply` of an unknown entity may take its time, and it may panic; neither is for a thread that serves others.
    let registry = serving.holm.registry().clone();
    let entity = address.to_string();
    let state = tokio::task::spawn_blocking(move || {
        registry.state_to_json(address.entity_type(), None, &records, Some(sequence))
    });
    let state = state.await.map_err(Problem::internal)?.map_err(Problem::internal)?;
    Ok(EntityDocument {
        entity,
        shard: shard.0,
        leader_name: leader_name(serving, shard),
        seq: sequence.get(),
        highest_seq: highest.get(),
        offset: newest.head.get(),
        last_event_at,
        state,
    })
}

/// All records up to the wanted event, and the last page that was read.
async fn replayable(
    serving: &Serving,
    address: &EntityAddress,
    wanted: Option<SequenceNumber>,
) -> Result<(Vec<StoredRecord>, HistoryPage), Problem> {
    let most = serving.options.limits.replayed_records;
    let (mut records, mut after) = (Vec::new(), SequenceNumber::ZERO);
    loop {
        let mut page = read(serving, address, after, REPLAY_PAGE).await?;
        let stored = page.stored_records();
        page.records.clear();
        let last = stored.last().map(|record| record.decode().map(|record| record.last_sequence()));
        records.extend(stored);
        after = match last {
            Some(last) => last.map_err(Problem::internal)?,
            None => after,
        };
        let is_enough = wanted.is_some_and(|wanted| wanted <= after);
        if is_enough || !page.more || last_page_was_empty(&page, after) {
            return Ok((records, page));
        }
        if records.len() >= most {
            return Err(Problem::internal(format!(
                "{address} has more than {most} records (limit replayed_records)"
            ))
            .next("read its history instead, or ask it with one of its own read-only commands"));
        }
    }
}

/// Every event was read: what follows changed nothing.
fn last_page_was_empty(page: &HistoryPage, after: SequenceNumber) -> bool {
    after >= page.highest
}

/// `GET /api/v1/entities/{type}/{id}/history?after=&limit=`.
pub(super) async fn history(
    State(serving): Shared,
    named: Named,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Served<HistoryDocument>>, Problem> {
    let page = page.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let document = events(&serving, named, page.0).await.map_err(|problem| problem.of(&serving))?;
    Ok(served(&serving, document))
}

async fn events(serving: &Serving, named: Named, page: Page) -> Result<HistoryDocument, Problem> {
    let address = address(serving, named)?;
    let rows = rows(serving, page.limit)?;
    let mut after = SequenceNumber(page.after);
    let mut events = Vec::new();
    // Records without events take room in a page of records and none in a page of events.
    let highest = loop {
        let (found, before) = (read(serving, &address, after, rows).await?, after);
        let full = append_events(serving, &found, &mut after, &mut events, rows)?;
        if full || !found.more || after == before {
            break found.highest;
        }
    };
    let shard = serving.holm.shard_of(&address);
    Ok(HistoryDocument {
        entity: address.to_string(),
        shard: shard.0,
        leader_name: leader_name(serving, shard),
        highest_seq: highest.get(),
        next_after: (after < highest).then_some(after.get()),
        events,
    })
}

/// Takes over the events after `after`, which moves on with them. True when the page is full.
fn append_events(
    serving: &Serving,
    found: &HistoryPage,
    after: &mut SequenceNumber,
    events: &mut Vec<EventDocument>,
    rows: usize,
) -> Result<bool, Problem> {
    for stored in found.stored_records() {
        let record = stored.decode().map_err(Problem::internal)?;
        for (step, event) in record.events.iter().enumerate() {
            let sequence = record.base.plus(step as u64 + 1);
            if sequence <= *after {
                continue;
            }
            if events.len() == rows {
                return Ok(true);
            }
            events.push(describe_event(serving, stored.offset, &record, sequence, event)?);
            *after = sequence;
        }
    }
    Ok(events.len() == rows)
}

/// Rows of a page, within the limit.
pub(super) fn rows(serving: &Serving, wanted: Option<usize>) -> Result<usize, Problem> {
    let most = serving.options.limits.page_rows;
    let wanted = wanted.unwrap_or(DEFAULT_ROWS.min(most));
    if wanted == 0 || wanted > most {
        return Err(Problem::bad_request(format!("`limit` is 1 to {most}")));
    }
    Ok(wanted)
}

fn address(serving: &Serving, named: Named) -> Result<EntityAddress, Problem> {
    let Path((entity_type, id)) = named.map_err(Problem::bad_request)?;
    check_type(serving, &entity_type)?;
    EntityAddress::new(entity_type, id).map_err(Problem::malformed_address)
}

/// A page of an entity that has at least one event.
async fn read(
    serving: &Serving,
    address: &EntityAddress,
    after: SequenceNumber,
    limit: usize,
) -> Result<HistoryPage, Problem> {
    let page = serving.holm.inspector().history(address.clone(), after, limit).await?;
    if page.highest > SequenceNumber::ZERO {
        return Ok(page);
    }
    let shard = serving.holm.shard_of(address);
    let leader = leader_name(serving, shard).unwrap_or_else(|| "its leader".to_owned());
    Err(Problem::new(StatusCode::NOT_FOUND, "unknown-entity", &format!("no entity {address}"))
        .detail(format!("no event was ever stored for it (checked shard {shard} on {leader})"))
        .next("ids are case-sensitive"))
}

fn leader_name(serving: &Serving, shard: ShardId) -> Option<String> {
    let view = serving.holm.view();
    let leader = view.shard(shard)?.leader?;
    Some(serving.name_of(leader))
}
