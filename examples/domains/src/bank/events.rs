//! What can happen to an account.

use holm::Event;
use serde::{Deserialize, Serialize};

/// A fact about an account. Amounts are whole cents and never zero.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum AccountEvent {
    /// Somebody became its owner; the balance is zero.
    Opened {
        /// Who.
        owner: String,
    },
    /// Money came in.
    Deposited {
        /// How much.
        amount: u64,
    },
    /// Money went out.
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
