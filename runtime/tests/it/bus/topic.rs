//! Topics of a program's own.

use std::time::Duration;

use holm_core::IdempotencyKey;
use holm_runtime::AskOptions;
use holm_runtime::bus::{Interest, Start, Topic, TopicError};
use serde::{Deserialize, Serialize};

use super::Node;
use crate::account::Account;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shipped {
    order: u64,
}

/// Law U5: every subscriber gets every message once, in the order of its key; other topics do not mix in.
#[tokio::test]
async fn what_is_published_is_followed() {
    let node = Node::start().await;
    let orders: Topic<Shipped> = node.bus().topic("orders").unwrap();
    let others: Topic<Shipped> = node.bus().topic("orders-of-others").unwrap();
    others.publish("a", &Shipped { order: 99 }).await.unwrap();
    let mut live = orders.subscribe(Start::Now).await.unwrap();
    let mut mail = orders.subscribe_durable("mail", Start::Beginning).await.unwrap();
    for order in 0..10 {
        orders.publish("a", &Shipped { order }).await.unwrap();
    }
    for order in 0..10 {
        assert_eq!(orders.read(&live.next().await.unwrap()).unwrap(), Shipped { order });
        assert_eq!(orders.read(&mail.next().await.unwrap()).unwrap(), Shipped { order });
    }
    let more = tokio::time::timeout(Duration::from_millis(50), live.next()).await;
    assert!(more.is_err(), "{more:?}");
    // Who follows everything of the program does not see what Holm itself stores.
    let mut all = node.bus().subscribe(Interest::everything(), Start::Beginning).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), all.next()).await.is_err());
    node.host.stop().await;
}

/// Promise G2: a message that is published again under its key is there once.
#[tokio::test]
async fn a_message_is_published_once() {
    let node = Node::start().await;
    let orders: Topic<Shipped> = node.bus().topic("orders").unwrap();
    let once = IdempotencyKey::new("order-7").unwrap();
    for _ in 0..3 {
        orders.publish_once("a", &Shipped { order: 7 }, once.clone()).await.unwrap();
    }
    let mut facts = orders.subscribe(Start::Beginning).await.unwrap();
    facts.next().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), facts.next()).await.is_err());
    node.host.stop().await;
}

/// Promise G6: whoever acts on a fact from outside names it, so what follows belongs to its conversation and hangs on its command.
#[tokio::test]
async fn what_follows_a_fact_belongs_to_its_conversation() {
    let node = Node::start().await;
    node.deposits(1, 1).await;
    let mut facts =
        node.bus().subscribe(Interest::of::<Account>(), Start::Beginning).await.unwrap();
    let cause = facts.next().await.unwrap();
    let orders: Topic<Shipped> = node.bus().topic("orders").unwrap();
    let options = AskOptions::following(&cause);
    orders.publish_with("a", &Shipped { order: 7 }, options).await.unwrap();
    let mut followed = orders.subscribe(Start::Beginning).await.unwrap();
    let published = followed.next().await.unwrap();
    assert_eq!(published.correlation_id(), cause.correlation_id());
    assert_eq!(published.causation_id(), cause.command_id().causes());
    node.host.stop().await;
}

#[tokio::test]
async fn a_name_that_is_none_and_a_foreign_fact_are_refused() {
    let node = Node::start().await;
    for name in ["", "a/b", "a\nb"] {
        let refused = node.bus().topic::<Shipped>(name);
        assert!(matches!(refused, Err(TopicError::Name { .. })), "{name:?}");
    }
    node.deposits(1, 1).await;
    let mut facts = node.bus().subscribe(Interest::everything(), Start::Beginning).await.unwrap();
    let foreign = facts.next().await.unwrap();
    let orders: Topic<Shipped> = node.bus().topic("orders").unwrap();
    assert!(matches!(orders.read(&foreign), Err(TopicError::Foreign { .. })));
    node.host.stop().await;
}
