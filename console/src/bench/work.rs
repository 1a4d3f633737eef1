//! What the bench asks: deposits to, and reads of, some accounts.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use holm::{EntityRef, Holm};
use holm_domains::bank::{Account, Balance, Deposit, Open};

/// Cents of one deposit.
const AMOUNT: u64 = 1;

/// One kind of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Stores an event.
    Persist,
    /// Reads the state.
    Read,
}

/// Some accounts and what is done to them.
pub(super) struct Work {
    holm: Holm,
    near: bool,
    accounts: Vec<EntityRef<Account>>,
    steps: AtomicU64,
}

impl Work {
    /// The accounts `prefix-1`, `prefix-2` … of a node or client.
    pub(super) fn new(holm: &Holm, prefix: &str, accounts: u32) -> Self {
        Self::named(holm, (1..=accounts).map(|nth| format!("{prefix}-{nth}")))
    }

    /// Accounts by their names.
    pub(super) fn named(holm: &Holm, names: impl IntoIterator<Item = String>) -> Self {
        let accounts = names.into_iter().map(|name| holm.entity(name)).collect();
        Self { holm: holm.clone(), near: false, accounts, steps: AtomicU64::new(0) }
    }

    /// The same with callers on the threads of the entities.
    pub(super) fn near(self, near: bool) -> Self {
        Self { near, ..self }
    }

    /// Starts one caller, and gives its end.
    pub(super) fn start_caller(
        &self,
        nth: usize,
        asking: impl Future<Output = ()> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if self.near {
            let ended = self.holm.spawn_near(&self.accounts[nth % self.accounts.len()], asking);
            return Box::pin(async move { _ = ended.await });
        }
        let ended = tokio::spawn(asking);
        Box::pin(async move { _ = ended.await })
    }

    /// How many commands were sent.
    pub(super) fn asked(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// How many accounts.
    pub(super) fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Opens one account.
    pub(super) async fn open(&self, nth: usize) -> Result<(), String> {
        let opened = self.accounts[nth].ask(Open { owner: "bench".into() }).await;
        opened.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Sends one command to the next account.
    pub(super) async fn ask(&self, kind: Kind) -> Result<(), String> {
        let account = &self.accounts[self.next()];
        let answer = match kind {
            Kind::Persist => account.ask(Deposit { amount: AMOUNT }).await,
            Kind::Read => account.ask(Balance {}).await,
        };
        answer.map(|_| ()).map_err(|error| error.to_string())
    }

    /// The accounts in an order that jumps about, each equally often: a step by the golden ratio of 2^64.
    fn next(&self) -> usize {
        let step = self.steps.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let wide = u128::from(step) * self.accounts.len() as u128;
        usize::try_from(wide >> 64).unwrap_or_default()
    }
}
