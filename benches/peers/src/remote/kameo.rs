//! kameo: an actor for each entity in the other process, reached over libp2p, which encrypts. One of them is registered by a name and hands out references to
//! the others, because a name each is more than the registry of a node holds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use kameo::actor::{ActorRef, RemoteActorRef, Spawn as _};
use kameo::message::{Context, Message};
use kameo::{Actor, RemoteActor, remote, remote_message};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::IN_FLIGHT;
use super::other_process::{OtherProcess, tell};
use crate::peers::rates;
use crate::work::Plan;

const DIRECTORY: &str = "directory";

/// How long the name may take to be found here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Streams at once: each ask is one, and those of a figure before are on their way too. Beyond their defaults of 100 and 512 asks are refused.
const STREAMS: usize = 4 * IN_FLIGHT[2];

#[derive(Actor, RemoteActor, Default)]
struct Counter {
    value: u64,
}

#[derive(Serialize, Deserialize)]
struct Increase;

#[remote_message]
impl Message<Increase> for Counter {
    type Reply = u64;

    async fn handle(&mut self, _: Increase, _: &mut Context<Self, u64>) -> u64 {
        self.value += 1;
        self.value
    }
}

#[derive(Actor, RemoteActor)]
struct Directory {
    counters: Vec<ActorRef<Counter>>,
}

#[derive(Serialize, Deserialize)]
struct Counters;

#[remote_message]
impl Message<Counters> for Directory {
    type Reply = Vec<RemoteActorRef<Counter>>;

    async fn handle(&mut self, _: Counters, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        let mut references = Vec::with_capacity(self.counters.len());
        for counter in &self.counters {
            references.push(counter.into_remote_ref().await);
        }
        references
    }
}

pub(super) fn serve(plan: &Plan) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut swarm = swarm()?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address.with_p2p(*swarm.local_peer_id());
            }
        };
        let address = address.ok().context("the address names another peer")?;
        tokio::spawn(run_swarm(swarm));
        let counters = (0..plan.entities).map(|_| Counter::spawn(Counter::default())).collect();
        Directory::spawn(Directory { counters }).register(DIRECTORY).await?;
        tell(address).await
    })
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    let other = OtherProcess::start("kameo", plan)?;
    let address: Multiaddr = other.told.parse()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut swarm = swarm()?;
        swarm.dial(address)?;
        tokio::spawn(run_swarm(swarm));
        let counters: Arc<[_]> = directory().await?.ask(&Counters).await?.into();
        rates(plan, &IN_FLIGHT, counters, |counters, index| async move {
            Ok(counters[index].ask(&Increase).await?)
        })
        .await
    })
}

/// As `remote::bootstrap` makes one, without the search for others in the local network.
fn swarm() -> anyhow::Result<Swarm<remote::Behaviour>> {
    let streams = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS);
        config
    };
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, streams)?
        .with_behaviour(|key| {
            let config = remote::messaging::Config::default().with_max_concurrent_streams(STREAMS);
            remote::Behaviour::new(key.public().to_peer_id(), config)
        })?
        .build();
    swarm.behaviour().try_init_global()?;
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    Ok(swarm)
}

async fn run_swarm(mut swarm: Swarm<remote::Behaviour>) {
    loop {
        swarm.select_next_some().await;
    }
}

/// Waits until the other process is connected and its name known.
async fn directory() -> anyhow::Result<RemoteActorRef<Directory>> {
    let began = Instant::now();
    loop {
        match RemoteActorRef::<Directory>::lookup(DIRECTORY).await {
            Ok(Some(directory)) => return Ok(directory),
            Ok(None) if began.elapsed() < PATIENCE => sleep(Duration::from_millis(20)).await,
            Ok(None) => anyhow::bail!("nobody registered `{DIRECTORY}`"),
            Err(error) => return Err(error.into()),
        }
    }
}
