//! ractor: an actor for each entity in the other process, which `ractor_cluster` makes known here as members of a process group.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call, pg};
use ractor_cluster::{NodeServer, NodeServerMessage, RactorClusterMessage};
use tokio::time::{Instant, sleep};

use super::free_port::free_port;
use super::other_process::{OtherProcess, tell};
use crate::work::{Plan, REMOTE_IN_FLIGHT, rates};

const GROUP: &str = "counters";

/// How long the actors may take to be known here.
const PATIENCE: Duration = Duration::from_secs(30);

struct Counter;

#[derive(RactorClusterMessage)]
enum Asked {
    #[rpc]
    Increase(RpcReplyPort<u64>),
}

impl Actor for Counter {
    type Msg = Asked;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Asked>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Asked>,
        Asked::Increase(reply): Asked,
        value: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *value += 1;
        // A caller that was stopped at the end of the run wants no answer.
        _ = reply.send(*value);
        Ok(())
    }
}

pub(super) fn serve(plan: &Plan) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut counters = Vec::with_capacity(plan.entities);
        for _ in 0..plan.entities {
            let (counter, _) = Actor::spawn(None, Counter, ()).await?;
            counters.push(counter.get_cell());
        }
        pg::join(GROUP.to_owned(), counters);
        let port = free_port()?;
        let _server = node("there", port).await?;
        tell(port).await
    })
}

pub(super) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    let other = OtherProcess::start("ractor", plan)?;
    let port: u16 = other.told.parse()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let server = node("here", 0).await?;
        ractor_cluster::client_connect(&server, (Ipv4Addr::LOCALHOST, port)).await?;
        let counters = known(plan.entities).await?;
        rates(plan, &REMOTE_IN_FLIGHT, counters, |counters, index| async move {
            Ok(call!(counters[index], Asked::Increase)?)
        })
        .await
    })
}

async fn node(name: &str, port: u16) -> anyhow::Result<ActorRef<NodeServerMessage>> {
    let (cookie, host) = ("holm-peers".to_owned(), "localhost".to_owned());
    let server = NodeServer::new(port, cookie, name.to_owned(), host, None, None)
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Ok(Actor::spawn(None, server, ()).await?.0)
}

/// Waits until the other process has told of all of them.
async fn known(entities: usize) -> anyhow::Result<Arc<[ActorRef<Asked>]>> {
    let began = Instant::now();
    loop {
        let members = pg::get_members(&GROUP.to_owned());
        if members.len() == entities {
            return Ok(members.into_iter().map(ActorRef::from).collect());
        }
        let (known, patience) = (members.len(), PATIENCE.as_secs());
        anyhow::ensure!(
            began.elapsed() < PATIENCE,
            "{known} of {entities} actors are known here after {patience} s"
        );
        sleep(Duration::from_millis(20)).await;
    }
}
