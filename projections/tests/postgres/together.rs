//! Several members of one view, in one process: the same bus, and each with connections of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holm_projections::{
    OnFailure, Options, PostgresView, Projection, ProjectionHandle, State, Status, assemble_spread,
    spread,
};
use holm_runtime::bus::Bus;
use tokio::time::Instant;

use super::node::{Node, PATIENCE};
use super::server;
use super::store::calls;
use super::tally::{PANICS, REFUSED, Store, Tally, agrees};

/// Longer than a lease.
pub(crate) const LEASE_OVER: Duration = Duration::from_secs(6);

/// Small groups, so that there are many transactions, and no patience with a handler.
pub(crate) fn options() -> Options {
    Options { group_facts: 5, ..Options::on_failure(OnFailure::fail()) }
}

/// One node, and a folder by which its view is called.
pub(crate) struct Setting {
    pub(crate) node: Node,
    pub(crate) dir: tempfile::TempDir,
}

/// None where there is no server.
pub(crate) async fn setting() -> Option<Setting> {
    server::shared()?;
    Some(Setting { node: Node::start().await, dir: tempfile::tempdir().unwrap() })
}

impl Setting {
    /// The view, over connections that no other has.
    pub(crate) fn view(&self) -> PostgresView {
        PostgresView::open(&self.dir.path().join("tally")).unwrap()
    }

    pub(crate) fn member<P: Projection<PostgresView>>(&self, projection: P) -> ProjectionHandle {
        spread(self.node.bus(), projection, self.view(), options())
    }

    /// Pays until each of them has handled something.
    pub(crate) async fn until_all_work(&self, members: &[&Tally]) {
        let before: Vec<u32> = members.iter().map(|tally| calls(tally)).collect();
        let paid = async {
            while members.iter().zip(&before).any(|(tally, before)| calls(tally) == *before) {
                self.trickle().await;
            }
        };
        tokio::time::timeout(PATIENCE, paid).await.unwrap();
    }

    /// Pays to every shard, and leaves the machine to those who read that.
    pub(crate) async fn trickle(&self) {
        self.node.payments(12, 1).await;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }

    /// All of them say that everything is in the view, and it is.
    pub(crate) async fn all_agree(&self, members: &[&ProjectionHandle]) {
        let ends = self.node.ends().await;
        for member in members {
            member.passed_all(&ends, PATIENCE).await.unwrap();
        }
        agrees(&self.node, &self.view(), &[]).await;
    }

    pub(crate) async fn stop(self, members: &[&ProjectionHandle]) {
        for member in members {
            member.stop().await;
        }
        self.node.host.stop().await;
    }
}

pub(crate) fn is(state: State) -> impl Fn(&Status) -> bool {
    move |status| status.state == state
}

/// Promise G8, law U5: three members share the shards, each event is in the view once, and each of them knows how far all are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_shards_and_count_each_event_once() {
    let Some(setting) = setting().await else { return };
    setting.node.payments(20, 1).await;
    let (a, b, c) = (Tally::default(), Tally::default(), Tally::default());
    let first = setting.member(a.clone());
    let second = setting.member(b.clone());
    setting.until_all_work(&[&a, &b]).await;
    let third = setting.member(c.clone());
    setting.until_all_work(&[&a, &b, &c]).await;
    setting.node.pay("a1", 2, 3).await;
    setting.all_agree(&[&first, &second, &third]).await;
    assert!(first.is_shared());
    let progress = third.progress().await.unwrap();
    assert_eq!((progress.lag_records, &progress.position), (0, &progress.head));

    // One that is told to stop lets go at once: no lease must end for that.
    first.stop().await;
    second.stop().await;
    let begun = Instant::now();
    setting.node.payments(20, 1).await;
    setting.all_agree(&[&third]).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    setting.stop(&[&third]).await;
}

/// Promise G8, law U5: a member that dies says nothing. Its shards go to the others within seconds of the end of its lease, and what it had in hand counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_is_replaced_within_seconds() {
    let Some(setting) = setting().await else { return };
    let (a, b) = (Tally::default(), Tally::default());
    let (_, work) = assemble_spread(setting.node.bus(), a.clone(), setting.view(), options());
    let first = tokio::spawn(work);
    let second = setting.member(b.clone());
    setting.until_all_work(&[&a, &b]).await;
    first.abort();
    let begun = Instant::now();
    setting.node.payments(12, 2).await;
    // By the clock of the group; the survivor attends by its own.
    setting.node.clock.advance(LEASE_OVER);
    setting.all_agree(&[&second]).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    setting.stop(&[&second]).await;
}

/// Promise G8: a member that lost its shards and works on, because it does not hear of it, is fenced by the view.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_its_shards_and_works_on_counts_nothing() {
    let Some(setting) = setting().await else { return };
    let (a, b) = (Tally::default(), Tally::default());
    let first = setting.member(a.clone());
    setting.until_all_work(&[&a]).await;
    for _ in 0..3 {
        // For the group it is gone; it itself learns of that when it attends, about 1.5 s later.
        setting.node.clock.advance(LEASE_OVER);
        let second = setting.member(b.clone());
        for _ in 0..40 {
            setting.node.payments(12, 1).await;
        }
        setting.all_agree(&[&first, &second]).await;
        second.stop().await;
    }
    setting.stop(&[&first]).await;
}

