//! What somebody wants, and wanting something else while one follows.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use holm_core::{AskError, EntityAddress, Offset, SequenceNumber, ShardId};
use holm_persistence::Pending;
use holm_runtime::bus::{
    Bus, Fact, FeedError, INCLUDED, IncludeError, Interest, REPLAYS, Start, Subscription,
};
use holm_runtime::{AskOptions, EntityRef, HistoryPage, Inspector, Registry};

use super::tags::{Note, Till, some};
use super::{Node, Order};
use crate::account::{Account, Collect, Deposit, Withdraw};

fn account(id: &str) -> EntityAddress {
    EntityAddress::new("account", id).unwrap()
}

/// What is left of all that is stored, by id and sequence number.
async fn rest(node: &Node, facts: &mut Subscription) -> Vec<(String, u64)> {
    let (ends, mut came) = (node.bus().ends().await.unwrap(), Vec::new());
    while let Some(fact) = facts.next_until(&ends).await.unwrap() {
        came.push(place(&fact));
    }
    came
}

/// The next one, which must come.
async fn next(facts: &mut Subscription) -> Fact {
    let next = tokio::time::timeout(Duration::from_secs(5), facts.next()).await;
    next.expect("a fact comes").unwrap()
}

fn place(fact: &Fact) -> (String, u64) {
    (fact.address().id().to_owned(), fact.sequence().get())
}

fn sorted(mut places: Vec<(String, u64)>) -> Vec<(String, u64)> {
    places.sort();
    places
}

fn places(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|(id, sequence)| ((*id).to_owned(), *sequence)).collect()
}

/// Law O21: an entity that is included passes whatever else is said; else what is excluded does not, by entity and by tag.
#[tokio::test]
async fn include_wins_over_exclude_and_exclude_over_the_rest() {
    let node = Node::start().await;
    for id in ["a", "b", "c"] {
        node.account(id).ask(Deposit { amount: 9 }).await.unwrap();
        node.account(id).ask(Withdraw { amount: 1 }).await.unwrap();
    }
    let till = EntityRef::<Till>::new(node.caller.clone(), "t");
    till.ask(Note { events: some() }).await.unwrap();
    let bus = node.bus().knowing(Registry::new().entity::<Till>().entity::<Account>());
    let accounts = Interest::of::<Account>;
    let all = ["a", "b", "c"].map(|id| [(id, 1), (id, 2)]).concat();
    let t = EntityAddress::new("till", "t").unwrap();
    for (interest, expected) in [
        (accounts().exclude(account("b")), [&all[..2], &all[4..]].concat()),
        (accounts().exclude(account("b")).include(account("b")), all.clone()),
        (accounts().include(account("b")).exclude(account("b")), [&all[..2], &all[4..]].concat()),
        (accounts().event("Withdrawn"), vec![("a", 2), ("b", 2), ("c", 2)]),
        // All of its events, of whatever name, type or tag.
        (accounts().event("Withdrawn").include(account("b")), {
            vec![("a", 2), ("b", 1), ("b", 2), ("c", 2)]
        }),
        (accounts().id_prefix("a").include(account("c")), [&all[..2], &all[4..]].concat()),
        (Interest::of::<Till>().exclude_tag("in"), vec![("t", 1), ("t", 3)]),
        (Interest::of::<Till>().tag("money").exclude_tag("large"), vec![("t", 2)]),
        (Interest::of::<Till>().exclude_tag("money").include(t.clone()), {
            vec![("t", 1), ("t", 2), ("t", 3), ("t", 4)]
        }),
        (Interest::of::<Till>().exclude(t), vec![]),
    ] {
        let mut facts = bus.subscribe(interest.clone(), Start::Beginning).await.unwrap();
        assert_eq!(sorted(rest(&node, &mut facts).await), places(&expected), "{interest:?}");
    }
    node.host.stop().await;
}

