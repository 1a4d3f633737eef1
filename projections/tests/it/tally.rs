//! The projection of these tests: it keeps every fact with the order in which it came, and the sum of each account.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use holm_projections::rusqlite::{Transaction, params};
use holm_projections::{HandlerError, Projection, SqliteView};
use holm_runtime::bus::{Fact, Interest};

use super::node::{Account, Node, paid, place};

/// An amount that the handler refuses while it is told to.
pub(crate) const REFUSED: u64 = 13;

/// An amount on which it panics.
pub(crate) const PANICS: u64 = 666;

#[derive(Default, Clone)]
pub(crate) struct Tally {
    /// Refuses [`REFUSED`].
    pub(crate) refuses: Arc<AtomicBool>,
    /// Fails the next so many calls, after it has written.
    pub(crate) fails: Arc<AtomicU32>,
    pub(crate) calls: Arc<AtomicU32>,
}

impl Projection<SqliteView> for Tally {
    const NAME: &'static str = "tally";

    fn interest(&self) -> Interest {
        Interest::of::<Account>().event("Paid")
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS seen (
                 number INTEGER PRIMARY KEY, shard INTEGER, record INTEGER, place INTEGER, amount INTEGER);
             CREATE TABLE IF NOT EXISTS sums (account TEXT PRIMARY KEY, sum INTEGER NOT NULL);",
        )?;
        Ok(())
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        for fact in facts {
            let ((shard, offset, index), amount) = (place(fact), paid(fact));
            tx.prepare_cached(
                "INSERT INTO seen (shard, record, place, amount) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![shard, offset, index, amount])?;
            tx.prepare_cached(
                "INSERT INTO sums VALUES (?, ?) ON CONFLICT DO UPDATE SET sum = sum + excluded.sum",
            )?
            .execute(params![fact.address().id(), amount])?;
            if amount == REFUSED && self.refuses.load(Ordering::SeqCst) {
                return Err("thirteen is refused".into());
            }
            assert!(amount != PANICS, "the number of the beast");
        }
        let failing =
            self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() { Err("told to fail".into()) } else { Ok(()) }
    }
}

pub(crate) type Row = (u32, u64, u32);

/// What the view saw, in the order in which it did.
pub(crate) async fn seen(view: &SqliteView) -> Vec<Row> {
    let rows = view.read(|connection| {
        connection
            .prepare("SELECT shard, record, place FROM seen ORDER BY number")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    });
    rows.await.unwrap()
}

pub(crate) async fn sum(view: &SqliteView) -> u64 {
    let sum = |connection: &holm_projections::rusqlite::Connection| {
        connection.query_row("SELECT coalesce(sum(sum), 0) FROM sums", [], |row| row.get(0))
    };
    view.read(sum).await.unwrap()
}

/// The view holds what the logs hold, each fact once, those of a shard in order; but for the records of `without`.
pub(crate) async fn agrees(node: &Node, view: &SqliteView, without: &[(u32, u64)]) {
    let mut expected = Vec::new();
    let mut total = 0;
    for fact in node.facts().await.into_values().flatten().filter(|fact| fact.name() == "Paid") {
        let (shard, offset, index) = place(&fact);
        if !without.contains(&(shard, offset)) {
            expected.push((shard, offset, index));
            total += paid(&fact);
        }
    }
    let mut seen = seen(view).await;
    // Stable: within a shard the order in which they came stays.
    seen.sort_by_key(|row| row.0);
    assert_eq!(seen, expected);
    assert_eq!(sum(view).await, total);
}
