//! The entity of these tests: an account that can also be told to misbehave.

use holm_runtime::{Command, Commands, Context, Effect, Entity, Event, Handle, Read, Registry};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) balance: u64,
    pub(crate) events: u64,
}

#[derive(Debug, Event, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Deposited {
        amount: u64,
    },
    Withdrawn {
        amount: u64,
    },
    /// Doubles what is there, so that its place among other events matters.
    Doubled,
    /// `apply` panics on it, always: a poisoned event.
    Poisoned,
    /// `apply` panics on it when the amount is 13 and the balance is not zero.
    Padded {
        bytes: Vec<u8>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub(crate) enum Refused {
    #[error("only {balance} left")]
    InsufficientFunds { balance: u64 },
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Deposit {
    pub(crate) amount: u64,
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Withdraw {
    pub(crate) amount: u64,
}

/// `parts` deposits of one each, together.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Collect {
    pub(crate) parts: u64,
}

/// A deposit and a doubling, in this order and together.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct DepositAndDouble {
    pub(crate) amount: u64,
}

#[derive(Debug, Command, Serialize, Deserialize)]
pub(crate) struct Nothing {}

/// Deposits one and goes to rest.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct DepositAndRest {}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Balance {}

/// Holds up its shard, which no handler should do.
#[derive(Debug, Command, Serialize, Deserialize)]
pub(crate) struct Sleep {
    pub(crate) ms: u64,
}

/// The sequence number and the random number that the handler sees.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = (u64, u64, u64))]
pub(crate) struct Look {}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Panic {
    pub(crate) at: PanicAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PanicAt {
    Handle,
    Apply,
    Reply,
}

/// An event and a reply of given lengths.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = Vec<u8>)]
pub(crate) struct Pad {
    pub(crate) event_bytes: usize,
    pub(crate) reply_bytes: usize,
}

impl Entity for Account {
    const TYPE: &'static str = "account";
    type Event = AccountEvent;
    type Rejection = Refused;

    fn apply(&mut self, event: &AccountEvent) {
        self.events += 1;
        match event {
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
            AccountEvent::Doubled => self.balance *= 2,
            AccountEvent::Poisoned => panic!("poisoned"),
            AccountEvent::Padded { .. } => {}
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands
            .handle::<Deposit>()
            .handle::<Withdraw>()
            .handle::<Collect>()
            .handle::<DepositAndDouble>()
            .handle::<Nothing>()
            .handle::<DepositAndRest>()
            .handle::<Panic>()
            .handle::<Pad>()
            .handle::<Sleep>()
            .handle::<Look>()
            .read::<Balance>();
    }
}

type Outcome<R> = Result<Effect<Account, R>, Refused>;

impl Handle<Deposit> for Account {
    fn handle(&self, command: Deposit, cx: &mut Context<'_, Self>) -> Outcome<u64> {
        let event = AccountEvent::Deposited { amount: command.amount };
        Ok(cx.persist(event).reply(|account| account.balance))
    }
}

impl Handle<Withdraw> for Account {
    fn handle(&self, command: Withdraw, cx: &mut Context<'_, Self>) -> Outcome<u64> {
        if self.balance < command.amount {
            return Err(Refused::InsufficientFunds { balance: self.balance });
        }
        let event = AccountEvent::Withdrawn { amount: command.amount };
        Ok(cx.persist(event).reply(|account| account.balance))
    }
}

impl Handle<Collect> for Account {
    fn handle(&self, command: Collect, cx: &mut Context<'_, Self>) -> Outcome<u64> {
        let events = (0..command.parts).map(|_| AccountEvent::Deposited { amount: 1 });
        Ok(cx.persist_all(events).reply(|account| account.balance))
    }
}

impl Handle<DepositAndDouble> for Account {
    fn handle(&self, command: DepositAndDouble, cx: &mut Context<'_, Self>) -> Outcome<u64> {
        let deposited = AccountEvent::Deposited { amount: command.amount };
        let events = [deposited, AccountEvent::Doubled];
        Ok(cx.persist_all(events).reply(|account| account.balance))
    }
}

impl Handle<Nothing> for Account {
    fn handle(&self, _: Nothing, cx: &mut Context<'_, Self>) -> Outcome<()> {
        Ok(cx.none().no_reply())
    }
}

impl Handle<Sleep> for Account {
    #[expect(clippy::disallowed_methods, reason = "to hold up the shard is what it is for")]
    fn handle(&self, Sleep { ms }: Sleep, cx: &mut Context<'_, Self>) -> Outcome<()> {
        std::thread::sleep(std::time::Duration::from_millis(ms));
        Ok(cx.none().no_reply())
    }
}

impl Handle<DepositAndRest> for Account {
    fn handle(&self, _: DepositAndRest, cx: &mut Context<'_, Self>) -> Outcome<u64> {
        let draft = cx.persist(AccountEvent::Deposited { amount: 1 });
        Ok(draft.reply(|account| account.balance).passivate())
    }
}

impl Handle<Panic> for Account {
    fn handle(&self, command: Panic, cx: &mut Context<'_, Self>) -> Outcome<u64> {
        match command.at {
            PanicAt::Handle => panic!("in the handler"),
            PanicAt::Apply => {
                Ok(cx.persist(AccountEvent::Poisoned).reply(|account| account.balance))
            }
            PanicAt::Reply => {
                let draft = cx.persist(AccountEvent::Deposited { amount: 1_000 });
                Ok(draft.reply(|_| panic!("in the reply")))
            }
        }
    }
}

impl Handle<Pad> for Account {
    fn handle(&self, command: Pad, cx: &mut Context<'_, Self>) -> Outcome<Vec<u8>> {
        let event = AccountEvent::Padded { bytes: vec![1; command.event_bytes] };
        Ok(cx.persist(event).reply(move |_| vec![2; command.reply_bytes]))
    }
}

impl Handle<Look> for Account {
    fn handle(&self, _: Look, cx: &mut Context<'_, Self>) -> Outcome<(u64, u64, u64)> {
        let seen = (cx.sequence().get(), cx.random(), cx.now().as_millis());
        Ok(cx.none().reply(move |_| seen))
    }
}

impl Read<Balance> for Account {
    fn read(&self, _: Balance, _: &Context<'_, Self>) -> Result<u64, Refused> {
        Ok(self.balance)
    }
}

pub(crate) fn registry() -> Registry {
    Registry::new().entity::<Account>()
}
