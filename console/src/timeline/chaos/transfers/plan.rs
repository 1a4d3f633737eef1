//! Which transfers, and which accounts are closed meanwhile: drawn from the campaign's seed.

use std::collections::BTreeMap;

use holm::{Entropy as _, SeededEntropy};

/// What each account begins with, in cents.
pub(super) const PAID_IN: u64 = 1_000;

/// Most cents of an ordinary transfer.
const MOST: u64 = 300;

/// One transfer in so many wants more than there is: it must fail and leave everything where it was.
const TOO_MUCH_EVERY: u32 = 10;

/// There is one account for so many transfers: enough for each to pay and be paid some times, and too few for its money to run out in most of them.
const TRANSFERS_OF_AN_ACCOUNT: u32 = 10;

/// One account in so many is closed some time: what is on its way to it then must turn back. It pays nobody, so there is always somebody to give back to.
const CLOSED_EVERY: u32 = 10;

/// The accounts and transfers of one campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    run: u64,
    pub(super) accounts: u32,
    pub(super) transfers: Vec<Planned>,
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) amount: u64,
    /// The account that is closed before it is started.
    pub(super) closes: Option<u32>,
}

impl Plan {
    pub(super) fn new(transfers: u32, seed: u64, run: u64) -> Self {
        let accounts = (transfers / TRANSFERS_OF_AN_ACCOUNT).max(2);
        let mut entropy = SeededEntropy::new(seed ^ 0x6D6F_6E65_7900);
        let mut below =
            |bound: u32| u32::try_from(entropy.next_u64() % u64::from(bound)).unwrap_or_default();
        let closed = (accounts / CLOSED_EVERY).max(1);
        // The last accounts, one after the other over the whole campaign.
        let payers = accounts - closed;
        let closing = (payers..accounts).zip(1_u64..);
        let mut closing: BTreeMap<u64, u32> = closing
            .map(|(account, nth)| (u64::from(transfers) * nth / (u64::from(closed) + 1), account))
            .collect();
        let transfers = (0..transfers)
            .map(|nth| {
                let from = below(payers);
                // Any other one.
                let to = (from + 1 + below(accounts - 1)) % accounts;
                let amount = match nth % TOO_MUCH_EVERY {
                    0 => PAID_IN * u64::from(accounts) + 1,
                    _ => 1 + u64::from(below(u32::try_from(MOST).unwrap_or(u32::MAX))),
                };
                Planned { from, to, amount, closes: closing.remove(&u64::from(nth)) }
            })
            .collect();
        Self { run, accounts, transfers }
    }

    pub(super) fn account(&self, number: u32) -> String {
        format!("money-{:08x}-{number}", self.run)
    }

    pub(super) fn transfer(&self, nth: usize) -> String {
        format!("money-{:08x}-{nth}", self.run)
    }

    pub(super) fn paid_in(&self) -> u64 {
        PAID_IN * u64::from(self.accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_transfers_and_nobody_pays_himself() {
        for count in [1, 10, 200, 20_000] {
            let plan = Plan::new(count, 7, 1);
            assert_eq!(plan.transfers, Plan::new(count, 7, 2).transfers);
            assert_eq!(plan.transfers.len(), count as usize);
            assert!(plan.accounts >= 2);
            assert!(plan.transfers.iter().all(|it| it.from != it.to && it.amount > 0));
            assert!(plan.transfers.iter().all(|it| it.from.max(it.to) < plan.accounts));
        }
        assert_ne!(Plan::new(9, 7, 1).transfers, Plan::new(9, 8, 1).transfers);
    }

    #[test]
    fn one_in_ten_wants_more_than_there_is() {
        let plan = Plan::new(200, 7, 1);
        let too_much = plan.transfers.iter().filter(|it| it.amount > plan.paid_in()).count();
        assert_eq!(too_much, 20);
    }

    #[test]
    fn accounts_that_are_closed_are_paid_before_and_after_and_never_pay() {
        for count in [1, 10, 300, 20_000] {
            let plan = Plan::new(count, 7, 1);
            let closings = plan.transfers.iter().enumerate();
            let closings: Vec<_> =
                closings.filter_map(|(nth, it)| Some((nth, it.closes?))).collect();
            assert_eq!(closings.len(), (plan.accounts as usize / 10).max(1));
            let payers = plan.accounts - u32::try_from(closings.len()).unwrap();
            assert!(plan.transfers.iter().all(|it| it.from < payers));
            assert!(closings.iter().all(|(_, account)| *account >= payers));
            let paid = |transfers: &[Planned], account| transfers.iter().any(|it| it.to == account);
            let before = closings.iter().any(|(at, it)| paid(&plan.transfers[..*at], *it));
            let after = closings.iter().any(|(at, it)| paid(&plan.transfers[*at..], *it));
            assert!((before && after) || count < 300, "{count}");
        }
    }
}
