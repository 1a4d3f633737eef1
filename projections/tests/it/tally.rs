//! The projection of these tests: it keeps every fact with the order in which it came, and the sum of each account.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use holm_core::{Offset, ShardId};
use holm_projections::rusqlite::{self, Transaction, params};
use holm_projections::{
    HandlerError, Identity, Projection, RowError, SledTransaction, SledView, SqliteView, Stored,
    View, ViewError, WriteError,
};
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
        self.each(facts, |fact| {
            let ((shard, offset, index), amount) = (place(fact), paid(fact));
            tx.prepare_cached(
                "INSERT INTO seen (shard, record, place, amount) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![shard, offset, index, amount])?;
            tx.prepare_cached(
                "INSERT INTO sums VALUES (?, ?) ON CONFLICT DO UPDATE SET sum = sum + excluded.sum",
            )?
            .execute(params![fact.address().id(), amount])?;
            Ok(())
        })
    }
}

/// Under `seen/` and a number each fact, under `sum/` and the account its sum.
impl Projection<SledView> for Tally {
    const NAME: &'static str = "tally";

    fn interest(&self) -> Interest {
        Interest::of::<Account>().event("Paid")
    }

    fn handle(&self, tx: &mut SledTransaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        self.each(facts, |fact| {
            let ((shard, offset, index), amount) = (place(fact), paid(fact));
            let number = number_of(tx.get("number")?) + 1;
            tx.insert("number", number.to_be_bytes())?;
            let key = [&b"seen/"[..], &number.to_be_bytes()].concat();
            let row = [u64::from(shard), offset, u64::from(index)].map(u64::to_be_bytes).concat();
            tx.insert(key, row)?;
            let sum = format!("sum/{}", fact.address().id());
            let sum_now = number_of(tx.get(&sum)?) + amount;
            tx.insert(&sum, sum_now.to_be_bytes())?;
            Ok(())
        })
    }
}

fn number_of(bytes: Option<Vec<u8>>) -> u64 {
    bytes.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

impl Tally {
    /// What is the same in every store.
    pub(crate) fn each(
        &self,
        facts: &[Fact],
        mut put: impl FnMut(&Fact) -> Result<(), HandlerError>,
    ) -> Result<(), HandlerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        for fact in facts {
            put(fact)?;
            let amount = paid(fact);
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

/// A store of views, and how these tests look into it.
pub(crate) trait Store: View {
    const NAME: &'static str;

    fn open(path: &Path) -> Result<Self, ViewError>;

    /// The numbers of the generations that are stored, of a view that is called `tally` in this folder.
    fn generations(dir: &Path) -> impl Future<Output = Vec<u64>> + Send {
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        // Without what SQLite keeps beside a database.
        let number = |name: &std::ffi::OsString| name.to_str()?.rsplit_once('.')?.1.parse().ok();
        let mut numbers: Vec<u64> = names.filter_map(|name| number(&name)).collect();
        numbers.sort_unstable();
        std::future::ready(numbers)
    }

    /// What the view saw, in the order in which it did.
    fn seen(&self) -> impl Future<Output = Vec<Row>> + Send;

    fn sum(&self) -> impl Future<Output = u64> + Send;
}

impl Store for SqliteView {
    const NAME: &'static str = "tally.db";

    fn open(path: &Path) -> Result<Self, ViewError> {
        Self::open(path)
    }

    async fn seen(&self) -> Vec<Row> {
        let rows = self.read(|connection| {
            connection
                .prepare("SELECT shard, record, place FROM seen ORDER BY number")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        });
        rows.await.unwrap()
    }

    async fn sum(&self) -> u64 {
        let sum = |connection: &rusqlite::Connection| {
            connection.query_row("SELECT coalesce(sum(sum), 0) FROM sums", [], |row| row.get(0))
        };
        self.read(sum).await.unwrap()
    }
}

impl Store for SledView {
    const NAME: &'static str = "tally.sled";

    fn open(path: &Path) -> Result<Self, ViewError> {
        Self::open(path)
    }

    async fn seen(&self) -> Vec<Row> {
        let rows = self.read(|rows| {
            let row = |row: Result<(Vec<u8>, Vec<u8>), RowError>| {
                let (_, row) = row?;
                let number = |at: usize| number_of(Some(row[at..at + 8].to_vec()));
                Ok((number(0) as u32, number(8), number(16) as u32))
            };
            rows.scan(b"seen/").map(row).collect()
        });
        rows.await.unwrap()
    }

    async fn sum(&self) -> u64 {
        let sum = self.read(|rows| {
            rows.scan(b"sum/").map(|row| Ok(number_of(Some(row?.1)))).sum::<Result<u64, RowError>>()
        });
        sum.await.unwrap()
    }
}

/// What is stored as read of a shard. The worker may be writing.
pub(crate) async fn stored<V: Store>(view: &V, shard: ShardId) -> Offset {
    adopted(view, TALLY).await.unwrap().position.of(shard)
}

/// What [`Tally`] is called.
pub(crate) const TALLY: Identity = Identity { name: "tally", version: 1 };

/// Adopts the view without tables of its own, where that may block.
pub(crate) async fn adopted<V: Store>(
    view: &V,
    projection: Identity,
) -> Result<Stored, WriteError> {
    let view = view.clone();
    blocking(move || view.adopt(projection, &mut |_| Ok(()))).await
}

/// Does something with a view where that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// The view holds what the logs hold, each fact once, those of a shard in order; but for the records of `without`.
pub(crate) async fn agrees(node: &Node, view: &impl Store, without: &[(u32, u64)]) {
    let mut expected = Vec::new();
    let mut total = 0;
    for fact in node.facts().await.into_values().flatten().filter(|fact| fact.name() == "Paid") {
        let (shard, offset, index) = place(&fact);
        if !without.contains(&(shard, offset)) {
            expected.push((shard, offset, index));
            total += paid(&fact);
        }
    }
    let mut seen = view.seen().await;
    // Stable: within a shard the order in which they came stays.
    seen.sort_by_key(|row| row.0);
    assert_eq!(seen, expected);
    assert_eq!(view.sum().await, total);
}
