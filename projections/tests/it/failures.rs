//! Handlers that fail: what stays, what is left out, who is told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holm_projections::{
    NotPassed, Notice, Observer, OnFailure, Options, Projection, State, Status, start,
};
use holm_runtime::bus::Interest;
use holm_runtime::{FailureFact, Subject};

use super::node::{Account, Node, PATIENCE, paid};
use super::tally::{PANICS, REFUSED, Store, Tally, agrees};

struct Setting<V> {
    node: Node,
    view: V,
    tally: Tally,
    _dir: tempfile::TempDir,
}

/// Four good payments with a bad one between them, all there before the projection starts, so that they come as groups.
async fn setting<V: Store>(bad: u64) -> Setting<V> {
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    for amount in [1, 2, bad, 4, 8] {
        node.pay("alice", amount, 1).await;
    }
    let view = V::open(&dir.path().join("tally")).unwrap();
    let tally = Tally::default();
    tally.refuses.store(true, Ordering::SeqCst);
    Setting { node, view, tally, _dir: dir }
}

/// Laws O1 and O2, fail: nothing of the record is in the view, everything before it is, and the state says why. Resumed, it goes on.
async fn a_failure_stops_it_before_the_record<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(REFUSED).await;
    let refuses = tally.refuses.clone();
    let options = Options::on_failure(OnFailure::fail());
    let handle = start(node.bus(), tally, view.clone(), options);
    let status = handle.wait_until(|status| status.state == State::Failed, PATIENCE).await.unwrap();
    assert!(status.last_error.unwrap().ends_with("thirteen is refused"));
    assert_eq!(view.sum().await, 3);
    let end = node.pay("alice", 16, 1).await;
    let stopped = handle.passed(end.shard, end.offset, PATIENCE).await;
    assert!(matches!(stopped, Err(NotPassed::Stopped { state: State::Failed, .. })), "{stopped:?}");
    assert_eq!(view.sum().await, 3);

    // Law O13: what was taken back is taken again.
    refuses.store(false, Ordering::SeqCst);
    handle.resume().await.unwrap();
    handle.passed(end.shard, end.offset, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    handle.stop().await;
    node.host.stop().await;
}

/// Law O2, retry and fail: so many attempts, then it stops. A stop order works while it retries (law O7).
async fn it_tries_again_so_many_times<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(1).await;
    tally.fails.store(3, Ordering::SeqCst);
    let options = Options {
        on_failure: OnFailure::fail().after_retries(2, Duration::from_millis(5)),
        group_facts: 1,
        ..Options::default()
    };
    let calls = tally.calls.clone();
    let handle = start(node.bus(), tally.clone(), view.clone(), options.clone());
    handle.wait_until(|status| status.state == State::Failed, PATIENCE).await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert_eq!(view.seen().await, []);

    tally.fails.store(2, Ordering::SeqCst);
    handle.resume().await.unwrap();
    handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;

    tally.fails.store(1_000_000, Ordering::SeqCst);
    handle.stop().await;
    let on_failure = OnFailure::fail().after_retries(u32::MAX, Duration::from_secs(3_600));
    let handle = start(node.bus(), tally, view.clone(), Options { on_failure, ..options });
    node.pay("alice", 1, 1).await;
    handle.wait_until(|status| status.state == State::Retrying, PATIENCE).await.unwrap();
    tokio::time::timeout(PATIENCE, handle.stop()).await.unwrap();
    node.host.stop().await;
}

