//! What can happen to a transfer.

use holm::Event;
use serde::{Deserialize, Serialize};

/// A fact about a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum TransferEvent {
    /// Somebody started it; the withdrawal is on its way.
    Started {
        /// The account that pays.
        from: String,
        /// The account that receives.
        to: String,
        /// How much.
        amount: u64,
    },
    /// The money left its account; the deposit is on its way.
    Withdrawn {},
    /// The money arrived.
    Completed {},
    /// It takes longer than it should.
    DeadlinePassed {},
    /// The money never left its account.
    Failed {
        /// Why.
        reason: String,
    },
    /// The money left its account and cannot arrive; the refund is on its way.
    TurnedBack {
        /// Why.
        reason: String,
    },
    /// The money is back.
    Refunded {},
    /// Nothing goes on by itself.
    Stranded {
        /// Why.
        reason: String,
    },
}
