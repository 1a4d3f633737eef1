//! Projections of this node: how far each is, and pausing, resuming and rebuilding it, and deciding about the records that it could not handle.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use holm::bus::Position;
use holm::{ErrorKind, Offset, ShardId};
use holm_projections::{OrderError, ProjectionHandle, SetAside};
use serde::Deserialize;

use super::body;
use super::cluster::served;
use super::problem::Problem;
use super::routes::Shared;
use super::server::Serving;
use crate::api_client::{ApiClient, ClientOptions};
use crate::views::{
    PlaceDocument, PositionDocument, PositionEnd, ProjectionDocument, ProjectionsDocument,
    RebuildDocument, Served,
};

/// Time for the ends of the logs: a shard that is not served must not hold up the rest of the page.
const ENDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Time for another node, which asks its logs as this one does: a silent member must not hold up what the others say.
const OTHERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for a projection to take an order, which it does between two transactions, and for what was parked to be handled.
const ORDER_TIMEOUT: Duration = Duration::from_secs(35);

/// What may stand after the `?` of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    #[serde(default)]
    positions: bool,
    /// Of this node alone.
    #[serde(default)]
    local: bool,
}

/// `GET /api/v1/projections?positions=&local=`.
pub(super) async fn list(
    State(serving): Shared,
    how: Result<Query<How>, QueryRejection>,
) -> Result<Json<Served<ProjectionsDocument>>, Problem> {
    let Query(how) = how.map_err(|error| Problem::bad_request(error).of(&serving))?;
    if how.local {
        let projections = own(&serving, &how).await;
        return Ok(served(&serving, ProjectionsDocument { projections }));
    }
    let (own, (mut projections, partial)) =
        futures::join!(own(&serving, &how), of_the_others(&serving, &how));
    projections.extend(own);
    projections.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    let Json(answer) = served(&serving, ProjectionsDocument { projections });
    Ok(Json(Served { partial, ..answer }))
}

/// What the other members say of theirs, and who of them does not answer.
async fn of_the_others(serving: &Serving, how: &How) -> (Vec<ProjectionDocument>, Vec<String>) {
    let (view, this) = (serving.holm.view(), serving.holm.facts().id);
    let others = view.members.iter().filter(|member| member.id != this);
    let asked = others.map(|member| async {
        let options =
            ClientOptions { token: serving.options.token.clone(), timeout: Some(OTHERS_TIMEOUT) };
        let rows = async {
            let client = ApiClient::new(member.http.as_ref()?, options).ok()?;
            Some(client.own_projections(how.positions).await.ok()?.body.projections)
        };
        rows.await.ok_or_else(|| member.name.clone())
    });
    let answers = futures::future::join_all(asked).await;
    let (mut rows, mut partial) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(theirs) => rows.extend(theirs),
            Err(name) => partial.push(name),
        }
    }
    (rows, partial)
}

async fn own(serving: &Serving, how: &How) -> Vec<ProjectionDocument> {
    let rows = serving.projections.iter().map(|projection| async {
        let mut row = describe(serving, projection).await;
        if how.positions {
            let position = projection.status().position;
            let places = position.0.iter();
            let places =
                places.map(|(shard, offset)| PlaceDocument { shard: shard.0, offset: offset.0 });
            row.positions = Some(places.collect());
        }
        row
    });
    futures::future::join_all(rows).await
}

/// `POST /api/v1/projections/{p}:pause`, `:resume`, `:rebuild`, `:set-position`, `:retry-parked` and `:skip-failed`.
pub(super) async fn act(
    State(serving): Shared,
    Path(target): Path<String>,
    body: Body,
) -> Result<Json<Served<ProjectionDocument>>, Problem> {
    let body = body::json(body, &serving.options.limits).await;
    let body = body.map_err(|problem| problem.of(&serving))?;
    let (name, verb) = target.rsplit_once(':').unwrap_or((&target, ""));
    let found = serving.projections.iter().find(|projection| projection.name() == name);
    let projection = found.ok_or_else(|| no_projection(&serving, name))?;
    let whereto = match verb {
        "set-position" => Some(position(&serving, body).await?),
        _ => None,
    };
    let order =
        async {
            match verb {
                "pause" => Some(projection.pause().await.map(|()| None)),
                "resume" => Some(projection.resume().await.map(|()| None)),
                "rebuild" => Some(projection.rebuild().await.map(|()| None)),
                "set-position" => Some(projection.set_position(whereto?).await.map(|()| None)),
                "retry-parked" => Some(projection.retry_parked().await.map(|(taken_up, left)| {
                    Some(format!("{taken_up} handled, {left} stay parked"))
                })),
                "skip-failed" => Some(projection.skip_failed().await.map(|skipped| {
                    let SetAside { entity, shard, offset, .. } = skipped;
                    Some(format!("left out {entity}, offset {offset} of shard {shard}"))
                })),
                _ => None,
            }
        };
    match tokio::time::timeout(ORDER_TIMEOUT, order).await {
        Ok(Some(Ok(outcome))) => {
            let document = describe(&serving, projection).await;
            Ok(served(&serving, ProjectionDocument { outcome, ..document }))
        }
        Ok(Some(Err(error))) => Err(refused(&serving, &error)),
        Ok(None) => {
            Err(Problem::not_found("unknown-operation", format!("no operation `{target}`"))
                .next("POST /api/v1/projections/{name}:pause, :resume, :rebuild, :set-position, :retry-parked or :skip-failed")
                .of(&serving))
        }
        Err(_) => {
            let status = StatusCode::GATEWAY_TIMEOUT;
            Err(Problem::new(status, "projection-busy", "it did not take the order in time")
                .detail(format!("`{name}` is busy; the order stands and will be taken"))
                .kind(ErrorKind::BackOff)
                .of(&serving))
        }
    }
}

