//! Gossip between nodes on loopback: they find each other through one seed, hear news, and notice silence within a second.

use std::sync::Arc;
use std::time::Duration;

use holm_core::NodeId;
use holm_sharding::{LiveNode, Membership, MembershipOptions, Peers, PeersOptions};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::{PATIENCE, echo, node, start};

async fn gossip(
    id: u64,
    incarnation: u64,
    seeds: Vec<std::net::SocketAddr>,
) -> (Peers, Membership) {
    let peers = start(PeersOptions { gossip: true, ..node(id) }, echo()).await;
    let options = MembershipOptions {
        cluster: "test".into(),
        name: format!("holm-{id}"),
        incarnation,
        node: NodeId(id),
        http: Some(format!("http://127.0.0.1:{id}")),
        seeds,
    };
    let membership = Membership::start(options, &peers).await.unwrap();
    (peers, membership)
}

async fn wait_for(
    live: &mut watch::Receiver<Arc<Vec<LiveNode>>>,
    wanted: impl FnMut(&Arc<Vec<LiveNode>>) -> bool,
) -> Arc<Vec<LiveNode>> {
    let found = tokio::time::timeout(PATIENCE, live.wait_for(wanted)).await;
    found.expect("the news comes in time").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_find_each_other_hear_news_and_notice_silence() {
    let (first_peers, first) = gossip(1, 1, vec![]).await;
    let seed = vec![first_peers.local_addr().unwrap()];
    let (second_peers, second) = gossip(2, 1, seed.clone()).await;
    let (_third_peers, third) = gossip(3, 5, seed.clone()).await;
    let mut live = second.live();
    let found = wait_for(&mut live, |live| live.len() == 3).await;
    assert_eq!(found[0].peer, seed[0]);
    assert_eq!(found[0].http.as_deref(), Some("http://127.0.0.1:1"));
    assert_eq!((found[2].node, found[2].incarnation), (NodeId(3), 5));

    first.set_node(NodeId(9));
    first.set_load(250.0);
    wait_for(&mut live, |live| live[0].node == NodeId(9) && live[0].load == 250.0).await;

    // Some rounds teach the usual interval.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    third.shutdown().await;
    wait_for(&mut live, |live| live.len() == 2).await;
    println!("silence was noticed after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(3), "it took {:?}", began.elapsed());

    // A newer start of the same name stands in the older one's place.
    drop(second_peers);
    let (_again_peers, _again) = gossip(3, 6, seed).await;
    let found = wait_for(&mut live, |live| live.len() == 3).await;
    assert_eq!(found[2].incarnation, 6);
}

#[tokio::test]
async fn without_its_port_gossip_does_not_start() {
    let peers = start(node(1), echo()).await;
    let options = MembershipOptions {
        cluster: "test".into(),
        name: "holm-1".into(),
        incarnation: 1,
        node: NodeId(1),
        http: None,
        seeds: vec![],
    };
    assert!(Membership::start(options, &peers).await.is_err());
}