/// Law O21: what is wanted can be changed while one follows, and counts from the present position on; nothing comes twice for it.
#[tokio::test]
async fn the_interest_can_be_changed_while_one_follows() {
    let node = Node::start().await;
    for amount in 1..=3 {
        node.account("a").ask(Deposit { amount }).await.unwrap();
        node.account("b").ask(Deposit { amount }).await.unwrap();
    }
    let only = |id: &str| Interest::of::<Account>().id_prefix(id);
    let mut facts = node.bus().subscribe(only("a"), Start::Beginning).await.unwrap();
    assert_eq!(rest(&node, &mut facts).await, places(&[("a", 1), ("a", 2), ("a", 3)]));
    facts.set_interest(only("b"));
    for id in ["a", "b"] {
        node.account(id).ask(Deposit { amount: 4 }).await.unwrap();
    }
    assert_eq!(rest(&node, &mut facts).await, places(&[("b", 4)]));
    facts.set_interest(Interest::of::<Account>().exclude(account("b")));
    for id in ["a", "b"] {
        node.account(id).ask(Collect { parts: 2 }).await.unwrap();
    }
    // In the midst of a record it is changed: that record comes again, whole.
    assert_eq!(place(&next(&mut facts).await), ("a".to_owned(), 5));
    facts.set_interest(Interest::of::<Account>());
    let left = rest(&node, &mut facts).await;
    let of = |id: &str| left.iter().filter(|it| it.0 == id).map(|it| it.1).collect::<Vec<_>>();
    assert_eq!(of("a"), [5, 6]);
    assert!(facts.position().has_reached(&node.bus().ends().await.unwrap()));
    node.host.stop().await;
}

/// Law O21: an entity that is included is heard of from its first event, in order and without a gap, and goes on with what happens to it; the others are where
/// they were.
#[tokio::test]
async fn an_entity_that_is_included_comes_from_its_first_event() {
    let node = Node::start().await;
    // More than one page of its history, among the events of others in the same shard.
    for amount in 0..150 {
        node.account("new").ask(Deposit { amount }).await.unwrap();
        node.account(&format!("old{}", amount % 7)).ask(Deposit { amount }).await.unwrap();
    }
    let new = node.account("new");
    let shard = new.ask_with(Collect { parts: 3 }, AskOptions::default()).await.unwrap().shard;
    let old = Interest::of::<Account>().id_prefix("old");
    let mut facts = node.bus().subscribe(old, Start::Beginning).await.unwrap();
    let mut order = Order::default();
    while facts.position().of(shard).0 < 100 {
        order.see(&next(&mut facts).await);
    }
    let before = facts.position().clone();
    facts.include([account("new")]).unwrap();
    // It goes on while it is replayed.
    let deposit = |amount| new.ask_with(Deposit { amount }, AskOptions::default());
    deposit(1).await.unwrap();
    let mut history = Vec::new();
    let mut others = Order { places: order.places.clone(), ..order };
    while history.len() < 155 || others.facts < 150 {
        let fact = next(&mut facts).await;
        if fact.address().id() == "new" {
            history.push(fact.sequence().get());
            if history.len() == 1 {
                assert_eq!(facts.position(), &before, "a replay is no step in a log");
                deposit(2).await.unwrap();
            }
        } else {
            others.places.remove(&fact.shard());
            others.see(&fact);
        }
    }
    assert_eq!(history, (1..=155).collect::<Vec<u64>>());
    assert_eq!(rest(&node, &mut facts).await, []);
    assert!(facts.position().has_reached(&node.bus().ends().await.unwrap()));

    // Taken back, it is heard of no longer, and a replay that is under way ends.
    facts.include([account("new")]).unwrap();
    assert_eq!(place(&next(&mut facts).await).1, 1);
    facts.set_interest(Interest::of::<Account>().exclude(account("new")));
    deposit(3).await.unwrap();
    assert_eq!(rest(&node, &mut facts).await, []);

    // Groups have it too, in whole records.
    facts.include([account("new")]).unwrap();
    let mut sequences = Vec::new();
    while sequences.len() < 156 {
        let group = facts.next_group(10).await.unwrap();
        assert!(group.len() <= 12, "ten and the rest of a record");
        sequences.extend(group.iter().map(|fact| fact.sequence().get()));
    }
    assert_eq!(sequences, (1..=156).collect::<Vec<u64>>());
    node.host.stop().await;
}

