//! Every route in one table.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::routing::{get, post};

use super::problem::Problem;
use super::server::Serving;
use super::{
    cluster, commands, entities, failures, flows, guard, operations, probes, projections, records,
    stream,
};

/// The state that every handler takes.
pub(super) type Shared = State<Arc<Serving>>;

/// All routes behind the guard.
pub(super) fn all(serving: Arc<Serving>) -> Router {
    let api = Router::new()
        .route("/cluster", get(cluster::cluster))
        .route("/members", get(cluster::members))
        .route("/members/{id}", get(cluster::member).post(cluster::act_on_member))
        .route("/entity-types", get(cluster::entity_types))
        .route("/entity-types/{type}/shards", get(cluster::shards_of_type))
        .route("/entity-types/{type}/shards/{n}", get(cluster::shard_of_type))
        .route("/shards", get(cluster::shards))
        .route("/shards/{n}", get(cluster::shard))
        .route("/entities/{type}/{id}", get(entities::entity))
        .route("/entities/{type}/{id}/state", get(entities::entity))
        .route("/entities/{type}/{id}/history", get(entities::history))
        .route("/entities/{type}/{id}/commands/{command}", post(commands::send))
        .route("/events", get(records::page))
        .route("/stream", get(stream::stream))
        .route("/flows", get(flows::newest))
        .route("/flows/{correlation_id}", get(flows::flow))
        .route("/projections", get(projections::list))
        .route("/projections/{p}", post(projections::act))
        .route("/failures", get(failures::list))
        .route("/failures:count", get(failures::count))
        .route("/failures:retry", post(failures::retry))
        .route("/failures:skip", post(failures::skip))
        .route("/failures:discard", post(failures::skip))
        .route("/failures:resume", post(failures::resume))
        .route("/operations/{id}", get(operations::operation));
    Router::new()
        .route("/livez", get(probes::live))
        .route("/alive", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/ready", get(probes::ready))
        .route("/metrics", get(probes::metrics))
        .route("/version", get(probes::version))
        .nest("/api/v1", api)
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&serving), guard::check))
        .with_state(serving)
}

async fn unknown_path(State(serving): Shared, uri: Uri) -> Problem {
    Problem::not_found("unknown-path", format!("there is nothing at {}", uri.path()))
        .next("GET /api/v1/cluster, or see the paths in docs/operations.md")
        .of(&serving)
}

async fn unknown_method(State(serving): Shared, method: Method, uri: Uri) -> Problem {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "method-not-allowed", "this path does not take this method")
        .detail(format!("{} takes no {method}", uri.path()))
        .of(&serving)
}
