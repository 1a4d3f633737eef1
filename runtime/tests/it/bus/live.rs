//! Subscriptions that store nothing.

use std::time::Duration;

use holm_core::{
    AskError, CorrelationId, EntityAddress, Offset, Outcome, SequenceNumber, ShardId, Term,
};
use holm_persistence::Pending;
use holm_runtime::bus::{FeedError, Interest, Position, Seen, Start, Subscription};
use holm_runtime::{AskOptions, HistoryPage, Inspector};

use super::{Node, Order, SHARDS};
use crate::account::{Account, AccountEvent, Balance, Collect, Deposit, Panic, PanicAt, Withdraw};

/// Promise G8, law O19: old facts and new ones come in the order of each shard, once.
#[tokio::test]
async fn everything_that_happened_and_happens_comes_in_order() {
    let node = Node::start().await;
    node.deposits(20, 5).await;
    let mut facts = node.bus().subscribe(Interest::everything(), Start::Beginning).await.unwrap();
    let mut order = Order::default();
    for _ in 0..20 {
        order.see(&facts.next().await.unwrap());
    }
    node.account("a3").ask(Collect { parts: 3 }).await.unwrap();
    node.deposits(20, 7).await;
    for _ in 0..23 {
        order.see(&facts.next().await.unwrap());
    }
    assert_eq!(order.sequences.len(), 20);
    let more = tokio::time::timeout(Duration::from_millis(50), facts.next()).await;
    assert!(more.is_err(), "nothing else happened: {more:?}");
    node.host.stop().await;
}

#[tokio::test]
async fn a_fact_tells_where_it_comes_from() {
    let node = Node::start().await;
    let correlation = Some(CorrelationId(77));
    let alice = node.account("alice");
    let options = AskOptions { correlation, ..AskOptions::default() };
    let reply = alice.ask_with(Deposit { amount: 9 }, options).await.unwrap();
    let mut facts =
        node.bus().subscribe(Interest::of::<Account>(), Start::Beginning).await.unwrap();
    let fact = facts.next().await.unwrap();
    assert_eq!(fact.address(), &EntityAddress::new("account", "alice").unwrap());
    assert_eq!((fact.shard(), fact.offset()), (reply.shard, reply.offset));
    assert_eq!((fact.sequence(), fact.name()), (SequenceNumber(1), "Deposited"));
    assert_eq!((fact.command(), fact.correlation_id()), ("deposit", CorrelationId(77)));
    assert!(matches!(fact.event::<Account>(), Ok(AccountEvent::Deposited { amount: 9 })));
    assert_eq!(fact.json(&crate::account::registry()).unwrap()["Deposited"]["amount"], 9);
    assert!(facts.position().has_passed(reply.shard, reply.offset));
    node.host.stop().await;
}

/// Law U5: who subscribes now does not see what was before.
#[tokio::test]
async fn from_now_on_means_from_now_on() {
    let node = Node::start().await;
    node.deposits(10, 1).await;
    let mut facts = node.bus().subscribe(Interest::everything(), Start::Now).await.unwrap();
    node.account("a0").ask(Withdraw { amount: 1 }).await.unwrap();
    assert_eq!(facts.next().await.unwrap().name(), "Withdrawn");
    node.host.stop().await;
}

#[tokio::test]
async fn filters_let_pass_what_is_asked_for() {
    let node = Node::start().await;
    node.deposits(12, 1).await;
    node.account("a1").ask(Withdraw { amount: 1 }).await.unwrap();
    node.account("a11").ask(Withdraw { amount: 1 }).await.unwrap();
    node.account("b1").ask(Deposit { amount: 1 }).await.unwrap();
    let interest = Interest::of::<Account>().event("Withdrawn").id_prefix("a1").notifications();
    let mut facts = node.bus().subscribe(interest, Start::Beginning).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let fact = facts.next().await.unwrap();
        assert!(fact.payload().is_empty(), "a notification carries no event");
        assert!(fact.event::<Account>().is_err());
        ids.push(fact.address().id().to_owned());
    }
    ids.sort();
    assert_eq!(ids, ["a1", "a11"]);
    let nobody = Interest::everything().entity_type("nobody");
    let mut none = node.bus().subscribe(nobody, Start::Beginning).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), none.next()).await.is_err());
    node.host.stop().await;
}