/// Promise G9: so many wait to be replayed and no more, and whoever does not follow its shard is told.
#[tokio::test]
async fn what_cannot_be_included_is_refused() {
    let node = Node::start().await;
    let nothing = Interest::everything().event("Nothing");
    let mut facts = node.bus().subscribe(nothing.clone(), Start::Beginning).await.unwrap();
    for number in 0..REPLAYS {
        facts.include([account(&number.to_string())]).unwrap();
    }
    let refused = facts.include([account("a")]);
    assert_eq!(refused, Err(IncludeError::TooMany { limit: REPLAYS }));
    assert_eq!(rest(&node, &mut facts).await, []);
    facts.include([account("a")]).unwrap();

    let ids = 0..=INCLUDED;
    let crowded = ids.fold(nothing.clone(), |it, id| it.include(account(&id.to_string())));
    let mut facts = node.bus().subscribe(crowded, Start::Now).await.unwrap();
    let refused = facts.include([account("a")]);
    assert_eq!(refused, Err(IncludeError::TooMany { limit: INCLUDED }));

    let (inspector, address) = (node.host.inspector(), account("a"));
    let mut nowhere = Subscription::new(inspector, nothing, Default::default());
    let refused = nowhere.include([address.clone()]);
    assert_eq!(refused, Err(IncludeError::NotFollowed { address }));
    node.host.stop().await;
}

/// Promise G9: whoever wants something else again and again leaves no request behind at the log; all who follow a shard share the room there.
#[tokio::test]
async fn wanting_something_else_leaves_no_request_behind() {
    let node = Node::start().await;
    let mut facts = node.bus().subscribe(Interest::everything(), Start::Beginning).await.unwrap();
    // More than may wait at a shard.
    for number in 0..5_000 {
        facts.set_interest(Interest::everything().id_prefix(number.to_string()));
        assert!(facts.next().now_or_never().is_none(), "nothing happens");
    }
    for shard in 0..super::SHARDS {
        let there = node.host.inspector().tail(ShardId(shard), Some(Offset::ZERO)).now_or_never();
        assert_eq!(there, None, "there is room to wait");
    }
    node.host.stop().await;
}

/// An inspector that cannot read one entity's history, now or later.
struct Damaged(Arc<dyn Inspector>, EntityAddress);

impl Inspector for Damaged {
    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        if address == self.1 {
            let reason = "damaged".into();
            return Box::pin(async { Err(AskError::RecoveryFailed { address, reason }) });
        }
        self.0.history(address, after, limit)
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        self.0.batches(shard, from, max_bytes)
    }

    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        self.0.tail(shard, seen)
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        self.0.follow(shard, seen, max_bytes)
    }
}

/// Law O21: a history that cannot be read is an error, once, and the facts of the others come.
#[tokio::test]
async fn an_included_entity_that_cannot_be_read_is_told_once() {
    let node = Node::start().await;
    for id in ["a", "b", "c"] {
        node.account(id).ask(Deposit { amount: 1 }).await.unwrap();
    }
    let inspector = Arc::new(Damaged(node.host.inspector(), account("a")));
    let bus = Bus::new(Arc::clone(&node.caller), inspector, super::SHARDS);
    let only_c = Interest::of::<Account>().id_prefix("c");
    let mut facts = bus.subscribe(only_c, Start::Now).await.unwrap();
    facts.include([account("a"), account("b")]).unwrap();
    let error = facts.next().await.unwrap_err();
    assert!(
        matches!(&error, FeedError::Unreadable { source, .. } if source.to_string().contains("account/a"))
    );
    assert_eq!(place(&next(&mut facts).await), ("b".to_owned(), 1));
    for id in ["a", "c"] {
        node.account(id).ask(Deposit { amount: 2 }).await.unwrap();
    }
    assert_eq!(sorted(rest(&node, &mut facts).await), places(&[("a", 2), ("c", 2)]));
    node.host.stop().await;
}
