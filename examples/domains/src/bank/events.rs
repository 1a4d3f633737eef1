//! What can happen to an account.

use holm::Event;
use serde::{Deserialize, Serialize};

/// A fact about an account. Amounts are whole cents and never zero.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(tags = found)]
pub enum AccountEvent {
    /// Somebody became its owner; the balance is zero.
    Opened {
        /// Who.
        owner: String,
    },
    /// Money came in.
    #[event(tag = "money")]
    Deposited {
        /// How much.
        amount: u64,
    },
    /// Money went out.
    #[event(tag = "money")]
    Withdrawn {
        /// How much.
        amount: u64,
    },
    /// The account was closed for good and what was left was paid out.
    Closed {
        /// What was left.
        paid_out: u64,
    },
}

/// From so much on a movement is large: 1,000.00.
const LARGE: u64 = 100_000;

/// The tags that follow from the amount.
fn found(event: &AccountEvent) -> Vec<String> {
    match event {
        AccountEvent::Deposited { amount } | AccountEvent::Withdrawn { amount }
            if *amount >= LARGE =>
        {
            vec!["large".to_owned()]
        }
        _ => Vec::new(),
    }
}
