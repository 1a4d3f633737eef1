//! Following: what is in the view, and when.

use std::sync::atomic::Ordering;
use std::time::Duration;

use holm_core::{EntityAddress, ShardId, shard_of};
use holm_projections::{NotPassed, OnFailure, Options, Projection, State, start};

use super::node::{Node, PATIENCE, SHARDS};
use super::tally::{Store, TALLY, Tally, adopted, agrees, stored};

/// Promise G8, law La3: what was there and what comes is in the view, once and in order.
async fn what_was_there_and_what_comes_is_in_the_view<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    node.payments(30, 5).await;
    let view = V::open(&dir.path().join("tally")).unwrap();
    let tally = start(node.bus(), Tally::default(), view.clone(), Options::default());
    node.payments(30, 7).await;
    node.pay("a1", 1, 3).await;
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    assert_eq!(view.sum().await, 30 * 5 + 30 * 7 + 3);
    tally.stop().await;
    node.host.stop().await;
}

/// One reads one's own writes: the reply names the place, and the view is asked once it is there.
async fn one_reads_ones_own_writes<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let tally = start(node.bus(), Tally::default(), view.clone(), Options::default());
    for round in 1..=20 {
        let reply = node.pay("alice", 1, 1).await;
        tally.passed(reply.shard, reply.offset, PATIENCE).await.unwrap();
        assert_eq!(view.sum().await, round);
    }
    let reply = node.note("alice").await;
    tally.passed(reply.shard, reply.offset, PATIENCE).await.unwrap();
    let next = reply.offset.next();
    let early = tally.passed(reply.shard, next, Duration::from_millis(20)).await;
    let position = reply.offset;
    assert_eq!(early, Err(NotPassed::NotYet { shard: reply.shard, offset: next, position }));
    tally.stop().await;
    node.host.stop().await;
}

/// Law O5: what is ready goes in together, cut between records and never within one.
async fn groups_are_cut_between_records<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    for _ in 0..20 {
        node.pay("alice", 1, 3).await;
    }
    let view = V::open(&dir.path().join("tally")).unwrap();
    let options = Options { group_facts: 4, ..Options::default() };
    let projection = Tally::default();
    let calls = projection.calls.clone();
    let tally = start(node.bus(), projection, view.clone(), options);
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    assert_eq!(calls.load(Ordering::SeqCst), 10, "four facts and the rest of the record are six");
    tally.stop().await;
    node.host.stop().await;
}

/// Law O5: a group may wait for more.
async fn a_group_may_wait_for_more<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let options =
        Options { group_facts: 10, group_time: Duration::from_secs(60), ..Options::default() };
    let projection = Tally::default();
    let calls = projection.calls.clone();
    let tally = start(node.bus(), projection, view.clone(), options);
    tally.wait_until(|status| status.state == State::Running, PATIENCE).await.unwrap();
    node.payments(9, 1).await;
    assert!(view.seen().await.is_empty() && calls.load(Ordering::SeqCst) == 0);
    node.payments(1, 1).await;
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    assert_eq!((view.seen().await.len(), calls.load(Ordering::SeqCst)), (10, 1));
    tally.stop().await;
    node.host.stop().await;
}

/// Law La3: the place behind what nobody wants is stored too, so that it is not read again for ever.
async fn the_place_behind_what_nobody_wants_is_stored<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let tally = start(node.bus(), Tally::default(), view.clone(), Options::default());
    let reply = node.note("alice").await;
    tally.passed(reply.shard, reply.offset, PATIENCE).await.unwrap();
    let stored_at_last = async {
        while stored(&view, reply.shard).await != reply.offset {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored_at_last).await.unwrap();
    tally.stop().await;
    node.host.stop().await;
}

/// The figures: position, head, lag in records and in time, asked for when they are asked for.
async fn progress_says_how_far_it_is<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let options = Options { clock: node.clock.clone(), ..Options::default() };
    let tally = start(node.bus(), Tally::default(), view, options);
    node.payments(10, 1).await;
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    let progress = tally.progress().await.unwrap();
    assert_eq!((progress.lag_records, progress.lag_time), (0, Duration::ZERO));
    assert_eq!((progress.position_total(), progress.head_total()), (10, 10));
    assert!(progress.rate > 0.0);

    tally.pause().await.unwrap();
    node.clock.advance(Duration::from_secs(5));
    node.payments(6, 1).await;
    node.clock.advance(Duration::from_secs(7));
    let progress = tally.progress().await.unwrap();
    assert_eq!((progress.lag_records, progress.lag_time), (6, Duration::from_secs(7)));
    assert_eq!((progress.position_total(), progress.head_total()), (10, 16));
    tally.stop().await;
    node.host.stop().await;
}

