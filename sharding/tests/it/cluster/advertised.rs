//! A node behind an address translation tells one address in everything that others hear of it: handshake, gossip and the facts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::NodeId;
use holm_sharding::{
    Lane, Membership, MembershipOptions, PeerInfo, PeersOptions, Responder, StartError,
};
use tokio::sync::mpsc;

use super::harness::Cluster;
use crate::support::{Handling, PATIENCE, node, start};

/// Nobody listens there; what is told is all that counts.
fn translated() -> SocketAddr {
    "192.0.2.7:7171".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshake_and_gossip_tell_the_advertised_address() {
    let mut cluster = Cluster::of(1);
    let (tell, mut told) = mpsc::unbounded_channel();
    let seed = Arc::new(Handling(move |from: &PeerInfo, _: Lane, _: Bytes, _: Responder| {
        // The test may be over.
        let _ = tell.send(from.listen);
    }));
    let peers = start(PeersOptions { gossip: true, ..node(7) }, seed).await;
    let gossip = MembershipOptions {
        cluster: "test".into(),
        name: "seed".into(),
        incarnation: 1,
        node: NodeId(7),
        http: None,
        seeds: Vec::new(),
    };
    let gossip = Membership::start(gossip, &peers).await.unwrap();
    cluster.seeds = vec![peers.local_addr().unwrap()];
    let starting = cluster.try_start(0, |options| {
        options.advertise = Some(translated());
        options.join_timeout = Duration::from_secs(2);
    });
    let heard = async {
        let from = tokio::time::timeout(PATIENCE, told.recv()).await.expect("it asks its seed");
        assert_eq!(from, Some(Some(translated())), "in the handshake");
        let mut live = gossip.live();
        let named = live.wait_for(|live| live.iter().any(|node| node.name == "n1"));
        let live = tokio::time::timeout(PATIENCE, named).await.expect("it gossips").unwrap();
        let seen = live.iter().find(|node| node.name == "n1").unwrap();
        assert_eq!(seen.peer, translated(), "in gossip");
    };
    let (started, ()) = tokio::join!(starting, heard);
    assert!(
        matches!(started.err(), Some(StartError::NotJoined { .. })),
        "the seed answers nothing"
    );
}

/// The members of a cluster reach a node at the address that it advertises.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_reach_a_node_where_it_says() {
    let mut cluster = Cluster::of(1);
    let first = cluster.start(0).await;
    let second = cluster.add_place();
    let told = cluster.places[second].address;
    let second = cluster
        .try_start(second, |options| {
            options.listen = SocketAddr::from(([0, 0, 0, 0], told.port()));
            options.insecure = true;
            options.advertise = Some(told);
        })
        .await
        .unwrap();
    assert_eq!(second.node.peer_address(), told);
    let id = second.node.node();
    let view = first
        .until("the second node has replicas", |view| {
            view.shards.iter().all(|shard| shard.replicas.contains(&id))
        })
        .await;
    assert_eq!(view.member(id).unwrap().peer, told);
    second.add("a", 1).await.unwrap();
}
