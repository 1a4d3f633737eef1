//! Subscriptions with a name.

use std::collections::BTreeSet;
use std::time::Duration;

use holm_core::{ShardId, Term};
use holm_runtime::bus::{
    DurableSubscription, GroupRefusal, Interest, Position, Start, SubscribeError,
};

use super::{Node, Order};

async fn join(node: &Node, name: &str) -> DurableSubscription {
    node.bus().subscribe_durable(name, Interest::everything(), Start::Beginning).await.unwrap()
}

/// Promise G8, laws La3 and O8: it goes on where it stopped, also over another leadership of everything.
#[tokio::test]
async fn a_name_remembers_how_far_it_is() {
    let node = Node::start().await;
    node.deposits(30, 1).await;
    let (mut facts, mut order) = (join(&node, "mail").await, Order::default());
    for _ in 0..17 {
        order.see(&facts.next().await.unwrap());
    }
    facts.leave().await.unwrap();
    let log = node.log.clone();
    node.host.stop().await;

    let node = Node::over(log, Term(2)).await;
    let mut facts = join(&node, "mail").await;
    for _ in 0..13 {
        order.see(&facts.next().await.unwrap());
    }
    assert_eq!(order.facts, 30);
    facts.store().await.unwrap();
    let stored = node.bus().position_of("mail").await.unwrap();
    assert_eq!(&stored, facts.position());
    node.host.stop().await;
}

/// At least once: what was handled and not stored comes again; nothing is left out.
#[tokio::test]
async fn what_was_not_stored_comes_again() {
    let node = Node::start().await;
    node.deposits(10, 1).await;
    let mut facts = join(&node, "mail").await;
    let first = facts.next().await.unwrap();
    drop(facts);
    node.clock.advance(Duration::from_secs(6));
    let (mut facts, mut ids) = (join(&node, "mail").await, BTreeSet::new());
    for _ in 0..10 {
        ids.insert(facts.next().await.unwrap().id());
    }
    assert!(ids.len() == 10 && ids.contains(&first.id()));
    node.host.stop().await;
}

/// Names do not mix, and who begins now sees nothing of before (law U5).
#[tokio::test]
async fn every_name_has_its_own_position() {
    let node = Node::start().await;
    node.deposits(5, 1).await;
    let mut late =
        node.bus().subscribe_durable("late", Interest::everything(), Start::Now).await.unwrap();
    let mut early = join(&node, "early").await;
    node.account("z").ask(crate::account::Deposit { amount: 1 }).await.unwrap();
    assert_eq!(late.next().await.unwrap().address().id(), "z");
    let mut order = Order::default();
    for _ in 0..6 {
        order.see(&early.next().await.unwrap());
    }
    node.host.stop().await;
}

/// Two members share the shards; when one dies without a word, the other reads on where that one had stored.
#[tokio::test]
async fn a_group_shares_the_work_and_takes_over() {
    let node = Node::start().await;
    node.deposits(40, 1).await;
    let (mut first, mut second) = (join(&node, "mail").await, join(&node, "mail").await);
    assert!(second.position().0.is_empty(), "the first reads everything and was not asked yet");
    first.store().await.unwrap();
    first.store().await.unwrap();
    second.store().await.unwrap();
    let shards =
        |it: &DurableSubscription| it.position().0.keys().copied().collect::<BTreeSet<ShardId>>();
    assert_eq!((shards(&first).len(), shards(&second).len()), (2, 2));
    assert!(shards(&first).is_disjoint(&shards(&second)));

    let (theirs, mut orders) = (shards(&second), (Order::default(), Order::default()));
    while let Ok(fact) = tokio::time::timeout(Duration::from_millis(100), second.next()).await {
        let fact = fact.unwrap();
        assert!(theirs.contains(&fact.shard()));
        orders.1.see(&fact);
    }
    second.store().await.unwrap();
    drop(second);
    node.clock.advance(Duration::from_secs(6));
    node.deposits(40, 2).await;
    while let Ok(fact) = tokio::time::timeout(Duration::from_secs(2), first.next()).await {
        let fact = fact.unwrap();
        let order = if theirs.contains(&fact.shard()) { &mut orders.1 } else { &mut orders.0 };
        order.see(&fact);
    }
    assert_eq!(
        orders.0.facts + orders.1.facts,
        80,
        "each fact once, because the second had stored"
    );
    node.host.stop().await;
}

/// A handler that takes longer than the lease does not cost its member the shards: it attends meanwhile.
#[tokio::test]
async fn a_slow_handler_keeps_its_place() {
    let node = Node::start().await;
    node.deposits(3, 1).await;
    let (mut facts, mut handled) = (join(&node, "mail").await, Vec::new());
    let ended = facts
        .for_each(|fact| {
            handled.push(fact.id());
            let first = handled.len() == 1;
            let node = &node;
            async move {
                if !first {
                    return Ok(());
                }
                node.clock.advance(Duration::from_secs(3));
                tokio::time::sleep(Duration::from_millis(1_700)).await;
                node.clock.advance(Duration::from_secs(3));
                // Six seconds after it joined; another member would have its shards by now.
                let other = join(node, "mail").await;
                assert!(other.position().0.is_empty());
                other.leave().await?;
                Err(SubscribeError::Name { reason: "the end".to_owned() })
            }
        })
        .await;
    assert_eq!(ended, Err(SubscribeError::Name { reason: "the end".to_owned() }));
    drop(facts);
    node.clock.advance(Duration::from_secs(6));
    let (mut facts, mut again) = (join(&node, "mail").await, Vec::new());
    while let Ok(fact) = tokio::time::timeout(Duration::from_millis(200), facts.next()).await {
        again.push(fact.unwrap().id());
    }
    assert!(again.contains(&handled[0]), "it attended before this was handled");
    node.host.stop().await;
}

/// Law O8: the position can be set, back or forwards, while nobody reads.
#[tokio::test]
async fn the_position_can_be_set_while_nobody_reads() {
    let node = Node::start().await;
    node.deposits(4, 1).await;
    let (mut facts, bus) = (join(&node, "mail").await, node.bus());
    for _ in 0..4 {
        facts.next().await.unwrap();
    }
    let refused = bus.set_position("mail", &Position::default()).await;
    assert_eq!(refused, Err(SubscribeError::Refused(GroupRefusal::InUse { members: 1 })));
    facts.leave().await.unwrap();
    bus.set_position("mail", &Position::default()).await.unwrap();
    let (mut facts, mut order) = (join(&node, "mail").await, Order::default());
    for _ in 0..4 {
        order.see(&facts.next().await.unwrap());
    }
    node.host.stop().await;
}

#[tokio::test]
async fn a_name_that_is_none_is_refused() {
    let node = Node::start().await;
    let refused = node.bus().subscribe_durable("", Interest::everything(), Start::Now).await;
    assert!(matches!(refused, Err(SubscribeError::Name { .. })), "{refused:?}");
    node.host.stop().await;
}

/// A member may be driven from any thread.
#[test]
fn following_can_be_spawned() {
    fn sendable(_: &impl Send) {}
    let _ = |mut it: DurableSubscription| {
        sendable(&it.next());
        sendable(&it.store());
        sendable(&it.leave());
    };
}