/// What a failed command did not do is no fact, and a change of leadership is not seen by who follows.
#[tokio::test]
async fn a_failure_and_a_new_leadership_leave_no_trace_in_what_is_followed() {
    let node = Node::start().await;
    let mut facts = node.bus().subscribe(Interest::everything(), Start::Now).await.unwrap();
    let mut order = Order::default();
    for round in 2..6 {
        node.deposits(8, round).await;
        node.account("a0").ask(Panic { at: PanicAt::Handle }).await.unwrap_err();
        for shard in 0..SHARDS {
            node.host.lead(ShardId(shard), Term(round)).await.unwrap();
        }
        for _ in 0..8 {
            order.see(&facts.next().await.unwrap());
        }
    }
    assert_eq!(order.facts, 32);
    node.host.stop().await;
}

/// Groups hold whole records, up to a limit, and say that a place moved when nobody wanted what was there.
#[tokio::test]
async fn groups_hold_whole_records() {
    let node = Node::start().await;
    let alice = node.account("alice");
    for _ in 0..5 {
        alice.ask(Collect { parts: 3 }).await.unwrap();
    }
    let bus = node.bus();
    let mut facts = bus.subscribe(Interest::everything(), Start::Beginning).await.unwrap();
    let (mut order, mut sizes) = (Order::default(), Vec::new());
    let ends = bus.ends().await.unwrap();
    while !facts.position().has_reached(&ends) {
        let group = facts.next_group(4).await.unwrap();
        group.iter().for_each(|fact| order.see(fact));
        sizes.push(group.len());
        if let Some(last) = group.last() {
            assert_eq!(facts.position().of(last.shard()), last.offset());
        }
    }
    assert_eq!((sizes, order.facts), (vec![6, 6, 3], 15));

    let none = Interest::everything().event("Withdrawn");
    let mut nothing = bus.subscribe(none, Start::Beginning).await.unwrap();
    assert_eq!(nothing.next_group(4).await.unwrap(), []);
    assert!(nothing.position().has_reached(&ends));
    let more = tokio::time::timeout(Duration::from_millis(20), nothing.next_group(4)).await;
    assert!(more.is_err(), "nothing moves: {more:?}");
    node.host.stop().await;
}

/// One place can be looked at by itself.
#[tokio::test]
async fn one_record_can_be_looked_up() {
    let node = Node::start().await;
    let alice = node.account("alice");
    alice.ask(Deposit { amount: 1 }).await.unwrap();
    let reply = alice.ask_with(Collect { parts: 2 }, AskOptions::default()).await.unwrap();
    let (bus, everything) = (node.bus(), Interest::everything());
    let facts = bus.facts_at(reply.shard, reply.offset, &everything).await.unwrap();
    assert_eq!(facts.iter().map(|fact| fact.index()).collect::<Vec<_>>(), [0, 1]);
    let next = reply.offset.next();
    assert_eq!(bus.facts_at(reply.shard, next, &everything).await.unwrap(), []);
    let time = bus.time_after(reply.shard, Offset(reply.offset.0 - 1)).await.unwrap();
    assert_eq!(time, Some(facts[0].at()));
    assert_eq!(bus.time_after(reply.shard, reply.offset).await.unwrap(), None);
    node.host.stop().await;
}

/// Law O9: what comes twice is handled once by whoever keeps a [`Seen`].
#[tokio::test]
async fn what_was_seen_is_not_new() {
    let node = Node::start().await;
    node.account("a").ask(Collect { parts: 3 }).await.unwrap();
    node.account("a").ask(Deposit { amount: 1 }).await.unwrap();
    let (mut seen, mut handled) = (Seen::default(), 0);
    for _ in 0..2 {
        let mut facts =
            node.bus().subscribe(Interest::everything(), Start::Beginning).await.unwrap();
        for _ in 0..4 {
            let fact = facts.next().await.unwrap();
            if seen.is_new(&fact) {
                handled += 1;
                seen.note(&fact);
            }
        }
    }
    assert_eq!(handled, 4);
    node.host.stop().await;
}

/// Promise G8: wherever in the log somebody goes on, also inside a batch, the next record comes first.
#[tokio::test]
async fn one_goes_on_inside_a_batch() {
    let node = Node::start().await;
    let alice = node.account("alice");
    let shard = alice.ask_with(Deposit { amount: 1 }, AskOptions::default()).await.unwrap().shard;
    node.log.hold();
    for _ in 0..9 {
        alice.tell(Deposit { amount: 1 }).unwrap();
    }
    while node.log.held() == 0 {
        tokio::task::yield_now().await;
    }
    node.log.release_all();
    assert_eq!(alice.ask(Balance {}).await.unwrap(), 10);
    for seen in 0..10 {
        let start = Position([(shard, Offset(seen))].into());
        let mut facts = Subscription::new(node.host.inspector(), Interest::everything(), start);
        for next in seen + 1..=10 {
            assert_eq!(facts.next().await.unwrap().offset(), Offset(next));
        }
    }
    let batches = node.host.inspector().batches(shard, Offset(1), usize::MAX).await.unwrap();
    assert!(batches.len() < 10, "some batch holds several records");
    node.host.stop().await;
}