/// The position that a body asks for, which is one that the logs have.
async fn position(serving: &Serving, body: serde_json::Value) -> Result<Position, Problem> {
    let whereto: PositionDocument =
        serde_json::from_value(body).map_err(|error| Problem::bad_request(error).of(serving))?;
    let bus = serving.holm.bus();
    let ends = bus.ends().await.map_err(|error| Problem::internal(error).of(serving))?;
    let places = match whereto {
        PositionDocument::To(PositionEnd::End) => ends.0,
        PositionDocument::To(PositionEnd::Beginning) => {
            ends.0.into_keys().map(|shard| (shard, Offset::ZERO)).collect()
        }
        PositionDocument::Positions(places) => {
            let places = places.into_iter().map(|it| (ShardId(it.shard), Offset(it.offset)));
            let places: BTreeMap<ShardId, Offset> = places.collect();
            let beyond = places
                .iter()
                .find(|(shard, offset)| ends.0.get(*shard).is_none_or(|end| *offset > end));
            if let Some((shard, offset)) = beyond {
                let reason = format!("there is no offset {offset} in a shard {shard}");
                return Err(Problem::bad_request(reason).of(serving));
            }
            places
        }
    };
    Ok(Position(places))
}

fn no_projection(serving: &Serving, name: &str) -> Problem {
    let names: Vec<_> = serving.projections.iter().map(ProjectionHandle::name).collect();
    let next = if names.is_empty() {
        "this node runs none; `holm dev --views` starts nodes that do".to_owned()
    } else {
        format!("this node runs {}", names.join(", "))
    };
    let detail = format!("there is no projection `{name}`");
    Problem::not_found("unknown-projection", detail).next(next).of(serving)
}

fn refused(serving: &Serving, error: &OrderError) -> Problem {
    Problem::new(StatusCode::CONFLICT, "projection-refused", "it cannot do that now")
        .detail(error)
        .of(serving)
}

/// What is known of it at once, and how far it lags when the logs say where they end.
async fn describe(serving: &Serving, projection: &ProjectionHandle) -> ProjectionDocument {
    let status = projection.status();
    let mut document = ProjectionDocument {
        name: projection.name().to_owned(),
        node: serving.name(),
        shared: projection.is_shared(),
        state: status.state.name().to_owned(),
        position: status.position.0.values().map(|offset| offset.0).sum(),
        last_error: status.last_error,
        rebuild_error: status.rebuild_error,
        ..ProjectionDocument::default()
    };
    let set_aside = tokio::time::timeout(ENDS_TIMEOUT, projection.set_aside());
    let measured = tokio::time::timeout(ENDS_TIMEOUT, projection.progress());
    let (set_aside, measured) = futures::join!(set_aside, measured);
    if let Ok(Ok(set_aside)) = set_aside {
        document.set_aside = set_aside.len() as u64;
    }
    if let Ok(Ok(progress)) = measured {
        progress.state.name().clone_into(&mut document.state);
        document.position = progress.position_total();
        document.head = Some(progress.head_total());
        document.lag_events = Some(progress.lag_records);
        document.lag_seconds = Some(progress.lag_time.as_secs_f64());
        document.rate = progress.rate;
        document.seconds_left = progress.time_left.map(|left| left.as_secs_f64());
        document.rebuild = progress.rebuild.map(|rebuild| RebuildDocument {
            position: rebuild.position_total(),
            lag_events: rebuild.lag_records,
            lag_seconds: rebuild.lag_time.as_secs_f64(),
            rate: rebuild.rate,
            seconds_left: rebuild.time_left.map(|left| left.as_secs_f64()),
        });
        document.last_error = progress.last_error;
        document.rebuild_error = progress.rebuild_error;
    }
    document
}

/// Brings the figures of lag up to date, which measuring does. Without an answer they stay as they were.
pub(super) async fn refresh(projections: &[ProjectionHandle]) {
    let measuring = projections.iter().map(ProjectionHandle::progress);
    let _ = tokio::time::timeout(ENDS_TIMEOUT, futures::future::join_all(measuring)).await;
}
