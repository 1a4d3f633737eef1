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

/// What a stranger sends may end chitchat (a key of version 2 in news that say that 1 is the highest); gossip goes on without anybody's help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_that_chitchat_does_not_survive_do_not_end_gossip() {
    let (first_peers, first) = gossip(1, 1, vec![]).await;
    let seed = vec![first_peers.local_addr().unwrap()];
    let (_second_peers, second) = gossip(2, 1, seed.clone()).await;
    let mut live = first.live();
    wait_for(&mut live, |live| live.len() == 2).await;

    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let id = [&b"\x01\x00x"[..], &[1, 0, 0, 0, 0, 0, 0, 0], &[4, 127, 83, 0, 9, 1, 1]].concat();
    let number = |number: u64| number.to_le_bytes();
    let greeting = [&[0x53, 0xb0, 0, 0, 1, 0][..], &id, &number(1), &number(0), &number(0)];
    let greeting = [&greeting.concat()[..], b"\x04\x00test"].concat();
    let key = [&[1, 1, 0, b'k', 1, 0, b'v'][..], &number(2), &[0]].concat();
    let ops = [&[0][..], &id, &number(0), &number(0), &key, &[2], &number(1)].concat();
    let length = u16::try_from(ops.len()).unwrap().to_le_bytes();
    let news = [&[0x53, 0xb0, 0, 2, 2][..], &length, &ops, &[0]].concat();
    let alone = wait_for(&mut live, |live| {
        stranger.send_to(&greeting, seed[0]).unwrap();
        stranger.send_to(&news, seed[0]).unwrap();
        live.len() < 2
    });
    // Whether the moment in which it knows nobody else is seen or not: what counts is that it hears news again.
    _ = tokio::time::timeout(Duration::from_secs(1), alone).await;
    second.set_load(250.0);
    wait_for(&mut live, |live| live.len() == 2 && live[1].load == 250.0).await;
    assert_eq!(live.borrow()[0].incarnation, 1, "it is the same start of the same process");
    first.set_load(125.0);
    wait_for(&mut second.live(), |live| live.len() == 2 && live[0].load == 125.0).await;
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
