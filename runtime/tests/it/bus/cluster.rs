//! Facts of the cluster on their topic.

use std::time::Duration;

use holm_core::{ShardId, Term, Timestamp};
use holm_runtime::bus::{Interest, Start};
use holm_runtime::{ClusterEvent, ClusterFacts};

use super::Node;

const FACTS: u32 = 700;

fn regained(number: u32) -> ClusterEvent {
    let at = Timestamp::from_millis(u64::from(number));
    ClusterEvent::QuorumRegained { shard: ShardId(number), at }
}

async fn told(node: &Node) -> Vec<ClusterEvent> {
    let ends = node.bus().ends().await.unwrap();
    let interest = Interest::of::<ClusterFacts>();
    let mut facts = node.bus().subscribe(interest, Start::Beginning).await.unwrap();
    let mut told = Vec::new();
    while let Some(fact) = facts.next_until(&ends).await.unwrap() {
        told.push(fact.event::<ClusterFacts>().unwrap());
    }
    told
}

/// Promise G8: what is announced is followed by everybody who wants it and by nobody else, once and in order; what waits when a node stops in order is stored
/// before.
#[tokio::test]
async fn what_is_announced_is_on_the_topic() {
    let node = Node::start().await;
    node.host.connect_to_itself();
    let interest = Interest::of::<ClusterFacts>();
    let mut live = node.bus().subscribe(interest, Start::Now).await.unwrap();
    node.host.announce(regained(0));
    let first = tokio::time::timeout(Duration::from_secs(10), live.next()).await;
    assert_eq!(first.unwrap().unwrap().event::<ClusterFacts>().unwrap(), regained(0));
    (1..FACTS).for_each(|number| node.host.announce(regained(number)));
    assert!(node.host.settle(Duration::from_secs(20)).await);
    node.host.stop().await;

    let node = Node::over(node.log, Term(2)).await;
    assert!(told(&node).await.into_iter().eq((0..FACTS).map(regained)), "once and in order");
    let ends = node.bus().ends().await.unwrap();
    let mut others = node.bus().subscribe(Interest::everything(), Start::Beginning).await.unwrap();
    assert_eq!(others.next_until(&ends).await.unwrap(), None, "who did not ask is not told");
    node.host.stop().await;
}
