//! The cluster as this node sees it: members, shards, entity types, and leaving.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use holm::{ClusterView, ErrorKind, MemberState, MemberView, ShardState, ShardView, Timestamp};

use super::body;
use super::problem::Problem;
use super::routes::Shared;
use super::server::Serving;
use crate::api_client::{ApiClient, ClientError, ClientOptions};
use crate::output::rfc3339;
use crate::views::{
    ClusterDocument, EntityTypeDocument, EntityTypesDocument, MemberDocument, MembersDocument,
    Served, ShardDocument, ShardsDocument,
};

type Answer<T> = Result<Json<Served<T>>, Problem>;

/// A document with the name of this node and the time.
pub(super) fn served<T>(serving: &Serving, body: T) -> Json<Served<T>> {
    let as_of = rfc3339(serving.now().as_millis());
    // The picture of the cluster is whole on every node, and an entity is read from one leader: no answer here is put together from several.
    Json(Served { body, served_by: serving.name(), as_of, partial: Vec::new() })
}

/// `GET /api/v1/cluster`.
pub(super) async fn cluster(State(serving): Shared) -> Json<Served<ClusterDocument>> {
    let view = serving.holm.view();
    let document = ClusterDocument {
        cluster: view.cluster.clone(),
        version: view.version,
        members: view.members.iter().map(|member| describe(&serving, &view, member)).collect(),
        shards: view.shards.iter().map(|shard| describe_shard(&view, shard)).collect(),
    };
    served(&serving, document)
}

/// `GET /api/v1/members`.
pub(super) async fn members(State(serving): Shared) -> Json<Served<MembersDocument>> {
    let view = serving.holm.view();
    let members = view.members.iter().map(|member| describe(&serving, &view, member)).collect();
    served(&serving, MembersDocument { members })
}

/// `GET /api/v1/members/{id}`, where the id may be the name.
pub(super) async fn member(
    State(serving): Shared,
    Path(id): Path<String>,
) -> Answer<MemberDocument> {
    let view = serving.holm.view();
    let member = find(&view, &id).ok_or_else(|| no_member(&view, &id).of(&serving))?;
    let document = describe(&serving, &view, member);
    Ok(served(&serving, document))
}

/// `POST /api/v1/members/{id}:leave`: at the member itself, or passed on to it.
pub(super) async fn act_on_member(
    State(serving): Shared,
    Path(target): Path<String>,
    body: Body,
) -> Answer<MemberDocument> {
    body::json(body, &serving.options.limits).await.map_err(|problem| problem.of(&serving))?;
    let Some(id) = target.strip_suffix(":leave") else {
        return Err(Problem::not_found("unknown-operation", format!("no operation `{target}`"))
            .next("POST /api/v1/members/{id}:leave")
            .of(&serving));
    };
    let view = serving.holm.view();
    let member = find(&view, id).ok_or_else(|| no_member(&view, id).of(&serving))?;
    let mut document = describe(&serving, &view, member);
    if member.id == serving.holm.facts().id {
        leave(&serving).await?;
    } else {
        pass_on(&serving, &document).await?;
    }
    "left".clone_into(&mut document.state);
    document.leads = 0;
    Ok(served(&serving, document))
}

async fn leave(serving: &Arc<Serving>) -> Result<(), Problem> {
    // A client that hangs up must not stop a hand-off half way.
    let leaving = {
        let serving = Arc::clone(serving);
        tokio::spawn(async move { serving.holm.leave().await })
    };
    match leaving.await {
        Ok(Ok(())) => {
            serving.has_left();
            Ok(())
        }
        Ok(Err(error)) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "cannot-leave",
            "it cannot leave now",
        )
        .detail(error)
        .next("wait until every shard is served, then try again")
        .kind(ErrorKind::BackOff)
        .of(serving)),
        Err(error) => Err(Problem::internal(error).of(serving)),
    }
}

async fn pass_on(serving: &Serving, member: &MemberDocument) -> Result<(), Problem> {
    let unavailable = |detail: String| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "member-unreachable", "it cannot be reached")
            .detail(detail)
            .kind(ErrorKind::BackOff)
            .of(serving)
    };
    let Some(http) = &member.http else {
        return Err(unavailable(format!("{} serves no management HTTP", member.name)));
    };
    // Handing over every shard takes longer than an answer about one entity.
    let options = ClientOptions {
        token: serving.options.token.clone(),
        timeout: Some(serving.options.limits.longest_wait),
    };
    let client =
        ApiClient::new(http, options).map_err(|error| unavailable(error.reason().to_owned()))?;
    match client.leave(member.id).await {
        Ok(_) => Ok(()),
        Err(ClientError::Problem(problem)) => {
            Err(unavailable(format!("{} says: {}", member.name, problem.detail)))
        }
        Err(error) => Err(unavailable(format!("{}: {error}: {}", member.name, error.reason()))),
    }
}

/// `GET /api/v1/shards`.
pub(super) async fn shards(State(serving): Shared) -> Json<Served<ShardsDocument>> {
    let view = serving.holm.view();
    let shards = view.shards.iter().map(|shard| describe_shard(&view, shard)).collect();
    served(&serving, ShardsDocument { shards })
}

