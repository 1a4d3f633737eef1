//! What a peer with the right secret but a wrong mind sends to a running node: messages that claim more than they hold, of every layout.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use holm_sharding::{Lane, Message, NodeIdentity, Peers, PeersOptions};

use super::harness::{Cluster, Total};
use crate::support::{PATIENCE, echo};

/// Promise G9: a length that is claimed and not there is an error before it is memory; a message of no layout ends its connection; the node serves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_cost_their_sender_a_connection() {
    let cluster = Cluster::of(1);
    let running = cluster.start(0).await;
    running.until_serving().await;
    running.add("a", 1).await.unwrap();
    let address = running.node.peer_address();
    let me =
        NodeIdentity { node: Default::default(), name: "mad".into(), incarnation: 1, http: None };
    let mad = Peers::start(PeersOptions::new("test", me), echo()).await.unwrap();
    for bomb in bombs() {
        until_connected(&mad, address).await;
        let what = format!("{:?}", &bomb[..bomb.len().min(12)]);
        let answer = mad.request(address, Lane::Commands, bomb, Duration::from_secs(5)).await;
        // Consensus says what is wrong in its answer; all others end the connection or drop the request.
        let refused = answer.as_ref().map_or(true, |body| body.first() == Some(&1));
        assert!(refused, "{what} was answered by {answer:?}");
        running.add("a", 1).await.unwrap();
    }
    let count = u64::try_from(bombs().len()).unwrap() + 1;
    assert_eq!(running.tally("a").ask(Total {}).await.unwrap(), count);
}

/// A bomb ended the connection before; the next one must not be lost on the way.
async fn until_connected(peers: &Peers, address: SocketAddr) {
    let view = || peers.request(address, Lane::Control, Message::View.encode(), PATIENCE);
    let answered = async {
        while view().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the node answers who asks properly");
}

/// Each layout with a claim of 2^40 and of 2^63 items where its first length stands, with a body of nothing, and with depth without an end.
fn bombs() -> Vec<Bytes> {
    let mut bombs = Vec::new();
    let heads: [&[u8]; 9] = [
        &[2],
        &[4],
        &[5],
        // Consensus: an append, a vote and a transfer of the cluster log. Requests between nodes: to join, to leave.
        &[0, 1, 255, 255, 255, 255],
        &[0, 2, 255, 255, 255, 255],
        &[0, 4, 255, 255, 255, 255],
        &[1, 1],
        &[1, 3],
        &[200],
    ];
    for head in heads {
        for claim in [1_u64 << 40, 1 << 63] {
            bombs.push([head, &[253], &claim.to_le_bytes(), &[7; 64]].concat());
        }
        bombs.push(head.to_vec());
        bombs.push([head, &[1; 100_000]].concat());
    }
    bombs.push(Vec::new());
    bombs.into_iter().map(Bytes::from).collect()
}
