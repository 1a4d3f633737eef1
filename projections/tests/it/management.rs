//! Pause and resume, over restarts too.

use holm_core::{Offset, ShardId};
use holm_projections::rusqlite::Transaction;
use holm_projections::{
    Change, HandlerError, Identity, Options, OrderError, Projection, SledTransaction, SledView,
    SqliteView, State, ViewError, WriteError, start,
};
use holm_runtime::bus::{Fact, Interest, Position};

use super::node::{Node, PATIENCE};
use super::tally::{Store, Tally, adopted, agrees, blocking};

/// Law O8: a pause survives a restart; resumed, it goes on where it stopped.
async fn a_pause_survives_a_restart<V: Store>()
where
    Tally: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let path = dir.path().join("tally");
    node.payments(10, 1).await;
    {
        let view = V::open(&path).unwrap();
        let tally = start(node.bus(), Tally::default(), view.clone(), Options::default());
        tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
        tally.pause().await.unwrap();
        tally.pause().await.unwrap();
        node.payments(10, 1).await;
        assert_eq!(
            tally.rebuild().await,
            Err(OrderError::Refused { reason: "it is paused; resume it first".into() })
        );
        assert_eq!((view.sum().await, tally.status().state), (10, State::Paused));
        tally.stop().await;
        assert_eq!(tally.resume().await, Err(OrderError::Stopped));
    }
    let view = V::open(&path).unwrap();
    let tally = start(node.bus(), Tally::default(), view.clone(), Options::default());
    tally.wait_until(|status| status.state == State::Paused, PATIENCE).await.unwrap();
    assert_eq!(view.sum().await, 10);
    tally.resume().await.unwrap();
    tally.passed_all(&node.ends().await, PATIENCE).await.unwrap();
    agrees(&node, &view, &[]).await;
    tally.stop().await;
    node.host.stop().await;
}

/// A view belongs to one projection, and says whose it is.
async fn a_view_belongs_to_one_projection<V: Store>() {
    let dir = tempfile::tempdir().unwrap();
    let view = V::open(&dir.path().join("v")).unwrap();
    adopted(&view, Identity { name: "first", version: 1 }).await.unwrap();
    let refused = adopted(&view, Identity { name: "second", version: 1 }).await;
    let Err(WriteError::View(ViewError::OfAnother { holds, wanted })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((holds.as_str(), wanted), ("first", "second"));
}

/// Tables that cannot be made stop it with the reason, and it recovers when they can.
pub(crate) struct Unprepared;

impl Projection<SqliteView> for Unprepared {
    const NAME: &'static str = "unprepared";

    fn interest(&self) -> Interest {
        Interest::everything()
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        tx.execute_batch("CREATE TABLE IF NOT EXISTS mine (x) STRCT")?;
        Ok(())
    }

    fn handle(&self, _: &mut Transaction<'_>, _: &[Fact]) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl Projection<SledView> for Unprepared {
    const NAME: &'static str = "unprepared";

    fn interest(&self) -> Interest {
        Interest::everything()
    }

    fn prepare(&self, tx: &mut SledTransaction<'_>) -> Result<(), HandlerError> {
        Ok(tx.insert("much", vec![0; 40_000])?)
    }

    fn handle(&self, _: &mut SledTransaction<'_>, _: &[Fact]) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// Law La3: a failing preparation is a failure with its reason.
async fn tables_that_cannot_be_made_stop_it<V: Store>()
where
    Unprepared: Projection<V>,
{
    let (node, dir) = (Node::start().await, tempfile::tempdir().unwrap());
    let view = V::open(&dir.path().join("v")).unwrap();
    let handle = start(node.bus(), Unprepared, view, Options::default());
    let status = handle.wait_until(|status| status.state == State::Failed, PATIENCE).await.unwrap();
    let error = status.last_error.unwrap();
    assert!(error.starts_with("the tables cannot be prepared"), "{error}");
    handle.stop().await;
    node.host.stop().await;
}

/// Law O18: a place for each shard, and one more shard leaves the others where they are; also when it is opened again.
async fn places_come_back_as_they_were_stored<V: Store>() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v");
    let me = Identity { name: "me", version: 1 };
    let moved = |shard, from, to| Change {
        moves: vec![(ShardId(shard), Offset(from), Offset(to))],
        ..Change::default()
    };
    let changes = [moved(3, 0, 7), moved(4_095, 0, u64::MAX >> 1), moved(3, 7, 9), moved(0, 0, 1)];
    let view = V::open(&path).unwrap();
    blocking(move || {
        view.adopt(me, &mut |_| Ok(())).unwrap();
        for change in changes {
            view.write(&change, &mut |_| Ok(())).unwrap();
        }
    })
    .await;
    let stored = adopted(&V::open(&path).unwrap(), me).await.unwrap();
    let places = [(0, 1), (3, 9), (4_095, u64::MAX >> 1)];
    let places = places.map(|(shard, offset)| (ShardId(shard), Offset(offset)));
    assert_eq!(stored.position, Position(places.into()));
}

on_both!(
    places_come_back_as_they_were_stored,
    a_view_belongs_to_one_projection,
    tables_that_cannot_be_made_stop_it,
    a_pause_survives_a_restart,
);
