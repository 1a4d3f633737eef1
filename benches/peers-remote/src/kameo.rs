//! kameo: an actor for each entity in the other process, over a swarm of libp2p that is set up as kameo's documentation does it for production.
//!
//! Nodes find each other by multicast there, unless one dials the other, which this one does. Of the actors one is registered by a name; it answers with
//! references to the others, because each name more would be an entry in a distributed hash table that takes messages to make and to find.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kameo::actor::{ActorRef, RemoteActorRef, Spawn};
use kameo::message::{Context, Message};
use kameo::{Actor, RemoteActor, remote, remote_message};
use libp2p::futures::StreamExt as _;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::other_process::{OtherProcess, tell};
use crate::work::{Plan, REMOTE_IN_FLIGHT, rates};

/// The name of the one actor that is registered by name.
const DIRECTORY: &str = "directory";

/// How long that name may take to be found.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream is opened for each ask. One that passes the limits of kameo (100) or of the swarm (128) is dropped without a word; while that of the transport (256)
/// is reached, the newest ask gets the next stream and the oldest waits until it times out. An ask that is answered still counts on one side until its stream
/// is closed.
const STREAMS: usize = 4_096;

#[derive(Actor, RemoteActor, Default)]
struct Counter {
    value: u64,
}

#[derive(Serialize, Deserialize)]
struct Increase {}

#[remote_message]
impl Message<Increase> for Counter {
    type Reply = u64;

    async fn handle(&mut self, _: Increase, _: &mut Context<Self, u64>) -> u64 {
        self.value += 1;
        self.value
    }
}

/// Keeps the counters, which end with the last reference of their own process.
#[derive(Actor, RemoteActor)]
struct Directory {
    counters: Vec<ActorRef<Counter>>,
}

#[derive(Serialize, Deserialize)]
struct List {}

#[remote_message]
impl Message<List> for Directory {
    type Reply = Vec<RemoteActorRef<Counter>>;

    async fn handle(&mut self, _: List, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        let mut counters = Vec::with_capacity(self.counters.len());
        for counter in &self.counters {
            counters.push(counter.into_remote_ref().await);
        }
        counters
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    kameo: remote::Behaviour,
}

pub(crate) fn serve(plan: &Plan) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut swarm = swarm()?;
        swarm.listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse()?)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let place = format!("{address}/p2p/{}", swarm.local_peer_id());
        drive(swarm);
        let counters = (0..plan.entities).map(|_| Counter::spawn(Counter::default())).collect();
        let directory = Directory::spawn(Directory { counters });
        directory.register(DIRECTORY).await?;
        tell(place).await
    })
}

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    let other = OtherProcess::start("kameo", plan)?;
    let address: Multiaddr = other.told.parse().context("the other process tells no address")?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut swarm = swarm()?;
        // Told to the registry too, which does not take it from the connection.
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            bail!("the address {address} names no peer")
        };
        swarm.add_peer_address(peer, address.clone());
        swarm.dial(address)?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => bail!(error),
                _ => {}
            }
        }
        drive(swarm);
        let counters: Arc<[_]> = directory().await?.ask(&List {}).await?.into();
        anyhow::ensure!(counters.len() == plan.entities, "only {} are there", counters.len());
        rates(plan, &REMOTE_IN_FLIGHT, counters, |counters, index| async move {
            Ok(counters[index].ask(&Increase {}).await?)
        })
        .await
    })
}

/// Over QUIC, whose limit on streams can be raised; that of yamux, which is what TCP has, cannot. Without discovery.
fn swarm() -> anyhow::Result<Swarm<Behaviour>> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_quic_config(|mut config| {
            config.max_concurrent_stream_limit = STREAMS as u32;
            config
        })
        .with_behaviour(|key| {
            let messaging = remote::messaging::Config::default();
            let messaging = messaging.with_max_concurrent_streams(STREAMS);
            Behaviour { kameo: remote::Behaviour::new(key.public().to_peer_id(), messaging) }
        })?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(Duration::from_secs(300))
                .with_max_negotiating_inbound_streams(STREAMS)
        })
        .build();
    swarm.behaviour().kameo.init_global();
    Ok(swarm)
}

/// Until the program ends.
fn drive(mut swarm: Swarm<Behaviour>) {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
}

/// Found by its name, as soon as that is known here.
async fn directory() -> anyhow::Result<RemoteActorRef<Directory>> {
    let began = Instant::now();
    loop {
        if let Some(directory) = RemoteActorRef::lookup(DIRECTORY).await? {
            return Ok(directory);
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "`{DIRECTORY}` is not known here");
        sleep(Duration::from_millis(20)).await;
    }
}
