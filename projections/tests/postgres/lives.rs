//! Members that live and die at random, and what they leave in their view together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holm_projections::postgres::Transaction;
use holm_projections::{
    HandlerError, OnFailure, Options, PostgresView, Projection, assemble_spread,
};
use holm_runtime::bus::{Fact, Interest};
use holm_runtime::{AskOptions, EntityRef};
use proptest::prelude::*;

use super::crashes::{Doomed, Life, a_life, live};
use super::node::{Account, PATIENCE, Pay, paid};
use super::server;
use super::tally::{Tally, agrees};
use super::together::{LEASE_OVER, options, setting};

/// Lives of two members at once, each with failures, rebuilds and an end of its own.
async fn live_together(lives: Vec<(Life, Life)>) {
    let Some(setting) = setting().await else { return };
    for pair in lives {
        let life_of = async |life: Life| {
            let tally = Tally::default();
            tally.fails.store(life.failures, Ordering::SeqCst);
            let on_failure = OnFailure::fail().after_retries(1, Duration::from_millis(1));
            let options = Options { on_failure, ..options() };
            let (handle, work) =
                assemble_spread(setting.node.bus(), tally, setting.view(), options);
            let doomed = Doomed { work: Box::pin(work), steps: 20 * life.steps };
            let rebuild = async {
                if life.rebuilds {
                    // It may die before it hears of it.
                    let _ = tokio::time::timeout(Duration::from_millis(40), handle.rebuild()).await;
                }
            };
            let payments = async {
                for (account, parts) in &life.payments {
                    let account: EntityRef<Account> =
                        EntityRef::new(Arc::clone(&setting.node.caller), format!("a{account}"));
                    let pay = Pay { amount: 1, parts: u64::from(*parts) };
                    // Its deadline passes where the clock is put forward meanwhile. What is in the log counts.
                    let _ = account.ask_with(pay, AskOptions::default()).await;
                }
            };
            let doomed = tokio::time::timeout(Duration::from_millis(60), doomed);
            let _ = tokio::join!(doomed, payments, rebuild);
        };
        let second = async {
            // For the group the first is gone, and works on.
            tokio::time::sleep(Duration::from_millis(15)).await;
            setting.node.clock.advance(LEASE_OVER);
            life_of(pair.1).await;
        };
        tokio::join!(life_of(pair.0), second);
        setting.node.clock.advance(LEASE_OVER);
    }
    let last = setting.member(Tally::default());
    last.passed_all(&setting.node.ends().await, PATIENCE).await.unwrap();
    agrees(&setting.node, &setting.view(), &[]).await;
    last.wait_until(|status| status.rebuild.is_none(), 3 * PATIENCE).await.unwrap();
    setting.all_agree(&[&last]).await;
    setting.stop(&[&last]).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Promise G8, laws O1, O13 and O16: whatever members crash and fail, and whenever, together they leave each event in the view once.
    #[test]
    fn each_event_is_in_the_view_of_all_once(lives in prop::collection::vec((a_life(), a_life()), 1..5)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(live_together(lives));
    }

    /// The same of one process that has the view alone.
    #[test]
    fn each_event_is_in_the_view_of_one_once(lives in prop::collection::vec(a_life(), 1..5)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        if server::shared().is_some() {
            runtime.block_on(live::<PostgresView>(lives));
        }
    }
}

/// A handler that reads what other members write, and locks it before, as its documentation says.
struct Total;

impl Projection<PostgresView> for Total {
    const NAME: &'static str = "total";

    fn interest(&self) -> Interest {
        Interest::of::<Account>().event("Paid")
    }

    fn prepare(&self, tx: &mut Transaction<'_>) -> Result<(), HandlerError> {
        let table =
            "CREATE TABLE IF NOT EXISTS total (one boolean PRIMARY KEY, sum bigint NOT NULL);
                     INSERT INTO total VALUES (true, 0) ON CONFLICT DO NOTHING";
        Ok(tx.batch_execute(table)?)
    }

    fn handle(&self, tx: &mut Transaction<'_>, facts: &[Fact]) -> Result<(), HandlerError> {
        let sum: i64 = tx.query_one("SELECT sum FROM total FOR UPDATE", &[])?.get(0);
        let paid: u64 = facts.iter().map(paid).sum();
        tx.execute("UPDATE total SET sum = $1", &[&(sum + paid as i64)])?;
        Ok(())
    }
}

/// Rows that all members write, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_total_over_all_shards_is_right() {
    let Some(setting) = setting().await else { return };
    let members = [(); 3].map(|()| setting.member(Total));
    for _ in 0..30 {
        setting.node.payments(12, 1).await;
    }
    for member in &members {
        member.passed_all(&setting.node.ends().await, PATIENCE).await.unwrap();
    }
    let total = setting.view().read(|tx| tx.query_one("SELECT sum FROM total", &[])).await.unwrap();
    assert_eq!(total.get::<_, i64>(0), 360);
    setting.stop(&members.each_ref()).await;
}
