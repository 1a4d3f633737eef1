//! The account: its state, how events change it, and what it decides.

use holm::{Commands, Context, Effect, Entity, Handle, Read};
use serde::{Deserialize, Serialize};

use super::{AccountEvent, AccountRejection, Balance, Close, Deposit, Open, Withdraw};

/// An account. Before its first event nobody opened it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Where in its life it is.
    pub status: Status,
    /// Who owns it; empty before it was opened.
    pub owner: String,
    /// What is on it, in whole cents.
    pub balance: u64,
}

/// The life of an account, from top to bottom and never back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody opened it yet.
    #[default]
    Unopened,
    /// Money may come and go.
    Open,
    /// Nothing can happen any more.
    Closed,
}

impl Entity for Account {
    const TYPE: &'static str = "account";
    type Event = AccountEvent;
    type Rejection = AccountRejection;

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { owner } => {
                self.status = Status::Open;
                self.owner.clone_from(owner);
            }
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
            AccountEvent::Closed { paid_out } => {
                self.status = Status::Closed;
                self.balance -= paid_out;
            }
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands
            .handle::<Open>()
            .handle::<Deposit>()
            .handle::<Withdraw>()
            .handle::<Close>()
            .read::<Balance>();
    }
}

impl Handle<Open> for Account {
    fn handle(
        &self,
        Open { owner }: Open,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, AccountRejection> {
        match self.status {
            Status::Open => Err(AccountRejection::AlreadyOpen { owner: self.owner.clone() }),
            Status::Closed => Err(AccountRejection::Closed {}),
            Status::Unopened if owner.trim().is_empty() => Err(AccountRejection::OwnerMissing {}),
            Status::Unopened => {
                Ok(cx.persist(AccountEvent::Opened { owner }).reply(|account| account.balance))
            }
        }
    }
}

impl Handle<Deposit> for Account {
    fn handle(
        &self,
        Deposit { amount }: Deposit,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, AccountRejection> {
        self.check_open()?;
        check_amount(amount)?;
        if self.balance.checked_add(amount).is_none() {
            return Err(AccountRejection::Overflow { balance: self.balance, amount });
        }
        Ok(cx.persist(AccountEvent::Deposited { amount }).reply(|account| account.balance))
    }
}

impl Handle<Withdraw> for Account {
    fn handle(
        &self,
        Withdraw { amount }: Withdraw,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, AccountRejection> {
        self.check_open()?;
        check_amount(amount)?;
        if amount > self.balance {
            return Err(AccountRejection::Overdraft { balance: self.balance, amount });
        }
        Ok(cx.persist(AccountEvent::Withdrawn { amount }).reply(|account| account.balance))
    }
}

impl Handle<Close> for Account {
    fn handle(
        &self,
        Close {}: Close,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, AccountRejection> {
        self.check_open()?;
        let closed = AccountEvent::Closed { paid_out: self.balance };
        // Nothing can happen to a closed account, so its place in memory is better used by another.
        Ok(cx.persist(closed).passivate().reply(|account| account.balance))
    }
}

impl Read<Balance> for Account {
    fn read(&self, Balance {}: Balance, _: &Context<'_, Self>) -> Result<u64, AccountRejection> {
        self.check_open()?;
        Ok(self.balance)
    }
}

impl Account {
    fn check_open(&self) -> Result<(), AccountRejection> {
        match self.status {
            Status::Unopened => Err(AccountRejection::NotOpen {}),
            Status::Open => Ok(()),
            Status::Closed => Err(AccountRejection::Closed {}),
        }
    }
}

fn check_amount(amount: u64) -> Result<(), AccountRejection> {
    if amount == 0 { Err(AccountRejection::ZeroAmount {}) } else { Ok(()) }
}
