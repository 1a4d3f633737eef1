//! Sends orders, retries them with the same key, writes down what was told, and counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::bank::{Bank, Drawn};
use super::door::{Command, Door, NoAnswer, Order};
use super::pacer::Due;
use super::report::LoadReport;
use crate::ledger::{Entry, LedgerFile, Told};
use crate::wall_clock::now_us;

/// First pause before another try; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between two tries: a shard that comes back is used again soon.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// How long one try waits. Above the time in which a shard is normally taken over, so that most commands need no second one.
const ONE_TRY: Duration = Duration::from_secs(3);

/// Longest latency that is told apart; beyond it, the histogram says "a minute".
const LONGEST_US: u64 = 60_000_000;

/// Handed over later than this after the planned time counts as late: the grain of a millisecond is what a person would still call "in time".
const LATE: Duration = Duration::from_millis(1);

/// The generator; clones share everything.
#[derive(Clone)]
pub(super) struct Generator {
    door: Arc<Door>,
    ledger: Arc<LedgerFile>,
    bank: Arc<Mutex<Bank>>,
    figures: Arc<Mutex<Figures>>,
    places: Arc<Semaphore>,
    in_flight: u32,
    retry_for: Duration,
}

/// The window that is open, and the sums.
struct Figures {
    report: LoadReport,
    latency: Histogram<u64>,
    opened_us: u64,
}

impl Generator {
    pub(super) fn new(
        door: Door,
        ledger: LedgerFile,
        bank: Bank,
        accounts: u32,
        in_flight: u32,
        retry_for: Duration,
    ) -> Self {
        let report = LoadReport { accounts_wanted: accounts, ..LoadReport::default() };
        let latency =
            Histogram::new_with_max(LONGEST_US, 3).expect("a minute in microseconds fits");
        Self {
            door: Arc::new(door),
            ledger: Arc::new(ledger),
            bank: Arc::new(Mutex::new(bank)),
            figures: Arc::new(Mutex::new(Figures { report, latency, opened_us: now_us() })),
            places: Arc::new(Semaphore::new(in_flight as usize)),
            in_flight,
            retry_for,
        }
    }

    /// Opens an account and pays the first deposit in. One that an earlier run opened says so, and is as good.
    ///
    /// # Errors
    /// Why it is not known to be open; it is counted as given up.
    pub(super) async fn open_account(&self, account: u32) -> Result<(), NoAnswer> {
        let (open, deposit) = {
            let bank = self.bank();
            (bank.open(account), bank.first_deposit(account))
        };
        let opened = self.carry_out(open, Instant::now()).await;
        if opened.is_err() {
            self.figures().report.accounts_given_up += 1;
        } else {
            // Without its first deposit an account is poor, and open all the same.
            let _ = self.carry_out(deposit, Instant::now()).await;
            self.figures().report.accounts += 1;
        }
        opened.map(|_| ())
    }

    /// Waits for a free place and sends the next command; its answer is taken in the background.
    pub(super) async fn send_next(&self, due: Due) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
        let Drawn { order, then_deposit_to } = self.bank().draw();
        if due.late_by() > LATE {
            self.figures().report.late += 1;
        }
        let me = self.clone();
        tokio::spawn(async move {
            let amount = order.command.amount();
            let accepted = me.carry_out(order, due.planned.into()).await;
            if let (Ok(true), Some(account)) = (accepted, then_deposit_to) {
                me.bank().owe(account, amount);
            }
            drop(place);
        });
    }

    /// Resolves when every command sent so far has its outcome.
    pub(super) async fn settle(&self) {
        let _ = self.places.acquire_many(self.in_flight).await;
    }

    /// Closes the window and gives its report; everything acknowledged before is in the ledger file by then.
    pub(super) fn report(&self) -> LoadReport {
        let mut figures = self.figures();
        let at_us = now_us();
        let mut report = figures.report.clone();
        report.at_us = at_us;
        report.window_us = at_us.saturating_sub(figures.opened_us);
        report.in_flight = u64::from(self.in_flight) - self.places.available_permits() as u64;
        report.p50_us = figures.latency.value_at_quantile(0.5);
        report.p99_us = figures.latency.value_at_quantile(0.99);
        report.max_us = figures.latency.max();
        figures.latency.reset();
        figures.opened_us = at_us;
        figures.report = LoadReport {
            accounts: report.accounts,
            accounts_given_up: report.accounts_given_up,
            accounts_wanted: report.accounts_wanted,
            total_sent: report.total_sent,
            total_answered: report.total_answered,
            total_rejected: report.total_rejected,
            total_failed: report.total_failed,
            ..LoadReport::default()
        };
        report
    }

    /// Waits until all lines are in the file.
    pub(super) fn flush(&self) {
        self.ledger.flush();
    }

    /// Sends an order until it has an outcome: whether it was accepted, or why nobody knows.
    async fn carry_out(&self, order: Order, planned: Instant) -> Result<bool, NoAnswer> {
        let sent_us = now_us();
        {
            let mut figures = self.figures();
            figures.report.sent += 1;
            figures.report.total_sent += 1;
        }
        let (told, outcome) = match self.until_told(&order, planned).await {
            Ok(told) => {
                let accepted = matches!(told, Told::Accepted(_));
                (told, Ok(accepted))
            }
            Err(no_answer) => (no_answer.told(), Err(no_answer)),
        };
        self.count(&told, &order, planned);
        self.ledger.record(Entry {
            entity: format!("account/{}", order.id),
            command: order.command.name().to_owned(),
            amount: order.command.amount(),
            key: order.key,
            sent_us,
            at_us: now_us(),
            told,
        });
        outcome
    }

    async fn until_told(&self, order: &Order, planned: Instant) -> Result<Told, NoAnswer> {
        let end = planned + self.retry_for;
        let mut pause = FIRST_PAUSE;
        let mut unknown = false;
        loop {
            let no_answer = match self.door.send(order, ONE_TRY).await {
                Ok(told) => return Ok(told),
                Err(no_answer) => no_answer,
            };
            unknown |= no_answer.unknown;
            if !no_answer.again || Instant::now() + pause >= end {
                return Err(NoAnswer { unknown, ..no_answer });
            }
            self.figures().report.retries += 1;
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn count(&self, told: &Told, order: &Order, planned: Instant) {
        let took = u64::try_from(planned.elapsed().as_micros()).unwrap_or(LONGEST_US);
        let mut figures = self.figures();
        let report = &mut figures.report;
        match told {
            Told::Accepted(_) => {
                report.answered += 1;
                report.total_answered += 1;
                // Every accepted command of the bank but the read stores one event.
                report.events += u64::from(order.command != Command::Balance);
            }
            Told::Rejected(_) | Told::Refused => {
                report.rejected += 1;
                report.total_rejected += 1;
            }
            Told::Unknown { .. } | Told::NotApplied { .. } => report.total_failed += 1,
        }
        figures.latency.saturating_record(took);
    }

    fn bank(&self) -> MutexGuard<'_, Bank> {
        self.bank.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
