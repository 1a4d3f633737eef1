//! coerce: an actor for each entity on the other node of a cluster of two, found by its id, as `RemoteActorSystem::actor_ref` finds it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use async_trait::async_trait;
use coerce::actor::context::ActorContext;
use coerce::actor::message::Handler;
use coerce::actor::system::ActorSystem;
use coerce::actor::{Actor, ActorRef, IntoActor, IntoActorId};
use coerce::remote::system::{NodeId, RemoteActorSystem};
use coerce_macros::JsonMessage;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::free_port::free_port;
use crate::other_process::{OtherProcess, tell};
use crate::work::{Plan, REMOTE_IN_FLIGHT, rates};

/// How long the other node, and the actors on it, may take to be known.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Counter {
    value: u64,
}

#[derive(JsonMessage, Serialize, Deserialize)]
#[result("u64")]
struct Increase {}

#[async_trait]
impl Actor for Counter {}

#[async_trait]
impl Handler<Increase> for Counter {
    async fn handle(&mut self, _: Increase, _: &mut ActorContext) -> u64 {
        self.value += 1;
        self.value
    }
}

pub(crate) fn serve(plan: &Plan) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let (node, address) = (node(1).await, address()?);
        let _server = node.clone().cluster_worker().listen_addr(&address).start().await;
        let entities = plan.entities;
        let _populating = tokio::spawn(async move {
            cluster_of_two(&node).await?;
            for index in 0..entities {
                Counter::default().into_actor(Some(index), node.actor_system()).await?;
            }
            // Whoever looks for one that could not be made gives up.
            anyhow::Ok(())
        });
        tell(address).await
    })
}

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    let other = OtherProcess::start("coerce", plan)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let (node, address) = (node(2).await, address()?);
        let worker = node.clone().cluster_worker().listen_addr(address);
        let _server = worker.with_seed_addr(&other.told).start().await;
        cluster_of_two(&node).await?;
        let began = Instant::now();
        let mut counters = Vec::with_capacity(plan.entities);
        while counters.len() < plan.entities {
            let index = counters.len();
            match node.actor_ref::<Counter>(index.into_actor_id()).await {
                Some(counter) if counter.is_remote() => counters.push(counter),
                Some(_) => bail!("actor {index} is in this process"),
                None => sleep(Duration::from_millis(20)).await,
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "actor {index} is not found");
        }
        let counters: Arc<[ActorRef<Counter>]> = counters.into();
        rates(plan, &REMOTE_IN_FLIGHT, counters, |counters, index| async move {
            Ok(counters[index].send(Increase {}).await?)
        })
        .await
    })
}

/// Waits until the other node is known. Who keeps the place of an actor follows from its id and the nodes that are known when it is made, and nobody is
/// told of it when others join.
async fn cluster_of_two(node: &RemoteActorSystem) -> anyhow::Result<()> {
    let began = Instant::now();
    while node.get_nodes().await.len() < 2 {
        anyhow::ensure!(began.elapsed() < PATIENCE, "the other node does not join");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn node(id: NodeId) -> RemoteActorSystem {
    let builder = RemoteActorSystem::builder().with_actor_system(ActorSystem::new()).with_id(id);
    let builder = builder.with_tag(format!("node-{id}"));
    builder.with_handlers(|known| known.with_handler::<Counter, Increase>("increase")).build().await
}

fn address() -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}
