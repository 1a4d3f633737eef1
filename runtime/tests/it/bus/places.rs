//! Places in the logs: what is new, what comes first, and what must be remembered for it.

use std::collections::BTreeSet;
use std::time::Duration;

use holm_core::{CommandId, Offset, SeededEntropy, ShardId, Timestamp};
use holm_persistence::{decode, encode};
use holm_runtime::bus::{CloudEvent, Fact, FactId, Interest, Position, Publisher, Seen, Start};

use super::{Node, Order, SHARDS};
use crate::account::{Account, Collect, Deposit, Withdraw, registry};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Everything there is.
async fn all(node: &Node, interest: Interest, start: Start) -> Vec<Fact> {
    let ends = node.bus().ends().await.unwrap();
    let mut subscription = node.bus().subscribe(interest, start).await.unwrap();
    let mut facts = Vec::new();
    let read = async {
        while let Some(fact) = subscription.next_until(&ends).await.unwrap() {
            facts.push(fact);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("the ends are reached");
    facts
}

/// Law O10: an entity of which nothing was noted may begin anywhere in its history, whether its event before is of this moment or of years ago: what is new is
/// decided by the place in the shard, which gets neither old nor a gap.
#[tokio::test]
async fn an_entity_that_was_never_seen_may_begin_anywhere() {
    let node = Node::start().await;
    let (alice, bob) = (node.account("alice"), node.account("bob"));
    let mut seen = Seen::default();
    for _ in 0..3 {
        alice.ask(Deposit { amount: 1 }).await.unwrap();
        bob.ask(Deposit { amount: 1 }).await.unwrap();
    }
    let mut facts = node.bus().subscribe(Interest::everything(), Start::Now).await.unwrap();
    alice.ask(Deposit { amount: 1 }).await.unwrap();
    let soon = facts.next().await.unwrap();
    assert_eq!(soon.sequence().get(), 4, "the three before were never seen");
    assert!(seen.is_new(&soon));
    seen.note(&soon);

    node.clock.advance(3 * YEAR);
    for (account, sequence) in [(bob, 4), (alice, 5)] {
        account.ask(Deposit { amount: 1 }).await.unwrap();
        let late = facts.next().await.unwrap();
        assert_eq!(late.sequence().get(), sequence);
        assert!(seen.is_new(&late), "{late:?}");
        seen.note(&late);
        assert!(!seen.is_new(&late), "and comes once all the same");
    }
    assert!(!seen.is_new(&soon), "nor is what is years old new again");
    node.host.stop().await;
}

/// Law O11: with only some of an entity's events wanted, any higher one is new, however many lie between; the same or a lower one is not.
#[tokio::test]
async fn what_is_higher_is_new_whatever_lies_between() {
    let node = Node::start().await;
    let alice = node.account("alice");
    for amount in 1..=3 {
        alice.ask(Collect { parts: 5 }).await.unwrap();
        alice.ask(Withdraw { amount }).await.unwrap();
    }
    let withdrawn =
        all(&node, Interest::of::<Account>().event("Withdrawn"), Start::Beginning).await;
    let sequences: Vec<_> = withdrawn.iter().map(|fact| fact.sequence().get()).collect();
    assert_eq!(sequences, [6, 12, 18]);
    let mut seen = Seen::default();
    seen.note(&withdrawn[0]);
    assert!(seen.is_new(&withdrawn[2]), "the one between may be missing");
    seen.note(&withdrawn[2]);
    assert!(withdrawn.iter().all(|fact| !seen.is_new(fact)), "the same, and lower ones");
    // A lower one that is noted late does not take it back.
    seen.note(&withdrawn[1]);
    assert!(!seen.is_new(&withdrawn[2]));

    // Within one record the place among its events decides.
    let everything = all(&node, Interest::everything(), Start::Beginning).await;
    let mut seen = Seen::default();
    seen.note(&everything[2]);
    let new: Vec<_> = everything[..5].iter().map(|fact| seen.is_new(fact)).collect();
    assert_eq!(new, [false, false, false, true, true]);
    node.host.stop().await;
}

/// Law O12: what is remembered is the newest place of each shard and nothing else, so it does not grow with the entities nor with the years, and the oldest fact is
/// known for ever.
#[tokio::test]
async fn what_is_remembered_grows_with_nothing_but_the_shards() {
    let node = Node::start().await;
    let mut seen = Seen::default();
    let mut lengths = BTreeSet::new();
    for round in 1..=5 {
        for number in 0..80 {
            node.account(&format!("{round}-{number}")).ask(Deposit { amount: 1 }).await.unwrap();
        }
        let facts = all(&node, Interest::everything(), Start::Beginning).await;
        facts.iter().for_each(|fact| seen.note(fact));
        let stored = encode(&seen).unwrap();
        lengths.insert(stored.len());
        node.clock.advance(YEAR);
        seen = decode(&stored).unwrap();
        assert!(facts.iter().all(|fact| !seen.is_new(fact)), "all are known, the oldest too");
    }
    // A number, an offset below 251 and a place for each shard.
    let most = 1 + 3 * SHARDS as usize;
    assert!(lengths.iter().all(|length| *length <= most), "{lengths:?} and no more than {most}");
    let late = node.account("late").ask_with(Deposit { amount: 1 }, Default::default()).await;
    let late = late.unwrap();
    let fact = node.bus().facts_at(late.shard, late.offset, &Interest::everything()).await.unwrap();
    assert!(seen.is_new(&fact[0]));
    node.host.stop().await;
}

/// Law O20: places are ordered by offset, then by index, as numbers; positions shard by shard; ids by their time, then by chance; and what goes out as text is
/// ordered as text.
#[tokio::test]
async fn places_have_an_order() {
    let node = Node::start().await;
    let alice = node.account("alice");
    for _ in 0..12 {
        alice.ask(Collect { parts: 11 }).await.unwrap();
    }
    let facts = all(&node, Interest::everything(), Start::Beginning).await;
    let (mut seen, mut order) = (Seen::default(), Order::default());
    for fact in &facts {
        order.see(fact);
        assert!(seen.is_new(fact), "9 is before 10, of offsets and of indexes: {fact:?}");
        seen.note(fact);
    }
    let registry = registry();
    let publisher = Publisher { cluster: "c", namespace: "holm", registry: &registry };
    let text = |fact: &Fact| CloudEvent::of(fact, publisher).unwrap().sequence;
    assert!(facts.windows(2).all(|pair| text(&pair[0]) < text(&pair[1])));

    let at = |places: &[(u32, u64)]| {
        Position(places.iter().map(|(shard, offset)| (ShardId(*shard), Offset(*offset))).collect())
    };
    assert!(at(&[(0, 10), (1, 300)]).has_reached(&at(&[(0, 9), (1, 255)])));
    assert!(at(&[(0, 1)]).has_reached(&at(&[(1, 0)])), "who is at zero needs not be named");
    // Neither is ahead of the other.
    let (one, other) = (at(&[(0, 5), (1, 6)]), at(&[(0, 6), (1, 5)]));
    assert!(!one.has_reached(&other) && !other.has_reached(&one));

    let mut chance = SeededEntropy::new(7);
    let mut of = |millis| {
        let command = CommandId::generate(Timestamp::from_millis(millis), &mut chance);
        [0, 1, 10].map(|index| FactId { command, index })
    };
    let ids: Vec<FactId> = [1, 255, 256, 70_000, 1 << 40].into_iter().flat_map(&mut of).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    let [same, moment] = [of(5), of(5)];
    assert_ne!(same[0].cmp(&moment[0]), std::cmp::Ordering::Equal, "chance decides");
    node.host.stop().await;
}

/// Law O23: a shard with a stored place goes on with the next record; one without begins at its beginning.
#[tokio::test]
async fn a_shard_without_a_place_begins_at_its_beginning() {
    let node = Node::start().await;
    node.deposits(40, 1).await;
    let before = all(&node, Interest::everything(), Start::Beginning).await;
    let ends = node.bus().ends().await.unwrap();
    // Stored were two of the four, one of them half way.
    let half = Offset(ends.of(ShardId(1)).0 / 2);
    let stored = Position([(ShardId(0), ends.of(ShardId(0))), (ShardId(1), half)].into());
    node.deposits(40, 2).await;
    let after = all(&node, Interest::everything(), Start::After(stored.clone())).await;
    let expected: BTreeSet<FactId> = all(&node, Interest::everything(), Start::Beginning)
        .await
        .iter()
        .filter(|fact| !stored.has_passed(fact.shard(), fact.offset()))
        .map(Fact::id)
        .collect();
    assert_eq!(after.iter().map(Fact::id).collect::<BTreeSet<_>>(), expected);
    assert_eq!(after.len(), expected.len(), "and nothing twice");
    for (shard, first) in [(0, ends.of(ShardId(0)).next()), (1, half.next()), (2, Offset(1))] {
        let came = after.iter().find(|fact| fact.shard() == ShardId(shard)).unwrap();
        assert_eq!(came.offset(), first, "shard {shard}");
    }
    assert!(after.len() < before.len() + 40);
    node.host.stop().await;
}
