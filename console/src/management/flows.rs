//! Flows: everything that one conversation led to, and the newest conversations.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use holm::bus::FeedError;
use holm::flow::{
    Awaited, Branch, Flow, FlowSearch, Found, Move, Origin, StepOutcome, Way, Window,
    cluster_facts_since, first_sent, latest, moves,
};
use holm::{
    ClusterView, CorrelationId, EntityAddress, ErrorKind, Registry, StoredVerdict, shard_of,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use super::cluster::{check_type, served};
use super::problem::Problem;
use super::records::payload;
use super::routes::Shared;
use super::server::Serving;
use crate::output::rfc3339;
use crate::views::{
    AwaitedDocument, ConversationDocument, FlowDocument, FlowStepDocument, FlowsDocument,
    MoveDocument, RecordedEvent, SearchedDocument, Served,
};

/// Time for a search when the request does not say.
const DEFAULT_SEARCH: Duration = Duration::from_secs(20);

/// Time for what happened to the cluster meanwhile, which a flow is shown without when its shard does not answer.
const MOVES_TIMEOUT: Duration = Duration::from_secs(2);

/// Conversations of a list when the request does not say, and the most.
const DEFAULT_CONVERSATIONS: usize = 10;
const MOST_CONVERSATIONS: usize = 100;

/// What may stand after the `?` of a flow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    #[serde(default)]
    everything: bool,
    timeout_ms: Option<u64>,
}

/// What may stand after the `?` of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    entity_type: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/flows?entity_type=&limit=`.
pub(super) async fn newest(
    State(serving): Shared,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Served<FlowsDocument>>, Problem> {
    let Query(wanted) = wanted.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let document = list(&serving, wanted).await.map_err(|problem| problem.of(&serving))?;
    Ok(served(&serving, document))
}

async fn list(serving: &Serving, wanted: Wanted) -> Result<FlowsDocument, Problem> {
    if let Some(entity_type) = &wanted.entity_type {
        check_type(serving, entity_type)?;
    }
    let limit = wanted.limit.unwrap_or(DEFAULT_CONVERSATIONS);
    if limit == 0 || limit > MOST_CONVERSATIONS {
        return Err(Problem::bad_request(format!("`limit` is 1 to {MOST_CONVERSATIONS}")));
    }
    let _search = permit(serving)?;
    let inspector = Arc::clone(serving.holm.inspector());
    let found = latest(inspector, serving.holm.shards(), wanted.entity_type, limit);
    let found = tokio::time::timeout(DEFAULT_SEARCH, found).await.map_err(|_| unfinished())?;
    let flows = found.map_err(|error| match error {
        FeedError::Unreadable { source, .. } => Problem::from(source),
        other => Problem::internal(other),
    })?;
    let describe = |it: &holm::flow::Conversation| ConversationDocument {
        correlation_id: it.id.to_string(),
        at: rfc3339(it.at.as_millis()),
        entity: it.entity.to_string(),
        command: it.command.to_string(),
    };
    Ok(FlowsDocument { flows: flows.iter().map(describe).collect() })
}

/// `GET /api/v1/flows/{correlation_id}?everything=&timeout_ms=`.
pub(super) async fn flow(
    State(serving): Shared,
    id: Result<Path<String>, PathRejection>,
    how: Result<Query<How>, QueryRejection>,
) -> Result<Json<Served<FlowDocument>>, Problem> {
    let Path(id) = id.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let Query(how) = how.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let document = find(&serving, &id, &how).await.map_err(|problem| problem.of(&serving))?;
    Ok(served(&serving, document))
}

async fn find(serving: &Serving, id: &str, how: &How) -> Result<FlowDocument, Problem> {
    let id: CorrelationId = id.parse().map_err(|error| {
        Problem::bad_request(format!("`{id}` is no correlation id: {error}"))
            .next("it is a UUID; `holm send` prints it, and GET /api/v1/flows lists the newest")
    })?;
    let longest = serving.options.limits.longest_search;
    let patience = how.timeout_ms.map_or(DEFAULT_SEARCH.min(longest), Duration::from_millis);
    if patience.is_zero() || patience > longest {
        return Err(Problem::bad_request(format!("`timeout_ms` is 1 to {}", longest.as_millis())));
    }
    let window = if how.everything { None } else { Window::around(id) };
    let _search = permit(serving)?;
    let inspector = Arc::clone(serving.holm.inspector());
    let searched = window.unwrap_or_else(Window::everything);
    let search = FlowSearch::new(inspector, serving.holm.shards(), id, searched);
    // Whoever wants everything wants what the logs say, whatever an index does.
    let mut search = if how.everything { search.reading_all() } else { search };
    // When time is up, what was found is shown, and the document says that it is not all.
    let _ = tokio::time::timeout(patience, search.run()).await;
    let found = search.finish();
    if found.gathered.steps.is_empty() {
        return Err(nothing(id, window, &found));
    }
    // Upcasters and the texts of rejections are code of the entities: it may take its time, and not on a thread that serves others.
    let how = (window, how.everything);
    let around = Arc::new(Around {
        registry: serving.holm.registry().clone(),
        view: serving.holm.view(),
        shards: serving.holm.shards(),
    });
    let there = Arc::clone(&around);
    let described = tokio::task::spawn_blocking(move || describe(&there, id, how, found));
    let (mut document, flow) = described.await.map_err(Problem::internal)?;
    let facts = cluster_facts_since(serving.holm.inspector(), first_sent(&flow));
    match tokio::time::timeout(MOVES_TIMEOUT, facts).await {
        Ok(Ok((facts, all))) => {
            let moves = moves(&flow, &facts);
            document.moves = moves.iter().map(|it| around.moved(&flow, it)).collect();
            document.moves_unknown = !all;
        }
        Ok(Err(_)) | Err(_) => document.moves_unknown = true,
    }
    Ok(document)
}

fn permit(serving: &Serving) -> Result<SemaphorePermit<'_>, Problem> {
    serving.searches.try_acquire().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many searches at once")
            .detail("logs are being searched already (limit concurrent_searches)")
            .kind(ErrorKind::BackOff)
            .next("wait a moment, or ask another node")
    })
}

