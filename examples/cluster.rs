//! Three nodes in one process: a cluster that keeps serving when one of them goes.
//!
//! `cargo run --example cluster`. In production each node is a process of its own, as `holm dev` starts them; the code is the same.

use std::net::SocketAddr;
use std::path::Path;

use holm::{ClusterSettings, Holm, ShardState};
use holm_domains::bank::{Account, Balance, Deposit, Open};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let addresses = free_addresses()?;
    let [one, two, three] = tokio::try_join!(
        start(1, &addresses, data.path()),
        start(2, &addresses, data.path()),
        start(3, &addresses, data.path()),
    )
    .map(<[Holm; 3]>::from)?;
    for node in [&one, &two, &three] {
        serving(node).await;
    }

    // Ask any node: the command finds the one that leads the account's shard.
    one.entity::<Account>("alice").ask(Open { owner: "Alice".into() }).await?;
    let balance = two.entity::<Account>("alice").ask(Deposit { amount: 100 }).await?;
    println!("deposited through the second node, balance {balance}");

    // One node hands over what it leads and stops; the others go on.
    three.shutdown().await;
    let balance = one.entity::<Account>("alice").ask(Balance {}).await?;
    println!("without the third node, balance {balance}");

    two.shutdown().await;
    one.shutdown().await;
    Ok(())
}

async fn start(
    number: usize,
    addresses: &[SocketAddr; 3],
    data: &Path,
) -> Result<Holm, holm::StartError> {
    let mut cluster = ClusterSettings::new("example", addresses[number - 1], *addresses);
    cluster.expected_nodes = 3;
    Holm::builder()
        .entity::<Account>()
        .node_name(format!("node-{number}"))
        .data_dir(data.join(number.to_string()))
        .shards(8)
        .cluster(cluster)
        .start()
        .await
}

/// Three addresses that are free at the moment. Nodes on machines of their own have fixed ones.
fn free_addresses() -> std::io::Result<[SocketAddr; 3]> {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0");
    // All three are held at once, so that no port comes twice.
    let held = [bind()?, bind()?, bind()?];
    Ok([held[0].local_addr()?, held[1].local_addr()?, held[2].local_addr()?])
}

/// Waits until every shard has a leader that takes commands.
async fn serving(node: &Holm) {
    while !node.view().shards.iter().all(|shard| shard.state == ShardState::Serving) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