/// Law O2, skip: the record is left out, its neighbours are not, and that is written down.
async fn a_skipped_record_is_left_out_and_written_down<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(REFUSED).await;
    let options = Options { clock: node.clock.clone(), ..Options::on_failure(OnFailure::skip()) };
    let handle = start(node.bus(), tally, view.clone(), options);
    handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    let set_aside = handle.set_aside().await.unwrap();
    let [skipped] = &set_aside[..] else { panic!("{set_aside:?}") };
    assert_eq!((skipped.events.as_str(), skipped.entity.as_str()), ("Paid", "account/alice"));
    assert_eq!((skipped.reason.as_str(), skipped.parked), ("thirteen is refused", false));
    assert_eq!(skipped.at, holm_core::Clock::now(&*node.clock));
    agrees(&node, &view, &[(skipped.shard.0, skipped.offset.0)]).await;
    assert_eq!(handle.retry_parked().await, Ok((0, 0)), "skipped is for good");
    handle.stop().await;
    node.host.stop().await;
}

/// A parked record is left out until it is handled later, once; meanwhile the rest goes on.
async fn a_parked_record_is_handled_later_and_once<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(REFUSED).await;
    let refuses = tally.refuses.clone();
    let handle = start(node.bus(), tally, view.clone(), Options::on_failure(OnFailure::park()));
    handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    assert_eq!(view.sum().await, 15);
    assert_eq!(handle.retry_parked().await, Ok((0, 1)), "it is still refused");
    assert_eq!(handle.set_aside().await.unwrap().len(), 1);
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(handle.retry_parked().await, Ok((1, 0)));
    assert_eq!(handle.retry_parked().await, Ok((0, 0)));
    assert_eq!((view.sum().await, handle.set_aside().await.unwrap().len()), (15 + REFUSED, 0));
    handle.stop().await;
    node.host.stop().await;
}

/// Promise G7: a panic is a failure of its record and of nothing else.
async fn a_panic_is_a_failure_of_the_record<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(PANICS).await;
    let handle = start(node.bus(), tally, view.clone(), Options::on_failure(OnFailure::park()));
    handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    let parked = handle.set_aside().await.unwrap();
    assert_eq!(parked[0].reason, "it panicked: the number of the beast");
    agrees(&node, &view, &[(parked[0].shard.0, parked[0].offset.0)]).await;
    handle.stop().await;
    node.host.stop().await;
}

/// A person may decide about the record that it stopped at.
async fn the_record_that_it_stopped_at_can_be_left_out<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(REFUSED).await;
    let handle = start(node.bus(), tally, view.clone(), Options::on_failure(OnFailure::fail()));
    handle.wait_until(|status| status.state == State::Failed, PATIENCE).await.unwrap();
    let skipped = handle.skip_failed().await.unwrap();
    handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    assert_eq!(handle.set_aside().await, Ok(vec![skipped.clone()]));
    agrees(&node, &view, &[(skipped.shard.0, skipped.offset.0)]).await;
    handle.skip_failed().await.unwrap_err();
    handle.stop().await;
    node.host.stop().await;
}

