//! Money on its way while the cluster is harmed: transfers between accounts of the campaign's own. At the end every one of them must be over, no step may
//! have been taken twice, and the sum of all balances must be what was paid in, to the cent (promises G2 and G6).

mod bank;
mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::bank::Bank;
use self::plan::Plan;
use crate::api_client::{ApiClient, ClientOptions};
use crate::dev::process::random;
use crate::dev::state::DevStatus;
use crate::output::Failure;

/// How long one question is asked again, and how long a transfer may take after the last round. Above its own deadline of 30 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// Problems that are listed; the others are counted.
const LISTED: usize = 20;

/// What became of the transfers of a campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransfersDocument {
    /// Accounts that they went between.
    pub accounts: u32,
    /// Transfers that were started, each acknowledged.
    pub started: u32,
    /// How many ended how: `completed`, `failed`, `refunded`, `stranded`, or still on their way.
    pub stages: BTreeMap<String, u32>,
    /// Questions that had to be asked again.
    pub retries: u64,
    /// Events of the transfers in the logs.
    pub events: u64,
    /// All balances, and what is in transfers, in cents.
    pub sum: u64,
    /// What was paid in, in cents.
    pub paid_in: u64,
    /// What does not hold.
    pub problems: Vec<String>,
}

impl TransfersDocument {
    /// How many ended so.
    #[must_use]
    pub fn ended(&self, stage: &str) -> u32 {
        self.stages.get(stage).copied().unwrap_or_default()
    }

    fn problem(&mut self, problem: impl Into<String>) {
        if self.problems.len() < LISTED {
            self.problems.push(problem.into());
        }
    }
}

/// Transfers under way.
pub(super) struct Transfers {
    bank: Bank,
    plan: Plan,
    starting: JoinHandle<Option<TransfersDocument>>,
    /// Dropped, it ends the senders.
    going_on: watch::Sender<()>,
}

impl Transfers {
    /// Opens the accounts, pays in, and begins to start the transfers, which goes on while the cluster is harmed.
    ///
    /// # Errors
    /// When an account cannot be opened: nothing was harmed yet.
    pub(super) async fn begin(status: &DevStatus, count: u32, seed: u64) -> Result<Self, Failure> {
        let client = |url: &str| ApiClient::new(url, ClientOptions::default());
        let clients: Result<Vec<_>, _> =
            status.running().map(|status| client(&status.node.http)).collect();
        let bank = Bank::new(clients?, PATIENCE)?;
        // Ids of its own, so that campaigns in one cluster do not meet.
        let plan = Plan::new(count, seed, random() & 0xFFFF_FFFF);
        let going_on = watch::Sender::new(());
        let opened = beside(going_on.subscribe(), {
            let (bank, plan) = (bank.clone(), plan.clone());
            async move || bank.open(&plan).await
        });
        opened.await.map_err(unknown)?.ok_or_else(|| unknown("it was ended"))??;
        let starting = beside(going_on.subscribe(), {
            let (bank, plan) = (bank.clone(), plan.clone());
            async move || bank.start(&plan).await
        });
        Ok(Self { bank, plan, starting, going_on })
    }

    /// Ends it without a judgement: there is none about the cluster either.
    pub(super) async fn stop(self) {
        drop(self.going_on);
        // What it did is of no interest any more.
        let _ = self.starting.await;
    }

    /// Waits until all are started and over, and looks where the money is.
    ///
    /// # Errors
    /// When the thread that starts them ended; what a node refuses is a problem in the document.
    pub(super) async fn judge(self) -> Result<TransfersDocument, Failure> {
        let Self { bank, plan, starting, going_on } = self;
        let started = starting.await.map_err(unknown)?;
        let mut document = started.ok_or_else(|| unknown("it was ended"))?;
        let judged = beside(going_on.subscribe(), async move || {
            bank.judge(&plan, &mut document).await;
            document
        });
        judged.await.map_err(unknown)?.ok_or_else(|| unknown("it was ended"))
    }
}

fn unknown(why: impl std::fmt::Display) -> Failure {
    Failure::new("what became of the transfers is not known", why)
}

/// Runs a future that stays on its thread, on one of the threads that may block; none when it was ended before.
fn beside<T: Send + 'static>(
    mut going_on: watch::Receiver<()>,
    work: impl AsyncFnOnce() -> T + Send + 'static,
) -> JoinHandle<Option<T>> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                done = work() => Some(done),
                // Nothing is ever sent: it resolves when the sender is gone.
                _ = going_on.changed() => None,
            }
        })
    })
}