/// Law O8: paused through one, nobody writes from then on; the others say so, after a restart too, and go on when any of them is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_through_one_holds_for_all() {
    let Some(setting) = setting().await else { return };
    let (a, b) = (Tally::default(), Tally::default());
    let (first, second) = (setting.member(a.clone()), setting.member(b.clone()));
    setting.until_all_work(&[&a, &b]).await;
    second.pause().await.unwrap();
    let sum = setting.view().sum().await;
    setting.node.payments(40, 1).await;
    let begun = Instant::now();
    first.wait_until(is(State::Paused), PATIENCE).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!((setting.view().sum().await, second.status().state), (sum, State::Paused));
    first.rebuild().await.unwrap_err();

    first.stop().await;
    let first = setting.member(a.clone());
    first.wait_until(is(State::Paused), PATIENCE).await.unwrap();
    first.resume().await.unwrap();
    second.wait_until(is(State::Running), PATIENCE).await.unwrap();
    setting.all_agree(&[&first, &second]).await;
    // The last word counts, also when nobody had the time to hear the one before.
    first.pause().await.unwrap();
    first.resume().await.unwrap();
    setting.until_all_work(&[&a, &b]).await;
    setting.all_agree(&[&first, &second]).await;
    setting.stop(&[&first, &second]).await;
}

/// A record that nobody can handle stops the shards of the member that met it; the others go on. When that member is gone, another meets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_stops_the_shards_of_one_member() {
    let Some(setting) = setting().await else { return };
    let (a, b) = (Tally::default(), Tally::default());
    a.refuses.store(true, Ordering::SeqCst);
    b.refuses.store(true, Ordering::SeqCst);
    let (first, second) = (setting.member(a.clone()), setting.member(b.clone()));
    setting.until_all_work(&[&a, &b]).await;
    let refused = setting.node.pay("alice", REFUSED, 1).await;
    let has_failed = async {
        loop {
            let failed = |it: &&ProjectionHandle| it.status().state == State::Failed;
            if let Some(failed) = [&first, &second].into_iter().find(failed) {
                break failed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let failed = tokio::time::timeout(PATIENCE, has_failed).await.unwrap();
    let (other, tally) =
        if failed.status() == first.status() { (&second, &b) } else { (&first, &a) };
    assert!(failed.status().last_error.unwrap().ends_with("thirteen is refused"));
    setting.until_all_work(&[tally]).await;
    assert_eq!(other.status().state, State::Running);

    failed.stop().await;
    other.wait_until(is(State::Failed), PATIENCE).await.unwrap();
    let left_out = other.skip_failed().await.unwrap();
    assert_eq!((left_out.shard, left_out.offset), (refused.shard, refused.offset));
    other.passed_all(&setting.node.ends().await, PATIENCE).await.unwrap();
    agrees(&setting.node, &setting.view(), &[(left_out.shard.0, left_out.offset.0)]).await;
    setting.stop(&[&first, &second]).await;
}

/// What one member parked any member can handle later, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_parked_is_of_all() {
    let Some(setting) = setting().await else { return };
    let parking = Options::on_failure(OnFailure::park());
    let (a, b) = (Tally::default(), Tally::default());
    a.refuses.store(true, Ordering::SeqCst);
    let first = spread(setting.node.bus(), a, setting.view(), parking.clone());
    for amount in [1, REFUSED, PANICS, 4] {
        setting.node.pay("alice", amount, 1).await;
    }
    first.passed_all(&setting.node.ends().await, PATIENCE).await.unwrap();
    let second = spread(setting.node.bus(), b, setting.view(), parking);
    second.wait_until(is(State::Running), PATIENCE).await.unwrap();
    assert_eq!(second.set_aside().await.unwrap().len(), 2);
    assert_eq!(second.retry_parked().await, Ok((1, 1)), "it still panics");
    assert_eq!(first.set_aside().await.unwrap().len(), 1);
    assert_eq!(setting.view().sum().await, 1 + 4 + REFUSED);
    setting.stop(&[&first, &second]).await;
}

/// A member that the group does not have says why, does nothing, and lets itself be stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_turned_away_says_why() {
    let Some(setting) = setting().await else { return };
    let node = &setting.node;
    let of_three_shards = Bus::new(Arc::clone(&node.caller), node.host.inspector(), 3);
    let other = of_three_shards.join_group("tally").await.unwrap();
    node.payments(12, 1).await;
    let member = setting.member(Tally::default());
    let status = member.wait_until(is(State::Failed), PATIENCE).await.unwrap();
    let error = status.last_error.unwrap();
    assert!(error.contains("a cluster of 3 shards, the member says 4"), "{error}");
    assert_eq!(member.status().handled, 0);
    let begun = Instant::now();
    setting.stop(&[&member]).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(other);
}