/// Promise G7: what is left out, a stop and a rebuild that comes to nothing are failure facts, of the conversation to which the record belongs.
async fn nothing_goes_wrong_in_silence<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(REFUSED).await;
    let policies = [OnFailure::skip(), OnFailure::park(), OnFailure::fail()];
    for policy in policies {
        node.pay("alice", REFUSED, 1).await;
        let handle = start(node.bus(), tally.clone(), view.clone(), Options::on_failure(policy));
        if policy == OnFailure::fail() {
            let failed = |status: &Status| status.state == State::Failed;
            handle.wait_until(failed, PATIENCE).await.unwrap();
            handle.rebuild().await.unwrap();
            let given_up = |status: &Status| status.rebuild_error.is_some();
            handle.wait_until(given_up, PATIENCE).await.unwrap();
        } else {
            handle
                .passed_all(&node.ends_of(&Interest::of::<Account>()).await, PATIENCE)
                .await
                .unwrap();
        }
        handle.stop().await;
    }
    let failures = node.failures(5).await;
    // Those that wait together are stored together, in any order.
    let mut kinds: Vec<_> = failures.iter().map(|it| it.kind.name()).collect();
    kinds.sort_unstable();
    let (skipped, parked) = ("record_skipped", "record_parked");
    assert_eq!(kinds, ["projection_stopped", "rebuild_failed", parked, skipped, skipped]);
    let facts = node.facts().await.into_values().flatten();
    for fact in facts.filter(|fact| paid(fact) == REFUSED) {
        let of_it = |failure: &&FailureFact| {
            failure.command.as_ref().is_some_and(|command| command.id == fact.command_id())
        };
        let failure = failures.iter().find(of_it).unwrap();
        assert_eq!(failure.subject, Subject::Reader("projection tally".into()));
        assert_eq!(failure.shard, Some(fact.shard()));
        assert_eq!(failure.command.as_ref().unwrap().correlation, fact.correlation_id());
        let place = format!("offset {} of shard {}", fact.offset(), fact.shard());
        assert!(failure.reason().contains(&place), "{failure:?}");
        assert!(failure.reason().ends_with("thirteen is refused"), "{failure:?}");
    }
    node.host.stop().await;
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn notice(&self, projection: &str, notice: &Notice<'_>) {
        let text = match notice {
            Notice::Handled { facts } => format!("handled {facts}"),
            Notice::HandlerFailed { attempt, .. } => format!("failed {attempt}"),
            Notice::SetAside(record) => format!("parked {}", record.reason),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(format!("{projection}: {text}"));
    }
}

/// Law O22: an observer hears all of it, and each fact is counted once, whatever failed before.
async fn an_observer_hears_all_of_it<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(REFUSED).await;
    let heard = Arc::new(Heard::default());
    let options = Options {
        observer: Some(heard.clone()),
        group_facts: 3,
        on_failure: OnFailure::park().after_retries(1, Duration::from_millis(1)),
        ..Options::default()
    };
    let handle = start(node.bus(), tally, view, options);
    handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    assert_eq!(handle.status().handled, 4);
    handle.stop().await;
    let expected = [
        "Started",
        "handled 1",
        "handled 1",
        "failed 1",
        "failed 2",
        "parked thirteen is refused",
        "handled 2",
        "Stopped",
    ];
    let heard = heard.0.lock().unwrap().clone();
    assert_eq!(heard, expected.map(|text| format!("tally: {text}")));
    node.host.stop().await;
}

/// Law O7: a run begins once and ends once, by a failure too, and the next one begins again.
async fn each_run_begins_and_ends_once<V: Store>()
where
    Tally: Projection<V>,
{
    let Setting { node, view, tally, _dir } = setting::<V>(REFUSED).await;
    let (heard, refuses) = (Arc::new(Heard::default()), tally.refuses.clone());
    let options =
        Options { observer: Some(heard.clone()), ..Options::on_failure(OnFailure::fail()) };
    let handle = start(node.bus(), tally, view, options);
    handle.wait_until(|status| status.state == State::Failed, PATIENCE).await.unwrap();
    refuses.store(false, Ordering::SeqCst);
    handle.resume().await.unwrap();
    handle.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    handle.stop().await;
    let heard = heard.0.lock().unwrap().clone();
    let runs = heard.iter().filter_map(|text| text.strip_prefix("tally: "));
    let runs: Vec<_> = runs
        .filter(|text| ["Started", "Failed", "Stopped"].iter().any(|it| text.starts_with(it)))
        .map(|text| text.split(' ').next().unwrap())
        .collect();
    assert_eq!(runs, ["Started", "Failed", "Started", "Stopped"]);
    node.host.stop().await;
}

on_both!(
    nothing_goes_wrong_in_silence,
    each_run_begins_and_ends_once,
    a_failure_stops_it_before_the_record,
    it_tries_again_so_many_times,
    a_skipped_record_is_left_out_and_written_down,
    a_parked_record_is_handled_later_and_once,
    a_panic_is_a_failure_of_the_record,
    the_record_that_it_stopped_at_can_be_left_out,
    an_observer_hears_all_of_it,
);
