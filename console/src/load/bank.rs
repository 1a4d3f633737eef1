//! What the load generator does to the bank: which command comes next. Pure; the randomness comes from a seed.

use std::collections::VecDeque;

use holm::{Entity as _, Entropy as _, SeededEntropy};
use holm_domains::bank::Account;

use super::door::{Command, Order};
use crate::views::EntityTypesDocument;

/// Cents that each account begins with.
pub(super) const FIRST_DEPOSIT: u64 = 10_000;

/// Most cents that one command moves.
const MOST: u64 = 5_000;

/// Deposits of transfers that wait for their turn. A transfer whose withdrawal was accepted while this many wait is not completed, and the
/// figures do not depend on it: each of its two commands is judged for itself.
const WAITING_DEPOSITS: usize = 65_536;

/// Draws the commands.
#[derive(Debug)]
pub(super) struct Bank {
    entropy: SeededEntropy,
    accounts: u32,
    run: u32,
    drawn: u64,
    /// Second halves of transfers: the account to pay to, and the amount.
    deposits: VecDeque<(u32, u64)>,
}

/// A command, and where the money goes when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) order: Order,
    pub(super) then_deposit_to: Option<u32>,
}

/// True when these types have the accounts of the demo bank. A type of that name with other commands is somebody else's.
pub(crate) fn is_among(types: &EntityTypesDocument) -> bool {
    let has = |names: &[String], name: &str| names.iter().any(|it| it == name);
    types.entity_types.iter().filter(|it| it.name == Account::TYPE).any(|it| {
        ["open", "deposit", "withdraw"].into_iter().all(|name| has(&it.commands, name))
            && has(&it.reads, "balance")
    })
}

impl Bank {
    /// A bank of `accounts` accounts, numbered from 1. Keys of different runs differ.
    pub(super) fn new(accounts: u32, mut entropy: SeededEntropy) -> Self {
        let run = u32::try_from(entropy.next_u64() & 0xFFFF_FFFF).unwrap_or_default();
        Self { entropy, accounts, run, drawn: 0, deposits: VecDeque::new() }
    }

    /// Opens one account.
    pub(super) fn open(&self, account: u32) -> Order {
        let command = Command::Open { owner: format!("owner {account}") };
        Order { id: account.to_string(), command, key: format!("{:08x}-o{account}", self.run) }
    }

    /// The first deposit of an account.
    pub(super) fn first_deposit(&self, account: u32) -> Order {
        let command = Command::Deposit { amount: FIRST_DEPOSIT };
        Order { id: account.to_string(), command, key: format!("{:08x}-f{account}", self.run) }
    }

    /// The second half of a transfer whose first half was accepted.
    pub(super) fn owe(&mut self, account: u32, amount: u64) {
        if self.deposits.len() < WAITING_DEPOSITS {
            self.deposits.push_back((account, amount));
        }
    }

    /// The next command: 40 in 100 begin a transfer, 20 deposit, 10 withdraw, 30 read; second halves of transfers go first.
    pub(super) fn draw(&mut self) -> Drawn {
        self.drawn += 1;
        if let Some((account, amount)) = self.deposits.pop_front() {
            return self.drawn(account, Command::Deposit { amount }, None);
        }
        let account = self.account();
        let amount = 1 + self.entropy.below(MOST);
        match self.entropy.below(100) {
            0..40 => {
                let to = self.account();
                self.drawn(account, Command::Withdraw { amount }, Some(to))
            }
            40..60 => self.drawn(account, Command::Deposit { amount }, None),
            60..70 => self.drawn(account, Command::Withdraw { amount }, None),
            _ => self.drawn(account, Command::Balance, None),
        }
    }

    fn drawn(&self, account: u32, command: Command, then_deposit_to: Option<u32>) -> Drawn {
        let key = format!("{:08x}-{}", self.run, self.drawn);
        Drawn { order: Order { id: account.to_string(), command, key }, then_deposit_to }
    }

    fn account(&mut self) -> u32 {
        1 + u32::try_from(self.entropy.below(u64::from(self.accounts))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::EntityTypeDocument;

    #[test]
    fn the_bank_is_known_by_its_commands_and_not_by_a_name() {
        let named = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let served = |name: &str, commands: &[&str]| {
            let (name, commands, reads) = (name.into(), named(commands), named(&["balance"]));
            is_among(&EntityTypesDocument {
                entity_types: vec![EntityTypeDocument { name, commands, reads }],
            })
        };
        assert!(served("account", &["close", "deposit", "open", "withdraw"]));
        assert!(!served("account", &["deposit", "open"]));
        assert!(!served("guest-book", &["deposit", "open", "withdraw"]));
        assert!(!is_among(&EntityTypesDocument::default()));
    }

    #[test]
    fn the_same_seed_draws_the_same_and_no_key_comes_twice() {
        let keys = |seed| {
            let mut bank = Bank::new(10, SeededEntropy::new(seed));
            (0..1_000).map(|_| bank.draw().order.key).collect::<Vec<_>>()
        };
        let mut first = keys(7);
        assert_eq!(first, keys(7));
        assert_ne!(first, keys(8));
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 1_000);
    }

    #[test]
    fn an_owed_deposit_goes_first() {
        let mut bank = Bank::new(10, SeededEntropy::new(1));
        bank.owe(3, 42);
        let order = bank.draw().order;
        assert_eq!((order.id.as_str(), order.command), ("3", Command::Deposit { amount: 42 }));
    }
}
