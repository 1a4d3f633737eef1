//! Rebuilds that all members of a view do together, and versions that take over from each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holm_projections::{PostgresView, ProjectionHandle, State, Status, assemble_spread};
use holm_runtime::bus::Interest;

use super::node::{Account, PATIENCE};
use super::rebuilding::Gated;
use super::tally::{REFUSED, Store as _, Tally};
use super::together::{LEASE_OVER, is, options, setting};

/// Reads on and on: each time all of one moment, and never less than the time before.
async fn read_on(view: PostgresView, enough: Arc<AtomicBool>) -> u32 {
    let (mut reads, mut before) = (0, 0);
    while !enough.load(Ordering::SeqCst) {
        let figures = view.read(|tx| {
            let each = "SELECT count(*), count(DISTINCT (shard, record, place)), coalesce(sum(amount), 0)::bigint FROM seen";
            let each = tx.query_one(each, &[])?;
            let sum = "SELECT coalesce(sum(sum), 0)::bigint FROM sums";
            let sum: i64 = tx.query_one(sum, &[])?.get(0);
            Ok((each.get::<_, i64>(0), each.get::<_, i64>(1), each.get::<_, i64>(2), sum))
        });
        let (rows, different, amounts, sum) = figures.await.unwrap();
        assert_eq!((rows, amounts), (different, sum), "of two views, or of two moments");
        assert!(rows >= before, "{rows} rows after {before}");
        (before, reads) = (rows, reads + 1);
    }
    reads
}

/// Law O8: all members build, one makes the switch, all go on with the new view; readers see the old one or the new one, and nothing that was there is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_build_and_one_makes_the_switch() {
    let Some(setting) = setting().await else { return };
    let tallies = [Tally::default(), Tally::default(), Tally::default()];
    let members = tallies.clone().map(|tally| setting.member(tally));
    setting.until_all_work(&tallies.each_ref()).await;
    let enough = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn(read_on(setting.view(), enough.clone()));
    for round in [2, 3] {
        members[round - 2].rebuild().await.unwrap();
        let switched = async {
            while PostgresView::generations(setting.dir.path()).await.last()
                != Some(&(round as u64))
                || members.iter().any(|member| member.status().rebuild.is_some())
            {
                setting.trickle().await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, switched).await.unwrap();
        setting.node.payments(6, 1).await;
        setting.all_agree(&members.each_ref()).await;
        for member in &members {
            assert_eq!(member.status().rebuild_error, None);
        }
    }
    enough.store(true, Ordering::SeqCst);
    assert!(reading.await.unwrap() > 5);
    setting.stop(&members.each_ref()).await;
}

/// A member that comes, and one that dies, in the middle of a rebuild, and a pause: it goes on with who is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_goes_on_with_who_is_there() {
    let Some(setting) = setting().await else { return };
    let (a, b, c) = (Tally::default(), Tally::default(), Tally::default());
    let (_, work) = assemble_spread(setting.node.bus(), a.clone(), setting.view(), options());
    let first = tokio::spawn(work);
    let second = setting.member(b.clone());
    for _ in 0..10 {
        setting.node.payments(12, 1).await;
    }
    setting.until_all_work(&[&a, &b]).await;
    second.rebuild().await.unwrap();
    first.abort();
    let third = setting.member(c.clone());
    setting.node.clock.advance(LEASE_OVER);
    second.pause().await.unwrap();
    third.wait_until(is(State::Paused), PATIENCE).await.unwrap();
    third.resume().await.unwrap();
    let built = |status: &Status| status.rebuild.is_none() && status.state == State::Running;
    let switched = async {
        while PostgresView::generations(setting.dir.path()).await.last() != Some(&2)
            || !built(&second.status())
            || !built(&third.status())
        {
            setting.trickle().await;
        }
    };
    tokio::time::timeout(2 * PATIENCE, switched).await.unwrap();
    setting.all_agree(&[&second, &third]).await;
    setting.stop(&[&second, &third]).await;
}

/// A rebuild that one member cannot do its share of does not happen: it says why, the old view stays, and told to go on it tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_one_cannot_help_with_waits_for_it() {
    let Some(setting) = setting().await else { return };
    let (a, b) = (Tally::default(), Tally::default());
    let (first, second) = (setting.member(a.clone()), setting.member(b.clone()));
    setting.node.pay("alice", REFUSED, 1).await;
    setting.until_all_work(&[&a, &b]).await;
    setting.all_agree(&[&first, &second]).await;
    a.refuses.store(true, Ordering::SeqCst);
    b.refuses.store(true, Ordering::SeqCst);
    first.rebuild().await.unwrap();
    let failed = async {
        loop {
            let failed = |it: &&ProjectionHandle| it.status().rebuild_error.is_some();
            if let Some(failed) = [&first, &second].into_iter().find(failed) {
                break failed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let failed = tokio::time::timeout(PATIENCE, failed).await.unwrap();
    assert!(failed.status().rebuild_error.unwrap().ends_with("thirteen is refused"));
    setting.node.payments(12, 1).await;
    setting.all_agree(&[&first, &second]).await;
    a.refuses.store(false, Ordering::SeqCst);
    b.refuses.store(false, Ordering::SeqCst);
    failed.resume().await.unwrap();
    let switched = async {
        while PostgresView::generations(setting.dir.path()).await.last() != Some(&2) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, switched).await.unwrap();
    setting.all_agree(&[&first, &second]).await;
    setting.stop(&[&first, &second]).await;
}

/// Members of a new version build beside as they take over from the old ones; who comes with the old version after that does nothing, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_over_from_the_old_one() {
    let Some(setting) = setting().await else { return };
    let (a, b) = (Tally::default(), Tally::default());
    let (first, second) = (setting.member(a.clone()), setting.member(b.clone()));
    setting.until_all_work(&[&a, &b]).await;
    setting.all_agree(&[&first, &second]).await;
    let sum = setting.view().sum().await;
    let open = || Gated(Arc::new(AtomicBool::new(false)));
    let third = setting.member(open());
    third.wait_until(|status| status.rebuild.is_some(), PATIENCE).await.unwrap();
    first.stop().await;
    let fourth = setting.member(open());
    assert_eq!(setting.view().sum().await, sum, "the old view is read");
    second.stop().await;
    for member in [&third, &fourth] {
        member.wait_until(is(State::Running), PATIENCE).await.unwrap();
        member.passed_all(&setting.node.ends().await, PATIENCE).await.unwrap();
    }
    assert_eq!(setting.view().sum().await, 2 * sum);

    let late = setting.member(Tally::default());
    let status = late.wait_until(is(State::Failed), PATIENCE).await.unwrap();
    let error = status.last_error.unwrap();
    assert!(error.contains("version 2, newer than 1"), "{error}");
    setting.node.payments(12, 1).await;
    let ends = setting.node.ends_of(&Interest::of::<Account>()).await;
    third.passed_all(&ends, PATIENCE).await.unwrap();
    assert_eq!(setting.view().sum().await, 2 * (sum + 12));

    // To go back somebody must say so, when the new ones have gone.
    third.stop().await;
    fourth.stop().await;
    assert_eq!((late.status().state, late.status().handled), (State::Failed, 0));
    late.rebuild().await.unwrap();
    late.wait_until(is(State::Running), 2 * PATIENCE).await.unwrap();
    setting.all_agree(&[&late]).await;
    setting.stop(&[&late]).await;
}
