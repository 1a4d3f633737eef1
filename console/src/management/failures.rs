//! Failures: what stands in the failure log, and the three things that can be done about it.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use holm::{
    FailureFilter, FailureKind, FailureRow, Handled, HandledOutcome, Settlement, Severity, Standing,
};
use serde::Deserialize;

use super::body;
use super::cluster::served;
use super::operations::{Look, Ordered};
use super::problem::Problem;
use super::routes::Shared;
use super::server::Serving;
use crate::output::rfc3339;
use crate::views::{
    FailedCommandDocument, FailureCountDocument, FailureDocument, FailuresDocument, HandleFailures,
    HandledDocument, HandledFailure, Served,
};

/// What may stand after the `?`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    filter: String,
}

/// `GET /api/v1/failures?filter=`.
pub(super) async fn list(
    State(serving): Shared,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Served<FailuresDocument>>, Problem> {
    let Query(wanted) = wanted.map_err(|error| Problem::bad_request(error).of(&serving))?;
    let filter = filter(&wanted.filter).map_err(|problem| problem.of(&serving))?;
    let list = serving.holm.failures().list(&filter).await;
    let list = list.map_err(|error| Problem::from(error).of(&serving))?;
    let failures = list.rows.iter().map(|row| describe(&serving, row)).collect();
    Ok(served(&serving, FailuresDocument { failures, evicted: list.evicted }))
}

/// `GET /api/v1/failures:count`.
pub(super) async fn count(
    State(serving): Shared,
) -> Result<Json<Served<FailureCountDocument>>, Problem> {
    let counts = serving.holm.failures().counts().await;
    let counts = counts.map_err(|error| Problem::from(error).of(&serving))?;
    let open = counts.open.into_iter().map(|(kind, count)| (kind.name().to_owned(), count));
    let (quarantined, rows) = (counts.quarantined, counts.rows);
    let document = FailureCountDocument { open: open.collect(), quarantined, rows };
    Ok(served(&serving, document))
}

/// `POST /api/v1/failures:retry?wait_ms=`.
pub(super) async fn retry(state: Shared, look: Looked, body: Body) -> Taken {
    handle(state, look, body, ("retry", Settlement::Retried)).await
}

/// `POST /api/v1/failures:skip?wait_ms=`.
pub(super) async fn skip(state: Shared, look: Looked, body: Body) -> Taken {
    handle(state, look, body, ("skip", Settlement::Skipped)).await
}

/// `POST /api/v1/failures:resume?wait_ms=`.
pub(super) async fn resume(state: Shared, look: Looked, body: Body) -> Taken {
    handle(state, look, body, ("resume", Settlement::Resumed)).await
}

type Looked = Result<Query<Look>, QueryRejection>;

type Taken = Result<Response, Problem>;

type Order = (&'static str, Settlement);

async fn handle(State(serving): Shared, look: Looked, body: Body, order: Order) -> Taken {
    let taken = take(&serving, look, body, order).await;
    taken.map_err(|problem| problem.of(&serving))
}

/// An order becomes an operation, which goes on without its client; a dry run is over at once.
async fn take(serving: &Serving, look: Looked, body: Body, (order, how): Order) -> Taken {
    let look = Look::read(look, serving)?;
    let body = body::json(body, &serving.options.limits).await?;
    let HandleFailures { filter: text, dry_run } =
        serde_json::from_value(body).map_err(Problem::bad_request)?;
    let meant = filter(&text)?;
    let failures = serving.holm.failures();
    if dry_run {
        let rehearsed = failures.rehearse(&meant, how).await?;
        return Ok(served(serving, described(serving, &rehearsed)).into_response());
    }
    let rows = failures.open(&meant).await?;
    let ordered = Ordered { order, filter: text, meant: rows.len() };
    let operation = serving.operations.begin(ordered, failures.act(rows, how), serving)?;
    let document = operation.look(look, serving).await;
    let is_over = !look.wait().is_zero() && !document.is_running();
    let status = if is_over { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = [(header::LOCATION, operation.path())];
    Ok((status, location, served(serving, document)).into_response())
}

fn described(serving: &Serving, rehearsed: &[Handled]) -> HandledDocument {
    let mut document = HandledDocument { dry_run: true, ..HandledDocument::default() };
    for handled in rehearsed {
        let handled = describe_handled(serving, handled);
        *document.outcomes.entry(handled.outcome.clone()).or_default() += 1;
        document.handled.push(handled);
    }
    document
}

/// A failure that was meant, as it stood before, and what became of it.
pub(super) fn describe_handled(serving: &Serving, handled: &Handled) -> HandledFailure {
    let (outcome, detail) = outcome(&handled.outcome);
    let failure = describe(serving, &handled.row);
    HandledFailure { failure, outcome: outcome.to_owned(), detail }
}

/// The name of an outcome, and why it came to that.
pub(super) fn outcome(outcome: &HandledOutcome) -> (&'static str, String) {
    match outcome {
        HandledOutcome::Meant => ("meant", String::new()),
        HandledOutcome::Done => ("done", String::new()),
        HandledOutcome::Rejected => ("rejected", "asked again, and refused".to_owned()),
        HandledOutcome::Nothing { reason } => ("nothing", reason.to_string()),
        HandledOutcome::Failed { error } => ("failed", error.to_string()),
        _ => ("failed", "it came to an outcome that this version cannot name".to_owned()),
    }
}

pub(super) fn filter(text: &str) -> Result<FailureFilter, Problem> {
    text.parse().map_err(|error| {
        let kinds = FailureKind::ALL.map(FailureKind::name).join(", ");
        Problem::bad_request(error).next(format!("kinds are {kinds}"))
    })
}

fn describe(serving: &Serving, row: &FailureRow) -> FailureDocument {
    FailureDocument {
        id: row.failure.to_string(),
        kind: row.kind.name().to_owned(),
        severity: severity(row.severity).to_owned(),
        subject: row.subject.to_string(),
        count: row.count,
        first: rfc3339(row.first.as_millis()),
        last: rfc3339(row.last.as_millis()),
        standing: standing(row.standing).to_owned(),
        causes: row.causes.iter().map(|cause| cause.to_string()).collect(),
        node: serving.name_of(row.node),
        shard: row.shard.map(|shard| shard.0),
        command: row.command.as_ref().map(|command| FailedCommandDocument {
            name: command.name.to_string(),
            id: command.id.to_string(),
            correlation_id: command.correlation.to_string(),
            causation_id: command.causation.to_string(),
            idempotency_key: command.key.to_string(),
        }),
        open: row.is_open(),
        settled: row.settled.map(|how| settlement(how).to_owned()),
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical => "critical",
    }
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Running => "running",
        Standing::Restarting { .. } => "restarting",
        Standing::Quarantined => "quarantined",
        _ => "stopped",
    }
}

const fn settlement(how: Settlement) -> &'static str {
    match how {
        Settlement::Retried => "retried",
        Settlement::Skipped => "skipped",
        _ => "resumed",
    }
}