fn unfinished() -> Problem {
    let title = "the search did not reach the end";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "search-unfinished", title)
        .kind(ErrorKind::BackOff)
}

fn nothing(id: CorrelationId, window: Option<Window>, found: &Found) -> Problem {
    let (records, unread) = (found.records, found.unread.len());
    if found.unfinished > 0 || unread > 0 {
        return unfinished()
            .detail(format!(
                "{id} is not in the {records} records that were read; {unread} shards could not be read, and for {} the time was too short",
                found.unfinished
            ))
            .next("search longer with ?timeout_ms=, or again when `holm status` shows all shards serving");
    }
    let problem = Problem::not_found("unknown-flow", format!("no record belongs to {id}"));
    match window {
        Some(Window { from, until }) => problem
            .detail(format!(
                "none of the {records} records from {} to {} belongs to {id}",
                rfc3339(from.as_millis()),
                rfc3339(until.as_millis())
            ))
            .next("search everything with ?everything=true or `holm flow --everything`; reads leave no record"),
        None => problem.next("reads leave no record, and a command that is repeated leaves none of its own"),
    }
}

/// What a document needs besides the records.
struct Around {
    registry: Registry,
    view: Arc<ClusterView>,
    shards: u32,
}

impl Around {
    /// A node by its name; one that left long ago by its number.
    fn node(&self, id: holm::NodeId) -> String {
        self.view.member(id).map_or_else(|| format!("node {id}"), |member| member.name.clone())
    }

    fn moved(&self, flow: &Flow, it: &Move) -> MoveDocument {
        MoveDocument {
            shard: it.shard.0,
            from: self.node(it.from),
            to: self.node(it.to),
            at: rfc3339(it.at.as_millis()),
            after_ms: millis(it.at.since(flow.began().unwrap_or_default())),
            step: it.step,
        }
    }

    fn leader(&self, entity: &EntityAddress) -> Option<String> {
        let shard = self.view.shard(shard_of(entity, self.shards))?;
        shard.leader.map(|leader| self.node(leader))
    }
}

