//! A view beside the entities: who has how much, which no single account can say. It sees each event once, whatever crashes, and one reads one's own writes.

use std::time::Duration;

use anyhow::Result;
use holm::bus::{Fact, Interest};
use holm::{AskOptions, Holm};
use holm_domains::bank::{Account, AccountEvent, Deposit, Open};
use holm_projections::rusqlite::{Transaction, params};
use holm_projections::{HandlerError, Options, Projection, SqliteView, start};

struct Ranking;

impl Projection<SqliteView> for Ranking {
    // Stored in the view, which belongs to this projection from then on.
    const NAME: &'static str = "ranking";

    fn interest(&self) -> Interest {
        Interest::of::<Account>()
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        let table = "CREATE TABLE IF NOT EXISTS ranking (
            account TEXT PRIMARY KEY, owner TEXT NOT NULL, balance INTEGER NOT NULL)";
        Ok(tx.execute_batch(table)?)
    }

    // The rows and the position behind these facts are one transaction: both are there after a crash, or neither.
    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        for fact in facts {
            let account = fact.address().id();
            let change = match fact.event::<Account>()? {
                AccountEvent::Opened { owner } => {
                    let sql = "INSERT INTO ranking VALUES (?, ?, 0)";
                    tx.prepare_cached(sql)?.execute(params![account, owner])?;
                    continue;
                }
                AccountEvent::Deposited { amount } => i64::try_from(amount)?,
                AccountEvent::Withdrawn { amount } => -i64::try_from(amount)?,
                AccountEvent::Closed { paid_out } => -i64::try_from(paid_out)?,
            };
            let sql = "UPDATE ranking SET balance = balance + ? WHERE account = ?";
            tx.prepare_cached(sql)?.execute(params![change, account])?;
        }
        Ok(())
    }
}

async fn richest(view: &SqliteView) -> Result<Vec<(String, i64)>> {
    let sql = "SELECT owner, balance FROM ranking ORDER BY balance DESC, owner LIMIT 3";
    let rows = view.read(move |connection| {
        let mut rows = connection.prepare_cached(sql)?;
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    });
    Ok(rows.await?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let holm = Holm::builder().entity::<Account>().data_dir("data/projection").start().await?;
    let view = SqliteView::open("data/projection-views/ranking.db")?;
    let ranking = start(holm.bus(), Ranking, view.clone(), Options::default());

    for (id, owner) in [("alice", "Alice"), ("bob", "Bob"), ("carol", "Carol")] {
        // Refused when the program runs again: the account is there, and so is its row.
        let _ = holm.entity::<Account>(id).ask(Open { owner: owner.into() }).await;
    }
    for (id, amount) in [("alice", 120), ("bob", 70), ("carol", 90)] {
        let deposit = Deposit { amount };
        let reply = holm.entity::<Account>(id).ask_with(deposit, AskOptions::default()).await?;
        // The reply says where the deposit stands; once the view has passed that place, it shows it.
        ranking.passed(reply.shard, reply.offset, Duration::from_secs(5)).await?;
        println!("{id} paid in {amount}: {:?}", richest(&view).await?);
    }

    // The same from the first event on, beside the view that is read.
    ranking.rebuild().await?;
    ranking.wait_until(|status| status.rebuild.is_none(), Duration::from_secs(60)).await;
    let progress = ranking.progress().await?;
    println!(
        "rebuilt: {:?}, {} of {} records, {}",
        richest(&view).await?,
        progress.position_total(),
        progress.head_total(),
        progress.state.name(),
    );
    println!("look yourself: sqlite3 {} 'SELECT * FROM ranking'", view.path().display());

    ranking.stop().await;
    holm.shutdown().await;
    Ok(())
}
