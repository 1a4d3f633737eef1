//! Starting a node: transport, place in the cluster, log, host, router, and then the tasks that keep it going.

use std::net::SocketAddr;
use std::sync::Arc;

use holm_core::{EntityAddress, MAX_SHARDS, NodeId, ShardId};
use holm_persistence::Snapshot;
use tokio::sync::watch;

use super::core::{Core, Organs, Setup, start_cluster_group, start_log};
use super::founding::{found, is_founder};
use super::gate::Gate;
use super::host::{HostSeat, SnapshotHook};
use super::joining::{Joining, Seat, take_seat};
use super::messages::{JoinRequest, SnapshotCopy};
use super::options::{ClusterOptions, StartError};
use crate::cluster_log::NodeFacts;
use crate::membership::{Membership, MembershipOptions};
use crate::raft;
use crate::router::{LocalShards, Router, RouterOptions};
use crate::transport::{NodeIdentity, Peers, PeersOptions};

/// Starts everything on the present runtime.
pub(super) async fn start(mut options: ClusterOptions) -> Result<Arc<Core>, StartError> {
    check(&options)?;
    let identity = options.store.identity();
    let gate = Arc::new(Gate::new(&options.store));
    let (peers, facts) = start_transport(&options, &gate).await?;
    let request = JoinRequest {
        cluster: options.cluster.clone(),
        directory: identity.directory,
        member: identity.membership.map(|member| (member.cluster, member.node)),
        facts,
        shards: options.shards,
        replication: options.replication,
        forwarded: false,
    };
    let gossip = start_gossip(&options, &request.facts, &peers).await;
    let seat = find_seat(&options, &peers, &request).await?;
    peers.set_node(seat.node);
    if let Some(gossip) = &gossip {
        gossip.set_node(seat.node);
    }
    for (node, address) in &seat.peers {
        if *node != seat.node {
            peers.set_address(*node, *address);
        }
    }
    let core = assemble(&mut options, &peers, gossip, &seat, &request).await?;
    core.start_used_groups().await.map_err(StartError::broken)?;
    gate.open(&core);
    let begun = begin(&core, options.seeds.clone(), request);
    match tokio::time::timeout(options.join_timeout, begun).await {
        Ok(begun) => begun.map(|()| core),
        Err(_) => Err(StartError::NotJoined {
            cluster: options.cluster.clone(),
            waited: options.join_timeout,
            reason: "it was admitted, but the facts of the cluster did not reach it".to_owned(),
        }),
    }
}

fn check(options: &ClusterOptions) -> Result<(), StartError> {
    let fault = if !(1..=MAX_SHARDS).contains(&options.shards) {
        "a cluster has 1 to 4,096 shards"
    } else if options.replication == 0 {
        "a shard has at least one replica"
    } else if options.name.is_empty() || options.cluster.is_empty() {
        "cluster and node have a name"
    } else {
        return Ok(());
    };
    Err(StartError::broken(fault))
}

async fn start_transport(
    options: &ClusterOptions,
    gate: &Arc<Gate>,
) -> Result<(Peers, NodeFacts), StartError> {
    let identity = options.store.identity();
    let me = NodeIdentity {
        node: identity.membership.map_or(NodeId::ZERO, |member| member.node),
        name: options.name.clone(),
        incarnation: identity.generation,
        http: options.http.clone(),
    };
    let peers_options = PeersOptions {
        secret: options.secret.clone(),
        listen: Some(options.listen),
        advertise: options.advertise,
        gossip: options.surroundings.network().is_none(),
        insecure: options.insecure,
        limits: options.peer_limits.clone(),
        surroundings: options.surroundings.clone(),
        ..PeersOptions::new(options.cluster.clone(), me)
    };
    let peers = Peers::start(peers_options, gate.clone()).await?;
    let peer =
        peers.advertised().ok_or_else(|| StartError::broken("the transport does not listen"))?;
    let facts = NodeFacts {
        name: options.name.clone(),
        peer,
        http: options.http.clone(),
        incarnation: identity.generation,
    };
    Ok((peers, facts))
}

/// Gossip is a hint; a node works without it.
async fn start_gossip(
    options: &ClusterOptions,
    facts: &NodeFacts,
    peers: &Peers,
) -> Option<Membership> {
    if options.surroundings.network().is_some() {
        return None;
    }
    let gossip = MembershipOptions {
        cluster: options.cluster.clone(),
        name: options.name.clone(),
        incarnation: facts.incarnation,
        node: options.store.identity().membership.map_or(NodeId::ZERO, |member| member.node),
        http: options.http.clone(),
        seeds: options.seeds.clone(),
    };
    Membership::start(gossip, peers)
        .await
        .inspect_err(
            |error| tracing::warn!(%error, "gossip did not start; the node goes on without"),
        )
        .ok()
}

