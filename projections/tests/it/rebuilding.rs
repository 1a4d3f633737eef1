//! Building a view anew beside the old one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holm_projections::rusqlite::{Connection, Transaction};
use holm_projections::{
    HandlerError, OnFailure, Options, Projection, SledTransaction, SledView, SqliteView, State,
    Status, start,
};
use holm_runtime::bus::{Fact, Interest};

use super::node::{Account, Node, PATIENCE, paid};
use super::tally::{REFUSED, Store, Tally, agrees};

/// Law O8: from zero, with the switch at the end; what was left out before is in the new view, and the file of the old one is gone.
async fn a_rebuild_begins_from_zero_and_ends_with_a_switch<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join("tally");
    let view = V::open(&path).unwrap();
    let projection = Tally::default();
    let refuses = projection.refuses.clone();
    refuses.store(true, Ordering::SeqCst);
    let tally = start(node.bus(), projection, view.clone(), Options::on_failure(OnFailure::skip()));
    node.payments(10, 1).await;
    node.pay("a1", REFUSED, 1).await;
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    assert_eq!(view.sum().await, 10);

    refuses.store(false, Ordering::SeqCst);
    tally.rebuild().await.unwrap();
    node.payments(10, 1).await;
    let status = tally.wait_until(|status| status.rebuild.is_none(), PATIENCE).await.unwrap();
    assert_eq!(status.rebuild_error, None);
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    assert_eq!(tally.set_aside().await.unwrap(), []);
    assert_eq!(V::generations(dir.path()).await, [2]);
    assert_eq!(view.sum().await, 20 + REFUSED);
    tally.stop().await;
    node.host.stop().await;
}

/// Of the view that is built, how far it is, how fast, and when it will be there; the present one has nothing left meanwhile.
async fn a_rebuild_says_how_long_it_takes<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let projection = Tally::default();
    let refuses = projection.refuses.clone();
    let options = Options {
        clock: node.clock.clone(),
        group_facts: 1,
        on_failure: OnFailure::fail().after_retries(u32::MAX, Duration::from_millis(5)),
        ..Options::default()
    };
    let tally = start(node.bus(), projection, view.clone(), options);
    for amount in [[1; 10], [REFUSED; 10]].concat() {
        node.pay("alice", amount, 1).await;
    }
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    assert_eq!(tally.progress().await.unwrap().rebuild, None);

    // From now on it stands at the first that it refuses.
    refuses.store(true, Ordering::SeqCst);
    tally.rebuild().await.unwrap();
    let read =
        |status: &Status| status.rebuild.iter().flat_map(|it| it.0.values()).any(|it| it.0 == 10);
    tally.wait_until(read, PATIENCE).await.unwrap();
    node.clock.advance(Duration::from_secs(7));
    let progress = tally.progress().await.unwrap();
    let rebuild = progress.rebuild.unwrap();
    assert_eq!((progress.lag_records, progress.time_left), (0, Some(Duration::ZERO)));
    assert_eq!((rebuild.position_total(), rebuild.lag_records), (10, 10));
    assert!(rebuild.lag_time >= Duration::from_secs(7), "{rebuild:?}");
    assert!(rebuild.rate > 0.0, "{rebuild:?}");
    assert!(rebuild.time_left.is_some_and(|left| left > Duration::ZERO), "{rebuild:?}");

    refuses.store(false, Ordering::SeqCst);
    tally.wait_until(|status| status.rebuild.is_none(), PATIENCE).await.unwrap();
    assert_eq!(tally.progress().await.unwrap().rebuild, None);
    agrees(&node, &view, &[]).await;
    tally.stop().await;
    node.host.stop().await;
}

/// Counts, and can be made to stand still.
pub(crate) struct Gated(pub(crate) Arc<AtomicBool>);

impl Projection<SqliteView> for Gated {
    const NAME: &'static str = "tally";
    const VERSION: u32 = 2;

    fn interest(&self) -> Interest {
        Interest::of::<Account>()
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        tx.execute_batch("CREATE TABLE IF NOT EXISTS sums (account TEXT, sum INTEGER NOT NULL)")?;
        Ok(())
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        self.is_open()?;
        for fact in facts {
            tx.execute("INSERT INTO sums VALUES (?, ?)", (fact.address().id(), 2 * paid(fact)))?;
        }
        Ok(())
    }
}

impl Projection<SledView> for Gated {
    const NAME: &'static str = "tally";
    const VERSION: u32 = 2;

    fn interest(&self) -> Interest {
        Interest::of::<Account>()
    }