/// A shard that is left and followed again is read from where it was said, whatever was under way.
#[tokio::test]
async fn a_shard_can_be_left_and_followed_again() {
    let node = Node::start().await;
    let reply =
        node.account("a").ask_with(Deposit { amount: 1 }, AskOptions::default()).await.unwrap();
    let start = Position([(reply.shard, Offset::ZERO)].into());
    let mut facts = Subscription::new(node.host.inspector(), Interest::everything(), start);
    facts.next().await.unwrap();
    facts.leave(reply.shard);
    assert!(tokio::time::timeout(Duration::from_millis(20), facts.next()).await.is_err());
    facts.follow(reply.shard, Offset::ZERO);
    assert_eq!(facts.next().await.unwrap().offset(), reply.offset);
    node.host.stop().await;
}

/// An inspector that leaves out the first record.
struct Forgetful(std::sync::Arc<dyn Inspector>);

impl Inspector for Forgetful {
    fn history(
        &self,
        a: EntityAddress,
        s: SequenceNumber,
        l: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        self.0.history(a, s, l)
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        self.0.batches(shard, from.next(), max)
    }

    fn tail(&self, shard: ShardId, _: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        let reason = "no more".into();
        let outcome = Outcome::NotApplied;
        let _ = AskError::Unavailable { shard, reason, outcome };
        Box::pin(std::future::pending())
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        self.0.follow(shard, seen.next(), max)
    }
}

/// An inspector that counts what it is asked.
struct Counting(std::sync::Arc<dyn Inspector>, std::sync::atomic::AtomicU64);

impl Counting {
    fn count(&self) {
        self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Inspector for Counting {
    fn history(
        &self,
        a: EntityAddress,
        s: SequenceNumber,
        l: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        self.count();
        self.0.history(a, s, l)
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        self.count();
        self.0.batches(shard, from, max)
    }

    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        self.count();
        self.0.tail(shard, seen)
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        self.count();
        self.0.follow(shard, seen, max)
    }
}

/// A follower asks once for each page: the request waits at the log and comes back with what came, not with word of it.
#[tokio::test]
async fn a_page_costs_one_request() {
    let node = Node::start().await;
    let alice = node.account("alice");
    let shard = alice.ask_with(Deposit { amount: 1 }, AskOptions::default()).await.unwrap().shard;
    let counting = std::sync::Arc::new(Counting(node.host.inspector(), Default::default()));
    let start = Position([(shard, Offset::ZERO)].into());
    let mut facts = Subscription::new(counting.clone(), Interest::everything(), start);
    facts.next().await.unwrap();
    for amount in 2..=20 {
        // The follower waits before there is anything.
        let waiting = facts.next();
        let (fact, _) = tokio::join!(waiting, alice.ask(Deposit { amount }));
        fact.unwrap();
    }
    assert_eq!(counting.1.load(std::sync::atomic::Ordering::SeqCst), 20);
    node.host.stop().await;
}

/// Promise G8, law O9: a gap is an error that names the place, and the place stays.
#[tokio::test]
async fn a_gap_is_an_error_and_nothing_is_skipped() {
    let node = Node::start().await;
    let alice = node.account("alice");
    let shard = alice.ask_with(Deposit { amount: 1 }, AskOptions::default()).await.unwrap().shard;
    alice.ask(Deposit { amount: 2 }).await.unwrap();
    let start = Position([(shard, Offset::ZERO)].into());
    let inspector = std::sync::Arc::new(Forgetful(node.host.inspector()));
    let mut facts = Subscription::new(inspector, Interest::everything(), start);
    let gap = FeedError::Gap { shard, expected: Offset(1), found: Offset(2) };
    assert_eq!(facts.next().await.unwrap_err(), gap);
    assert_eq!(facts.next().await.unwrap_err(), gap);
    assert_eq!(facts.position().of(shard), Offset::ZERO);
    node.host.stop().await;
}