fn describe(
    around: &Around,
    id: CorrelationId,
    (window, everything): (Option<Window>, bool),
    found: Found,
) -> (FlowDocument, Flow) {
    let flow = Flow::of(found.gathered.steps);
    // What an index knows is known whenever it was written.
    let read_within = window.filter(|_| found.searched > 0);
    let entities: BTreeSet<_> = flow.branches.iter().map(|it| &it.step.entity).collect();
    let steps: Vec<_> = flow.branches.iter().map(|it| step(around, &flow, it)).collect();
    let root = flow.branches.first().map(|branch| branch.step.entity.to_string());
    let root = root.unwrap_or_default();
    let of_root = flow.branches.iter().filter(|it| it.step.entity.to_string() == root);
    let last = of_root.filter(|it| !it.step.events.is_empty()).max_by_key(|it| it.step.base);
    let count = |outcome: &str| steps.iter().filter(|step| step.outcome == outcome).count();
    let document = FlowDocument {
        correlation_id: id.to_string(),
        trace_id: format!("{:032x}", id.0),
        last_event: last.and_then(|it| it.step.events.last()).map(ToString::to_string),
        root,
        began: rfc3339(flow.began().unwrap_or_default().as_millis()),
        lasted_ms: millis(flow.lasted()),
        entities: entities.len(),
        events: steps.iter().map(|step| step.events.len()).sum(),
        rejected: count("rejected"),
        failed: count("failed"),
        steps,
        awaited: flow.awaited.iter().map(|it| awaited(&flow, it)).collect(),
        left_out: found.gathered.left_out,
        searched: SearchedDocument {
            from: read_within.map(|window| rfc3339(window.from.as_millis())),
            until: read_within.map(|window| rfc3339(window.until.as_millis())),
            everything,
            searched_shards: found.searched,
            records: found.records,
            goes_on: found.cut,
            unread_shards: found.unread.keys().map(|shard| shard.0).collect(),
            unfinished_shards: found.unfinished,
        },
        ..FlowDocument::default()
    };
    (document, flow)
}

fn awaited(flow: &Flow, awaited: &Awaited) -> AwaitedDocument {
    let began = flow.began().unwrap_or_default();
    AwaitedDocument {
        parent: awaited.parent,
        entity: awaited.entity.to_string(),
        command: awaited.command.to_string(),
        due: awaited.due.map(|due| rfc3339(due.as_millis())),
        due_after_ms: awaited.due.map(|due| millis(due.since(began))),
    }
}

fn step(around: &Around, flow: &Flow, branch: &Branch) -> FlowStepDocument {
    let step = &branch.step;
    let (outcome, failure) = match &step.outcome {
        StepOutcome::Rejected => ("rejected", String::new()),
        StepOutcome::Failed { kind, causes } => {
            let causes = causes.iter().map(|cause| &**cause);
            let said: Vec<_> = std::iter::once(kind.name()).chain(causes).collect();
            ("failed", said.join(": "))
        }
        _ => ("accepted", String::new()),
    };
    let (events, rejection) = said(&around.registry, branch);
    FlowStepDocument {
        parent: branch.parent,
        depth: branch.depth,
        origin: origin(branch.origin).to_owned(),
        way: way(branch.way).to_owned(),
        attempt: branch.attempt,
        node: step.node.map(|node| around.node(node)),
        leader: around.leader(&step.entity),
        after_ms: millis(step.at.since(flow.began().unwrap_or_default())),
        gap_ms: flow.gap(branch).map(millis),
        at: rfc3339(step.at.as_millis()),
        entity: step.entity.to_string(),
        shard: step.shard.0,
        offset: step.offset.get(),
        command: step.command.to_string(),
        command_id: step.id.to_string(),
        causation_id: step.causation.to_string(),
        base_seq: step.base.get(),
        seq: step.base.plus(step.events.len() as u64).get(),
        outcome: outcome.to_owned(),
        message: rejection.unwrap_or(failure),
        events,
    }
}

/// Events and rejection in the entity's own words. A type that this node does not know, or an event that it cannot read, is named without them:
/// the tree is right all the same.
fn said(registry: &Registry, branch: &Branch) -> (Vec<RecordedEvent>, Option<String>) {
    let step = &branch.step;
    let names = || step.events.iter().map(|name| (name.to_string(), Value::Null));
    let unknown = || names().map(|(event, data)| RecordedEvent { event, data }).collect();
    let Some(Ok(record)) = step.stored.as_ref().map(holm::StoredRecord::decode) else {
        return (unknown(), None);
    };
    let events = record.events.iter().map(|event| {
        let data = registry.event_to_json(record.entity_type, event);
        let data = data.map_or(Value::Null, |data| payload(event.name, data));
        RecordedEvent { event: event.name.to_owned(), data }
    });
    let rejection = match record.verdict {
        StoredVerdict::Rejected(bytes) => registry.rejection_text(record.entity_type, bytes).ok(),
        StoredVerdict::Accepted(_) => None,
    };
    (events.collect(), rejection)
}

const fn way(way: Way) -> &'static str {
    match way {
        Way::Reaction => "reaction",
        Way::Timer => "timer",
        Way::Answer => "answer",
        _ => "asked",
    }
}

const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Outside => "outside",
        Origin::Missing => "missing",
        Origin::Circle => "circle",
        _ => "caused",
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