    fn handle(&self, tx: &mut SledTransaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        self.is_open()?;
        for fact in facts {
            let key = format!("sum/{}/{}/{}", fact.address().id(), fact.offset(), fact.index());
            tx.insert(key, (2 * paid(fact)).to_be_bytes())?;
        }
        Ok(())
    }
}

impl Gated {
    pub(crate) fn is_open(&self) -> Result<(), HandlerError> {
        if self.0.load(Ordering::SeqCst) { Err("the gate is shut".into()) } else { Ok(()) }
    }
}

/// Another version of the handler rebuilds by itself. Readers see the old view until the new one is whole, over a crash in the middle too.
async fn another_version_is_built_beside_the_old_view<V: Store>()
where
    Tally: Projection<V>,
    Gated: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join("tally");
    node.payments(20, 1).await;
    {
        let view = V::open(&path).unwrap();
        let old = start(node.bus(), Tally::default(), view, Options::default());
        old.passed_all(&node.ends().await, PATIENCE).await.unwrap();
        old.stop().await;
    }
    let on_failure = OnFailure::fail().after_retries(u32::MAX, Duration::from_millis(5));
    let shut = Arc::new(AtomicBool::new(true));
    {
        let view = V::open(&path).unwrap();
        let new =
            start(node.bus(), Gated(shut.clone()), view.clone(), Options::on_failure(on_failure));
        new.wait_until(|status| status.rebuild.is_some(), PATIENCE).await.unwrap();
        assert_eq!(view.sum().await, 20, "the old view is read");
        new.stop().await;
        assert_eq!(V::generations(dir.path()).await, [1, 2]);
    }
    // The next life goes on with what is half built.
    let view = V::open(&path).unwrap();
    assert_eq!(view.sum().await, 20);
    let new = start(node.bus(), Gated(shut.clone()), view.clone(), Options::on_failure(on_failure));
    shut.store(false, Ordering::SeqCst);
    new.wait_until(|status| status.state == State::Running, PATIENCE).await.unwrap();
    new.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    assert_eq!(view.sum().await, 40);
    assert_eq!(V::generations(dir.path()).await, [2]);
    new.stop().await;
    node.host.stop().await;
}

/// A rebuild that fails leaves the old view as it was, and says why.
async fn a_rebuild_that_fails_leaves_the_old_view<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("tally")).unwrap();
    let projection = Tally::default();
    let refuses = projection.refuses.clone();
    let tally = start(node.bus(), projection, view.clone(), Options::on_failure(OnFailure::fail()));
    node.pay("alice", REFUSED, 1).await;
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    refuses.store(true, Ordering::SeqCst);
    tally.rebuild().await.unwrap();
    let status = tally.wait_until(|status| status.rebuild_error.is_some(), PATIENCE).await.unwrap();
    assert!(status.rebuild_error.unwrap().ends_with("thirteen is refused"));
    node.pay("alice", 1, 1).await;
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    tally.stop().await;
    node.host.stop().await;
}

/// A reader that is in the middle of the old view reads it to its end; the switch does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_read_and_a_switch_do_not_wait_for_each_other() {
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = SqliteView::open(dir.path().join("tally")).unwrap();
    let tally = start(node.bus(), Tally::default(), view.clone(), Options::default());
    node.payments(10, 1).await;
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    let (go_on, switched) = std::sync::mpsc::channel::<()>();
    let (began, begun) = tokio::sync::oneshot::channel();
    let reading = view.clone();
    let long = tokio::spawn(async move {
        let read = reading.read(move |connection| {
            let count = |connection: &Connection| {
                connection.query_row("SELECT count(*) FROM seen", [], |row| row.get::<_, u64>(0))
            };
            let before = count(connection)?;
            began.send(()).unwrap();
            switched.recv().unwrap();
            Ok((before, count(connection)?))
        });
        read.await.unwrap()
    });
    begun.await.unwrap();
    node.payments(10, 1).await;
    tally.rebuild().await.unwrap();
    tally.wait_until(|status| status.rebuild.is_none(), PATIENCE).await.unwrap();
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    go_on.send(()).unwrap();
    assert_eq!(long.await.unwrap(), (10, 10), "all of one moment, before the switch");
    // Any tool that opens the path sees the new view.
    let sum: u64 = Connection::open(view.path())
        .unwrap()
        .query_row("SELECT sum(sum) FROM sums", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sum, 20);
    assert_eq!(SqliteView::generations(dir.path()).await, [2]);
    tally.stop().await;
    node.host.stop().await;
}

on_both!(
    a_rebuild_begins_from_zero_and_ends_with_a_switch,
    another_version_is_built_beside_the_old_view,
    a_rebuild_that_fails_leaves_the_old_view,
    a_rebuild_says_how_long_it_takes,
);
