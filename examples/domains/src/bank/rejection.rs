//! Why an account refuses.

use serde::{Deserialize, Serialize};

/// Why an account refuses a command. In JSON, for example, `{"overdraft":{"balance":2500,"amount":6000}}`.
///
/// Variants without a figure have braces too, so that every rejection is an object with one key in JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountRejection {
    /// Nobody opened the account yet.
    #[error("the account was never opened")]
    NotOpen {},
    /// The account was opened before.
    #[error("the account is open already and belongs to {owner}")]
    AlreadyOpen {
        /// Its owner.
        owner: String,
    },
    /// The account was closed, for good.
    #[error("the account is closed")]
    Closed {},
    /// An account needs an owner.
    #[error("the owner's name is empty")]
    OwnerMissing {},
    /// Nothing would move.
    #[error("an amount must be above zero")]
    ZeroAmount {},
    /// More would go out than is there.
    #[error("{amount} cents cannot be withdrawn from a balance of {balance}")]
    Overdraft {
        /// What is there.
        balance: u64,
        /// What was asked for.
        amount: u64,
    },
    /// More would be there than can be counted.
    #[error("{amount} cents on top of {balance} cannot be counted")]
    Overflow {
        /// What is there.
        balance: u64,
        /// What was to come in.
        amount: u64,
    },
}