/// The lag is that of the moment for which the position is told; how long it takes to find out does not count.
async fn measuring_a_lag_does_not_make_it_longer<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let options = Options { clock: node.clock.clone(), ..Options::default() };
    let bus = node.slow_bus(Duration::from_secs(3));
    let tally = start(bus, Tally::default(), view, options);
    tally.pause().await.unwrap();
    node.payments(6, 1).await;
    node.clock.advance(Duration::from_secs(2));
    let progress = tally.progress().await.unwrap();
    assert_eq!((progress.lag_records, progress.lag_time), (6, Duration::from_secs(2)));
    tally.stop().await;
    node.host.stop().await;
}

/// Law O22: each fact is counted once, whatever is asked and ordered meanwhile.
async fn questions_and_orders_cost_no_count<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let options = Options { group_facts: 1, ..Options::default() };
    let tally = start(node.bus(), Tally::default(), view.clone(), options);
    for _ in 0..10 {
        node.payments(10, 1).await;
        tally.set_aside().await.unwrap();
        tally.resume().await.unwrap();
        tally.pause().await.unwrap();
        tally.resume().await.unwrap();
    }
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    assert_eq!(tally.status().handled, 100);
    tally.stop().await;
    node.host.stop().await;
}

/// Law O23: a shard that has a place goes on with the next record, one that has none begins at its beginning, and the places move with the rows, so a group that
/// fails leaves neither. Law O12: there is one place for each shard, however many entities there are.
async fn each_shard_goes_on_behind_its_place<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join("tally");
    let in_shard = |shard: u32| {
        let mut ids = (0..).map(|number| format!("in{shard}-{number}"));
        let is_there = |id: &String| {
            shard_of(&EntityAddress::new("account", id.clone()).unwrap(), SHARDS) == ShardId(shard)
        };
        ids.find(is_there).unwrap()
    };
    let pay = async |shards: std::ops::Range<u32>, times: u64| {
        for shard in shards {
            for amount in 1..=times {
                node.pay(&in_shard(shard), amount, 1).await;
            }
        }
    };
    pay(0..2, 5).await;
    {
        let view = V::open(&path).unwrap();
        let tally = start(node.bus(), Tally::default(), view.clone(), Options::default());
        tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
        tally.stop().await;
    }
    let view = V::open(&path).unwrap();
    let places = async || {
        let position = adopted(&view, TALLY).await.unwrap().position;
        [0, 1, 2, 3].map(|shard| position.of(ShardId(shard)).0)
    };
    assert_eq!(places().await, [5, 5, 0, 0]);

    pay(0..4, 3).await;
    let tally = Tally::default();
    let fails = tally.fails.clone();
    fails.store(u32::MAX, Ordering::SeqCst);
    let options = Options::on_failure(OnFailure::fail());
    let tally = start(node.bus(), tally, view.clone(), options);
    tally.wait_until(|status| status.state == State::Failed, PATIENCE).await.unwrap();
    assert_eq!(
        (view.seen().await.len(), places().await),
        (10, [5, 5, 0, 0]),
        "neither rows nor places"
    );
    // That it stopped is a fact, a record in one of the shards.
    node.failures(1).await;
    fails.store(0, Ordering::SeqCst);
    tally.resume().await.unwrap();
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    let ends = node.ends().await;
    assert_eq!(
        (view.seen().await.len(), places().await),
        (22, [0, 1, 2, 3].map(|it| ends.of(ShardId(it)).0))
    );
    assert_eq!(places().await.iter().sum::<u64>(), 22 + 1);

    node.payments(60, 1).await;
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    tally.stop().await;
    let kept = adopted(&view, TALLY).await.unwrap().position;
    assert_eq!(kept.0.len(), SHARDS as usize);
    node.host.stop().await;
}

on_both!(
    each_shard_goes_on_behind_its_place,
    what_was_there_and_what_comes_is_in_the_view,
    one_reads_ones_own_writes,
    groups_are_cut_between_records,
    a_group_may_wait_for_more,
    the_place_behind_what_nobody_wants_is_stored,
    progress_says_how_far_it_is,
    measuring_a_lag_does_not_make_it_longer,
    questions_and_orders_cost_no_count,
);
