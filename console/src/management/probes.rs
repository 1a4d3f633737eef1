//! What machines ask: is the process alive, is the node ready, what are its figures, who is it?

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use holm::MemberState;
use serde_json::json;

use super::measures;
use super::problem::Problem;
use super::projections;
use super::routes::Shared;
use super::server::Serving;
use crate::views::VersionDocument;

/// A heartbeat older than this means that the runtime is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// One thing that must hold, and what is wrong when it does not.
type Check = (&'static str, Result<(), String>);

/// `GET /livez`: the process answers and its runtime moves. It asks neither the journal nor the cluster: restarting the process would mend neither.
pub(super) async fn live(State(serving): Shared, uri: Uri, headers: HeaderMap) -> Response {
    let beat = serving.last_beat();
    let stuck = beat > STUCK_AFTER;
    let heartbeat =
        if stuck { Err(format!("the last one was {} s ago", beat.as_secs())) } else { Ok(()) };
    answer(&[("heartbeat", heartbeat)], &uri, &headers)
}

/// `GET /readyz`: this node is up in its cluster, can write, and is not about to go.
pub(super) async fn ready(State(serving): Shared, uri: Uri, headers: HeaderMap) -> Response {
    answer(&checks(&serving), &uri, &headers)
}

fn checks(serving: &Serving) -> [Check; 4] {
    let facts = serving.holm.facts();
    let member = match serving.holm.view().member(facts.id) {
        Some(member) if member.state == MemberState::Up => Ok(()),
        Some(member) => Err(format!("it is {:?}", member.state).to_lowercase()),
        None => Err("it is not among the members".to_owned()),
    };
    let has_types = !serving.holm.registry().entity_types().is_empty();
    [
        ("member", member),
        ("journal", facts.store_failure.map_or(Ok(()), Err)),
        ("entity-types", if has_types { Ok(()) } else { Err("none is registered".to_owned()) }),
        (
            "traffic",
            if serving.draining.load(Ordering::Relaxed) {
                Err("the node is draining".to_owned())
            } else {
                Ok(())
            },
        ),
    ]
}

/// `ok`, or what is wrong; every check on a line of its own with `?verbose`; JSON for who accepts JSON.
fn answer(checks: &[Check], uri: &Uri, headers: &HeaderMap) -> Response {
    let holds = checks.iter().all(|(_, outcome)| outcome.is_ok());
    let status = if holds { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("application/json"));
    if wants_json {
        let rows: Vec<_> = checks
            .iter()
            .map(|(name, outcome)| {
                json!({ "check": name, "ok": outcome.is_ok(), "reason": outcome.as_ref().err() })
            })
            .collect();
        return (status, Json(json!({ "ok": holds, "checks": rows }))).into_response();
    }
    let verbose = uri
        .query()
        .is_some_and(|query| query.split('&').any(|q| q == "verbose" || q == "verbose=true"));
    if holds && !verbose {
        return (status, "ok\n").into_response();
    }
    let mut text = String::new();
    for (name, outcome) in checks {
        let _ = match outcome {
            Ok(()) => writeln!(text, "[+]{name} ok"),
            Err(reason) => writeln!(text, "[-]{name} failed: {reason}"),
        };
    }
    (status, text).into_response()
}

/// `GET /metrics`: the figures in the text format of Prometheus.
pub(super) async fn metrics(State(serving): Shared) -> Response {
    let Some(render) = serving.options.metrics.clone() else {
        return Problem::not_found("no-metrics", "this program installed no recorder for metrics")
            .next("run the node with holm_console::node::run, or set HttpOptions::metrics")
            .of(&serving)
            .into_response();
    };
    measures::refresh(&serving.holm);
    measures::refresh_failures(&serving.holm).await;
    projections::refresh(&serving.projections).await;
    let text_format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (text_format, render()).into_response()
}

/// `GET /version`: who this is.
pub(super) async fn version(State(serving): Shared) -> Json<VersionDocument> {
    let facts = serving.holm.facts();
    Json(VersionDocument {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: facts.name,
        id: facts.id.get(),
        pid: std::process::id(),
        cluster: serving.holm.view().cluster.clone(),
    })
}