/// `GET /api/v1/shards/{n}`.
pub(super) async fn shard(State(serving): Shared, Path(n): Path<String>) -> Answer<ShardDocument> {
    let view = serving.holm.view();
    let number = n.parse::<u32>().ok();
    let found = number.and_then(|number| view.shards.iter().find(|shard| shard.id.0 == number));
    let shard = found.ok_or_else(|| {
        Problem::not_found("unknown-shard", format!("there is no shard `{n}`"))
            .next(format!("shards are 0 to {}", serving.holm.shards().saturating_sub(1)))
            .of(&serving)
    })?;
    Ok(served(&serving, describe_shard(&view, shard)))
}

/// `GET /api/v1/entity-types`.
pub(super) async fn entity_types(State(serving): Shared) -> Json<Served<EntityTypesDocument>> {
    let types = serving.holm.registry().entity_types();
    let documents = types.into_iter().map(|view| {
        let (reads, commands): (Vec<_>, Vec<_>) =
            view.commands.into_iter().partition(|command| command.read_only);
        let names = |commands: Vec<holm::CommandView>| {
            commands.into_iter().map(|command| command.name).collect()
        };
        EntityTypeDocument { name: view.name, commands: names(commands), reads: names(reads) }
    });
    let document = EntityTypesDocument { entity_types: documents.collect() };
    served(&serving, document)
}

/// `GET /api/v1/entity-types/{type}/shards`: entities of every type are spread over all shards.
pub(super) async fn shards_of_type(
    state: Shared,
    Path(entity_type): Path<String>,
) -> Answer<ShardsDocument> {
    check_type(&state, &entity_type)?;
    Ok(shards(state).await)
}

/// `GET /api/v1/entity-types/{type}/shards/{n}`.
pub(super) async fn shard_of_type(
    state: Shared,
    Path((entity_type, n)): Path<(String, String)>,
) -> Answer<ShardDocument> {
    check_type(&state, &entity_type)?;
    shard(state, Path(n)).await
}

/// 404 with the nearest name for an entity type that is not registered.
pub(super) fn check_type(serving: &Serving, entity_type: &str) -> Result<(), Problem> {
    let types = serving.holm.registry().entity_types();
    if types.iter().any(|known| known.name == entity_type) {
        return Ok(());
    }
    // Asking for any command of an unknown type names the nearest type.
    let unknown = serving.holm.registry().is_read_only(entity_type, "").err();
    Err(unknown
        .map_or_else(|| Problem::internal("the type is known and is not"), Problem::from)
        .of(serving))
}

fn find<'a>(view: &'a ClusterView, id: &str) -> Option<&'a MemberView> {
    let number = id.parse::<u64>().ok();
    view.members.iter().find(|member| number == Some(member.id.get()) || member.name == id)
}

fn no_member(view: &ClusterView, id: &str) -> Problem {
    let known: Vec<_> =
        view.members.iter().map(|member| format!("{} ({})", member.id, member.name)).collect();
    Problem::not_found("unknown-member", format!("there is no member `{id}`"))
        .next(format!("members are {}", known.join(", ")))
}

fn describe(serving: &Serving, view: &ClusterView, member: &MemberView) -> MemberDocument {
    let is_self = member.id == serving.holm.facts().id;
    let leads = view.shards.iter().filter(|shard| shard.leader == Some(member.id)).count();
    MemberDocument {
        id: member.id.get(),
        name: member.name.clone(),
        // A node that stands alone has no peers and so no port for them.
        peer: (member.peer.port() != 0).then(|| member.peer.to_string()),
        http: if is_self { Some(serving.url.clone()) } else { member.http.clone() },
        state: member_state(member.state).to_owned(),
        incarnation: member.incarnation,
        since: (member.since > Timestamp::EPOCH).then(|| rfc3339(member.since.as_millis())),
        leads: u32::try_from(leads).unwrap_or(u32::MAX),
    }
}

fn describe_shard(view: &ClusterView, shard: &ShardView) -> ShardDocument {
    let leader = shard.leader.and_then(|leader| view.member(leader));
    ShardDocument {
        id: shard.id.0,
        leader: shard.leader.map(holm::NodeId::get),
        leader_name: leader.map(|member| member.name.clone()),
        term: shard.term.get(),
        replicas: shard.replicas.iter().map(|node| node.get()).collect(),
        state: shard_state(shard.state).to_owned(),
    }
}

pub(super) fn member_state(state: MemberState) -> &'static str {
    match state {
        MemberState::Joining => "joining",
        MemberState::Up => "up",
        MemberState::Suspect => "suspect",
        MemberState::Leaving => "leaving",
        MemberState::Down => "down",
    }
}

pub(super) fn shard_state(state: ShardState) -> &'static str {
    match state {
        ShardState::Serving => "serving",
        ShardState::Recovering => "recovering",
        ShardState::HandingOff => "handing_off",
        ShardState::Unassigned => "unassigned",
    }
}
