//! Holm: the other process is a node, this one is a client of its cluster. One replica, so a command waits for one disk.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use holm::{ClusterSettings, EntityRef, Holm, ShardState};
use tokio::time::{Instant, sleep, timeout};

use super::other_process::{OtherProcess, tell};
use crate::counter::{Counter, Increase, Value};
use crate::work::{Plan, REMOTE_IN_FLIGHT, rates};

const CLUSTER: &str = "holm-peers";

/// How long the node may take until every shard is served.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to stop. What it leaves undone is deleted with its directory.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

pub(super) fn serve(plan: &Plan) -> anyhow::Result<()> {
    let dir = plan.scratch()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut settings = ClusterSettings::new(CLUSTER, listen, []);
        settings.replication = 1;
        let builder = Holm::builder().entity::<Counter>().data_dir(dir.path()).cluster(settings);
        let holm = builder.start().await?;
        served(&holm).await?;
        tell(holm.facts().peer.context("a member has an address")?).await?;
        // Whether it was in time does not matter.
        _ = timeout(STOPS_WITHIN, holm.shutdown()).await;
        Ok(())
    })
}

pub(super) fn reads(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    run(plan, async |counters| {
        rates(plan, &REMOTE_IN_FLIGHT, counters, |counters, index| async move {
            Ok(counters[index].ask(Value {}).await?)
        })
        .await
    })
}

pub(super) fn commands(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    run(plan, async |counters| {
        rates(plan, &REMOTE_IN_FLIGHT, counters, |counters, index| async move {
            Ok(counters[index].ask(Increase {}).await?)
        })
        .await
    })
}

fn run(
    plan: &Plan,
    measure: impl AsyncFnOnce(Arc<[EntityRef<Counter>]>) -> anyhow::Result<Vec<f64>>,
) -> anyhow::Result<Vec<f64>> {
    let node = OtherProcess::start("holm", plan)?;
    let address: SocketAddr = node.told.parse().context("the node tells no address")?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let client = Holm::client(CLUSTER, [address]).name("asker").connect().await?;
        let counters: Arc<[EntityRef<Counter>]> =
            (0..plan.entities).map(|index| client.entity(index.to_string())).collect();
        for counter in counters.iter() {
            counter.ask(Value {}).await?;
        }
        let rates = measure(counters).await;
        client.shutdown().await;
        rates
    })
}

/// Waits until every shard takes asks.
async fn served(holm: &Holm) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let shards = &holm.view().shards;
        if !shards.is_empty() && shards.iter().all(|shard| shard.state == ShardState::Serving) {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "the shards are not served");
        sleep(Duration::from_millis(20)).await;
    }
}
