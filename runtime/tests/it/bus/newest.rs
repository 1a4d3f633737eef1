//! Wanting to know how things stand.

use std::collections::BTreeMap;
use std::time::Duration;

use holm_runtime::bus::{Interest, Start, newest_of_each};

use super::Node;
use crate::account::{Account, Balance, Deposit};

/// Long enough for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Law O17: the last fact of every entity is seen, whatever is written meanwhile; what was overtaken may be skipped, and is.
#[tokio::test]
async fn the_last_of_every_entity_is_seen() {
    let node = Node::start().await;
    for _ in 0..20 {
        node.deposits(6, 1).await;
    }
    let of_accounts = Interest::of::<Account>;
    let mut facts = node.bus().subscribe(of_accounts(), Start::Beginning).await.unwrap();
    let (mut newest, mut given) = (BTreeMap::new(), 0);
    let writing = async {
        for _ in 0..30 {
            node.deposits(6, 1).await;
            tokio::task::yield_now().await;
        }
        node.bus().ends().await.unwrap()
    };
    let mut writing = std::pin::pin!(writing);
    let mut ends = None;
    while ends.as_ref().is_none_or(|ends| !facts.position().has_reached(ends)) {
        let came = tokio::select! {
            came = tokio::time::timeout(PATIENCE, facts.next_newest(64)) => came.unwrap().unwrap(),
            there = &mut writing, if ends.is_none() => {
                ends = Some(there);
                continue;
            }
        };
        given += came.len();
        for fact in came {
            let before = newest.insert(fact.address().id().to_owned(), fact.sequence().get());
            assert!(before < Some(fact.sequence().get()), "never back: {fact:?}");
        }
    }
    assert_eq!(newest.len(), 6);
    for (id, sequence) in &newest {
        assert_eq!(*sequence, 50, "{id} had 50 events");
        assert_eq!(node.account(id).ask(Balance {}).await.unwrap(), 50);
    }
    assert!(given < 250, "{given} of 300 facts: those that were there first come as one of each");
    node.host.stop().await;
}

/// Law O17, at least once: a member that dies before it comes back is followed by one that sees the last again.
#[tokio::test]
async fn the_last_comes_again_when_it_was_not_handled() {
    let node = Node::start().await;
    for _ in 0..10 {
        node.deposits(3, 1).await;
    }
    let join = async || {
        let interest = Interest::of::<Account>();
        node.bus().subscribe_durable("levels", interest, Start::Beginning).await.unwrap()
    };
    let mut first = join().await;
    let came = first.next_newest(1_000).await.unwrap();
    assert!(!came.is_empty() && came.iter().all(|fact| fact.sequence().get() == 10));
    drop(first);
    node.clock.advance(Duration::from_secs(6));
    node.account("a0").ask(Deposit { amount: 1 }).await.unwrap();
    let (mut second, mut newest) = (join().await, BTreeMap::new());
    while newest.len() < 3 || newest["a0"] < 11 {
        let came = tokio::time::timeout(PATIENCE, second.next_newest(1_000)).await;
        for fact in came.expect("the last come again").unwrap() {
            newest.insert(fact.address().id().to_owned(), fact.sequence().get());
        }
    }
    assert_eq!(newest.values().copied().collect::<Vec<_>>(), [11, 10, 10]);
    // What was given is handled, and what that overtook.
    second.store().await.unwrap();
    let ends = node.bus().ends().await.unwrap();
    let stored = node.bus().position_of("levels").await.unwrap();
    let of_them = node.bus().subscribe(Interest::of::<Account>(), Start::After(stored)).await;
    assert!(of_them.unwrap().next_until(&ends).await.unwrap().is_none());
    node.host.stop().await;
}

/// Promise G8: while facts come without a pause, that it is called again says that those before were handled, and so it is stored.
#[tokio::test]
async fn what_was_handled_is_stored_while_more_comes() {
    let node = Node::start().await;
    node.deposits(1, 1).await;
    let interest = Interest::of::<Account>();
    let mut facts =
        node.bus().subscribe_durable("levels", interest, Start::Beginning).await.unwrap();
    let first = facts.next_newest(8).await.unwrap().pop().unwrap();
    node.deposits(1, 2).await;
    // Longer than between two attendances.
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    let second = facts.next_newest(8).await.unwrap().pop().unwrap();
    let stored = node.bus().position_of("levels").await.unwrap();
    assert!(stored.has_passed(first.shard(), first.offset()), "{stored:?}");
    assert!(!stored.has_passed(second.shard(), second.offset()), "{stored:?}");
    node.host.stop().await;
}

#[tokio::test]
async fn of_each_the_last_in_their_order() {
    let node = Node::start().await;
    let alice = node.account("alice");
    let shard = alice.ask_with(Deposit { amount: 1 }, Default::default()).await.unwrap().shard;
    alice.ask(Deposit { amount: 2 }).await.unwrap();
    let feed = node.bus().subscribe(Interest::everything(), Start::Beginning).await;
    let facts = feed.unwrap().next_group(8).await.unwrap();
    let newest = newest_of_each(facts.clone());
    assert_eq!(newest, facts[1..], "shard {shard}");
    assert_eq!(newest_of_each(Vec::new()), []);
    node.host.stop().await;
}