/// The place that the data directory remembers, or a new one.
async fn find_seat(
    options: &ClusterOptions,
    peers: &Peers,
    request: &JoinRequest,
) -> Result<Seat, StartError> {
    let joining = Joining {
        peers,
        seeds: &options.seeds,
        expected_nodes: options.expected_nodes,
        request: request.clone(),
        timeout: options.join_timeout,
    };
    let Some((cluster, node)) = request.member else {
        let seat = joining.join(&options.store, &mut options.surroundings.clone()).await?;
        take_seat(&options.store, seat.cluster, seat.node)?;
        return Ok(seat);
    };
    // One round tells whether anybody objects, and where the others are now. Whether they can decide is another matter: perhaps all nodes
    // of the cluster start at this moment.
    let round = joining.ask_seeds().await;
    if let Some(reason) = round.refused {
        return Err(StartError::Refused { cluster: options.cluster.clone(), reason });
    }
    let peers = round.seat.map_or(round.peers, |seat| seat.peers);
    Ok(Seat { cluster, node, peers })
}

async fn assemble(
    options: &mut ClusterOptions,
    peers: &Peers,
    gossip: Option<Membership>,
    seat: &Seat,
    request: &JoinRequest,
) -> Result<Arc<Core>, StartError> {
    let config =
        Arc::new(raft::config(&options.cluster, options.times).map_err(StartError::broken)?);
    let (cluster_group, states) =
        start_cluster_group(options, seat.node, config.clone(), peers.clone())
            .await
            .map_err(StartError::broken)?;
    let (log, interrupted) = start_log(&options.store);
    let setup = Setup {
        cluster_name: options.cluster.clone(),
        cluster: seat.cluster,
        me: seat.node,
        directory: request.directory,
        facts: request.facts.clone(),
        shards: options.shards,
        replication: options.replication,
        expected_nodes: options.expected_nodes,
        down_after: options.down_after,
        erase_after: options.erase_after,
        times: options.times,
        store: options.store.clone(),
        surroundings: options.surroundings.clone(),
        clock: options.clock.clone(),
    };
    let copies = Arc::new(std::sync::OnceLock::new());
    let seat = HostSeat {
        node: seat.node,
        shards: options.shards,
        log: log.clone(),
        on_snapshot: snapshot_hook(copies.clone()),
    };
    let start_host = std::mem::replace(
        &mut options.start_host,
        Box::new(|_| Err("the host was started".to_owned())),
    );
    let host = start_host(seat).map_err(StartError::broken)?;
    let (views, view) = watch::channel(Arc::default());
    let local: Arc<dyn LocalShards> = host.clone();
    let router = Router::start(RouterOptions {
        shards: options.shards,
        me: setup.me,
        peers: peers.clone(),
        view,
        local: Some(local),
        requests_in_flight: options.requests_in_flight,
        clock: options.clock.clone(),
    });
    host.connect(Arc::new(router.clone()));
    let organs = Organs {
        peers: peers.clone(),
        membership: gossip,
        config,
        cluster_group,
        states,
        log,
        host,
        router,
        views,
    };
    let core = Arc::new(Core::new(setup, organs));
    // Set once; the hook holds no node alive that has stopped.
    let _ = copies.set(Arc::downgrade(&core));
    tokio::spawn(core.clone().follow_interruptions(interrupted));
    tokio::spawn(core.clone().beat());
    tokio::spawn(core.clone().watch_company());
    Ok(core)
}

fn snapshot_hook(core: Arc<std::sync::OnceLock<std::sync::Weak<Core>>>) -> SnapshotHook {
    Arc::new(move |shard: ShardId, address: &EntityAddress, snapshot: &Snapshot| {
        let Some(core) = core.get().and_then(std::sync::Weak::upgrade) else { return };
        core.copy_snapshot(&SnapshotCopy {
            shard,
            address: address.clone(),
            sequence: snapshot.sequence,
            offset: snapshot.offset,
            at: snapshot.at,
            payload: snapshot.payload.clone(),
        });
    })
}

/// Founds the cluster when that is this node's task, starts the tasks, and waits until this node is a member.
async fn begin(
    core: &Arc<Core>,
    seeds: Vec<SocketAddr>,
    request: JoinRequest,
) -> Result<(), StartError> {
    tokio::spawn(core.clone().follow_plan());
    tokio::spawn(core.clone().pulse());
    tokio::spawn(core.clone().follow_peers());
    tokio::spawn(core.clone().report_changes());
    tokio::spawn(core.clone().keep());
    tokio::spawn(core.clone().erase());
    tokio::spawn(core.clone().steward());
    tokio::spawn(core.clone().follow_gossip());
    if is_founder(core)? {
        found(core).await?;
    }
    let was_member = request.member.is_some();
    tokio::spawn(core.clone().announce(seeds, request));
    if was_member {
        // It may be the first of many to come back; nobody may be there to say so.
        return Ok(());
    }
    let mut states = core.states.clone();
    let me = core.me();
    states
        .wait_for(|state| state.members.contains_key(&me))
        .await
        .map(drop)
        .map_err(|_| StartError::broken("the cluster log stopped"))
}
