//! Money on its way while the cluster is harmed: transfers between accounts of the campaign's own, some of which are closed meanwhile. At the end every
//! transfer must be over, no step may have been taken twice, and what is on the accounts and was paid out of them must be what was paid in, to the cent
//! (promises G2 and G6).
//!
//! The starts are spread over the rounds. Half of a round's share is allowed when the harm is about to be done, which waits until the senders are at it;
//! the other half when it is taken back. After a round that does not hold nothing is started any more.

mod bank;
mod judge;
mod plan;
mod starts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::bank::Bank;
use self::plan::Plan;
use self::starts::Starts;
use crate::api_client::{ApiClient, ClientOptions};
use crate::dev::process::random;
use crate::dev::state::DevStatus;
use crate::output::{Failure, Output};

/// How long the start of a transfer is asked again, and the least that all of them have to be over after the last round. Above their own deadline of 30 s and
/// the 30 s within which a round must be well, together.
const PATIENCE: Duration = Duration::from_secs(90);

/// What one question is granted beyond it, on the mean. With 16 under way at once it may take 160 ms, which busy nodes of an unoptimised build keep to.
const QUESTION: Duration = Duration::from_millis(10);

/// Questions for each transfer: its start, its stage, its history.
const OF_A_TRANSFER: u64 = 3;

/// Questions for each account: at the beginning to be opened and paid into; at the end its balance, and its history when it was closed.
const OF_AN_ACCOUNT: u64 = 2;

/// How long a harm waits for the senders to be at it. They may all be busy with what an earlier harm still holds up.
const AT_IT_WITHIN: Duration = Duration::from_secs(2);

/// Problems that are listed; the others are counted.
const LISTED: usize = 20;

/// What became of the transfers of a campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransfersDocument {
    /// Accounts that they went between.
    pub accounts: u32,
    /// How many of these were closed meanwhile.
    pub closed: u32,
    /// Transfers that were to be started.
    pub planned: u32,
    /// Transfers that were started, each acknowledged.
    pub started: u32,
    /// How many were under way when each harm was done: asked for before it, over after it.
    pub at_harm: Vec<u32>,
    /// How many ended how: `completed`, `failed`, `refunded`, `stranded`, or still on their way.
    pub stages: BTreeMap<String, u32>,
    /// Questions that had to be asked again.
    pub retries: u64,
    /// Events of the transfers in the logs.
    pub events: u64,
    /// All balances, what was paid out, and what is in transfers, in cents.
    pub sum: u64,
    /// What was on accounts when they were closed, in cents.
    pub paid_out: u64,
    /// What was paid in, in cents.
    pub paid_in: u64,
    /// Transfers that were not seen to be over, and accounts that did not answer.
    pub unknown: u32,
    /// What does not hold.
    pub problems: Vec<String>,
    /// How many more problems there were.
    pub unlisted: u32,
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
        } else {
            self.unlisted += 1;
        }
    }
}

/// Transfers under way.
pub(super) struct Transfers {
    bank: Bank,
    plan: Arc<Plan>,
    starts: Arc<Starts>,
    sending: JoinHandle<Option<()>>,
    /// Dropped, it ends the senders.
    going_on: watch::Sender<()>,
    /// Over how many moments the starts are spread, and how many of them have come.
    moments: (usize, usize),
    harms_us: Vec<u64>,
}

impl Transfers {
    /// Opens the accounts and pays in. The transfers are spread over so many rounds.
    ///
    /// # Errors
    /// When an account cannot be opened: nothing was harmed yet.
    pub(super) async fn begin(
        status: &DevStatus,
        count: u32,
        seed: u64,
        rounds: usize,
    ) -> Result<Self, Failure> {
        let client = |url: &str| ApiClient::new(url, ClientOptions::default());
        let clients: Result<Vec<_>, _> =
            status.running().map(|status| client(&status.node.http)).collect();
        let bank = Bank::new(clients?)?;
        // Ids of its own, so that campaigns in one cluster do not meet.
        let plan = Arc::new(Plan::new(count, seed, random() & 0xFFFF_FFFF));
        let going_on = watch::Sender::new(());
        let opened = beside(going_on.subscribe(), {
            let (bank, plan) = (bank.clone(), Arc::clone(&plan));
            async move || open(&bank, &plan).await
        });
        opened.await.map_err(unknown)?.ok_or_else(|| unknown("it was ended"))??;
        let starts = Arc::new(Starts::new(plan.transfers.len()));
        let sending = beside(going_on.subscribe(), {
            let (bank, plan, starts) = (bank.clone(), Arc::clone(&plan), Arc::clone(&starts));
            async move || starts.send(&bank, &plan).await
        });
        let moments = (2 * rounds, 0);
        Ok(Self { bank, plan, starts, sending, going_on, moments, harms_us: Vec::new() })
    }

    /// Before a harm: some transfers are to be under way.
    pub(super) async fn before_harm(&mut self) {
        let up_to = self.next_moment();
        // When the senders are not free, what holds them up is under way.
        let _ = timeout(AT_IT_WITHIN, self.starts.allow_and_see(up_to)).await;
    }

    /// A harm was done, at this time in microseconds since the epoch.
    pub(super) fn harmed(&mut self, at_us: u64) {
        self.harms_us.push(at_us);
    }

