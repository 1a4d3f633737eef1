//! The transfer: a process manager that takes money from one account and brings it to another, or back.
//!
//! ```text
//! start ─► withdrawing ─► depositing ─► completed
//!               │              │
//!               ▼              ▼
//!            failed        refunding ─► refunded, or stranded
//! ```
//!
//! Each arrow is one command of another entity and its answer, and each is stored together with what it sends next. So whatever crashes in between,
//! every step is taken once, and the process goes on from where it is. While it runs, the money is on no account; it is in this transfer.
//!
//! **Money and the deadline.** When no answer came in time, nobody knows whether the step was or will be taken. To give the money back then could double
//! it. So the deadline never decides about a step that was sent: Holm goes on asking with the same key until the outcome is known. It decides about
//! the step after that: a withdrawal that turns out to have happened too late is paid back instead of passed on. While a deposit is overdue, the
//! transfer only says so. A refund is sent after the deposit surely did not and will not happen: the account refused it, or failed each time.
//!
//! A refund that is refused too (the account was closed meanwhile) leaves the money in the transfer, which is **stranded**: a person must look.

mod commands;
mod events;
mod rejection;

use std::time::Duration;

use holm::{Answered, Commands, Context, Effect, Entity, EntityAddress, Handle, Outcome, Read};
use serde::{Deserialize, Serialize};

pub use self::commands::{Deadline, Start, TransferStatus};
pub use self::events::TransferEvent;
pub use self::rejection::TransferRejection;
use super::{Account, Deposit, Withdraw};

/// How long a transfer may take before it is overdue.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// One transfer of money.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// How far it is.
    pub stage: Stage,
    /// The account that pays.
    pub from: String,
    /// The account that receives.
    pub to: String,
    /// How much, in whole cents.
    pub amount: u64,
    /// The deadline passed before it was over.
    pub overdue: bool,
    /// Why it did not go as it should; empty when it did.
    pub reason: String,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nobody started it.
    #[default]
    Unstarted,
    /// The money is to leave its account.
    Withdrawing,
    /// The money is to arrive.
    Depositing,
    /// The money could not arrive and is to go back.
    Refunding,
    /// The money arrived.
    Completed,
    /// The money never left its account.
    Failed,
    /// The money is back.
    Refunded,
    /// The money is in this transfer, and nothing goes on by itself.
    Stranded,
}

impl Entity for Transfer {
    const TYPE: &'static str = "transfer";
    type Event = TransferEvent;
    type Rejection = TransferRejection;

    fn apply(&mut self, event: &TransferEvent) {
        self.stage = match event {
            TransferEvent::Started { from, to, amount } => {
                (self.from, self.to, self.amount) = (from.clone(), to.clone(), *amount);
                Stage::Withdrawing
            }
            TransferEvent::Withdrawn {} => Stage::Depositing,
            TransferEvent::Completed {} => Stage::Completed,
            TransferEvent::DeadlinePassed {} => {
                self.overdue = true;
                self.stage
            }
            TransferEvent::Failed { reason } => self.stopped(reason, Stage::Failed),
            TransferEvent::TurnedBack { reason } => self.stopped(reason, Stage::Refunding),
            TransferEvent::Refunded {} => Stage::Refunded,
            TransferEvent::Stranded { reason } => self.stopped(reason, Stage::Stranded),
        };
    }

    fn commands(commands: &mut Commands<Self>) {
        commands
            .handle::<Start>()
            .handle::<Answered<Account, Withdraw>>()
            .handle::<Answered<Account, Deposit>>()
            .handle::<Deadline>()
            .read::<TransferStatus>();
    }
}

type Decision = Result<Effect<Transfer, ()>, TransferRejection>;

impl Handle<Start> for Transfer {
    fn handle(&self, Start { from, to, amount }: Start, cx: &mut Context<'_, Self>) -> Decision {
        if self.stage != Stage::Unstarted {
            return Err(TransferRejection::AlreadyStarted {});
        }
        check(&from, &to, amount)?;
        let started = TransferEvent::Started { from: from.clone(), to, amount };
        Ok(cx
            .persist(started)
            .send_for_answer::<Account, _>(&from, Withdraw { amount })
            .after(DEADLINE, Deadline {})
            .no_reply())
    }
}

impl Handle<Answered<Account, Withdraw>> for Transfer {
    fn handle(
        &self,
        withdrawal: Answered<Account, Withdraw>,
        cx: &mut Context<'_, Self>,
    ) -> Decision {
        match withdrawal.answer {
            Ok(_) if self.overdue => Ok(self.turn_back("the deadline passed".to_owned(), cx)),
            Ok(_) => Ok(cx
                .persist(TransferEvent::Withdrawn {})
                .send_for_answer::<Account, _>(&self.to, Deposit { amount: self.amount })
                .no_reply()),
            Err(why) if why.outcome() == Outcome::NotApplied => {
                Ok(cx.persist(TransferEvent::Failed { reason: why.to_string() }).no_reply())
            }
            Err(why) => {
                Ok(cx.persist(TransferEvent::Stranded { reason: why.to_string() }).no_reply())
            }
        }
    }
}

/// A deposit to the receiver, or the refund: there is never more than one of them under way.
impl Handle<Answered<Account, Deposit>> for Transfer {
    fn handle(&self, deposit: Answered<Account, Deposit>, cx: &mut Context<'_, Self>) -> Decision {
        let refunding = self.stage == Stage::Refunding;
        match deposit.answer {
            Ok(_) if refunding => Ok(cx.persist(TransferEvent::Refunded {}).no_reply()),
            Ok(_) => Ok(cx.persist(TransferEvent::Completed {}).no_reply()),
            Err(why) if why.outcome() == Outcome::NotApplied && !refunding => {
                Ok(self.turn_back(why.to_string(), cx))
            }
            Err(why) => {
                Ok(cx.persist(TransferEvent::Stranded { reason: why.to_string() }).no_reply())
            }
        }
    }
}

impl Handle<Deadline> for Transfer {
    fn handle(&self, Deadline {}: Deadline, cx: &mut Context<'_, Self>) -> Decision {
        match self.stage {
            Stage::Withdrawing | Stage::Depositing | Stage::Refunding => {
                Ok(cx.persist(TransferEvent::DeadlinePassed {}).no_reply())
            }
            _ => Ok(cx.none().no_reply()),
        }
    }
}

impl Read<TransferStatus> for Transfer {
    fn read(
        &self,
        TransferStatus {}: TransferStatus,
        _: &Context<'_, Self>,
    ) -> Result<Self, TransferRejection> {
        match self.stage {
            Stage::Unstarted => Err(TransferRejection::NotStarted {}),
            _ => Ok(self.clone()),
        }
    }
}

impl Transfer {
    /// Compensates the withdrawal.
    fn turn_back(&self, reason: String, cx: &mut Context<'_, Self>) -> Effect<Self, ()> {
        cx.persist(TransferEvent::TurnedBack { reason })
            .send_for_answer::<Account, _>(&self.from, Deposit { amount: self.amount })
            .no_reply()
    }

    fn stopped(&mut self, reason: &str, stage: Stage) -> Stage {
        reason.clone_into(&mut self.reason);
        stage
    }
}

fn check(from: &str, to: &str, amount: u64) -> Result<(), TransferRejection> {
    if amount == 0 {
        return Err(TransferRejection::ZeroAmount {});
    }
    if from == to {
        return Err(TransferRejection::SameAccount {});
    }
    for id in [from, to] {
        EntityAddress::new(Account::TYPE, id)
            .map_err(|error| TransferRejection::NoAccount { reason: error.to_string() })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
