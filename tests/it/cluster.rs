//! Three nodes in one process, through the door that a service uses.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use holm::{AskOptions, Builder, ClusterSettings, Holm, IdempotencyKey, ShardState, StartError};
use holm_domains::bank::transfer::{Stage, Start, TransferStatus};
use holm_domains::bank::{Account, Balance, Deposit, Open, Transfer};

/// Promise G2: the same key, sent many times through every node and across the loss of one, takes effect once and gets one answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_takes_effect_once_whichever_node_is_asked() {
    let data = tempfile::tempdir().unwrap();
    let nodes = three(data.path()).await;
    nodes[0].entity::<Account>("alice").ask(Open { owner: "Alice".into() }).await.unwrap();

    let mut places = Vec::new();
    for round in 0..20 {
        if round == 10 {
            nodes[2].shutdown().await;
        }
        let alive = if round < 10 { 3 } else { 2 };
        places.push(deposit_once(&nodes[round % alive]).await);
    }
    places.dedup();
    assert_eq!(places.len(), 1, "one effect, one place in history: {places:?}");
    assert_eq!(nodes[1].entity::<Account>("alice").ask(Balance {}).await, Ok(100));

    nodes[1].shutdown().await;
    nodes[0].shutdown().await;
}

/// Promise G2. Promise G6: what is under way when a node goes is taken over by those that lead its shards then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_go_on_when_a_node_goes() {
    let data = tempfile::tempdir().unwrap();
    let nodes = three(data.path()).await;
    for number in 0..6 {
        let account = nodes[0].entity::<Account>(format!("a{number}"));
        account.ask(Open { owner: "Ada".into() }).await.unwrap();
        account.ask(Deposit { amount: 100 }).await.unwrap();
    }
    for number in 0..60 {
        let (from, to) = (format!("a{}", number % 6), format!("a{}", (number + 1) % 6));
        let transfer = nodes[number % 2].entity::<Transfer>(format!("t{number}"));
        transfer.ask(Start { from, to, amount: 1 + number as u64 }).await.unwrap();
    }
    nodes[2].shutdown().await;
    let mut completed = 0;
    for number in 0..60 {
        let transfer = nodes[0].entity::<Transfer>(format!("t{number}"));
        let ended = loop {
            let transfer = transfer.ask(TransferStatus {}).await.unwrap();
            if matches!(transfer.stage, Stage::Completed | Stage::Failed) {
                break transfer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        completed += u32::from(ended.stage == Stage::Completed);
    }
    assert!(completed > 0);
    let mut sum = 0;
    for number in 0..6 {
        sum += nodes[1].entity::<Account>(format!("a{number}")).ask(Balance {}).await.unwrap();
    }
    assert_eq!(sum, 600);
    nodes[1].shutdown().await;
    nodes[0].shutdown().await;
}

/// Deposits under the one key of the test; the place of the effect in history.
async fn deposit_once(node: &Holm) -> (u64, u64, u64) {
    let options = AskOptions::with_key(IdempotencyKey::new("pay-day").unwrap());
    let alice = node.entity::<Account>("alice");
    let reply = alice.ask_with(Deposit { amount: 100 }, options).await.unwrap();
    (reply.value, reply.sequence.get(), reply.offset.get())
}

pub(crate) async fn three(data: &Path) -> Vec<Holm> {
    three_with(data, |builder| builder).await
}

/// Three nodes that are members and lead, each changed in the same way before it starts.
pub(crate) async fn three_with(data: &Path, change: fn(Builder) -> Builder) -> Vec<Holm> {
    let addresses = free_addresses();
    let (one, two, three) = tokio::try_join!(
        start(0, &addresses, data, change),
        start(1, &addresses, data, change),
        start(2, &addresses, data, change),
    )
    .unwrap();
    let nodes = vec![one, two, three];
    for node in &nodes {
        while !node.view().shards.iter().all(|shard| shard.state == ShardState::Serving) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    nodes
}

async fn start(
    index: usize,
    addresses: &[SocketAddr],
    data: &Path,
    change: fn(Builder) -> Builder,
) -> Result<Holm, StartError> {
    let mut cluster = ClusterSettings::new("facade", addresses[index], addresses);
    cluster.expected_nodes = 3;
    change(Holm::builder())
        .entity::<Account>()
        .entity::<Transfer>()
        .node_name(format!("node-{index}"))
        .data_dir(data.join(index.to_string()))
        .shards(4)
        .cluster(cluster)
        .start()
        .await
}

/// Ports that the system picked. All are held at once, so that none comes twice.
fn free_addresses() -> Vec<SocketAddr> {
    let held: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}