    /// Before a harm is taken back.
    pub(super) fn before_heal(&mut self) {
        let up_to = self.next_moment();
        self.starts.allow(up_to);
    }

    fn next_moment(&mut self) -> usize {
        let (all, come) = &mut self.moments;
        *come += 1;
        self.plan.transfers.len() * *come / (*all).max(*come)
    }

    /// Ends it without a judgement: there is none about the cluster either.
    pub(super) async fn stop(self) {
        drop(self.going_on);
        // What it did is of no interest any more.
        let _ = self.sending.await;
    }

    /// Waits until all are started and over, and looks where the money is; when a round did not hold, only what was started is looked for. One deadline
    /// is for all of it.
    ///
    /// # Errors
    /// When a thread ended; what a node refuses or does not answer is a problem in the document.
    pub(super) async fn judge(
        self,
        well: bool,
        output: Output,
    ) -> Result<TransfersDocument, Failure> {
        let most = at_most(self.plan.transfers.len() as u64, self.plan.accounts.into());
        let seconds = most.as_secs();
        output.progress(format_args!(
            "  waiting until every transfer is over, for {seconds} s at most"
        ));
        self.judge_until(well, Instant::now() + most).await
    }

    async fn judge_until(self, well: bool, until: Instant) -> Result<TransfersDocument, Failure> {
        let Self { bank, plan, starts, mut sending, going_on, harms_us, .. } = self;
        if well {
            starts.allow_all();
        } else {
            starts.allow_no_more();
        }
        // The senders end by themselves, or are ended where they are.
        if timeout_at(until, &mut sending).await.is_err() {
            going_on.send_replace(());
            let _ = sending.await;
        }
        let judged = beside(going_on.subscribe(), async move || {
            judge::judge(&bank, &plan, &starts.so_far(), &harms_us, until).await
        });
        judged.await.map_err(unknown)?.ok_or_else(|| unknown("it was ended"))
    }
}

/// Opens every account and pays in, until one deadline.
async fn open(bank: &Bank, plan: &Plan) -> Result<(), Failure> {
    let most = at_most(0, plan.accounts.into());
    let first_error = Mutex::new(None);
    let opening = bank.each(plan.accounts as usize, PATIENCE, async |nth, nodes| {
        let opened = bank::open(plan, u32::try_from(nth).unwrap_or(u32::MAX), nodes).await;
        if let Err(error) = opened {
            let mut first = first_error.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(format!("account {nth}: {error}"));
        }
    });
    let in_time = timeout(most, opening).await;
    let error = first_error.into_inner().unwrap_or_else(PoisonError::into_inner);
    let late = in_time.is_err().then(|| format!("not within {} s", most.as_secs()));
    match error.or(late) {
        None => Ok(()),
        Some(why) => Err(Failure::new("the accounts for the transfers cannot be opened", why)),
    }
}

/// The most time for the questions about so many transfers and accounts.
fn at_most(transfers: u64, accounts: u64) -> Duration {
    let questions = transfers * OF_A_TRANSFER + accounts * OF_AN_ACCOUNT;
    PATIENCE + QUESTION.saturating_mul(u32::try_from(questions).unwrap_or(u32::MAX))
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
                // It is ended by a word, or because nobody is interested any more.
                _ = going_on.changed() => None,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Nodes that take connections and never answer.
    fn under_way(silent: &TcpListener, count: u32) -> Transfers {
        let url = format!("http://{}", silent.local_addr().unwrap());
        let bank = Bank::new(vec![ApiClient::new(&url, ClientOptions::default()).unwrap()]);
        let (bank, plan) = (bank.unwrap(), Arc::new(Plan::new(count, 7, 1)));
        let starts = Arc::new(Starts::new(plan.transfers.len()));
        let going_on = watch::Sender::new(());
        let sending = beside(going_on.subscribe(), {
            let (bank, plan, starts) = (bank.clone(), Arc::clone(&plan), Arc::clone(&starts));
            async move || starts.send(&bank, &plan).await
        });
        Transfers { bank, plan, starts, sending, going_on, moments: (6, 0), harms_us: Vec::new() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn one_deadline_is_for_all_that_nobody_answers() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        for well in [true, false] {
            let mut transfers = under_way(&silent, 300);
            transfers.before_harm().await;
            transfers.harmed(crate::wall_clock::now_us());
            let until = Instant::now() + Duration::from_millis(500);
            let judged = timeout(Duration::from_secs(60), transfers.judge_until(well, until));
            let document = judged.await.expect("an end").unwrap();
            assert_eq!((document.planned, document.started, document.sum), (300, 0, 0));
            // As many as there are senders were asked for, and nobody knows of these and of the accounts.
            assert_eq!((document.at_harm[0], document.unknown), (16, 16 + 30), "{document:?}");
            assert!(document.problems.len() == LISTED && document.unlisted > 0, "{document:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_starts_are_spread_over_the_moments_of_all_rounds() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut transfers = under_way(&silent, 301);
        let moments: Vec<_> = (0..8).map(|_| transfers.next_moment()).collect();
        assert_eq!(moments, [50, 100, 150, 200, 250, 301, 301, 301]);
        transfers.stop().await;
    }

    #[test]
    fn the_deadline_grows_with_what_there_is_to_ask() {
        assert_eq!(at_most(0, 0), PATIENCE);
        assert_eq!(at_most(10_000, 1_000).as_secs(), 90 + 320);
    }
}
