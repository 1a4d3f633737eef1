//! The projections of the tests for any store, on this one.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;
use std::sync::atomic::Ordering;

use holm_projections::postgres::Transaction;
use holm_projections::{HandlerError, PostgresView, Projection, ViewError};
use holm_runtime::bus::{Fact, Interest};

use super::management::Unprepared;
use super::node::{Account, paid, place};
use super::rebuilding::Gated;
use super::server;
use super::tally::{Row, Store, Tally};

pub(crate) const TABLES: &str = "CREATE TABLE IF NOT EXISTS seen (
        number bigserial PRIMARY KEY, shard bigint, record bigint, place bigint, amount bigint);
    CREATE TABLE IF NOT EXISTS sums (account text PRIMARY KEY, sum bigint NOT NULL);";

impl Projection<PostgresView> for Tally {
    const NAME: &'static str = "tally";

    fn interest(&self) -> Interest {
        Interest::of::<Account>().event("Paid")
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        Ok(tx.batch_execute(TABLES)?)
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        let see =
            tx.prepare("INSERT INTO seen (shard, record, place, amount) VALUES ($1, $2, $3, $4)")?;
        let sum = "INSERT INTO sums VALUES ($1, $2)
                   ON CONFLICT (account) DO UPDATE SET sum = sums.sum + excluded.sum";
        let sum = tx.prepare(sum)?;
        self.each(facts, |fact| {
            let ((shard, offset, index), amount) = (place(fact), paid(fact) as i64);
            let (shard, offset) = (i64::from(shard), offset as i64);
            tx.execute(&see, &[&shard, &offset, &i64::from(index), &amount])?;
            tx.execute(&sum, &[&fact.address().id(), &amount])?;
            Ok(())
        })
    }
}

impl Projection<PostgresView> for Gated {
    const NAME: &'static str = "tally";
    const VERSION: u32 = 2;

    fn interest(&self) -> Interest {
        Interest::of::<Account>()
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        let table = "CREATE TABLE IF NOT EXISTS sums (account text, sum bigint NOT NULL)";
        Ok(tx.batch_execute(table)?)
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        self.is_open()?;
        for fact in facts {
            let row = "INSERT INTO sums VALUES ($1, $2)";
            tx.execute(row, &[&fact.address().id(), &(2 * paid(fact) as i64)])?;
        }
        Ok(())
    }
}

impl Projection<PostgresView> for Unprepared {
    const NAME: &'static str = "unprepared";

    fn interest(&self) -> Interest {
        Interest::everything()
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        Ok(tx.batch_execute("CREATE TABLE IF NOT EXISTS mine (x strct)")?)
    }

    fn handle(&self, _: &mut Transaction<'_>, _: &[Fact]) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// A schema for each folder.
pub(crate) fn schema_of(path: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    format!("t_{:016x}", hasher.finish())
}

impl Store for PostgresView {
    const NAME: &'static str = "tally.pg";

    fn open(path: &Path) -> Result<Self, ViewError> {
        Self::new(server::shared().unwrap().config(), &schema_of(path))
    }

    async fn generations(dir: &Path) -> Vec<u64> {
        let ours = format!("{}_holm", schema_of(&dir.join("tally")));
        // An old one goes when nobody reads it any more.
        let old = format!("SELECT number FROM {ours}.generations ORDER BY number");
        let server = server::shared().unwrap();
        let rows = server.as_a_stranger(|client| client.query(&old, &[]).unwrap());
        rows.iter().map(|row| row.get::<_, i64>(0) as u64).collect()
    }

    async fn seen(&self) -> Vec<Row> {
        let rows =
            self.read(|tx| tx.query("SELECT shard, record, place FROM seen ORDER BY number", &[]));
        let row = |row: &holm_projections::postgres::Row| {
            let number = |at: usize| row.get::<_, i64>(at);
            (number(0) as u32, number(1) as u64, number(2) as u32)
        };
        rows.await.unwrap().iter().map(row).collect()
    }

    async fn sum(&self) -> u64 {
        let sum = "SELECT coalesce(sum(sum), 0)::bigint FROM sums";
        let sum = self.read(move |tx| tx.query_one(sum, &[]));
        sum.await.unwrap().get::<_, i64>(0) as u64
    }
}

/// How often a handler of these tests was called.
pub(crate) fn calls(tally: &Tally) -> u32 {
    tally.calls.load(Ordering::SeqCst)
}
